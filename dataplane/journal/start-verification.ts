/**
 * Reads what is there, before anything may write: whether the chain holds, what it says of the
 * tables beside it, and which entries the memories name.
 *
 * S1  Nothing that is looked at is changed. A connection that may write would checkpoint what
 *     SQLite makes of a damaged WAL, and the evidence would be gone; one that only reads leaves
 *     both files as they are. A file without a byte is not even opened: SQLite deletes the WAL
 *     beside it.
 * S2  Bounded: the newest `entriesMax` entries and what they refer to, so that a start costs the
 *     same for a thousand entries and for millions. Small files are read whole.
 */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { canonicalJson } from '../../shared/core/canonical-json.ts';
import { readFileIfAny } from '../../shared/platform/durable-file.ts';
import { entryHash } from '../../shared/platform/entry-hash.ts';
import {
  StoreError,
  checkApplied,
  openDatabase,
  type Database,
} from '../../shared/platform/sqlite.ts';
import {
  FIRST_PREVIOUS_HASH,
  type Admission,
  type EventKind,
  type Outage,
  type Refusal,
} from '../../shared/wire/operation.ts';
import {
  judgeJournal,
  type ChainPlace,
  type FoundJournal,
  type JournalVerdict,
  type Remembered,
} from '../core/journal-verdict.ts';
import { expectAfter, recordProblem, type ExpectedOperation } from '../core/record-check.ts';
import type { StoredOperation } from '../core/operation-record.ts';
import { readHeadFile } from './head-file.ts';
import type { JournalFiles } from './journal-files.ts';
import { JOURNAL_MIGRATIONS, recordDigest } from './journal-schema.ts';
import { KeyIndex, keyHash } from './key-index.ts';
import { OPERATION_COLUMNS, operationOfRow } from './operation-rows.ts';

const TAIL_ENTRIES_MAX = 10_000;
/** Files up to this size get SQLite's own check of every page and index as well. */
const WHOLE_CHECK_BYTES_MAX = 64 * 1024 * 1024;
const MAGIC = 'SQLite format 3\0';

type Row = Record<string, string | number | null>;
type Broken = { readonly seq: number; readonly detail: string };

/** Read before the journal itself: one that is written to meanwhile is then ahead, never behind. */
export function rememberedOf(files: JournalFiles): Remembered {
  return {
    headFile: readHeadFile(files.head),
    isEnrolled: fileSizeBytes(files.identity) !== null,
    loss: readFileIfAny(files.loss)?.trim() ?? null,
  };
}

/** Throws a `StoreError` only for a schema that this program does not know. */
export function verifyJournal(
  files: JournalFiles,
  { entriesMax = TAIL_ENTRIES_MAX, remembered = rememberedOf(files) } = {},
): JournalVerdict {
  return judgeJournal(inspect(files, remembered, entriesMax), remembered);
}

/** S1. */
function inspect(files: JournalFiles, remembered: Remembered, entriesMax: number): FoundJournal {
  const sizeBytes = fileSizeBytes(files.database);
  const walBytes = fileSizeBytes(files.wal) ?? 0;
  if (sizeBytes === null) return { kind: 'absent', walBytes };
  if (sizeBytes === 0) {
    const detail = `${files.database} has no bytes`;
    return { kind: walBytes === 0 ? 'empty' : 'unreadable', detail };
  }
  if (firstBytes(files.database) !== MAGIC)
    return { kind: 'unreadable', detail: `${files.database} is not an SQLite database` };
  let database: Database | undefined;
  try {
    database = openDatabase(files.database, { readOnly: true });
    const isSmall = sizeBytes + walBytes <= WHOLE_CHECK_BYTES_MAX;
    return inspectDatabase(database, remembered, { entriesMax, isSmall });
  } catch (error) {
    if (error instanceof StoreError && error.code !== 'corrupt') throw error;
    const detail = error instanceof Error ? error.message : String(error);
    return { kind: 'unreadable', detail: `${files.database} cannot be read: ${detail}` };
  } finally {
    database?.close();
  }
}

