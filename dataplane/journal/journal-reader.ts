/**
 * Reads of what is committed, on a connection of their own: they never wait for a write. All are
 * bounded. Where the journal was pruned, what was kept from before its beginning is found by its
 * operation or outage, and is no part of a listing of entries in order.
 */
import type { JournalEvent, Outage, OperationState, Refusal } from '../../shared/wire/operation.ts';
import { FIRST_PREVIOUS_HASH } from '../../shared/wire/operation.ts';
import { openDatabase, type Database } from '../../shared/platform/sqlite.ts';
import type { Instant } from '../../shared/core/time.ts';
import type { Report } from '../../shared/wire/report-lines.ts';
import type { StoredOperation } from '../core/operation-record.ts';
import type { QuotaNote, UnendedOperation } from '../core/quota-note.ts';
import { WHOLE_BODY } from './body-ends.ts';
import type { JournalHead } from './journal-feed.ts';
import { REGISTER_COLUMNS, registerOfRow } from './register-table.ts';
import type { StoredRegister } from '../core/register.ts';
import { OPERATION_COLUMNS, operationOfRow } from './operation-rows.ts';
import { QUOTA_ROWS, quotaOfRow } from './quota-ledger.ts';
import { ReconciliationReads } from './reconciliation-reads.ts';

type Row = Record<string, string | number | null>;
export type Listed<T> = { readonly items: readonly T[]; readonly count: number };

/** A stretch of the journal: entries after `afterSeq` and before `beforeSeq`. */
export type Span = { readonly afterSeq: number; readonly beforeSeq: number };

export type DeadlineCursor = { readonly deadlineAtMs: number; readonly seq: number };
export type Overdue = DeadlineCursor & { readonly operationId: string };
export const FIRST_DEADLINE: DeadlineCursor = { deadlineAtMs: 0, seq: 0 };

const PRUNED_SEQ =
  "coalesce((SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'pruned_seq'), 0)";
const PRUNED_HASH = "(SELECT value FROM facts WHERE name = 'pruned_hash')";
/** NULL for the first of all. */
const PREVIOUS_HASH = `coalesce(
  (SELECT before.hash FROM events AS before WHERE before.seq = events.seq - 1),
  (SELECT previous_hash FROM kept_entries WHERE kept_entries.seq = events.seq),
  CASE WHEN events.seq - 1 = ${PRUNED_SEQ} THEN ${PRUNED_HASH} END)`;

export class JournalReader {
  readonly #database: Database;
  readonly reconciliations: ReconciliationReads;

  constructor(path: string) {
    this.#database = openDatabase(path, { readOnly: true });
    this.reconciliations = new ReconciliationReads(this.#database);
  }

  close(): void {
    this.#database.close();
  }

  newest(): JournalHead | null {
    const row = this.#all('SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1')[0];
    return row === undefined ? null : { seq: Number(row['seq']), hash: String(row['hash']) };
  }

  /** The newest that control holds, as the journal has it. */
  acknowledged(): JournalHead {
    const row = this.#all(
      "SELECT seq, hash FROM events WHERE seq = (SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'acked_seq')",
    )[0];
    if (row === undefined) return { seq: 0, hash: FIRST_PREVIOUS_HASH };
    return { seq: Number(row['seq']), hash: String(row['hash']) };
  }

  countByState(): Record<string, number> {
    const rows = this.#all('SELECT state, count(*) AS count FROM operations GROUP BY state');
    return Object.fromEntries(rows.map((row) => [String(row['state']), Number(row['count'])]));
  }

  operation(operationId: string): StoredOperation | null {
    return this.#operations('WHERE operation_id = ?', operationId)[0] ?? null;
  }

