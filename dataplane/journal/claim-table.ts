/**
 * What each key of a claim has taken, so that whoever lost the answer gets it again, and a request
 * that comes late takes nothing more.
 *
 * L1  A row is written in the transaction that begins the attempts: there is no moment in which they
 *     have begun and the key does not name them (I1).
 * L2  What a key brings back is judged by the records: an attempt that is over, or another worker's
 *     by now, is not its own any more. The row is never believed for that.
 * L3  Bounded: the newest `CLAIMS_KEPT` are kept. A worker asks again within seconds or not at all.
 */
import type { Database } from '../../shared/platform/sqlite.ts';
import { isStillHeld } from '../core/claim.ts';
import type { StoredOperation } from '../core/operation-record.ts';
import type { JournalAnswer, JournalCommand } from './journal-command.ts';

const CLAIMS_KEPT = 100_000;

type Claim = JournalCommand & { readonly type: 'claim' };
type Row = { readonly fingerprint: string; readonly operation_ids: string };
type Steps = {
  readonly find: (operationId: string) => StoredOperation | undefined;
  readonly begin: (candidate: Claim['candidates'][number]) => JournalAnswer;
};

export class ClaimTable {
  readonly #statements: ReturnType<typeof prepare>;

  constructor(database: Database) {
    this.#statements = prepare(database);
  }

  /** L1, L2. The record of each candidate decides whether it can still be taken. */
  claim({ app, key, fingerprint, limit, candidates }: Claim, steps: Steps): JournalAnswer {
    const row = this.#statements.find.get(app, key) as Row | undefined;
    if (row !== undefined) {
      if (row.fingerprint !== fingerprint) {
        return {
          type: 'declined',
          code: 'idempotency_key_reused',
          detail: `Idempotency-Key ${key} has claimed other actions: use a new key for each claim`,
        };
      }
      const operations = (JSON.parse(row.operation_ids) as string[])
        .map((operationId) => steps.find(operationId))
        .filter((operation) => operation !== undefined)
        .filter((operation) => isStillHeld(operation, key));
      return { type: 'claimed', operations, replayed: true };
    }
    const operations: StoredOperation[] = [];
    for (const candidate of candidates) {
      if (operations.length >= limit) break;
      const answer = steps.begin(candidate);
      if (answer.type === 'applied' && answer.changed) operations.push(answer.operation);
    }
    if (operations.length > 0 || limit === 0) {
      const ids = JSON.stringify(operations.map(({ operationId }) => operationId));
      const { lastInsertRowid } = this.#statements.insert.run(app, key, fingerprint, ids);
      this.#statements.forget.run(Number(lastInsertRowid) - CLAIMS_KEPT);
    }
    return { type: 'claimed', operations, replayed: false };
  }
}

function prepare(database: Database) {
  return {
    find: database.prepare(
      'SELECT fingerprint, operation_ids FROM claims WHERE app = ? AND key = ?',
    ),
    insert: database.prepare(
      'INSERT INTO claims (app, key, fingerprint, operation_ids) VALUES (?, ?, ?, ?)',
    ),
    forget: database.prepare('DELETE FROM claims WHERE claim <= ?'),
  };
}