function inspectDatabase(
  database: Database,
  remembered: Remembered,
  { entriesMax, isSmall }: { entriesMax: number; isSmall: boolean },
): FoundJournal {
  database.exec('PRAGMA cell_size_check=ON');
  const tables = all(database, "SELECT name FROM sqlite_schema WHERE type = 'table'");
  if (tables.length === 0) return { kind: 'empty', detail: 'the database has no tables' };
  if (!tables.some(({ name }) => name === 'schema_migrations'))
    return { kind: 'unreadable', detail: 'the database is not a journal' };
  if (checkApplied(database, JOURNAL_MIGRATIONS) === 0)
    return { kind: 'empty', detail: 'the database has no schema yet' };
  if (isSmall) {
    const verdict = String(all(database, 'PRAGMA integrity_check(1)')[0]?.['integrity_check']);
    if (verdict !== 'ok') return { kind: 'unreadable', detail: `SQLite finds: ${verdict}` };
  }
  const last = all(database, 'SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1')[0];
  const head = { seq: Number(last?.['seq'] ?? 0), hash: String(last?.['hash'] ?? '') };
  const ackedSeq = Number(fact(database, 'acked_seq') ?? 0);
  const ackedHash = fact(database, 'acked_hash');
  const acked = ackedHash === null ? null : { seq: ackedSeq, hash: ackedHash };
  const { headFile } = remembered;
  const places: readonly (ChainPlace | null)[] =
    headFile.kind === 'read' ? [headFile.head, headFile.acked, acked] : [acked];
  return {
    kind: 'readable',
    head: head.seq === 0 ? { seq: 0, hash: FIRST_PREVIOUS_HASH } : head,
    acked,
    hashes: hashesAt(database, places),
    broken: new TailCheck(database).run(head.seq, entriesMax),
  };
}

function hashesAt(database: Database, places: readonly (ChainPlace | null)[]): Map<number, string> {
  const hashes = new Map<number, string>();
  for (const place of places) {
    if (place === null) continue;
    const row = all(database, 'SELECT hash FROM events WHERE seq = ?', place.seq)[0];
    if (row !== undefined) hashes.set(place.seq, String(row['hash']));
  }
  return hashes;
}

/** S2: walks the tail once, then holds the tables to what it said. */
class TailCheck {
  readonly #database: Database;
  readonly #operations = new Map<string, ExpectedOperation>();
  readonly #outages = new Map<string, { seq: number; outage: Outage }>();
  readonly #fences = new Map<string, { seq: number; epoch: number }>();
  #broken: Broken | null = null;

  constructor(database: Database) {
    this.#database = database;
  }

  run(headSeq: number, entriesMax: number): Broken | null {
    if (headSeq === 0) return null;
    this.#walk(Math.max(0, headSeq - entriesMax));
    if (this.#broken !== null) return this.#broken;
    this.#checkOperations();
    this.#checkOutagesAndFences();
    return this.#broken;
  }

  #walk(afterSeq: number): void {
    const oldest = Number(this.#all('SELECT min(seq) AS seq FROM events')[0]?.['seq']);
    if (oldest !== 1) this.#note(oldest, 'is the oldest there is: those before it are gone');
    const before = this.#all('SELECT hash FROM events WHERE seq = ?', afterSeq)[0];
    let seq = afterSeq;
    let hash = afterSeq === 0 ? FIRST_PREVIOUS_HASH : String(before?.['hash']);
    const rows = this.#database
      .prepare(
        'SELECT seq, at_ms, kind, operation_id, outage_id, body, hash FROM events WHERE seq > ? ORDER BY seq',
      )
      .iterate(afterSeq) as Iterable<Row>;
    for (const row of rows) {
      seq += 1;
      if (row['seq'] !== seq) return this.#note(seq, 'is not there, and later ones are');
      const kind = String(row['kind']) as EventKind;
      const operationId = row['operation_id'] as string | null;
      const body = parseJson(row['body']);
      const expected = entryHash(hash, {
        seq,
        atMs: Number(row['at_ms']),
        kind,
        operationId,
        outageId: row['outage_id'] as string | null,
        bodyText: String(row['body']),
      });
      if (body === null || row['hash'] !== expected)
        return this.#note(seq, 'does not have the hash of what it says');
      hash = expected;
      this.#expect(seq, kind, operationId, body);
    }
  }

  #expect(
    seq: number,
    kind: EventKind,
    operationId: string | null,
    body: Record<string, unknown>,
  ): void {
    if (operationId !== null) {
      const expected = expectAfter(this.#operations.get(operationId), { seq, kind, body });
      this.#operations.set(operationId, expected);
      const { leaseResource, leaseEpoch } = body as Partial<Admission>;
      if (
        kind === 'admitted' &&
        typeof leaseResource === 'string' &&
        typeof leaseEpoch === 'number'
      )
        this.#expectFence(seq, leaseResource, leaseEpoch);
    } else if (kind === 'refused') {
      const row = this.#all('SELECT reason FROM refusals WHERE seq = ?', seq)[0];
      if (row?.['reason'] !== (body['refusal'] as Refusal).reason)
        this.#note(seq, 'is a refusal, and the table of refusals does not have it so');
    } else if (kind === 'outage_opened' || kind === 'outage_closed') {
      const outage = body['outage'] as Outage;
      this.#outages.set(outage.outageId, { seq, outage });
    } else if (kind === 'fence_advanced') {
      this.#expectFence(seq, String(body['resource']), Number(body['epoch']));
    }
  }

  #expectFence(seq: number, resource: string, epoch: number): void {
    if (epoch > (this.#fences.get(resource)?.epoch ?? -1))
      this.#fences.set(resource, { seq, epoch });
  }

  #checkOperations(): void {
    const byId = this.#database.prepare(
      `SELECT seq, app, key_hash, state, on_control_loss, deadline_at_ms, settled_seq, digest, ${OPERATION_COLUMNS}
       FROM operation_records WHERE operation_id = ?`,
    );
    // As a retry is looked up: a key that is not found would admit it twice (I2).
    const keys = new KeyIndex(this.#database);
    for (const [operationId, expected] of this.#operations) {
      const row = byId.get(operationId) as Row | undefined;
      const problem = row === undefined ? 'is not there' : operationProblem(expected, row);
      if (row === undefined || problem !== null) {
        const detail = `is of operation ${operationId}, whose record ${problem}`;
        this.#note(expected.lastSeq, detail);
        continue;
      }
      if (!keys.find(Number(row['key_hash'])).includes(Number(row['seq'])))
        this.#note(expected.lastSeq, `is of operation ${operationId}, not found by its key`);
    }
  }

  #checkOutagesAndFences(): void {
    for (const [outageId, { seq, outage }] of this.#outages) {
      const row = this.#all('SELECT record FROM outages WHERE outage_id = ?', outageId)[0];
      if (!isSame(parseJson(row?.['record']), outage))
        this.#note(seq, `is of outage ${outageId}, whose record is another`);
    }
    for (const [resource, { seq, epoch }] of this.#fences) {
      const row = this.#all('SELECT epoch FROM fences WHERE resource = ?', resource)[0];
      if (!(Number(row?.['epoch'] ?? -1) >= epoch))
        this.#note(seq, `raised the fence of ${resource} to ${epoch}, and the fence is lower (I6)`);
    }
  }

