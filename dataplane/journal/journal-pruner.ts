/**
 * Takes out of the journal what may be forgotten (`core/retention.ts`), in bounded steps, each
 * within a transaction of the writer.
 *
 * Q1  The chain stays provable. The anchor is the place in it up to which it was pruned; what comes
 *     after it has no gaps and is chained from it. It goes forward in the transaction that deletes.
 * Q2  Up to the anchor only the entries of operations that may not go yet are left, whole, and those
 *     of outages that are still shown: each with the hash before it (`kept_entries`), so that it is
 *     proved without its neighbours.
 * Q3  An operation goes as one: when the anchor passes its newest entry, or later, when it is due
 *     (`kept_operations`). One that has not settled is looked at again when an entry that settles it
 *     is passed.
 * Q4  The anchor stays below the newest entry that control holds: nothing that was not reported
 *     goes, and the journal is never without the entry that its head and its memories name.
 * Q5  A step is bounded by entries and by operations, whatever one operation has gathered.
 * Q6  An operation whose record is not the one that was written stays, for the verification to find.
 */
import type { Instant } from '../../shared/core/time.ts';
import { sha256Hex } from '../../shared/platform/digest.ts';
import { failpoint } from '../../shared/platform/failpoints.ts';
import type { Database } from '../../shared/platform/sqlite.ts';
import { FIRST_PREVIOUS_HASH, type Outage } from '../../shared/wire/operation.ts';
import type { ChainPlace } from '../core/journal-verdict.ts';
import type { StoredOperation } from '../core/operation-record.ts';
import {
  isOldEnough,
  judgeOperation,
  retentionTime,
  type RetentionLimits,
  type RetentionTerms,
  type RetentionTime,
  type RetentionVerdict,
} from '../core/retention.ts';
import { recordDigest } from './journal-schema.ts';
import type { BodyEnds } from './body-ends.ts';
import type { KeyIndex } from './key-index.ts';
import { OPERATION_COLUMNS, operationOfRow } from './operation-rows.ts';

const STEP_ENTRIES_MAX = 4_000;
const STEP_OPERATIONS_MAX = 200;
const STEP_OUTAGES_MAX = 100;
/** One with more goes by slices. */
const ENTRIES_AT_ONCE_MAX = 64;

export type PruneStep = {
  readonly removed: readonly StoredOperation[];
  /** Whether another step would find something at once. */
  readonly more: boolean;
  /** Pages that hold something: those that are free are used again. */
  readonly usedBytes: number;
  /** Over the size, and nothing more may go. */
  readonly isStuckOverSize: boolean;
};

type Entry = {
  readonly seq: number;
  readonly at_ms: number;
  readonly kind: string;
  readonly operation_id: string | null;
  readonly outage_id: string | null;
  readonly hash: string;
};
const OUTAGE_KINDS: ReadonlySet<string> = new Set([
  'outage_opened',
  'outage_changed',
  'outage_closed',
]);
const NOT_SETTLED: RetentionVerdict = { kind: 'not_settled' };

type Work = { readonly terms: RetentionTerms; readonly removed: StoredOperation[] };

export class JournalPruner {
  readonly #statements: ReturnType<typeof prepare>;
  readonly #keys: KeyIndex;
  readonly #ends: BodyEnds;
  #anchor: ChainPlace = { seq: 0, hash: FIRST_PREVIOUS_HASH };

  constructor(database: Database, { keys, ends }: { keys: KeyIndex; ends: BodyEnds }) {
    this.#statements = prepare(database);
    this.#keys = keys;
    this.#ends = ends;
    this.load();
  }

  /** `seq` 0 where nothing was pruned. */
  get anchor(): ChainPlace {
    return this.#anchor;
  }

  /** Also where a transaction was undone. */
  load(): void {
    const seq = this.#fact('pruned_seq');
    const hash = this.#fact('pruned_hash');
    if (seq !== null && hash !== null) this.#anchor = { seq: Number(seq), hash };
    else this.#anchor = { seq: 0, hash: FIRST_PREVIOUS_HASH };
  }

