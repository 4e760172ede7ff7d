/**
 * Reads of what is committed, on a connection of their own: they never wait for a write. All are
 * bounded. Where the journal was pruned, what was kept from before its beginning is found by its
 * operation or outage, and is no part of a listing of entries in order.
 */
import type { JournalEvent, OperationState, Refusal } from '../../shared/wire/operation.ts';
import { FIRST_PREVIOUS_HASH } from '../../shared/wire/operation.ts';
import type { ResumeOrder } from '../../shared/wire/resume-api.ts';
import { openDatabase, type Database } from '../../shared/platform/sqlite.ts';
import type { Instant } from '../../shared/core/time.ts';
import type { Report } from '../../shared/wire/report-lines.ts';
import type { StoredOperation } from '../core/operation-record.ts';
import type { QuotaNote, UnendedOperation } from '../core/quota-note.ts';
import { WHOLE_BODY } from './body-ends.ts';
import { ClaimQueries } from './claim-queries.ts';
import type { JournalHead } from './journal-feed.ts';
import { RESUME_ORDER_FACT } from './journal-schema.ts';
import { REGISTER_COLUMNS, registerOfRow } from './register-table.ts';
import type { StoredRegister } from '../core/register.ts';
import { OPERATION_COLUMNS, operationOfRow } from './operation-rows.ts';
import { QUOTA_ROWS, quotaOfRow } from './quota-ledger.ts';
import { ReconciliationReads } from './reconciliation-reads.ts';
import { RecoveryReader } from './recovery-reader.ts';

type Row = Record<string, string | number | null>;
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
  /** What became of the work over an outage. */
  readonly recovery = new RecoveryReader((sql, named, ...values) =>
    this.#prepare(sql).all(named, ...values),
  );
  #claims: ClaimQueries | null = null;

  constructor(path: string) {
    this.#database = openDatabase(path, { readOnly: true });
    this.reconciliations = new ReconciliationReads(this.#database);
  }

  close(): void {
    this.#database.close();
  }

  /** Of a journal in service: one that is only looked at may have the schema of an earlier build. */
  get claims(): ClaimQueries {
    this.#claims ??= new ClaimQueries(this.#database);
    return this.#claims;
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

  /** Those that may say what became of an approval; most of the rest is passed over unread. */
  approvalEvents(span: { afterSeq: number; untilSeq: number }, limit: number): JournalEvent[] {
    return this.#events(
      `WHERE seq > ? AND seq <= ?
       AND kind IN ('approval_asked', 'approved', 'cancelled', 'expired') ORDER BY seq LIMIT ?`,
      span.afterSeq,
      span.untilSeq,
      limit,
    );
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

  /** Paused operations in the order of their deadlines; `after` continues a listing. */
  pausedByDeadline(
    after: DeadlineCursor,
    limit: number,
  ): { cursor: DeadlineCursor; operation: StoredOperation }[] {
    const rows = this.#all(
      `SELECT seq, deadline_at_ms FROM operations INDEXED BY operations_paused_by_deadline
       WHERE state = 'paused' AND (deadline_at_ms, seq) > (?, ?)
       ORDER BY deadline_at_ms, seq LIMIT ?`,
      after.deadlineAtMs,
      after.seq,
      limit,
    );
    return rows.flatMap((row) => {
      const cursor = { deadlineAtMs: Number(row['deadline_at_ms']), seq: Number(row['seq']) };
      const [operation] = this.#operations('WHERE seq = ?', cursor.seq);
      return operation === undefined ? [] : [{ cursor, operation }];
    });
  }

  /** What operators ordered last about them; `null` where nobody has. */
  resumeOrder(): ResumeOrder | null {
    const row = this.#all('SELECT value FROM facts WHERE name = ?', RESUME_ORDER_FACT)[0];
    return row === undefined ? null : (JSON.parse(String(row['value'])) as ResumeOrder);
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

  #ids(sql: string, ...values: (string | number)[]): string[] {
    return this.#all(sql, ...values).map((row) => String(row['operation_id']));
  }

  readonly #prepared = new Map<string, ReturnType<Database['prepare']>>();

  #all(sql: string, ...values: (string | number)[]): Row[] {
    return this.#prepare(sql).all(...values) as Row[];
  }

  #prepare(sql: string): ReturnType<Database['prepare']> {
    let statement = this.#prepared.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#prepared.set(sql, statement);
    }
    return statement;
  }
}
