/**
 * A stream of text into a file, or to standard output for `-`. A file has its name only when it is
 * whole, and none that is there is written over.
 */
import { once, type EventEmitter } from 'node:events';
import { createWriteStream, existsSync, renameSync, rmSync } from 'node:fs';
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
    const out = createWriteStream(partial);
    const failed = once(out, 'error').then(([error]) => Promise.reject(error as Error));
    // Whoever waits for what comes first gets it; nobody else is to be troubled by it.
    failed.catch(() => undefined);
    for await (const chunk of chunks)
      if (!out.write(chunk)) await Promise.race([once(out, 'drain'), failed]);
    out.end();
    await Promise.race([once(out, 'close'), failed]);
    renameSync(partial, path);
  } catch (error) {
    rmSync(partial, { force: true });
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    throw new CommandError('file_unwritable', `cannot write ${file}: ${code}`, { cause: error });
  }
}
