/**
 * Takes the journal up to control (promise I12).
 *
 * R1  In order, one batch in flight, each beginning right after the last entry that control holds;
 *     a batch whose answer was lost is sent again, and control knows the entries by their numbers.
 * R2  While control is out of reach nothing is sent: the next successful sync lets it go on.
 * R3  When control expects an earlier entry (it was restored from a backup), the next sync says
 *     which one, and the reports go back to it as far as the journal reaches.
 * R4  When control holds another history under the same numbers, or needs entries that are gone,
 *     reporting stops, says so, and stays stopped: nothing here can tell which of the two is true.
 *     All other work goes on.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Random } from '../../shared/platform/random.ts';
import type { Task } from '../../shared/platform/task-group.ts';
import { REPORT_BYTES_MAX, REPORT_EVENTS_MAX } from '../../shared/wire/control-api.ts';
import type { JournalEvent } from '../../shared/wire/operation.ts';
import { nextBatch } from '../core/report-batch.ts';
import { backoffWithFloorMs } from '../core/sync-state.ts';
import type { JournalFeed } from '../journal/journal-feed.ts';
import type { ControlLink } from './control-link.ts';
import type { Reach } from './reach.ts';
import type { UpstreamMetrics } from './upstream-metrics.ts';
import { Wakeup } from './wakeup.ts';

const BACKOFF_MAX_MS = 30_000;
/** After a commit, so that what is committed together goes up together. */
const GATHER_MS = 100;
/** A look at the journal even where no commit woke us. */
const IDLE_MS = 30_000;
/** The rest is the envelope of the body. */
const BATCH_BYTES_MAX = REPORT_BYTES_MAX - 64 * 1_024;

export type ReporterOptions = {
  readonly link: ControlLink;
  readonly feed: JournalFeed;
  readonly reach: Reach;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: UpstreamMetrics;
  /** A sync will tell where control stands. */
  readonly askPosition: () => void;
};

type Sent = 'progress' | 'wait_for_position' | 'stopped' | { readonly retryAfterMs: number | null };

export class Reporter {
  readonly #options: ReporterOptions;
  readonly #wakeup = new Wakeup();
  readonly #positioned = new Wakeup();
  /** Control holds everything up to here, as far as is known. */
  #afterSeq = 0;
  /** Set by a gap: only a sync sent from this moment on knows where control stands. */
  #gapBootMs: number | null = null;
  #stopped: string | null = null;

  constructor(options: ReporterOptions) {
    this.#options = options;
  }

  /** Why reporting has stopped for good; `null` while it goes on. */
  stopped(): string | null {
    return this.#stopped;
  }

