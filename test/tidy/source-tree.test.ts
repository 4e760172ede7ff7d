import { describe, expect, test } from 'vitest';
import { findInCode, importsOf } from './source-tree.ts';

const importsIn = (text: string) => importsOf({ path: 'control/core/a.ts', text });

describe('finding imports', () => {
  test.for([
    ["import a from './a.ts';", 'control/core/a.ts', false],
    ["import { a, type B } from '../b.ts';", 'control/b.ts', false],
    ["import * as a from 'node:fs';", 'node:fs', false],
    ["import './side-effect.ts';", 'control/core/side-effect.ts', false],
    ["export * from './a.ts';", 'control/core/a.ts', false],
    ["export { a } from './a.ts';", 'control/core/a.ts', false],
    ["import {\n  a,\n  b,\n} from './a.ts';", 'control/core/a.ts', false],
    ["const a = await import('../../shared/core/a.ts');", 'shared/core/a.ts', false],
    ["const a = require('pino');", 'pino', false],
    ["import type { A } from '../../shared/wire/a.ts';", 'shared/wire/a.ts', true],
    ["export type { A } from './a.ts';", 'control/core/a.ts', true],
    ["import type from './type.ts';", 'control/core/type.ts', false],
  ] as const)('%s', ([text, target, isTypeOnly]) => {
    expect(importsIn(text)).toMatchObject([{ target, isTypeOnly }]);
  });

  test.for([
    "// import a from './a.ts';",
    'const text = "import a from \'./a.ts\'";',
    'const here = import.meta.dirname;',
    "export const list = Array.from('abc');",
  ])('none in %s', (text) => {
    expect(importsIn(text)).toEqual([]);
  });

  test('tells the line of each', () => {
    const text = "import type { A } from './a.ts';\n\nimport {\n  b,\n} from './b.ts';\n";
    expect(importsIn(text).map(({ line, isTypeOnly }) => [line, isTypeOnly])).toEqual([
      [1, true],
      [5, false],
    ]);
  });
});

test('finds a pattern in code alone, with its line', () => {
  const text = "// Date\nconst a = 'Date';\nconst b = Date;\n";
  expect(findInCode({ path: 'a.ts', text }, /\bDate\b/, 'no')).toEqual([
    { path: 'a.ts', line: 3, message: 'Date: no' },
  ]);
});