  /** One step, within a transaction of whoever calls. */
  step(
    { retentionMs, sizeBytesMax }: RetentionLimits,
    { ackedSeq, now }: { readonly ackedSeq: number; readonly now: Instant },
  ): PruneStep {
    const time = this.#advanceTime(now);
    const isOver = (): boolean => sizeBytesMax !== null && this.#usedBytes() > sizeBytesMax;
    const terms = { time, retentionMs, isPressed: isOver() };
    const work: Work = { terms, removed: [] };
    const { entries, isFull } = this.#window(ackedSeq - 1, terms);
    const last = entries.at(-1) ?? this.#anchor;
    this.#passEntries(entries, last.seq, work);
    failpoint('journal.during_prune');
    const { seq: before } = this.#anchor;
    this.#moveAnchor(last);
    this.#ends.removePassed(before, last.seq);
    const isReviewFull = this.#reviewKept(work);
    this.#removeOutages();
    this.#keys.removeRuns(this.#anchor.seq);
    const more = isFull || isReviewFull;
    const { removed } = work;
    const isStuckOverSize = !more && isOver();
    return { removed, more, usedBytes: this.#usedBytes(), isStuckOverSize };
  }

  /** Q4, Q5: what the anchor passes in this step. */
  #window(untilSeq: number, terms: RetentionTerms): { entries: Entry[]; isFull: boolean } {
    const rows = this.#statements.nextEntries.all(this.#anchor.seq, untilSeq, STEP_ENTRIES_MAX);
    const entries: Entry[] = [];
    const operationIds = new Set<string>();
    for (const entry of rows as Entry[]) {
      if (!isOldEnough(entry.at_ms, terms)) return { entries, isFull: false };
      if (entry.operation_id !== null) operationIds.add(entry.operation_id);
      if (operationIds.size > STEP_OPERATIONS_MAX) return { entries, isFull: true };
      entries.push(entry);
    }
    return { entries, isFull: entries.length === STEP_ENTRIES_MAX };
  }

  /** Q2. */
  #passEntries(entries: readonly Entry[], lastSeq: number, work: Work): void {
    const { deleteEntry, deleteRefusal, keepEntry } = this.#statements;
    const gone = new Map<string, boolean>();
    let previousHash = this.#anchor.hash;
    for (const { seq, kind, operation_id: operationId, outage_id: outageId, hash } of entries) {
      if (operationId !== null && !gone.has(operationId))
        gone.set(operationId, this.#passOperation(operationId, lastSeq, work));
      const isKept =
        operationId === null
          ? this.#isOfOutage({ seq, kind, outageId })
          : gone.get(operationId) === false;
      if (isKept) keepEntry.run(seq, previousHash);
      else if (operationId === null) deleteEntry.run(seq);
      if (kind === 'refused') deleteRefusal.run(seq);
      previousHash = hash;
    }
  }

