import type { Clock } from '../../shared/platform/clock.ts';
import { makeDirectory, syncDirectory } from '../../shared/platform/durable-file.ts';
import { StoreError } from '../../shared/platform/sqlite.ts';
import { JournalReader } from './journal-reader.ts';
import { Journal } from './journal.ts';
import { ThreadWriter } from './journal-writer.ts';

/** Opens or makes the journal in `directory`. Throws a `StoreError` that names the way out. */
export async function openJournal(
  directory: string,
  clock: Clock,
  onBatch?: (batch: { size: number; commitMs: number }) => void,
): Promise<Journal> {
  try {
    makeDirectory(directory);
  } catch (error) {
    throw new StoreError(
      'not_writable',
      `cannot make ${directory}: ${error instanceof Error ? error.message : String(error)}; choose another with --data-dir`,
      error,
    );
  }
  const path = `${directory}/journal.db`;
  const { writer, snapshot } = await ThreadWriter.open(path);
  // SQLite ignores a failed fsync of the directory; without it a new file may be gone after a power
  // cut.
  syncDirectory(directory);
  return new Journal({
    writer,
    reader: new JournalReader(path),
    snapshot,
    clock,
    ...(onBatch === undefined ? {} : { onBatch }),
  });
}
