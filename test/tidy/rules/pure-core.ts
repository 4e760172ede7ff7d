import { findInCode, importsOf, isCode, sideOf } from '../source-tree.ts';
import type { Finding, Import, SourceFile } from '../source-tree.ts';
import type { Rule } from './rule.ts';

/** What only a shell may touch; in each row the pattern and the way out. */
const IMPURE: readonly (readonly [RegExp, string])[] = [
  [/\bDate\b/, 'core reads no clock; take `now` as an argument'],
  [/\bMath\s*\.\s*random\b/, 'core draws no random numbers; take them as an argument'],
  [/(?<![\w$.])(?:setTimeout|setInterval|setImmediate|queueMicrotask)\b/, 'core starts no timer'],
  [/(?<![\w$.])(?:process|performance|crypto|console|globalThis)\s*[.[]/, 'core does no I/O'],
  [/(?<![\w$.])fetch\s*\(/, 'core does no I/O'],
  [/(?<![\w$.])(?:async|await|Promise)\b(?!\s*:)/, 'core is synchronous; read first, write after'],
];

export const pureCore: Rule = {
  title: 'a folder called core/ is pure',
  check: (files) =>
    files.filter(isCoreFile).flatMap((file) => [...impurities(file), ...badImports(file)]),
};

function isCoreFile({ path }: SourceFile): boolean {
  return isCode(path) && sideOf(path) !== 'test' && path.split('/').slice(0, -1).includes('core');
}

function impurities(file: SourceFile): Finding[] {
  return IMPURE.flatMap(([pattern, wayOut]) => findInCode(file, pattern, wayOut));
}

function badImports(file: SourceFile): Finding[] {
  const allowed = new Set([`${sideOf(file.path)}/core/`, 'shared/core/']);
  const isAllowed = (found: Import): boolean =>
    [...allowed].some((folder) => found.target.startsWith(folder)) ||
    (found.isTypeOnly && found.target.startsWith('shared/wire/'));
  return importsOf(file)
    .filter((found) => !isAllowed(found))
    .map(({ specifier, line }) => ({
      path: file.path,
      line,
      message: `imports ${specifier}; core may use ${[...allowed].join(', ')} and types of shared/wire/`,
    }));
}
