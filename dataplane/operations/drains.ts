/**
 * Hands leases over that control has asked for (`drainEndsBootMs`): when all that was accepted under
 * one has ended, it is given up, and the next sync says so.
 *
 * G1  Given up is only what nothing is left of: admissions under it are refused since it was marked,
 *     and what was on its way into the journal by then is committed before it is counted.
 * G2  Work that does not end in time is left alone: control gives the hand-over up, or revokes the
 *     lease.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Task } from '../../shared/platform/task-group.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { LeaseAuthority } from '../authority/authority-view.ts';
import type { Journal } from '../journal/journal.ts';

const ROUND_INTERVAL_MS = 250;
/** What is looked through in one round; beyond it nothing is known to have ended. */
const OPERATIONS_COUNTED_MAX = 10_000;

export type DrainsParts = {
  readonly journal: Pick<Journal, 'operationByKey' | 'reader'>;
  readonly leases: Pick<LeaseAuthority, 'draining' | 'noteUnfinished' | 'release'>;
  readonly clock: Clock;
  readonly logger: Logger;
};

export class Drains {
  readonly #parts: DrainsParts;

  constructor(parts: DrainsParts) {
    this.#parts = parts;
  }

  task(): Task {
    return {
      name: 'lease-drains',
      run: async (signal) => {
        while (!signal.aborted) {
          await this.round();
          await this.#parts.clock.sleep(ROUND_INTERVAL_MS, signal);
        }
      },
    };
  }

  async round(): Promise<void> {
    const { journal, leases, logger } = this.#parts;
    const marked = new Set(leases.draining().map(({ resource }) => resource));
    if (marked.size === 0) return;
    try {
      // G1: whatever was queued before has been committed when this is answered.
      await journal.operationByKey('', '-');
    } catch (error) {
      // A full queue passes.
      if (error instanceof HoldfastError && error.code !== 'outcome_unknown') return;
      throw error;
    }
    // Those that were marked before; it may have been called off since.
    const draining = leases.draining().filter(({ resource }) => marked.has(resource));
    const { counts, isAll } = journal.reader.unfinishedByLease(OPERATIONS_COUNTED_MAX);
    leases.noteUnfinished(
      new Map(draining.map(({ resource }) => [resource, counts.get(resource) ?? 0])),
    );
    if (!isAll) return;
    for (const { resource, epoch } of draining) {
      if (counts.has(resource)) continue;
      logger.info({ resource, epoch }, 'lease drained: it is handed over');
      leases.release(resource);
    }
  }
}
