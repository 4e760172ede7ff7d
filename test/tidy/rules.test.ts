/**
 * Breaks every rule of the house on purpose, and comes near to it: a rule that cannot fail is none.
 */
import { expect, test } from 'vitest';
import { BROKEN, NEAR_MISSES } from './broken-houses.ts';
import { HOUSE_RULES } from './rules/house.ts';

test('every rule of the house has an example that breaks it and a near miss', () => {
  const broken = new Set(BROKEN.map(({ rule }) => rule.title));
  const nearMisses = new Set(NEAR_MISSES.map(({ rule }) => rule.title));
  for (const { title } of HOUSE_RULES) {
    expect(broken).toContain(title);
    expect(nearMisses).toContain(title);
  }
});

test.for(BROKEN)('refuses $what', ({ rule, files, at }) => {
  const findings = rule.check(files).map(({ path, line }) => `${path}:${line}`);
  expect(findings).toEqual([at]);
});

test.for(NEAR_MISSES)('accepts $what', ({ rule, files }) => {
  expect(rule.check(files)).toEqual([]);
});
