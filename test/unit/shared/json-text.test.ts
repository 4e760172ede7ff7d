import { expect, test } from 'vitest';
import { jsonTextProblem } from '../../../shared/platform/http/json-text.ts';

const nested = (levels: number): string => `${'['.repeat(levels)}${']'.repeat(levels)}`;
const objects = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;

const TOO_DEEP: unknown = expect.stringContaining('deeper than 64 levels');

test.each([
  ['64 arrays in each other', nested(64), null],
  ['65 arrays in each other', nested(65), TOO_DEEP],
  ['64 objects in each other', objects(64), null],
  ['65 objects in each other', objects(65), TOO_DEEP],
  ['32 arrays in 33 objects', `${'{"a":'.repeat(33)}${nested(32)}${'}'.repeat(33)}`, TOO_DEEP],
  ['many beside each other', `[${'{},'.repeat(500)}[]]`, null],
  ['brackets in a text', JSON.stringify({ a: '[{'.repeat(500), b: [{}] }), null],
  ['brackets after an escaped quote', JSON.stringify({ a: `"${'['.repeat(500)}` }), null],
  ['a text that closes nothing', `{"a":"${']'.repeat(100)}","b":${nested(64)}}`, TOO_DEEP],
  ['an infinity', '{"a":[1e400]}', expect.stringContaining('beyond the range of a double')],
  ['an exponent in a text', '{"a":"1e400"}', null],
  ['an exponent that fits', '{"a":1e300}', null],
])('%s', (_name, text, problem) => {
  expect(jsonTextProblem(text)).toEqual(problem);
});