  /** Newest first; `beforeSeq` continues a listing. */
  operations(filter: {
    app: string | null;
    state: OperationState | null;
    beforeSeq: number;
    limit: number;
  }): { seq: number; operation: StoredOperation }[] {
    const conditions = [
      'seq < ?',
      ...(filter.state === null ? [] : ['state = ?']),
      ...(filter.app === null ? [] : ['app = ?']),
    ];
    const values = [
      filter.beforeSeq,
      ...(filter.state === null ? [] : [filter.state]),
      ...(filter.app === null ? [] : [filter.app]),
      filter.limit,
    ];
    return this.#all(
      `SELECT seq, ${OPERATION_COLUMNS} FROM operation_records WHERE ${conditions.join(' AND ')} ORDER BY seq DESC LIMIT ?`,
      ...values,
    ).map((row) => ({ seq: Number(row['seq']), operation: operationOfRow(row) }));
  }

  /** Checkpoints aside: there may be any number of them, and they tell nothing of the outcome. */
  operationEvents(operationId: string, limit: number): JournalEvent[] {
    return this.#events(
      "WHERE events.operation_id = ? AND kind <> 'checkpoint_saved' ORDER BY seq LIMIT ?",
      operationId,
      limit,
    );
  }

  /** Without gaps from the first on: where the one after `seq` was pruned, it is another. */
  eventsAfter(seq: number, limit: number): JournalEvent[] {
    return this.#events(`WHERE seq > max(?, ${PRUNED_SEQ}) ORDER BY seq LIMIT ?`, seq, limit);
  }

  /** The same as text, for the reports: nothing of it is read here. */
  reportAfter(seq: number, limit: number): Report {
    const pruned = this.pruned();
    const sql = `SELECT seq, at_ms, kind, operation_id, outage_id, hash, ${WHOLE_BODY} AS body
      FROM events WHERE seq > ? ORDER BY seq LIMIT ?`;
    const entries = this.#all(sql, Math.max(seq, pruned.seq), limit).map((row) => ({
      seq: Number(row['seq']),
      atMs: Number(row['at_ms']),
      kind: String(row['kind']),
      operationId: row['operation_id'] as string | null,
      outageId: row['outage_id'] as string | null,
      bodyText: String(row['body']),
      hash: String(row['hash']),
    }));
    if (seq <= pruned.seq) return { previousHash: pruned.hash, entries };
    const [before] = this.#all('SELECT hash FROM events WHERE seq = ?', seq);
    return { previousHash: String(before?.['hash'] ?? FIRST_PREVIOUS_HASH), entries };
  }

  /** Also those that were kept from before the beginning. */
  keptAndLaterEvents(seq: number, limit: number): JournalEvent[] {
    return this.#events('WHERE seq > ? ORDER BY seq LIMIT ?', seq, limit);
  }

  /** The place after which its entries are all there; `seq` 0 where nothing was pruned. */
  pruned(): JournalHead {
    const row = this.#all(`SELECT ${PRUNED_SEQ} AS seq, ${PRUNED_HASH} AS hash`)[0];
    return { seq: Number(row?.['seq']), hash: String(row?.['hash'] ?? FIRST_PREVIOUS_HASH) };
  }

  /**
   * Unended operations with a deadline up to `untilMs` on the wall clock, in its order; `after`
   * continues a listing. The planner would rather sort all that is unended: the index is named.
   */
  overdue(page: { after: DeadlineCursor; untilMs: number; limit: number }): Overdue[] {
    const { after, untilMs, limit } = page;
    return this.#all(
      `SELECT seq, deadline_at_ms, (SELECT operation_id FROM events WHERE events.seq = operations.seq) AS operation_id
       FROM operations INDEXED BY operations_by_deadline
       WHERE state IN ('awaiting_approval', 'accepted', 'executing', 'paused')
       AND (deadline_at_ms, seq) > (?, ?) AND deadline_at_ms <= ?
       ORDER BY deadline_at_ms, seq LIMIT ?`,
      after.deadlineAtMs,
      after.seq,
      untilMs,
      limit,
    ).map((row) => ({
      seq: Number(row['seq']),
      operationId: String(row['operation_id']),
      deadlineAtMs: Number(row['deadline_at_ms']),
    }));
  }

  /** Accepted or executing operations that do not go on without control. */
  stoppedByControlLoss(limit: number): string[] {
    return this.#ids(
      `SELECT (SELECT operation_id FROM events WHERE events.seq = operations.seq) AS operation_id
       FROM operations INDEXED BY operations_by_control_loss
       WHERE state IN ('accepted', 'executing') AND on_control_loss <> 'finish' ORDER BY seq LIMIT ?`,
      limit,
    );
  }

  /** What limits are counted by; also of a journal that is older than they are. */
  *unended(): Generator<UnendedOperation> {
    const rows = this.#database
      .prepare(
        `SELECT json_extract(admission, '$.rule') AS rule,
           json_extract(admission, '$.principal') AS principal,
           json_extract(admission, '$.action') AS action,
           json_extract(admission, '$.resource.id') AS resource
         FROM operation_records
         WHERE state IN ('awaiting_approval', 'accepted', 'executing', 'paused')`,
      )
      .iterate();
    for (const row of rows)
      yield {
        rule: String(row['rule']),
        principal: String(row['principal']),
        action: String(row['action']),
        resourceId: String(row['resource']),
      };
  }

  quotas(now: Instant): QuotaNote[] {
    return this.#all(QUOTA_ROWS).map((row) => quotaOfRow(row, now));
  }

  /** What may still go on, in the order of admission, after that place in it. */
  unendedAfter(seq: number, limit: number): { seq: number; operation: StoredOperation }[] {
    // By state, so that the index of it is used: what has ended is most of what there is.
    return (['awaiting_approval', 'accepted', 'executing', 'paused'] as const)
      .flatMap((state) =>
        this.#all(
          `SELECT seq, ${OPERATION_COLUMNS} FROM operation_records
           WHERE state = ? AND seq > ? ORDER BY seq LIMIT ?`,
          state,
          seq,
          limit,
        ),
      )
      .map((row) => ({ seq: Number(row['seq']), operation: operationOfRow(row) }))
      .toSorted((a, b) => a.seq - b.seq)
      .slice(0, limit);
  }

  /**
   * How many of the first `limit` operations that have not ended are under each lease; `isAll`: there
   * are no others.
   */
  unfinishedByLease(limit: number): { counts: ReadonlyMap<string, number>; isAll: boolean } {
    const counts = new Map<string, number>();
    let seen = 0;
    for (const state of ['executing', 'paused', 'accepted', 'awaiting_approval'] as const) {
      const rows = this.#all(
        `SELECT json_extract(coalesce(record, admission), '$.leaseResource') AS resource
         FROM operation_records WHERE state = ? ORDER BY seq LIMIT ?`,
        state,
        limit - seen,
      );
      seen += rows.length;
      for (const { resource } of rows) {
        if (typeof resource === 'string') counts.set(resource, (counts.get(resource) ?? 0) + 1);
      }
    }
    return { counts, isAll: seen < limit };
  }

  /** What waits for an approval, in the order of admission, after that place in it. */
  awaitingAfter(seq: number, limit: number): { seq: number; operation: StoredOperation }[] {
    return this.#all(
      `SELECT seq, ${OPERATION_COLUMNS} FROM operation_records
       WHERE state = 'awaiting_approval' AND seq > ? ORDER BY seq LIMIT ?`,
      seq,
      limit,
    ).map((row) => ({ seq: Number(row['seq']), operation: operationOfRow(row) }));
  }

  withState(state: OperationState, limit: number): StoredOperation[] {
    return this.#operations('WHERE state = ? ORDER BY seq LIMIT ?', state, limit);
  }

  refusals(limit: number): Refusal[] {
    return this.#refusals('ORDER BY seq DESC LIMIT ?', limit);
  }

  fence(resource: string): number | null {
    const row = this.#all('SELECT epoch FROM fences WHERE resource = ?', resource)[0];
    return row === undefined ? null : Number(row['epoch']);
  }

  register(app: string, key: string): StoredRegister | null {
    const sql = `SELECT ${REGISTER_COLUMNS} FROM registers WHERE app = ? AND key = ?`;
    return this.#all(sql, app, key).map(registerOfRow)[0] ?? null;
  }

  /** In the order of their keys, after `afterKey`. */
  registers(app: string, page: { afterKey: string; limit: number }): StoredRegister[] {
    const sql = `SELECT ${REGISTER_COLUMNS} FROM registers WHERE app = ? AND key > ? ORDER BY key LIMIT ?`;
    return this.#all(sql, app, page.afterKey, page.limit).map(registerOfRow);
  }

  outages(limit: number): Outage[] {
    return this.#records<Outage>(
      'SELECT record FROM outages ORDER BY opened_seq DESC LIMIT ?',
      limit,
    );
  }

  outage(outageId: string): (Span & { readonly outage: Outage }) | null {
    return this.#outageSpan('WHERE outage_id = ?', outageId);
  }

  latestOutage(): (Span & { readonly outage: Outage }) | null {
    return this.#outageSpan('ORDER BY opened_seq DESC LIMIT 1');
  }

  /** Accepted before the span and not ended when it began. */
  acceptedBefore(span: Span, limit: number): Listed<StoredOperation> {
    return this.#listed(
      `seq < ? AND (settled_seq IS NULL OR settled_seq > ?)
         AND operation_id NOT IN (SELECT operation_id FROM events WHERE kind = 'unknown' AND seq < ?)`,
      [span.afterSeq, span.afterSeq, span.afterSeq],
      limit,
    );
  }

  admittedDuring(span: Span): number {
    return this.#count('operations WHERE seq > ? AND seq < ?', span.afterSeq, span.beforeSeq);
  }

  /** Ended as succeeded or failed within the span. */
  executedDuring(span: Span): number {
    return this.#count(
      "operations WHERE settled_seq > ? AND settled_seq < ? AND state IN ('succeeded', 'failed')",
      span.afterSeq,
      span.beforeSeq,
    );
  }

  /** Admitted, started, advanced or ended within the span. */
  continuedDuring(span: Span, limit: number): Listed<StoredOperation> {
    return this.#listed(
      `operation_id IN (SELECT operation_id FROM events WHERE seq > ? AND seq < ? AND operation_id IS NOT NULL
         AND kind IN ('admitted', 'attempt_started', 'effect_begun', 'effect_settled', 'succeeded', 'failed'))`,
      [span.afterSeq, span.beforeSeq],
      limit,
    );
  }

  /** Paused, cancelled or expired within the span. */
  stoppedDuring(span: Span, limit: number): Listed<StoredOperation> {
    return this.#listed(
      `operation_id IN (SELECT operation_id FROM events WHERE seq > ? AND seq < ? AND kind IN ('paused', 'cancelled', 'expired'))`,
      [span.afterSeq, span.beforeSeq],
      limit,
    );
  }

  refusedDuring(span: Span, limit: number): Listed<Refusal> {
    const items = this.#refusals(
      'WHERE seq > ? AND seq < ? ORDER BY seq LIMIT ?',
      span.afterSeq,
      span.beforeSeq,
      limit,
    );
    if (items.length < limit) return { items, count: items.length };
    const where = 'refusals WHERE seq > ? AND seq < ?';
    return { items, count: this.#count(where, span.afterSeq, span.beforeSeq) };
  }

  refusedByReason(span: Span): Record<string, number> {
    const rows = this.#all(
      'SELECT reason, count(*) AS count FROM refusals WHERE seq > ? AND seq < ? GROUP BY reason ORDER BY reason',
      span.afterSeq,
      span.beforeSeq,
    );
    return Object.fromEntries(rows.map((row) => [String(row['reason']), Number(row['count'])]));
  }

  unknown(limit: number): Listed<StoredOperation> {
    return this.#listed("state = 'unknown'", [], limit);
  }

  /** Whose outcome became unknown within the span, and still is. */
  unknownSince(span: Span): number {
    return this.#count(
      `operation_records WHERE state = 'unknown' AND operation_id IN
         (SELECT operation_id FROM events WHERE seq > ? AND seq < ? AND kind = 'unknown')`,
      span.afterSeq,
      span.beforeSeq,
    );
  }

  /** Admitted before the end of the span, and not ended: what it may have touched. */
  unendedOf(span: Span): number {
    return this.#count(
      "operations WHERE state IN ('awaiting_approval', 'accepted', 'executing', 'paused') AND seq < ?",
      span.beforeSeq,
    );
  }

  #outageSpan(where: string, ...values: string[]): (Span & { readonly outage: Outage }) | null {
    const row = this.#all(
      `SELECT opened_seq, closed_seq, record FROM outages ${where}`,
      ...values,
    )[0];
    if (row === undefined) return null;
    return {
      outage: JSON.parse(String(row['record'])) as Outage,
      afterSeq: Number(row['opened_seq']),
      beforeSeq: row['closed_seq'] === null ? Number.MAX_SAFE_INTEGER : Number(row['closed_seq']),
    };
  }

  #events(rest: string, ...values: (string | number)[]): JournalEvent[] {
    const rows = this.#all(
      `SELECT seq, at_ms, kind, operation_id, outage_id, ${WHOLE_BODY} AS body, hash, ${PREVIOUS_HASH} AS previous_hash FROM events ${rest}`,
      ...values,
    );
    return rows.map((row) => ({
      seq: Number(row['seq']),
      atMs: Number(row['at_ms']),
      kind: String(row['kind']) as JournalEvent['kind'],
      operationId: row['operation_id'] as string | null,
      outageId: row['outage_id'] as string | null,
      body: JSON.parse(String(row['body'])) as Record<string, unknown>,
      previousHash:
        row['previous_hash'] === null ? FIRST_PREVIOUS_HASH : String(row['previous_hash']),
      hash: String(row['hash']),
    }));
  }

  #listed(where: string, values: (string | number)[], limit: number): Listed<StoredOperation> {
    const items = this.#operations(`WHERE ${where} ORDER BY seq LIMIT ?`, ...values, limit);
    if (items.length < limit) return { items, count: items.length };
    return { items, count: this.#count(`operation_records WHERE ${where}`, ...values) };
  }

  #operations(rest: string, ...values: (string | number)[]): StoredOperation[] {
    const sql = `SELECT ${OPERATION_COLUMNS} FROM operation_records ${rest}`;
    return this.#all(sql, ...values).map(operationOfRow);
  }

  /** What a refusal says is in its entry. */
  #refusals(rest: string, ...values: (string | number)[]): Refusal[] {
    const sql = `SELECT (SELECT body FROM events WHERE events.seq = refusals.seq) AS body FROM refusals ${rest}`;
    return this.#all(sql, ...values).map(
      (row) => (JSON.parse(String(row['body'])) as { refusal: Refusal }).refusal,
    );
  }

  #count(from: string, ...values: (string | number)[]): number {
    return Number(this.#all(`SELECT count(*) AS count FROM ${from}`, ...values)[0]?.['count'] ?? 0);
  }

  #records<T>(sql: string, ...values: (string | number)[]): T[] {
    return this.#all(sql, ...values).map((row) => JSON.parse(String(row['record'])) as T);
  }

  #ids(sql: string, ...values: (string | number)[]): string[] {
    return this.#all(sql, ...values).map((row) => String(row['operation_id']));
  }

  readonly #prepared = new Map<string, ReturnType<Database['prepare']>>();

  #all(sql: string, ...values: (string | number)[]): Row[] {
    let statement = this.#prepared.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#prepared.set(sql, statement);
    }
    return statement.all(...values) as Row[];
  }
}
