/** A file that a command was asked to write, with the failure that its user can act on. */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { CommandError } from '../failures.ts';

export function writeOutputFile(cwd: string, file: string, text: string): void {
  try {
    writeFileSync(resolve(cwd, file), text);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new CommandError('file_unwritable', `cannot write ${file}: ${code ?? message}`, {
      cause: error,
    });
  }
}