  /** Q3: whether it went. */
  #passOperation(operationId: string, lastSeq: number, { terms, removed }: Work): boolean {
    const { firstSeq, newestSeq } = this.#endsOf(operationId);
    if (newestSeq > lastSeq) return false;
    const operation = this.#operationAt(firstSeq, newestSeq);
    const verdict = operation === null ? NOT_SETTLED : judgeOperation(operation, terms);
    if (operation === null || verdict.kind === 'not_settled') return false;
    const untilMs = verdict.kind === 'not_yet' ? verdict.untilMs : 0;
    if (verdict.kind === 'not_yet' || this.#hasManyEntries(operationId)) {
      this.#statements.keepOperation.run(firstSeq, Math.ceil(untilMs));
      return false;
    }
    this.#remove(operationId, firstSeq);
    removed.push(operation);
    return true;
  }

  /** Q3: those that were kept and are due; whether there may be more of them. */
  #reviewKept({ terms, removed }: Work): boolean {
    const { dueOperations, forgetKept, keepOperation, middleEntries, deleteSlice } =
      this.#statements;
    const limit = STEP_OPERATIONS_MAX - removed.length;
    const due = dueOperations.all(terms.time.steadyMs, limit) as { seq: number; id: string }[];
    let entriesLeft = STEP_ENTRIES_MAX;
    for (const { seq, id } of due) {
      const { newestSeq } = this.#endsOf(id);
      const operation = newestSeq > this.#anchor.seq ? null : this.#operationAt(seq, newestSeq);
      const verdict = operation === null ? NOT_SETTLED : judgeOperation(operation, terms);
      if (verdict.kind === 'not_yet') keepOperation.run(seq, Math.ceil(verdict.untilMs));
      if (operation === null || verdict.kind === 'not_settled') forgetKept.run(seq);
      if (operation === null || verdict.kind !== 'goes') continue;
      // Q5: its first and its newest entry last, which prove its record.
      const middle = middleEntries.all(id, seq, newestSeq, entriesLeft);
      for (const row of middle)
        for (const statement of deleteSlice) statement.run(Number(row['seq']));
      entriesLeft -= middle.length;
      if (entriesLeft <= 0) return true;
      this.#remove(id, seq);
      removed.push(operation);
    }
    return due.length === limit;
  }

  #remove(operationId: string, firstSeq: number): void {
    const { deleteKeptOf, deleteEntriesOf, deleteOperation, forgetKept, bodyEnd } =
      this.#statements;
    if (firstSeq <= this.#anchor.seq) {
      deleteKeptOf.run(operationId);
      forgetKept.run(firstSeq);
    }
    const end = bodyEnd.get(firstSeq)?.['body_end'];
    deleteEntriesOf.run(operationId);
    deleteOperation.run(firstSeq);
    if (typeof end === 'number') this.#ends.removeUnused(end, this.#anchor.seq);
  }

  /** Those that are closed, but for the newest: it says when control was lost last. */
  #removeOutages(): void {
    const { oldOutages, deleteOutage, deleteTally, deleteSlice } = this.#statements;
    const { seq } = this.#anchor;
    for (const row of oldOutages.all(seq, seq, STEP_OUTAGES_MAX)) {
      for (const entry of entriesOfOutage(row))
        for (const delete_ of deleteSlice) delete_.run(entry);
      deleteOutage.run(String(row['outage_id']));
      deleteTally.run(String(row['outage_id']));
    }
  }

  /** Whether the entry is one of those that an outage is known by. */
  #isOfOutage(entry: { seq: number; kind: string; outageId: string | null }): boolean {
    const { seq, kind, outageId } = entry;
    if (outageId === null || !OUTAGE_KINDS.has(kind)) return false;
    const row = this.#statements.outage.get(outageId);
    return row !== undefined && entriesOfOutage(row).includes(seq);
  }

  #endsOf(operationId: string): { firstSeq: number; newestSeq: number } {
    const row = this.#statements.ends.get(operationId, operationId);
    return { firstSeq: Number(row?.['first_seq']), newestSeq: Number(row?.['newest_seq']) };
  }

  #hasManyEntries(operationId: string): boolean {
    return this.#statements.manyEntries.get(operationId, ENTRIES_AT_ONCE_MAX) !== undefined;
  }

  /** Q6: `null` for one that is not. */
  #operationAt(seq: number, newestSeq: number): StoredOperation | null {
    const row = this.#statements.operationAt.get(seq);
    // Without a record of its own nothing has befallen it: it has not settled.
    if (row === undefined || row['record'] === null) return null;
    if (row['digest'] !== recordDigest(newestSeq, String(row['record']))) return null;
    return operationOfRow(row);
  }

  #moveAnchor({ seq, hash }: ChainPlace): void {
    if (seq === this.#anchor.seq) return;
    this.#statements.setFact.run('pruned_seq', String(seq));
    this.#statements.setFact.run('pruned_hash', hash);
    this.#anchor = { seq, hash };
  }

  /** Under a digest: a flipped bit in it could make everything old. */
  #advanceTime(now: Instant): RetentionTime {
    const [text = '', digest] = this.#fact('retention_time')?.split('\n') ?? [];
    const last = sha256Hex(text) === digest ? (JSON.parse(text) as RetentionTime) : null;
    const time = retentionTime(last, now);
    const next = JSON.stringify(time);
    this.#statements.setFact.run('retention_time', `${next}\n${sha256Hex(next)}`);
    return time;
  }

  #usedBytes(): number {
    return Number(this.#statements.usedBytes.get()?.['used_bytes']);
  }

  #fact(name: string): string | null {
    const row = this.#statements.fact.get(name);
    return row === undefined ? null : String(row['value']);
  }
}

