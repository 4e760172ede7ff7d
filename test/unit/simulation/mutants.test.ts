import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MUTANTS, mutantNamed, mutantsLike } from '../../simulation/mutants/index.ts';
import { MutantError, mutated } from '../../simulation/mutants/mutant.ts';
import { PROMISES } from '../../simulation/history.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');

test.for(MUTANTS)('mutant $name: what it replaces is in $file, once', (mutant) => {
  const source = readFileSync(join(ROOT, mutant.file), 'utf8');
  expect(mutated(mutant, source)).not.toBe(source);
});

test('there are mutants of every promise, and no two of one name', () => {
  const names = new Set(MUTANTS.map(({ name }) => name));
  expect(names.size).toBe(MUTANTS.length);
  expect(MUTANTS.length).toBeGreaterThanOrEqual(25);
  expect(new Set(MUTANTS.map(({ promise }) => promise))).toEqual(new Set(PROMISES));
  expect(MUTANTS.every(({ seedsMax }) => seedsMax >= 1 && seedsMax <= 200)).toBe(true);
  expect(mutantNamed('no such')).toBeNull();
  expect(mutantsLike('')).toBe(MUTANTS);
  expect(mutantsLike('skip-the-lock-delay').map(({ name }) => name)).toEqual([
    'skip-the-lock-delay',
  ]);
});

test('a mutant that does not say one place is named, with what to do', () => {
  const [mutant] = MUTANTS;
  if (mutant === undefined) throw new Error('no mutants');
  expect(() => mutated(mutant, 'nothing of it')).toThrow(MutantError);
  expect(() => mutated(mutant, mutant.find + mutant.find)).toThrow(/is there 2 times/);
});
