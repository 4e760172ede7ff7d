import { accessSync, constants, statSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import type { Clock } from '../../shared/platform/clock.ts';
import {
  makeDirectory,
  syncDirectory,
  writeDurableFile,
} from '../../shared/platform/durable-file.ts';
import { StoreError } from '../../shared/platform/sqlite.ts';
import { FIRST_PREVIOUS_HASH } from '../../shared/wire/operation.ts';
import type { JournalDamage } from '../core/journal-verdict.ts';
import type { BatchAnswer, JournalWriter } from './journal-command.ts';
import { journalFiles, type JournalFiles } from './journal-files.ts';
import { JournalReader } from './journal-reader.ts';
import { Journal } from './journal.ts';
import { ThreadWriter } from './journal-writer.ts';
import { verifyJournal } from './start-verification.ts';

/** Throws a `StoreError` where the journal cannot be used. */
export type OpenWriter = (
  files: JournalFiles,
  clock: Clock,
) => Promise<{ readonly writer: JournalWriter; readonly snapshot: BatchAnswer }>;

const openThread: OpenWriter = (files, clock) => ThreadWriter.open(files, clock);

/**
 * Opens or makes the journal in `directory`. One that is not what is remembered of it is opened for
 * reading alone, quarantined, and so is one on a file system that takes no writes; none is made in
 * its stead. Throws a `StoreError` that names the way out.
 */
export async function openJournal(
  directory: string,
  clock: Clock,
  onBatch?: (batch: { size: number; commitMs: number }) => void,
  openWriter: OpenWriter = openThread,
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
  if (isReadOnly(directory)) return openReadOnly(files, clock);
  const verdict = verifyJournal(files);
  if (verdict.kind !== 'ok' && verdict.kind !== 'fresh')
    return openQuarantined(files, verdict, clock);
  const { writer, snapshot } = await openWriter(files, clock);
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

/** Permissions aside: those are mended by whoever gave them, and end the start. */
export function isReadOnly(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EROFS';
  }
}

/**
 * To show what there is; nothing is checked, since nothing will rest on it before the next start
 * does check it.
 */
function openReadOnly(files: JournalFiles, clock: Clock): Journal {
  // SQLite reads a log only beside a file that is shared by its readers, and cannot make one here.
  const isWhole = (statSync(files.wal, { throwIfNoEntry: false })?.size ?? 0) === 0;
  const path = isWhole ? `${pathToFileURL(files.database).href}?immutable=1` : files.database;
  return new Journal({
    writer: null,
    ...readable(path),
    clock,
    isReadOnly: true,
    quarantine:
      `the file system of ${files.directory} is read-only: nothing is admitted, executed or ` +
      'reported, and what is recorded can be read. Find out why (the log of the kernel says it), ' +
      'mount it for writing, then start the sidecar again: nothing was lost by this',
  });
}

function openQuarantined(files: JournalFiles, damage: JournalDamage, clock: Clock): Journal {
  const isReadable = damage.kind === 'lost' || damage.kind === 'broken_chain';
  return new Journal({
    writer: null,
    ...(isReadable ? readable(files.database) : NOTHING_READABLE),
    clock,
    quarantine: quarantineDetail(files, damage),
  });
}

type Readable = { readonly reader: JournalReader | null; readonly snapshot: BatchAnswer };

const NOTHING_READABLE: Readable = {
  reader: null,
  snapshot: {
    answers: [],
    head: { seq: 0, hash: FIRST_PREVIOUS_HASH },
    ackedSeq: 0,
    counts: {},
    commitMs: 0,
  },
};

function readable(path: string): Readable {
  let reader: JournalReader | null = null;
  try {
    reader = new JournalReader(path);
    const { snapshot } = NOTHING_READABLE;
    const head = reader.newest() ?? snapshot.head;
    const { seq: ackedSeq } = reader.acknowledged();
    return { reader, snapshot: { ...snapshot, head, ackedSeq, counts: reader.countByState() } };
  } catch {
    // Enough of it can be read to say what is wrong, and no more.
    reader?.close();
    return NOTHING_READABLE;
  }
}

/** Names the evidence and the way out, for whoever meets it first: a log, a probe, a caller. */
function quarantineDetail({ directory }: JournalFiles, { kind, evidence }: JournalDamage): string {
  return (
    `the journal in ${directory} is quarantined (${kind}): ${evidence.join('; ')}. ` +
    'Nothing in it was changed and no other was made. Put back the files that are missing, or stop ' +
    'the sidecar and see "journal verify", then "journal accept-loss", of dataplane/main.ts'
  );
}
