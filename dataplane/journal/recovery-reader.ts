/**
 * What became of the work over an outage, from the journal. Lists come in pages, each in the order of
 * the journal, so that a cursor is a place in it.
 *
 * V1  A page costs what is on it, and at most `SCAN_STEPS` times `SCAN_ENTRIES` entries that are not:
 *     where nothing was found in those, it is short or empty and says where to go on.
 * V2  What the retention took is in no list; counts are as they were.
 */
import type { Outage, OutageTally, Refusal } from '../../shared/wire/operation.ts';
import type { StoredOperation } from '../core/operation-record.ts';
import { OPERATION_COLUMNS, operationOfRow } from './operation-rows.ts';
import { ADVANCED, STOPPED_FIRST, STOPPING, UNFINISHED_THEN } from './outage-queries.ts';

type Row = Readonly<Record<string, unknown>>;
type Value = string | number;
export type ReadRows = (
  sql: string,
  named: Readonly<Record<string, Value>>,
  ...values: Value[]
) => Row[];

const SCAN_ENTRIES = 5_000;
const SCAN_STEPS = 4;

/** A stretch of the journal: entries after `afterSeq` and before `beforeSeq`. */
export type Span = {
  readonly afterSeq: number;
  readonly beforeSeq: number;
  /** The first operation that was unfinished then, or an earlier one. */
  readonly firstSeq: number;
  /** All of those, by the entries that admitted them, as a JSON text; `null` where it is not kept. */
  readonly unfinished: string | null;
};

export type OutageSpan = Span & { readonly outage: Outage };

/** Where a list goes on, and how much of it is wanted. */
export type ListPage = { readonly afterSeq: number; readonly limit: number };

/** `nextSeq`: it goes on after there; `null` at the end. */
export type Listed<T> = { readonly items: readonly T[]; readonly nextSeq: number | null };

const OUTAGE_ROW = `SELECT outages.outage_id, opened_seq, closed_seq, record,
  coalesce(first_unfinished_seq, 0) AS first_seq, unfinished
  FROM outages LEFT JOIN outage_tallies USING (outage_id)`;

export class RecoveryReader {
  readonly #all: ReadRows;

  constructor(all: ReadRows) {
    this.#all = all;
  }

  /** Newest first; `beforeSeq` continues a listing. */
  outages(page: { beforeSeq: number; limit: number }): OutageSpan[] {
    const sql = `${OUTAGE_ROW} WHERE opened_seq < ? ORDER BY opened_seq DESC LIMIT ?`;
    return this.#all(sql, {}, page.beforeSeq, page.limit).map(spanOf);
  }

  outage(outageId: string): OutageSpan | null {
    return this.#all(`${OUTAGE_ROW} WHERE outage_id = ?`, {}, outageId).map(spanOf)[0] ?? null;
  }

  latestOutage(): OutageSpan | null {
    return this.outages({ beforeSeq: Number.MAX_SAFE_INTEGER, limit: 1 })[0] ?? null;
  }

  /** As it was last written down: of one that is open it may be a second old. */
  keptTally(outageId: string): OutageTally | null {
    const row = this.#all('SELECT tally FROM outage_tallies WHERE outage_id = ?', {}, outageId)[0];
    return row === undefined ? null : (JSON.parse(String(row['tally'])) as OutageTally);
  }

  /** Accepted before the span and not ended when it began. */
  acceptedBefore(span: Span, page: ListPage): Listed<StoredOperation> {
    return this.#unfinishedThen(span, page, { where: UNFINISHED_THEN, named: {} });
  }

