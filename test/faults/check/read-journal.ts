/**
 * Reads a journal as it is on the disk, past the daemon: over a connection of its own that can only
 * read, in one transaction.
 */
import { DatabaseSync } from 'node:sqlite';
import { admittedOperation } from '../../../shared/core/admission.ts';
import type { Admission } from '../../../shared/wire/operation.ts';
import { checkChain, checkEntries, type ChainHead } from './check-journal.ts';
import { lie, type Lie } from './lie.ts';
import type { Recorded, RecordedEvent, RecordedOperation } from './recorded.ts';

export type JournalView = Recorded & {
  readonly head: ChainHead;
  readonly entries: number;
  /** Of the chain and the entries; what the operations say is for others to compare. */
  readonly lies: readonly Lie[];
};

/** Of an entry, the whole of it. */
const BODY =
  "body || coalesce((SELECT text FROM body_ends WHERE first_seq = body_end), '') AS body";
const OPERATIONS = `SELECT record, ${BODY}, operation_id, at_ms, outage_id
  FROM operations LEFT JOIN events ON events.seq = operations.seq`;

type Row = Record<string, unknown>;

/** Its own record, or, where nothing has befallen it, the entry that admitted it. */
function operationOf(row: Row): RecordedOperation {
  const record = row['record'] as string | null;
  if (record !== null) return JSON.parse(record) as RecordedOperation;
  return admittedOperation(JSON.parse(String(row['body'])) as Admission, {
    operationId: String(row['operation_id']),
    atMs: Number(row['at_ms']),
    outageId: row['outage_id'] as string | null,
  });
}

/** What was written after `from`: its entries, and the operations that were admitted in them. */
export function readJournal(path: string, from: ChainHead): JournalView {
  const database = new DatabaseSync(path, { readOnly: true, timeout: 5_000 });
  try {
    database.exec('BEGIN');
    const operations = database
      .prepare(`${OPERATIONS} WHERE operations.seq > ? ORDER BY operations.seq`)
      .all(from.seq)
      .map(operationOf);
    const fences = new Map(
      (
        database.prepare('SELECT resource, epoch FROM fences').all() as {
          resource: string;
          epoch: number;
        }[]
      ).map(({ resource, epoch }) => [resource, epoch]),
    );
    const chain = checkChain(eventsOf(database, from), from);
    const lies = [
      ...checkFrom(database, from),
      ...chain.lies,
      ...checkEntries(eventsOf(database, from), operations),
    ];
    return { operations, fences, head: chain.head, entries: chain.head.seq - from.seq, lies };
  } finally {
    database.close();
  }
}

/** What was read before must still be what it was: what was committed does not go away. */
function checkFrom(database: DatabaseSync, { seq, hash }: ChainHead): Lie[] {
  if (seq === 0) return [];
  const row = database.prepare('SELECT hash FROM events WHERE seq = ?').get(seq);
  if (row === undefined) return [lie('lost', `entry ${seq}`, 'was read before, and is gone')];
  return row['hash'] === hash ? [] : [lie('broken_chain', `entry ${seq}`, 'was another before')];
}

/** Operations by key, whenever they were admitted. */
export function readOperations(path: string, keys: Iterable<string>): RecordedOperation[] {
  const database = new DatabaseSync(path, { readOnly: true, timeout: 5_000 });
  try {
    const wanted = new Set(keys);
    // By the table and not by its index of keys: that is what is looked at.
    const rows = database.prepare(OPERATIONS).iterate() as Iterable<Row>;
    const found: RecordedOperation[] = [];
    for (const row of rows) {
      const operation = operationOf(row);
      if (wanted.has(operation.idempotencyKey)) found.push(operation);
    }
    return found;
  } finally {
    database.close();
  }
}

function* eventsOf(database: DatabaseSync, from: ChainHead): Generator<RecordedEvent> {
  const rows = database
    .prepare(
      `SELECT seq, at_ms, kind, operation_id, outage_id, ${BODY}, hash FROM events
       WHERE seq > ? ORDER BY seq`,
    )
    .iterate(from.seq) as Iterable<Record<string, string | number | null>>;
  for (const row of rows) {
    yield {
      seq: Number(row['seq']),
      atMs: Number(row['at_ms']),
      kind: String(row['kind']) as RecordedEvent['kind'],
      operationId: row['operation_id'] as string | null,
      outageId: row['outage_id'] as string | null,
      body: JSON.parse(String(row['body'])) as Record<string, unknown>,
      hash: String(row['hash']),
    };
  }
}
