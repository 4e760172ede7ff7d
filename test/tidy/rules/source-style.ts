import { lineAt } from '../source-text.ts';
import { findInCode, isCode, partsOf } from '../source-tree.ts';
import type { Finding, SourceFile } from '../source-tree.ts';
import type { Rule } from './rule.ts';

const NOT_ERASABLE: readonly (readonly [RegExp, string])[] = [
  [/(?:^|[^\w$.])enum\s+[A-Z]\w*\s*\{/, 'Node only strips types; use a union of literals'],
  [/(?:^|[^\w$.])(?:namespace|module)\s+[A-Z][\w.]*\s*\{/, 'Node only strips types; use a module'],
  [
    /\bconstructor\s*\((?:[^)]*,)?\s*(?:public|private|protected|readonly|override)\s+\w/,
    'Node only strips types; declare the field and assign it',
  ],
];

export const erasableSyntax: Rule = {
  title: 'no syntax that needs more than stripping types: enum, namespace, parameter property',
  check: (files) =>
    files
      .filter(({ path }) => path.endsWith('.ts'))
      .flatMap((file) =>
        NOT_ERASABLE.flatMap(([pattern, wayOut]) => findInCode(file, pattern, wayOut)),
      ),
};

const FIX_LATER = /\b(?:FIXME|XXX|HACK)\b/g;
const OPEN_ENDED = /\bTODO\b(?!:? when \S)/g;

export const unfinishedWork: Rule = {
  title: 'no note of something broken, and each note of something to do names its condition',
  check: (files) =>
    files.flatMap((file) => {
      const text = notesIn(file);
      return [
        ...matchesIn(file.path, text, FIX_LATER, 'mend it now, or file it as an issue'),
        ...matchesIn(file.path, text, OPEN_ENDED, 'name what would remove it: "TODO when ..."'),
      ];
    }),
};

/** In code only comments count; prose may speak of these words. */
function notesIn(file: SourceFile): string {
  if (isCode(file.path)) return partsOf(file).comments;
  return /\.(?:ya?ml|sql|sh|css|html|service)$|Dockerfile$|^\.ci\//.test(file.path)
    ? file.text
    : '';
}

function matchesIn(path: string, text: string, pattern: RegExp, wayOut: string): Finding[] {
  return [...text.matchAll(pattern)].map((match) => ({
    path,
    line: lineAt(text, match.index),
    message: `${match[0]}: ${wayOut}`,
  }));
}

/** Put together from parts, because this file is tracked too. */
const BUILD_MACHINE = new RegExp(
  [String.raw`(?<![\w./-])/${'work'}/\w`, String.raw`(?<![\w$)\]])\.${'library'}\b`].join('|'),
  'g',
);

export const buildMachine: Rule = {
  title: 'nothing names a path of the machine it was built on',
  check: (files) =>
    files.flatMap(({ path, text }) =>
      matchesIn(path, text, BUILD_MACHINE, 'a reader has no such path; say it another way'),
    ),
};
