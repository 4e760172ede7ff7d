/** Accepted operations in the order of claims, found at the same cost whatever else there is. */
import type { Database } from '../../shared/platform/sqlite.ts';
import type { ActionRange, ClaimPlace } from '../core/claim.ts';
import type { StoredOperation } from '../core/operation-record.ts';
import { OPERATION_COLUMNS, operationOfRow } from './operation-rows.ts';

// The planner is not asked: it would rather take the index of states, and sort.
const CLAIMABLE = "FROM operations INDEXED BY operations_claimable WHERE state = 'accepted'";

export const CLAIM_SQL = {
  nextAction: `SELECT action ${CLAIMABLE} AND app = ? AND action > ? AND action < ? ORDER BY action LIMIT 1`,
  page: `SELECT deadline_at_ms, seq ${CLAIMABLE} AND app = ? AND action = ?
    AND (deadline_at_ms, seq) > (?, ?) ORDER BY deadline_at_ms, seq LIMIT ?`,
  operation: `SELECT ${OPERATION_COLUMNS} FROM operation_records WHERE seq = ?`,
  key: 'SELECT 1 FROM claims WHERE app = ? AND key = ?',
} as const;

export class ClaimQueries {
  readonly #statements: ReturnType<typeof prepare>;

  constructor(database: Database) {
    this.#statements = prepare(database);
  }

  /** Those that have accepted operations, in their order, at most `limit`. */
  actions(app: string, { after, before }: ActionRange, limit: number): string[] {
    const actions: string[] = [];
    let last = after;
    while (actions.length < limit) {
      const row = this.#statements.nextAction.get(app, last, before);
      if (row === undefined) break;
      last = String(row['action']);
      actions.push(last);
    }
    return actions;
  }

  page(app: string, action: string, after: ClaimPlace, limit: number): ClaimPlace[] {
    const { deadlineAtMs, seq } = after;
    return this.#statements.page
      .all(app, action, deadlineAtMs, seq, limit)
      .map((row) => ({ deadlineAtMs: Number(row['deadline_at_ms']), seq: Number(row['seq']) }));
  }

  operation(seq: number): StoredOperation | null {
    const row = this.#statements.operation.get(seq);
    return row === undefined ? null : operationOfRow(row);
  }

  /** Whether a claim has used it. */
  isKeyKnown(app: string, key: string): boolean {
    return this.#statements.key.get(app, key) !== undefined;
  }
}

function prepare(database: Database) {
  return {
    nextAction: database.prepare(CLAIM_SQL.nextAction),
    page: database.prepare(CLAIM_SQL.page),
    operation: database.prepare(CLAIM_SQL.operation),
    key: database.prepare(CLAIM_SQL.key),
  };
}
