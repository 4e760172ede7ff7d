/** What the rules of the house look at: the files of the repository, and who imports whom. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import { lineAt, splitText } from './source-text.ts';
import type { SplitText } from './source-text.ts';

export type SourceFile = { readonly path: string; readonly text: string };

/** `message` says what is wrong and the way out. */
export type Finding = { readonly path: string; readonly line: number; readonly message: string };

export type Import = {
  readonly specifier: string;
  /**
   * The path from the root of the repository for a relative import, the specifier for any other.
   */
  readonly target: string;
  /** Erased before it runs, so it makes no cycle and pulls in no code. */
  readonly isTypeOnly: boolean;
  /** `import(...)`: loaded when reached, after the modules that import each other have loaded. */
  readonly isLazy: boolean;
  readonly line: number;
};

export const REPOSITORY_ROOT = join(import.meta.dirname, '..', '..');

/** Tracked files and new ones that are not ignored; what is not text is left out. */
export function readSourceTree(): SourceFile[] {
  const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '-z'], {
    cwd: REPOSITORY_ROOT,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  const files: SourceFile[] = [];
  for (const path of new Set(listed.split('\0'))) {
    const onDisk = join(REPOSITORY_ROOT, path);
    if (path === '' || !existsSync(onDisk) || !statSync(onDisk).isFile()) continue;
    const text = readFileSync(onDisk, 'utf8');
    if (!text.includes('\0')) files.push({ path, text });
  }
  return files;
}

export function isCode(path: string): boolean {
  return /\.(?:ts|mts|js|mjs)$/.test(path);
}

/** The folder in a `path` of the house: shared, control, dataplane, deploy or test. */
export function sideOf(path: string): string {
  return path.split('/', 1)[0] ?? '';
}

export function isUnder(path: string, folders: readonly string[]): boolean {
  return folders.some((folder) => path.startsWith(folder));
}

const splitByText = new Map<string, SplitText>();

/** Remembered, because every rule asks for the same files. */
export function partsOf(file: SourceFile): SplitText {
  let parts = splitByText.get(file.text);
  if (parts === undefined) {
    parts = splitText(file.text);
    splitByText.set(file.text, parts);
  }
  return parts;
}

/**
 * A finding for each place in the code of `file`, comments and strings aside, where `pattern`
 * matches.
 */
export function findInCode(file: SourceFile, pattern: RegExp, message: string): Finding[] {
  const { code } = partsOf(file);
  return [...code.matchAll(new RegExp(pattern.source, `${pattern.flags}g`))].map((match) => ({
    path: file.path,
    line: lineAt(code, match.index),
    message: `${match[0].trim()}: ${message}`,
  }));
}

const STATIC_IMPORT =
  /\b(?:import|export)\b\s*(type\b(?!\s*from\b))?((?!\b(?:import|export)\b)[\w$\s{},*])*?\bfrom\s*['"]/g;
const BARE_OR_DYNAMIC_IMPORT = /\b(?:import\s*\(?|require\s*\()\s*['"`]/g;

export function importsOf(file: SourceFile): Import[] {
  const { code } = partsOf(file);
  const imports: Import[] = [];
  for (const pattern of [STATIC_IMPORT, BARE_OR_DYNAMIC_IMPORT]) {
    for (const match of code.matchAll(pattern)) {
      const start = match.index + match[0].length;
      const quote = file.text[start - 1] ?? "'";
      const specifier = file.text.slice(start, file.text.indexOf(quote, start));
      imports.push({
        specifier,
        target: resolveSpecifier(file.path, specifier),
        isTypeOnly: match[1] !== undefined,
        isLazy: /^import\s*\(/.test(match[0]),
        line: lineAt(code, start),
      });
    }
  }
  return imports;
}

function resolveSpecifier(fromPath: string, specifier: string): string {
  if (!specifier.startsWith('.')) return specifier;
  return posix.normalize(posix.join(posix.dirname(fromPath), specifier));
}
