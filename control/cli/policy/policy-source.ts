/** Policy documents as files, or as standard input: read once, whole, as the bytes they are. */
import { globSync } from 'node:fs';
import { extname } from 'node:path';
import type { PolicyFormat } from '../../../shared/platform/policy-gate.ts';
import { CommandError, EXIT, usageError, type ExitCode } from '../failures.ts';
import { readInput, STANDARD_INPUT } from '../read-input.ts';

export type PolicySource = {
  /** As it was named; `-` is standard input. */
  readonly file: string;
  readonly bytes: Buffer;
  readonly format: PolicyFormat;
};

/** A mark of a pattern, for shells that left it to us. */
const PATTERN = /[*?[\]{}]/;

/** In the order they were named, what a pattern found by name; each file once. */
export function readSources(cwd: string, names: readonly string[]): PolicySource[] {
  const files = new Set(names.flatMap((name) => filesOf(cwd, name)));
  return [...files].map((file) => readSource(cwd, file));
}

function filesOf(cwd: string, name: string): string[] {
  if (name === STANDARD_INPUT || !PATTERN.test(name)) return [name];
  const found = globSync(name, { cwd }).toSorted();
  if (found.length === 0) throw new CommandError('file_unreadable', `${name} matches no file`);
  return found;
}

export function readSource(
  cwd: string,
  file: string,
  /** For a command whose 1 says something else. */
  exitCode: ExitCode = EXIT.failure,
): PolicySource {
  const bytes = readInput(cwd, file, exitCode);
  if (bytes.toString('utf8').trim() === '') {
    throw new CommandError('policy_invalid', `${file}: the document is empty`, { exitCode });
  }
  return { file, bytes, format: extname(file) === '.json' ? 'json' : 'yaml' };
}

/** For what is written back, or named twice. */
export function refuseStandardInput(names: readonly string[], because: string): void {
  if (names.includes(STANDARD_INPUT)) throw usageError(`- is standard input: ${because}`);
}
