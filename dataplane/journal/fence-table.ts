/** The fences in the journal's database: as of the transaction, for the writer (I6). */
import { LRUCache } from 'lru-cache';
import { checkFence } from '../../shared/core/lease.ts';
import type { Database } from '../../shared/platform/sqlite.ts';
import { fenceDigest } from './journal-schema.ts';

const HOT_FENCES_MAX = 10_000;

export class FenceTable {
  readonly #statements: ReturnType<typeof prepare>;
  /** As they are in the transaction. Nobody else writes. */
  readonly #hot = new LRUCache<string, number>({ max: HOT_FENCES_MAX });

  constructor(database: Database) {
    this.#statements = prepare(database);
  }

  /** After a transaction was undone. */
  forget(): void {
    this.#hot.clear();
  }

  highest(resource: string): number | null {
    const hot = this.#hot.get(resource);
    if (hot !== undefined) return hot;
    const row = this.#statements.fence.get(resource);
    if (row === undefined) return null;
    const epoch = Number(row['epoch']);
    this.#hot.set(resource, epoch);
    return epoch;
  }

  raise(resource: string, epoch: number): void {
    const verdict = checkFence(this.highest(resource), epoch);
    if (verdict.accepted && verdict.advances) this.set(resource, epoch);
  }

  set(resource: string, epoch: number): void {
    this.#statements.setFence.run(resource, epoch, fenceDigest(resource, epoch));
    this.#hot.set(resource, epoch);
  }
}

function prepare(database: Database) {
  return {
    fence: database.prepare('SELECT epoch FROM fences WHERE resource = ?'),
    setFence: database.prepare(
      'INSERT INTO fences (resource, epoch, digest) VALUES (?, ?, ?) ON CONFLICT (resource) DO UPDATE SET epoch = excluded.epoch, digest = excluded.digest',
    ),
  };
}
