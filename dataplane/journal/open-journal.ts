import type { Clock } from '../../shared/platform/clock.ts';
import {
  makeDirectory,
  syncDirectory,
  writeDurableFile,
} from '../../shared/platform/durable-file.ts';
import { StoreError } from '../../shared/platform/sqlite.ts';
import { FIRST_PREVIOUS_HASH } from '../../shared/wire/operation.ts';
import type { JournalDamage } from '../core/journal-verdict.ts';
import { journalFiles, type JournalFiles } from './journal-files.ts';
import { JournalReader } from './journal-reader.ts';
import { Journal } from './journal.ts';
import { ThreadWriter } from './journal-writer.ts';
import { verifyJournal } from './start-verification.ts';

/**
 * Opens or makes the journal in `directory`. One that is not what is remembered of it is opened for
 * reading alone, quarantined; none is made in its stead. Throws a `StoreError` that names the way
 * out.
 */
export async function openJournal(
  directory: string,
  clock: Clock,
  onBatch?: (batch: { size: number; commitMs: number }) => void,
): Promise<Journal> {
  const files = journalFiles(directory);
  try {
    makeDirectory(directory);
  } catch (error) {
    throw new StoreError(
      'not_writable',
      `cannot make ${directory}: ${error instanceof Error ? error.message : String(error)}; choose another with --data-dir`,
      error,
    );
  }
  const verdict = verifyJournal(files);
  if (verdict.kind !== 'ok' && verdict.kind !== 'fresh')
    return openQuarantined(files, verdict, clock);
  const { writer, snapshot } = await ThreadWriter.open(files, clock);
  // SQLite ignores a failed fsync of the directory; without it a new file may be gone after a power
  // cut.
  syncDirectory(directory);
  return new Journal({
    writer,
    reader: new JournalReader(files.database),
    snapshot,
    clock,
    onLoss: (evidence) => writeDurableFile(files.loss, `${evidence}\n`),
    ...(onBatch === undefined ? {} : { onBatch }),
  });
}

function openQuarantined(files: JournalFiles, damage: JournalDamage, clock: Clock): Journal {
  const readable = damage.kind === 'lost' || damage.kind === 'broken_chain';
  let reader: JournalReader | null = null;
  let head = { seq: 0, hash: FIRST_PREVIOUS_HASH };
  let counts: Readonly<Record<string, number>> = {};
  if (readable) {
    try {
      reader = new JournalReader(files.database);
      head = reader.newest() ?? head;
      counts = reader.countByState();
    } catch {
      // Enough of it can be read to say that it is damaged, and no more.
      reader?.close();
      reader = null;
    }
  }
  return new Journal({
    writer: null,
    reader,
    snapshot: { answers: [], head, ackedSeq: 0, counts, commitMs: 0 },
    clock,
    quarantine: quarantineDetail(files, damage),
  });
}

/** Names the evidence and the way out, for whoever meets it first: a log, a probe, a caller. */
function quarantineDetail({ directory }: JournalFiles, { kind, evidence }: JournalDamage): string {
  return (
    `the journal in ${directory} is quarantined (${kind}): ${evidence.join('; ')}. ` +
    'Nothing in it was changed and no other was made. Put back the files that are missing, or stop ' +
    'the sidecar and see "journal verify", then "journal accept-loss", of dataplane/main.ts'
  );
}
