/**
 * A stream of text into a file, or to standard output for `-`. A file has its name only when it is
 * whole, and none that is there is written over.
 */
import { once, type EventEmitter } from 'node:events';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { CommandError } from './failures.ts';
import type { Surroundings } from './surroundings.ts';

export async function exportTo(
  { cwd, stdout }: Pick<Surroundings, 'cwd' | 'stdout'>,
  file: string,
  chunks: AsyncIterable<string>,
): Promise<void> {
  if (file === '-') {
    for await (const chunk of chunks) {
      // Whoever reads it may be slow: what it has not taken is not piled up here.
      if (stdout.write(chunk) === false && 'once' in stdout)
        await once(stdout as unknown as EventEmitter, 'drain');
    }
    return;
  }
  const path = resolve(cwd, file);
  if (existsSync(path))
    throw new CommandError('file_exists', `${file} is there already: remove it, or name another`);
  const partial = `${path}.partial`;
  try {
    await writeWhole(partial, chunks);
    renameSync(partial, path);
  } catch (error) {
    rmSync(partial, { force: true });
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    throw new CommandError('file_unwritable', `cannot write ${file}: ${code}`, { cause: error });
  }
}

/** Open before the first chunk is asked for, closed before this ends: no late `open` makes the file anew. */
async function writeWhole(path: string, chunks: AsyncIterable<string>): Promise<void> {
  await using file = await open(path, 'w');
  await file.writeFile(chunks);
  await file.sync();
}