  /** Of those, what got on within it; then what was admitted within it. */
  continued(span: Span, page: ListPage): Listed<StoredOperation> {
    const { afterSeq: opened, beforeSeq: before } = span;
    const where = `${UNFINISHED_THEN} AND ${ADVANCED}`;
    const first =
      page.afterSeq < opened
        ? this.#unfinishedThen(span, page, { where, named: { before } })
        : { items: [], nextSeq: null };
    if (first.nextSeq !== null) return first;
    const limit = page.limit - first.items.length;
    const after = Math.max(page.afterSeq, opened);
    const rows = this.#operations(
      'seq > ? AND seq < ? ORDER BY seq LIMIT ?',
      {},
      after,
      before,
      limit,
    );
    const items = [...first.items, ...rows.map(({ operation }) => operation)];
    return { items, nextSeq: nextOf(rows, limit) };
  }

  /** Paused, cancelled or expired within the span, in that order. */
  stopped(span: Span, { afterSeq, limit }: ListPage): Listed<StoredOperation> {
    const { afterSeq: opened, beforeSeq: before } = span;
    const rows = this.#all(
      `SELECT seq, operation_id FROM events INDEXED BY events_of_stops
       WHERE kind IN ${STOPPING} AND seq > max(:opened, :after) AND seq < :before AND ${STOPPED_FIRST}
       ORDER BY seq LIMIT :limit`,
      { opened, before, after: afterSeq, limit },
    );
    const items = rows.flatMap((row) =>
      this.#operations('operation_id = ?', {}, String(row['operation_id'])),
    );
    return { items: items.map(({ operation }) => operation), nextSeq: nextOf(rows, limit) };
  }

  refused(span: Span, { afterSeq, limit }: ListPage): Listed<Refusal> {
    const rows = this.#all(
      `SELECT seq, (SELECT body FROM events WHERE events.seq = refusals.seq) AS body
       FROM refusals WHERE seq > ? AND seq < ? ORDER BY seq LIMIT ?`,
      {},
      Math.max(afterSeq, span.afterSeq),
      span.beforeSeq,
      limit,
    );
    const items = rows.map(
      (row) => (JSON.parse(String(row['body'])) as { refusal: Refusal }).refusal,
    );
    return { items, nextSeq: nextOf(rows, limit) };
  }

  /** All of this host, whenever they became so. */
  unknown({ afterSeq, limit }: ListPage): Listed<StoredOperation> {
    const rows = this.#operations(
      "state = 'unknown' AND seq > ? ORDER BY seq LIMIT ?",
      {},
      afterSeq,
      limit,
    );
    return { items: rows.map(({ operation }) => operation), nextSeq: nextOf(rows, limit) };
  }

  /** Whether the outcome of an operation became unknown within the span, and still is. */
  hasUnknownSince({ afterSeq, beforeSeq }: Span): boolean {
    return this.#isAny(
      `events INDEXED BY events_of_unknown WHERE kind = 'unknown' AND seq > ? AND seq < ?
       AND (SELECT state FROM operation_records
            WHERE operation_records.operation_id = events.operation_id) = 'unknown'`,
      afterSeq,
      beforeSeq,
    );
  }

  /** Whether one that was admitted before the end of the span, and that it may have touched, goes on. */
  hasUnended({ beforeSeq }: Span): boolean {
    return (['awaiting_approval', 'accepted', 'executing', 'paused'] as const).some((state) =>
      this.#isAny('operations WHERE state = ? AND seq < ?', state, beforeSeq),
    );
  }

  /** For an outage that an earlier build recorded, without a tally: goes through all of the journal. */
  recount(span: Span): OutageTally {
    const { afterSeq: opened, beforeSeq: before } = span;
    const between = { opened, before };
    const refusedByReason = Object.fromEntries(
      this.#all(
        'SELECT reason, count(*) AS count FROM refusals WHERE seq > :opened AND seq < :before GROUP BY reason',
        between,
      ).map((row) => [String(row['reason']), Number(row['count'])]),
    );
    const refused = Object.values(refusedByReason).reduce((sum, count) => sum + count, 0);
    const unfinished = `operation_records WHERE ${UNFINISHED_THEN}`;
    return {
      acceptedBefore: this.#count(unfinished, { opened }),
      advanced: this.#count(`${unfinished} AND ${ADVANCED}`, between),
      admitted: this.#count('operations WHERE seq > :opened AND seq < :before', between),
      executed: this.#count(
        "operations WHERE settled_seq > :opened AND settled_seq < :before AND state IN ('succeeded', 'failed')",
        between,
      ),
      stopped: this.#count(
        `events INDEXED BY events_of_stops WHERE kind IN ${STOPPING} AND seq > :opened AND seq < :before AND ${STOPPED_FIRST}`,
        between,
      ),
      unknown: this.#count(
        "events INDEXED BY events_of_unknown WHERE kind = 'unknown' AND seq > :opened AND seq < :before",
        between,
      ),
      refused,
      refusedByReason,
      refusalRecords: refused,
    };
  }

  /** V1. Where they are named, nothing has to be looked for. */
  #unfinishedThen(
    { afterSeq: opened, firstSeq, unfinished }: Span,
    page: ListPage,
    among: { readonly where: string; readonly named: Readonly<Record<string, number>> },
  ): Listed<StoredOperation> {
    const named = { ...among.named, opened };
    if (unfinished !== null) {
      const rows = this.#operations(
        `seq IN (SELECT value FROM json_each(:unfinished)) AND seq > :after AND ${among.where}
         ORDER BY seq LIMIT :limit`,
        { ...named, unfinished, after: page.afterSeq, limit: page.limit },
      );
      return { items: rows.map(({ operation }) => operation), nextSeq: nextOf(rows, page.limit) };
    }
    const items: StoredOperation[] = [];
    let after = Math.max(page.afterSeq, firstSeq - 1);
    for (let step = 0; step < SCAN_STEPS; step += 1) {
      const next = this.#all('SELECT min(seq) AS seq FROM operations WHERE seq > ?', {}, after)[0];
      const nextSeq = next?.['seq'] ?? null;
      if (nextSeq === null || Number(nextSeq) >= opened) return { items, nextSeq: null };
      const limit = page.limit - items.length;
      const until = Number(nextSeq) + SCAN_ENTRIES;
      const rows = this.#operations(
        `seq > :after AND seq <= :until AND ${among.where} ORDER BY seq LIMIT :limit`,
        { ...named, after, until, limit },
      );
      items.push(...rows.map(({ operation }) => operation));
      if (rows.length === limit) return { items, nextSeq: rows.at(-1)?.seq ?? null };
      after = until;
    }
    return { items, nextSeq: after };
  }

  #operations(
    where: string,
    named: Readonly<Record<string, Value>>,
    ...values: Value[]
  ): { seq: number; operation: StoredOperation }[] {
    const sql = `SELECT seq, ${OPERATION_COLUMNS} FROM operation_records WHERE ${where}`;
    return this.#all(sql, named, ...values).map((row) => ({
      seq: Number(row['seq']),
      operation: operationOfRow(row),
    }));
  }

  #count(from: string, named: Readonly<Record<string, number>>): number {
    return Number(this.#all(`SELECT count(*) AS count FROM ${from}`, named)[0]?.['count']);
  }

  #isAny(from: string, ...values: Value[]): boolean {
    return this.#all(`SELECT 1 FROM ${from} LIMIT 1`, {}, ...values).length > 0;
  }
}

function nextOf(rows: readonly { readonly seq?: unknown }[], limit: number): number | null {
  const last = rows.length === limit ? rows.at(-1) : undefined;
  return last === undefined ? null : Number(last.seq);
}

function spanOf(row: Row): OutageSpan {
  return {
    outage: JSON.parse(String(row['record'])) as Outage,
    afterSeq: Number(row['opened_seq']),
    beforeSeq: row['closed_seq'] === null ? Number.MAX_SAFE_INTEGER : Number(row['closed_seq']),
    firstSeq: Number(row['first_seq']),
    unfinished: row['unfinished'] as string | null,
  };
}