  /** Where control stands, as it said in answer to a sync. */
  async notePosition({
    ackedSeq,
    sentBootMs,
  }: {
    ackedSeq: number;
    sentBootMs: number;
  }): Promise<void> {
    const { feed, logger, metrics } = this.#options;
    const { seq } = feed.head();
    if (ackedSeq > seq) {
      // Told by a control that is right, this journal has lost its end. Whether it has is for the
      // journal to say: what was committed a moment ago may not be counted here yet.
      metrics.add('holdfast_report_failures_total', { reason: 'beyond_head' });
      logger.error({ ackedSeq, seq }, 'control holds entries that this journal does not have');
      await this.#acknowledge(ackedSeq);
      return;
    }
    if (this.#gapBootMs !== null && sentBootMs >= this.#gapBootMs) {
      this.#gapBootMs = null;
      if (ackedSeq < this.#afterSeq)
        logger.warn(
          { from: this.#afterSeq, to: ackedSeq },
          'control holds fewer entries than before; sending them again',
        );
      this.#afterSeq = ackedSeq;
      this.#positioned.wake();
    }
    await this.#acknowledge(ackedSeq);
  }

  readonly task: Task = {
    name: 'reporter',
    run: async (signal) => {
      const { clock, feed, random, reach } = this.#options;
      feed.onCommit(() => this.#wakeup.wake());
      this.#afterSeq = feed.ackedSeq();
      this.#options.metrics.set('holdfast_reports_stopped', 0);
      let failures = 0;
      while (!signal.aborted) {
        await reach.whenOpen(signal);
        if (signal.aborted) return;
        const batch = this.#nextBatch();
        if (batch === null) {
          await this.#wakeup.wait(clock, IDLE_MS, signal);
          await clock.sleep(this.#stopped === null ? GATHER_MS : IDLE_MS, signal);
          continue;
        }
        const sent = await this.#send(batch, signal);
        failures = sent === 'progress' ? 0 : failures + 1;
        if (sent === 'wait_for_position')
          await this.#positioned.wait(clock, BACKOFF_MAX_MS, signal);
        if (typeof sent !== 'object') continue;
        const wait = { failures, maxMs: BACKOFF_MAX_MS, retryAfterMs: sent.retryAfterMs };
        await clock.sleep(backoffWithFloorMs(wait, random.unit()), signal);
      }
    },
  };

  #nextBatch(): readonly JournalEvent[] | null {
    if (this.#stopped !== null) return null;
    const entries = this.#options.feed.eventsAfter(this.#afterSeq, REPORT_EVENTS_MAX);
    const bounds = { eventsMax: REPORT_EVENTS_MAX, bytesMax: BATCH_BYTES_MAX };
    const batch = nextBatch(entries, { afterSeq: this.#afterSeq, bounds }, sizeOnWire);
    if (batch.kind === 'history_gone') {
      const { neededSeq, oldestSeq } = batch;
      this.#stop(
        'history_gone',
        `control needs entry ${neededSeq}, and the oldest that the journal still has is ${oldestSeq}`,
      );
    }
    return batch.kind === 'batch' ? batch.events : null;
  }

  async #send(events: readonly JournalEvent[], signal: AbortSignal): Promise<Sent> {
    const { clock, link, metrics, logger } = this.#options;
    const result = await link.report(events, signal);
    const lastSeq = events.at(-1)?.seq ?? 0;
    if (result.kind === 'answer') {
      const { ackedSeq } = result.payload;
      const isProgress = ackedSeq > this.#afterSeq && ackedSeq <= this.#options.feed.head().seq;
      if (isProgress) {
        this.#afterSeq = ackedSeq;
        await this.#acknowledge(ackedSeq);
        metrics.add('holdfast_reports_sent_total');
        return 'progress';
      }
      metrics.add('holdfast_report_failures_total', { reason: 'no_progress' });
      logger.error(
        { ackedSeq, lastSeq },
        'control answered a report and acknowledged nothing of it',
      );
      return { retryAfterMs: null };
    }
    const reason = result.kind === 'refused' ? result.code : result.cause;
    if (!signal.aborted) metrics.add('holdfast_report_failures_total', { reason });
    if (result.kind === 'unreachable') return { retryAfterMs: result.retryAfterMs };
    if (result.code === 'report_gap') {
      this.#gapBootMs = clock.now().bootMs;
      logger.warn(
        { afterSeq: this.#afterSeq, detail: result.detail },
        'control expects an earlier entry; asking which',
      );
      this.#options.askPosition();
      return 'wait_for_position';
    }
    if (result.code === 'report_conflict') {
      this.#stop('report_conflict', result.detail);
      return 'stopped';
    }
    // About the host, not about the report: the sync finds out the same, and decides.
    this.#options.askPosition();
    return { retryAfterMs: null };
  }

  async #acknowledge(seq: number): Promise<void> {
    const { feed, logger } = this.#options;
    if (seq <= feed.ackedSeq()) return;
    try {
      await feed.acknowledge(seq);
    } catch (error) {
      // Lost on a restart, it costs a batch that control knows already.
      logger.error({ err: error, seq }, 'the acknowledged position could not be stored');
    }
    const isForward = seq > this.#afterSeq && seq <= feed.head().seq;
    if (this.#gapBootMs === null && isForward) this.#afterSeq = seq;
  }

  /** R4. */
  #stop(reason: string, detail: string): void {
    this.#stopped = `${reason}: ${detail}`;
    this.#options.metrics.set('holdfast_reports_stopped', 1);
    this.#options.logger.error(
      { reason, detail },
      'reporting has stopped; a person must find out which history is true',
    );
  }
}

function sizeOnWire(event: JournalEvent): number {
  return Buffer.byteLength(JSON.stringify(event)) + 1;
}
