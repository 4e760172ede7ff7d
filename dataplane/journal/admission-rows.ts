/**
 * The rows of admissions, of which there are most, on their way into the database: many with one
 * statement. To begin one, to find its place in each tree and to end it costs more than the row.
 *
 * R1  They are written in their order, before anything of the same transaction reads or writes
 *     either table, and before COMMIT.
 * R2  Where a transaction is undone, what waits is dropped with it.
 */
import type { SQLInputValue, StatementSync } from 'node:sqlite';
import type { Database } from '../../shared/platform/sqlite.ts';

/** So many rows go with one statement, as often as there are so many. */
const ROWS_AT_ONCE = [32, 8, 1] as const;

const EVENT_COLUMNS = [
  'seq',
  'at_ms',
  'kind',
  'operation_id',
  'outage_id',
  'body',
  'body_end',
  'hash',
] as const;
type EventRow = readonly [
  seq: number,
  atMs: number,
  kind: string,
  operationId: string | null,
  outageId: string | null,
  body: string,
  bodyEnd: number | null,
  hash: string,
];

const OPERATION_COLUMNS = [
  'seq',
  'app',
  'key_hash',
  'state',
  'on_control_loss',
  'deadline_at_ms',
  'action',
] as const;
type OperationRow = readonly [
  seq: number,
  app: string,
  keyHash: number,
  state: string,
  onControlLoss: string,
  deadlineAtMs: number,
  action: string,
];

export class AdmissionRows {
  readonly #events: Inserter;
  readonly #operations: Inserter;
  #firstSeq = Number.POSITIVE_INFINITY;

  constructor(database: Database) {
    this.#events = new Inserter(database, 'events', EVENT_COLUMNS);
    this.#operations = new Inserter(database, 'operations', OPERATION_COLUMNS);
  }

  addEvent(row: EventRow): void {
    this.#firstSeq = Math.min(this.#firstSeq, row[0]);
    this.#events.add(row);
  }

  addOperation(row: OperationRow): void {
    this.#operations.add(row);
  }

  /** Whether what the entry says cannot be read yet. */
  has(seq: number): boolean {
    return seq >= this.#firstSeq;
  }

  /** R1. */
  write(): void {
    this.#events.write();
    this.#operations.write();
    this.#firstSeq = Number.POSITIVE_INFINITY;
  }

  /** R2. */
  drop(): void {
    this.#events.drop();
    this.#operations.drop();
    this.#firstSeq = Number.POSITIVE_INFINITY;
  }
}

class Inserter {
  readonly #statements: readonly { readonly values: number; readonly insert: StatementSync }[];
  /** Of all rows that wait, one after the other. */
  #values: SQLInputValue[] = [];

  constructor(database: Database, table: string, columns: readonly string[]) {
    const row = `(${columns.map(() => '?').join(', ')})`;
    this.#statements = ROWS_AT_ONCE.map((rows) => {
      const all = Array.from({ length: rows }, () => row).join(', ');
      const insert = database.prepare(`INSERT INTO ${table} (${columns.join(', ')}) VALUES ${all}`);
      return { values: rows * columns.length, insert };
    });
  }

  add(row: readonly SQLInputValue[]): void {
    for (const value of row) this.#values.push(value);
  }

  write(): void {
    const values = this.#values;
    this.#values = [];
    let from = 0;
    for (const { values: count, insert } of this.#statements)
      for (; values.length - from >= count; from += count)
        insert.run(...values.slice(from, from + count));
  }

  drop(): void {
    this.#values = [];
  }
}
