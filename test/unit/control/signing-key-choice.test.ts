import { expect, test } from 'vitest';
import { chooseSigningKey } from '../../../control/core/signing-key-choice.ts';

test.each([
  ['the first that all hosts are to know', ['new', 'old'], ['old', 'new'], 'new', true],
  ['the one of before while the first is named by none', ['new', 'old'], ['old'], 'old', true],
  ['the newest that is known, of several', ['c', 'b', 'a'], ['a', 'b'], 'b', true],
  [
    'one that was named and is in the file no more is none',
    ['new', 'old'],
    ['gone', 'old'],
    'old',
    true,
  ],
  ['the oldest before anything was published', ['new', 'old'], null, 'old', true],
  ['the only one', ['own'], null, 'own', true],
  ['the first where no key is known', ['a', 'b'], ['gone'], 'a', false],
] as const)('%s', (_name, [first, ...others], named, kid, isKnown) => {
  const set = named === null ? null : new Set<string>(named);
  expect(chooseSigningKey([first, ...others], set)).toEqual({ kid, isKnown });
});