  /** The first is the one that is told. */
  #note(seq: number, detail: string): void {
    this.#broken ??= { seq, detail };
  }

  #all(sql: string, ...values: (string | number)[]): Row[] {
    return all(this.#database, sql, ...values);
  }
}

/** The end of a sentence about the operation of a row; `null` where nothing is wrong with it. */
function operationProblem(expected: ExpectedOperation, row: Row): string | null {
  const { seq, record, digest } = row;
  // Without a record of its own it is as its admission has it, and the chain has proved that.
  const isAsAdmitted = record === null && digest === null && expected.lastSeq === seq;
  if (!isAsAdmitted && digest !== recordDigest(expected.lastSeq, String(record)))
    return 'is not the one that was written with it';
  let operation: StoredOperation;
  try {
    operation = operationOfRow(row);
  } catch {
    return 'cannot be read';
  }
  if (row['key_hash'] !== keyHash(operation.app, operation.idempotencyKey))
    return 'is filed under another key than it has';
  return recordProblem(
    expected,
    {
      operationId: String(row['operation_id']),
      app: String(row['app']),
      state: String(row['state']),
      onControlLoss: String(row['on_control_loss']),
      deadlineAtMs: Number(row['deadline_at_ms']),
      settledSeq: row['settled_seq'] as number | null,
    },
    operation,
  );
}

function fact(database: Database, name: string): string | null {
  const row = all(database, 'SELECT value FROM facts WHERE name = ?', name)[0];
  return row === undefined ? null : String(row['value']);
}

function all(database: Database, sql: string, ...values: (string | number)[]): Row[] {
  return database.prepare(sql).all(...values) as Row[];
}

function isSame(a: unknown, b: unknown): boolean {
  return a !== undefined && b !== undefined && canonicalJson(a) === canonicalJson(b);
}

/** `null` where it is no JSON object. */
function parseJson(text: unknown): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(String(text));
    return typeof value === 'object' ? (value as Record<string, unknown> | null) : null;
  } catch {
    return null;
  }
}

function fileSizeBytes(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.size ?? null;
}

function firstBytes(path: string): string {
  const file = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(MAGIC.length);
    readSync(file, bytes, 0, bytes.length, 0);
    return bytes.toString('latin1');
  } finally {
    closeSync(file);
  }
}
