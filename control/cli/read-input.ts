/** A file that was named on the command line, or standard input; what cannot be read is said in words. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { CommandError, EXIT, type ExitCode } from './failures.ts';

export const STANDARD_INPUT = '-';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'it is a directory',
  EACCES: 'you may not read it',
};

export function readInput(
  cwd: string,
  file: string,
  /** For a command whose 1 says something else. */
  exitCode: ExitCode = EXIT.failure,
): Buffer {
  try {
    return readFileSync(file === STANDARD_INPUT ? 0 : resolve(cwd, file));
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    const reason = REASONS[code] ?? message;
    throw new CommandError('file_unreadable', `cannot read ${file}: ${reason}`, {
      exitCode,
      cause: error,
    });
  }
}
