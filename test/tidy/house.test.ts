import { expect, test } from 'vitest';
import { HOUSE_RULES } from './rules/house.ts';
import { readSourceTree } from './source-tree.ts';

const files = readSourceTree();

test('the house: there are files to look at', () => {
  expect(files.map(({ path }) => path)).toContain('package.json');
});

test.for(HOUSE_RULES)('the house: $title', ({ check }) => {
  const findings = check(files).map(({ path, line, message }) => `${path}:${line} ${message}`);
  expect(findings.join('\n')).toBe('');
});
