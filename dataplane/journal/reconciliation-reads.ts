/** Reads of operations whose outcome is unknown, by indexes that have nothing else in them. */
import type { Database } from '../../shared/platform/sqlite.ts';
import type { StoredOperation } from '../core/operation-record.ts';
import { OPERATION_COLUMNS, operationOfRow } from './operation-rows.ts';

type Strategy = NonNullable<StoredOperation['reconciliation']>['strategy'];

export type UnknownOperation = { readonly seq: number; readonly operation: StoredOperation };
export type OpenReconciliations = {
  readonly strategy: Strategy;
  readonly count: number;
  readonly oldestSinceMs: number;
};

/** As the indexes of version 4 have it (`journal-schema.ts`). */
const STRATEGY = "json_extract(record, '$.reconciliation.strategy')";
const SINCE = "json_extract(record, '$.reconciliation.sinceMs')";
const NEXT_TRY = "json_extract(record, '$.reconciliation.nextTryAtMs')";
const COMPENSATED_BY = "json_extract(record, '$.reconciliation.compensatedBy')";
/** A record of a build that knew no strategies says none: a person's. */
const STRATEGY_OR_HUMAN = `coalesce(${STRATEGY}, 'human')`;
const SINCE_OR_UPDATED = `coalesce(${SINCE}, json_extract(record, '$.updatedAtMs'))`;

const LIST = `SELECT seq, ${OPERATION_COLUMNS} FROM operation_records
  WHERE state = 'unknown' AND seq > ? AND (? IS NULL OR app = ?)
    AND (? IS NULL OR ${STRATEGY_OR_HUMAN} = ?)
  ORDER BY seq LIMIT ?`;
const DUE = `SELECT seq FROM operations INDEXED BY operations_by_next_try
  WHERE state = 'unknown' AND ${NEXT_TRY} <= ? ORDER BY ${NEXT_TRY} LIMIT ?`;
const BY_SEQ = `SELECT ${OPERATION_COLUMNS} FROM operation_records WHERE seq = ?`;
const COMPENSATING = `SELECT seq FROM operations
  INDEXED BY operations_by_compensation
  WHERE state = 'unknown' AND ${COMPENSATED_BY} IS NOT NULL AND seq > ? ORDER BY seq LIMIT ?`;
const OPEN = `SELECT ${STRATEGY_OR_HUMAN} AS strategy, count(*) AS count,
    min(${SINCE_OR_UPDATED}) AS oldest
  FROM operations INDEXED BY operations_by_strategy WHERE state = 'unknown' GROUP BY 1`;

type Row = Readonly<Record<string, unknown>>;

export class ReconciliationReads {
  readonly #database: Database;
  /** When first asked for: a journal that is only read may be of before there were the indexes. */
  readonly #prepared = new Map<string, ReturnType<Database['prepare']>>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** In the order of admission, after that place in it. */
  list(page: {
    readonly app: string | null;
    readonly strategy: Strategy | null;
    readonly afterSeq: number;
    readonly limit: number;
  }): UnknownOperation[] {
    const { app, strategy, afterSeq, limit } = page;
    return this.#all(LIST, afterSeq, app, app, strategy, strategy, limit).map(asUnknown);
  }

  /** Those whose next try is due, the longest due first. */
  due(untilMs: number, limit: number): StoredOperation[] {
    return this.#byPlace(DUE, untilMs, limit).map(({ operation }) => operation);
  }

  /** That wait for the end of the operation that is to undo them. */
  compensating(afterSeq: number, limit: number): UnknownOperation[] {
    return this.#byPlace(COMPENSATING, afterSeq, limit);
  }

  open(): OpenReconciliations[] {
    return this.#all(OPEN).map((row) => ({
      strategy: String(row['strategy']) as Strategy,
      count: Number(row['count']),
      oldestSinceMs: Number(row['oldest']),
    }));
  }

  /** A record is read by its place: the index that finds it has nothing else. */
  #byPlace(sql: string, ...values: (string | number | null)[]): UnknownOperation[] {
    return this.#all(sql, ...values).flatMap(({ seq }) =>
      this.#all(BY_SEQ, Number(seq)).map((row) => asUnknown({ ...row, seq })),
    );
  }

  #all(sql: string, ...values: (string | number | null)[]): Row[] {
    let statement = this.#prepared.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#prepared.set(sql, statement);
    }
    return statement.all(...values);
  }
}

function asUnknown(row: Row): UnknownOperation {
  return { seq: Number(row['seq']), operation: operationOfRow(row) };
}
