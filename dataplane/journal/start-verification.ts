/**
 * Reads what is there, before anything may write: whether the chain holds, what it says of the
 * tables beside it, and which entries the memories name.
 *
 * S1  Nothing that is looked at is changed. A connection that may write would checkpoint what
 *     SQLite makes of a damaged WAL, and the evidence would be gone; one that only reads leaves
 *     both files as they are. A file without a byte is not even opened: SQLite deletes the WAL
 *     beside it.
 * S2  Bounded: the newest `entriesMax` entries, as many of those that the retention left before
 *     where the journal begins, and what they refer to, so that a start costs the same for a
 *     thousand entries and for millions. Small files are read whole.
 * S3  All of it is read as of one moment: the sidecar may be writing.
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
import { WHOLE_BODY } from './body-ends.ts';
import { readHeadFile } from './head-file.ts';
import type { JournalFiles } from './journal-files.ts';
import { JOURNAL_MIGRATIONS, fenceDigest, registerDigest, recordDigest } from './journal-schema.ts';
import { entriesOfOutage } from './journal-pruner.ts';
import { KeyIndex, keyHash } from './key-index.ts';
import { REGISTER_COLUMNS, registerOfRow } from './register-table.ts';
import { OPERATION_COLUMNS, operationOfRow } from './operation-rows.ts';

const TAIL_ENTRIES_MAX = 10_000;
/** Files up to this size get SQLite's own check of every page and index as well. */
const WHOLE_CHECK_BYTES_MAX = 64 * 1024 * 1024;
const ENTRY_COLUMNS = `seq, at_ms, kind, operation_id, outage_id, ${WHOLE_BODY} AS body, hash`;
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
  // S3.
  database.exec('BEGIN');
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
  const prunedSeq = Number(fact(database, 'pruned_seq') ?? 0);
  const prunedHash = fact(database, 'pruned_hash') ?? FIRST_PREVIOUS_HASH;
  const pruned = { seq: prunedSeq, hash: prunedHash };
  const { headFile } = remembered;
  const places: readonly (ChainPlace | null)[] =
    headFile.kind === 'read' ? [headFile.head, headFile.acked, acked] : [acked];
  return {
    kind: 'readable',
    head: head.seq === 0 ? { seq: 0, hash: FIRST_PREVIOUS_HASH } : head,
    acked,
    pruned,
    hashes: hashesAt(database, places),
    broken: new TailCheck(database, pruned, entriesMax).run(head.seq),
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

/** S2: walks what was kept, and the tail, then holds the tables to what they said. */
class TailCheck {
  readonly #database: Database;
  readonly #pruned: ChainPlace;
  readonly #entriesMax: number;
  readonly #operations = new Map<string, ExpectedOperation>();
  readonly #outages = new Map<string, { seq: number; outage: Outage }>();
  readonly #fences = new Map<string, { seq: number; epoch: number }>();
  #broken: Broken | null = null;

  constructor(database: Database, pruned: ChainPlace, entriesMax: number) {
    this.#database = database;
    this.#pruned = pruned;
    this.#entriesMax = entriesMax;
  }

  run(headSeq: number): Broken | null {
    const { seq } = this.#pruned;
    if (headSeq === 0 && seq === 0) return null;
    if (headSeq <= seq) {
      this.#note(seq, 'is where the journal was pruned, and none comes after it');
      return this.#broken;
    }
    const afterSeq = Math.max(seq, headSeq - this.#entriesMax);
    this.#walkKept();
    if (afterSeq > seq) this.#leaveToTail();
    this.#walk(afterSeq);
    if (this.#broken !== null) return this.#broken;
    this.#checkOperations();
    this.#checkOutages();
    this.#checkFences(headSeq);
    this.#checkRegisters(headSeq);
    return this.#broken;
  }

  /** Each is proved by the hash that was kept with it, and by its neighbour where that is there. */
  #walkKept(): void {
    const { seq: prunedSeq, hash: prunedHash } = this.#pruned;
    const from = this.#all(
      'SELECT seq FROM events WHERE seq <= ? ORDER BY seq DESC LIMIT 1 OFFSET ?',
      prunedSeq,
      this.#entriesMax,
    )[0];
    const fromSeq = Number(from?.['seq'] ?? 0);
    const rows = this.#database
      .prepare(
        `SELECT ${ENTRY_COLUMNS}, previous_hash FROM events LEFT JOIN kept_entries USING (seq)
         WHERE seq > ? AND seq <= ? ORDER BY seq`,
      )
      .iterate(fromSeq, prunedSeq) as Iterable<Row>;
    let before = { seq: 0, hash: FIRST_PREVIOUS_HASH };
    for (const row of rows) {
      const seq = Number(row['seq']);
      const hash = row['previous_hash'];
      if (typeof hash !== 'string')
        return this.#note(seq, 'lies before where the journal begins, and was not kept');
      const isChained = before.seq !== seq - 1 || before.hash === hash;
      if (!isChained || (seq === prunedSeq && row['hash'] !== prunedHash))
        return this.#note(seq, 'was kept, and is not chained to the one beside it');
      if (!this.#read(row, hash)) return;
      before = { seq, hash: String(row['hash']) };
    }
    const lost = this.#all(
      'SELECT seq FROM kept_entries WHERE seq > ? AND (seq > ? OR seq NOT IN (SELECT seq FROM events)) LIMIT 1',
      fromSeq,
      prunedSeq,
    )[0];
    if (lost !== undefined)
      this.#note(Number(lost['seq']), 'was kept from before where the journal begins: it is gone');
  }

  /** What has gone on since is told by later entries, and some of those are not looked at. */
  #leaveToTail(): void {
    for (const operationId of this.#operations.keys()) {
      const newest = this.#all(
        'SELECT max(seq) AS seq FROM events WHERE operation_id = ?',
        operationId,
      )[0];
      if (Number(newest?.['seq']) > this.#pruned.seq) this.#operations.delete(operationId);
    }
    for (const outageId of this.#outages.keys()) {
      const sql = 'SELECT opened_seq, closed_seq, record FROM outages WHERE outage_id = ?';
      const row = this.#all(sql, outageId)[0];
      if (row === undefined || parseJson(row['record']) === null) continue;
      if (Math.max(...entriesOfOutage(row)) > this.#pruned.seq) this.#outages.delete(outageId);
    }
  }

  #walk(afterSeq: number): void {
    const { seq: prunedSeq, hash: prunedHash } = this.#pruned;
    const first = this.#all(
      `SELECT ${ENTRY_COLUMNS} FROM events WHERE seq > ? ORDER BY seq LIMIT 1`,
      prunedSeq,
    )[0];
    const firstSeq = Number(first?.['seq']);
    if (firstSeq !== prunedSeq + 1)
      this.#note(firstSeq, 'is the oldest there is: those before it are gone');
    else if (first !== undefined) this.#provedBody(first, prunedHash);
    const before = this.#all('SELECT hash FROM events WHERE seq = ?', afterSeq)[0];
    let seq = afterSeq;
    let hash = afterSeq === prunedSeq ? prunedHash : String(before?.['hash']);
    const rows = this.#database
      .prepare(`SELECT ${ENTRY_COLUMNS} FROM events WHERE seq > ? ORDER BY seq`)
      .iterate(afterSeq) as Iterable<Row>;
    for (const row of rows) {
      seq += 1;
      if (row['seq'] !== seq) return this.#note(seq, 'is not there, and later ones are');
      if (!this.#read(row, hash)) return;
      hash = String(row['hash']);
    }
  }

  /** Whether it has the hash that it must have after the one before it; what it says then counts. */
  #read(row: Row, previousHash: string): boolean {
    const body = this.#provedBody(row, previousHash);
    if (body === null) return false;
    const operationId = row['operation_id'] as string | null;
    this.#expect(Number(row['seq']), String(row['kind']) as EventKind, operationId, body);
    return true;
  }

  #provedBody(row: Row, previousHash: string): Record<string, unknown> | null {
    const seq = Number(row['seq']);
    const body = parseJson(row['body']);
    const expected = entryHash(previousHash, {
      seq,
      atMs: Number(row['at_ms']),
      kind: String(row['kind']),
      operationId: row['operation_id'] as string | null,
      outageId: row['outage_id'] as string | null,
      bodyText: String(row['body']),
    });
    if (body !== null && row['hash'] === expected) return body;
    this.#note(seq, 'does not have the hash of what it says');
    return null;
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
    } else if (kind === 'outage_opened' || kind === 'outage_changed' || kind === 'outage_closed') {
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

  #checkOutages(): void {
    for (const [outageId, { seq, outage }] of this.#outages) {
      const row = this.#all('SELECT record FROM outages WHERE outage_id = ?', outageId)[0];
      if (!isSame(parseJson(row?.['record']), outage))
        this.#note(seq, `is of outage ${outageId}, whose record is another`);
    }
  }

  #checkFences(headSeq: number): void {
    const rows = this.#all('SELECT resource, epoch, digest FROM fences LIMIT ?', this.#entriesMax);
    for (const { resource, epoch, digest } of rows)
      if (digest !== fenceDigest(String(resource), Number(epoch)))
        this.#note(headSeq, `is the newest, and the fence of ${resource} is not as written (I6)`);
    for (const [resource, { seq, epoch }] of this.#fences) {
      const row = this.#all('SELECT epoch FROM fences WHERE resource = ?', resource)[0];
      if (!(Number(row?.['epoch'] ?? -1) >= epoch))
        this.#note(seq, `raised the fence of ${resource} to ${epoch}, and the fence is lower (I6)`);
    }
  }

  #checkRegisters(headSeq: number): void {
    const sql = `SELECT ${REGISTER_COLUMNS}, app, digest FROM registers LIMIT ?`;
    for (const row of this.#all(sql, this.#entriesMax)) {
      const register = registerOfRow(row);
      if (row['digest'] !== registerDigest({ ...register, app: String(row['app']) }))
        this.#note(headSeq, `is the newest, and register ${register.key} is not as written`);
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
