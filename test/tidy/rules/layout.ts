import { sideOf } from '../source-tree.ts';
import type { Rule } from './rule.ts';

const HOUSE = ['shared', 'control', 'dataplane', 'deploy', 'test'];

const ROOT_FILES = new Set([
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'README.md',
  'Dockerfile',
  'LICENSE',
  'CHANGELOG.md',
  'SECURITY.md',
  'CONTRIBUTING.md',
  '.node-version',
  '.npmrc',
  '.gitignore',
  '.dockerignore',
  '.oxlintrc.json',
  '.oxfmtrc.json',
  'knip.json',
]);

/** Names that say nothing about what is inside, so anything ends up inside. */
const EMPTY_NAMES = /^(?:utils?|helpers?|common|types?|misc|libs?|interfaces?)$/;

/** Written in capitals by a convention older than this project. */
const CAPITAL_NAMES = /^(?:README|DESIGN)\.md$|^Dockerfile$/;

const KEBAB_NAME = /^\.?[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)*$/;

export const topLevel: Rule = {
  title: 'the top level holds the five rooms and the usual root files, nothing else',
  check: (files) =>
    files
      .filter(({ path }) =>
        path.includes('/') ? ![...HOUSE, '.ci'].includes(sideOf(path)) : !ROOT_FILES.has(path),
      )
      .map(({ path }) => ({
        path,
        line: 1,
        message: `not part of the top level; move it into one of ${HOUSE.join(', ')}`,
      })),
};

export const fileNames: Rule = {
  title: 'names of files and folders are kebab-case and say what is inside',
  check: (files) =>
    files
      .filter(({ path }) => HOUSE.includes(sideOf(path)))
      .flatMap(({ path }) =>
        path.split('/').flatMap((name) => {
          const stem = name.replace(/^\./, '').split('.', 1)[0] ?? '';
          if (EMPTY_NAMES.test(stem)) {
            return [
              { path, line: 1, message: `"${name}" does not say what is inside; name the thing` },
            ];
          }
          if (!KEBAB_NAME.test(name) && !CAPITAL_NAMES.test(name)) {
            return [{ path, line: 1, message: `"${name}" is not kebab-case; rename it` }];
          }
          return [];
        }),
      ),
};
