/** Small files replaced whole: a reader sees the old one or the new one, after any crash. */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';

export function writeDurableFile(
  path: string,
  data: string,
  options: { mode?: number } = {},
): void {
  const temporary = `${path}.new`;
  const file = openSync(temporary, 'w', options.mode ?? 0o600);
  try {
    writeFileSync(file, data);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
  syncDirectory(dirname(path));
}

/** `null` where there is no such file; any other failure is thrown. */
export function readFileIfAny(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** A rename is on disk only once its directory is. */
export function syncDirectory(path: string): void {
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

export function makeDirectory(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o750 });
}
