/**
 * Has the journal forget what it may (`core/retention.ts`): every minute, and while there is more,
 * one step after another with a pause between, in which admissions have the writer for themselves.
 */
import { MINUTE_MS, formatDurationMs } from '../../shared/core/time.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Task } from '../../shared/platform/task-group.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { RetentionLimits } from '../core/retention.ts';
import type { Journal } from '../journal/journal.ts';
import type { SidecarMetrics } from '../sidecar-view.ts';

const ROUND_INTERVAL_MS = MINUTE_MS;
/** Longer than a step takes: less than half of the writer's time is spent on forgetting. */
const PAUSE_MS = 25;

export type RetentionParts = {
  readonly journal: Pick<Journal, 'prune' | 'head' | 'ackedSeq'>;
  readonly limits: RetentionLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: SidecarMetrics;
};

const NOT_REMOVABLE =
  'what is left may not be removed: it has not ended, its deadline has not passed, or control does ' +
  'not hold it yet';

export class Retention {
  readonly #parts: RetentionParts;
  #wasStuck = false;

  constructor(parts: RetentionParts) {
    this.#parts = parts;
  }

  task(): Task {
    return {
      name: 'retention',
      run: async (signal) => {
        const { clock } = this.#parts;
        while (!signal.aborted) {
          const more = await this.step();
          await clock.sleep(more ? PAUSE_MS : ROUND_INTERVAL_MS, signal);
        }
      },
    };
  }

  /** Whether there is more to be forgotten at once. */
  async step(): Promise<boolean> {
    const { journal, limits, logger, metrics } = this.#parts;
    let step: Awaited<ReturnType<Journal['prune']>>;
    try {
      step = await journal.prune(limits);
    } catch (error) {
      // A full queue passes; what the journal cannot take ends the sidecar by itself.
      if (error instanceof HoldfastError) return false;
      logger.error({ err: error }, 'nothing could be removed from the journal');
      return false;
    }
    metrics.add('holdfast_operations_pruned_total', {}, step.operationIds.length);
    metrics.set('holdfast_journal_pruned_seq', step.prunedSeq);
    metrics.set('holdfast_journal_size_bytes', step.usedBytes);
    metrics.set('holdfast_journal_over_size', step.isStuckOverSize ? 1 : 0);
    if (step.isStuckOverSize !== this.#wasStuck) this.#tell(step);
    this.#wasStuck = step.isStuckOverSize;
    return step.more;
  }

  #tell({ isStuckOverSize, usedBytes }: { isStuckOverSize: boolean; usedBytes: number }): void {
    const { journal, limits, logger } = this.#parts;
    const facts = { usedBytes, sizeBytesMax: limits.sizeBytesMax };
    if (!isStuckOverSize) return logger.info(facts, 'the journal is within its size again');
    const unreported = journal.head().seq - journal.ackedSeq();
    logger.warn(
      { ...facts, unreported, retention: formatDurationMs(limits.retentionMs), why: NOT_REMOVABLE },
      'the journal is over maxJournalSize',
    );
  }
}