/** The two that it lies between, and those of its moments. */
export function entriesOfOutage(row: Readonly<Record<string, unknown>>): number[] {
  const { moments } = JSON.parse(String(row['record'])) as Outage;
  const entries = (Array.isArray(moments) ? moments : []).flatMap(({ seq }) => seq ?? []);
  return [Number(row['opened_seq']), ...entries, Number(row['closed_seq'] ?? 0)];
}

function prepare(database: Database) {
  const deleteEntry = database.prepare('DELETE FROM events WHERE seq = ?');
  const deleteKept = database.prepare('DELETE FROM kept_entries WHERE seq = ?');
  return {
    nextEntries: database.prepare(
      'SELECT seq, at_ms, kind, operation_id, outage_id, hash FROM events WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?',
    ),
    ends: database.prepare(
      'SELECT (SELECT min(seq) FROM events WHERE operation_id = ?) AS first_seq, (SELECT max(seq) FROM events WHERE operation_id = ?) AS newest_seq',
    ),
    manyEntries: database.prepare('SELECT 1 FROM events WHERE operation_id = ? LIMIT 1 OFFSET ?'),
    middleEntries: database.prepare(
      'SELECT seq FROM events WHERE operation_id = ? AND seq > ? AND seq < ? ORDER BY seq LIMIT ?',
    ),
    operationAt: database.prepare(
      `SELECT ${OPERATION_COLUMNS}, digest FROM operation_records WHERE seq = ?`,
    ),
    deleteEntry,
    deleteSlice: [deleteEntry, deleteKept],
    deleteEntriesOf: database.prepare('DELETE FROM events WHERE operation_id = ?'),
    deleteKeptOf: database.prepare(
      'DELETE FROM kept_entries WHERE seq IN (SELECT seq FROM events WHERE operation_id = ?)',
    ),
    bodyEnd: database.prepare('SELECT body_end FROM events WHERE seq = ?'),
    deleteOperation: database.prepare('DELETE FROM operations WHERE seq = ?'),
    deleteRefusal: database.prepare('DELETE FROM refusals WHERE seq = ?'),
    keepEntry: database.prepare('INSERT INTO kept_entries (seq, previous_hash) VALUES (?, ?)'),
    keepOperation: database.prepare(
      'INSERT INTO kept_operations (seq, review_at_ms) VALUES (?, ?) ON CONFLICT (seq) DO UPDATE SET review_at_ms = excluded.review_at_ms',
    ),
    forgetKept: database.prepare('DELETE FROM kept_operations WHERE seq = ?'),
    dueOperations: database.prepare(
      'SELECT seq, (SELECT operation_id FROM events WHERE events.seq = kept_operations.seq) AS id FROM kept_operations WHERE review_at_ms <= ? ORDER BY review_at_ms LIMIT ?',
    ),
    outage: database.prepare(
      'SELECT opened_seq, closed_seq, record FROM outages WHERE outage_id = ?',
    ),
    oldOutages: database.prepare(
      'SELECT outage_id, opened_seq, closed_seq, record FROM outages WHERE opened_seq <= ? AND closed_seq <= ? AND opened_seq < (SELECT max(opened_seq) FROM outages) ORDER BY opened_seq LIMIT ?',
    ),
    deleteOutage: database.prepare('DELETE FROM outages WHERE outage_id = ?'),
    deleteTally: database.prepare('DELETE FROM outage_tallies WHERE outage_id = ?'),
    usedBytes: database.prepare(
      'SELECT (page_count - freelist_count) * page_size AS used_bytes FROM pragma_page_count, pragma_freelist_count, pragma_page_size',
    ),
    fact: database.prepare('SELECT value FROM facts WHERE name = ?'),
    setFact: database.prepare(
      'INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
    ),
  };
}
