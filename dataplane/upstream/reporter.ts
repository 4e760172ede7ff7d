/**
 * Takes the journal up to control (promise I12).
 *
 * R1  In order, one batch in flight, each beginning right after the last entry that control holds;
 *     a batch whose answer was lost is sent again, and control knows the entries by their numbers.
 *     The next one is made while control has this one.
 * R2  While control is out of reach nothing is sent: the next successful sync lets it go on.
 * R3  When control expects an earlier entry (it was restored from a backup), the next sync says
 *     which one, and the reports go back to it as far as the journal reaches. They do so too where
 *     there is nothing new to report, by which control would notice.
 * R4  When control holds another history under the same numbers, or needs entries that are gone, or
 *     an entry is not what was written, reporting stops, says so, and stays stopped: nothing here can
 *     tell what is true. All other work goes on.
 * R5  A backlog gives way to admissions (`core/report-pace.ts`), and to a control that asks for it.
 * R6  A batch that control refuses for its form is halved until the entry is known. That one is told
 *     in the log and tried again for ever: a control that is newer may take it.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { LoopUse } from '../../shared/platform/loop-use.ts';
import type { Random } from '../../shared/platform/random.ts';
import type { Pause } from '../../shared/platform/slices.ts';
import { SPAN_ATTRIBUTES, spanned } from '../../shared/platform/tracing.ts';
import type { Task } from '../../shared/platform/task-group.ts';
import { REPORT_EVENTS_MAX } from '../../shared/wire/control-api.ts';
import type { ErrorCode } from '../../shared/wire/problem.ts';
import { REPORT_LINES_MAX } from '../../shared/wire/report-lines.ts';
import {
  PACE_AT_START,
  paceAfterBatch,
  paceAfterFailure,
  paceAfterRefusal,
  type ReportPace,
} from '../core/report-pace.ts';
import { backoffWithFloorMs } from '../core/sync-state.ts';
import type { JournalFeed } from '../journal/journal-feed.ts';
import { BatchMaker, type MadeBatch } from './batch-maker.ts';
import type { ControlLink, ReportForm } from './control-link.ts';
import type { Reach } from './reach.ts';
import type { UpstreamMetrics } from './upstream-metrics.ts';
import { Wakeup } from './wakeup.ts';

const BACKOFF_MAX_MS = 30_000;
/** After a commit, so that what is committed together goes up together. */
const GATHER_MS = 100;
/** A look at the journal even where no commit woke us. */
const IDLE_MS = 30_000;
/** UTF-16 units of a batch: far below what control takes, and one turn of a thread to handle. */
const BATCH_LENGTH_MAX = 1024 * 1024;

export type ReporterOptions = {
  readonly link: ControlLink;
  readonly feed: JournalFeed;
  readonly reach: Reach;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: UpstreamMetrics;
  readonly pause: Pause;
  readonly loopUse: LoopUse;
  /** A sync will tell where control stands. */
  readonly askPosition: () => void;
};

type Batch = Extract<MadeBatch, { kind: 'batch' }>;
type Sent =
  | 'progress'
  | 'again'
  | 'wait_for_position'
  | 'stopped'
  | { readonly retryAfterMs: number | null };

export class Reporter {
  readonly #options: ReporterOptions;
  readonly #maker: BatchMaker;
  readonly #wakeup = new Wakeup();
  readonly #positioned = new Wakeup();
  /** Control holds everything up to here, as far as is known. */
  #afterSeq = 0;
  /** When that was learnt: control knew of it when it answered a sync that was sent later. */
  #learntBootMs = 0;
  /** Set by a gap: only a sync sent from this moment on knows where control stands. */
  #gapBootMs: number | null = null;
  #stopped: string | null = null;
  #pace: ReportPace = PACE_AT_START;
  #backlogBefore = 0;
  #form: ReportForm = 'lines';
  /** Made while control has the one before it. */
  #next: { readonly afterSeq: number; readonly made: Promise<MadeBatch> } | null = null;

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#maker = new BatchMaker(options.feed, options.pause);
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
    const isAwaited = this.#gapBootMs !== null && sentBootMs >= this.#gapBootMs;
    const isSetBack = ackedSeq < this.#afterSeq && sentBootMs > this.#learntBootMs;
    if (isAwaited || (this.#gapBootMs === null && isSetBack)) {
      this.#gapBootMs = null;
      if (ackedSeq < this.#afterSeq)
        logger.warn(
          { from: this.#afterSeq, to: ackedSeq },
          'control holds fewer entries than before; sending them again',
        );
      this.#setAfter(ackedSeq);
      this.#positioned.wake();
      this.#wakeup.wake();
    }
    await this.#acknowledge(ackedSeq);
  }

  readonly task: Task = {
    name: 'reporter',
    run: async (signal) => {
      const { clock, feed, random, reach } = this.#options;
      feed.onCommit(() => this.#wakeup.wake());
      this.#setAfter(feed.ackedSeq());
      this.#options.metrics.set('holdfast_reports_stopped', 0);
      let failures = 0;
      while (!signal.aborted) {
        await reach.whenOpen(signal);
        if (signal.aborted) return;
        const batch = await this.#nextBatch();
        if (batch === null) {
          await this.#wakeup.wait(clock, IDLE_MS, signal);
          await clock.sleep(this.#stopped === null ? GATHER_MS : IDLE_MS, signal);
          continue;
        }
        const startedMs = clock.now().bootMs;
        const facts = { [SPAN_ATTRIBUTES.events]: batch.report.entries.length };
        const sent = await spanned('holdfast.report', { facts }, () => this.#send(batch, signal));
        failures = sent === 'progress' ? 0 : failures + 1;
        if (sent === 'progress') {
          await this.#rest(batch, clock.now().bootMs - startedMs, signal);
        } else if (sent === 'wait_for_position') {
          await this.#positioned.wait(clock, BACKOFF_MAX_MS, signal);
        } else if (typeof sent === 'object') {
          this.#pace = paceAfterFailure(this.#pace);
          const wait = { failures, maxMs: BACKOFF_MAX_MS, retryAfterMs: sent.retryAfterMs };
          await clock.sleep(backoffWithFloorMs(wait, random.unit()), signal);
        }
      }
    },
  };

  /** R5. */
  async #rest(batch: Batch, tookMs: number, signal: AbortSignal): Promise<void> {
    const { clock, feed, loopUse } = this.#options;
    const now = feed.head().seq - this.#afterSeq;
    const backlog = { now, before: this.#backlogBefore };
    this.#backlogBefore = now;
    const eventsMax = this.#eventsMax();
    this.#pace = paceAfterBatch(this.#pace, { tookMs, loopUse: loopUse(), backlog, eventsMax });
    // What came in meanwhile gathers, as after a commit that woke us.
    const restMs = batch.isLast ? GATHER_MS : this.#pace.restMs;
    if (restMs > 0) await clock.sleep(restMs, signal);
  }

  #eventsMax(): number {
    return this.#form === 'lines' ? REPORT_LINES_MAX : REPORT_EVENTS_MAX;
  }

  #make(afterSeq: number): Promise<MadeBatch> {
    const eventsMax = Math.min(this.#pace.eventsMax, this.#eventsMax());
    return this.#maker.make(afterSeq, { eventsMax, lengthMax: BATCH_LENGTH_MAX });
  }

  async #nextBatch(): Promise<Batch | null> {
    const next = this.#next;
    this.#next = null;
    if (this.#stopped !== null) return null;
    const isOfUse = next?.afterSeq === this.#afterSeq;
    const batch = await (isOfUse ? next.made : this.#make(this.#afterSeq));
    if (batch.kind === 'history_gone') {
      const { neededSeq, oldestSeq } = batch;
      this.#stop(
        'history_gone',
        `control needs entry ${neededSeq}, and the oldest that the journal still has is ${oldestSeq}`,
      );
    }
    if (batch.kind === 'damaged')
      this.#stop(
        'journal_damaged',
        `entry ${batch.seq} is not what was written: stop the sidecar and see "journal verify"`,
      );
    return batch.kind === 'batch' ? batch : null;
  }

  async #send(batch: Batch, signal: AbortSignal): Promise<Sent> {
    const { link, metrics, logger } = this.#options;
    const sending = link.report(batch.report, this.#form, signal);
    if (!batch.isLast) this.#makeAhead(batch.lastSeq);
    const result = await sending;
    if (result.kind === 'answer') {
      const { ackedSeq } = result.payload;
      const isProgress = ackedSeq > this.#afterSeq && ackedSeq <= this.#options.feed.head().seq;
      if (isProgress) {
        this.#setAfter(ackedSeq);
        await this.#acknowledge(ackedSeq);
        metrics.add('holdfast_reports_sent_total');
        return 'progress';
      }
      metrics.add('holdfast_report_failures_total', { reason: 'no_progress' });
      logger.error(
        { ackedSeq, lastSeq: batch.lastSeq },
        'control answered a report and acknowledged nothing of it',
      );
      return { retryAfterMs: null };
    }
    const reason = result.kind === 'refused' ? result.code : result.cause;
    if (!signal.aborted) metrics.add('holdfast_report_failures_total', { reason });
    if (result.kind === 'unreachable') return { retryAfterMs: result.retryAfterMs };
    return this.#refused(batch, result);
  }

  #refused(batch: Batch, { code, detail }: { code: ErrorCode; detail: string }): Sent {
    const { clock, logger } = this.#options;
    switch (code) {
      case 'report_gap':
        this.#gapBootMs = clock.now().bootMs;
        logger.warn(
          { afterSeq: this.#afterSeq, detail },
          'control expects an earlier entry; asking which',
        );
        this.#options.askPosition();
        return 'wait_for_position';
      case 'report_conflict':
        this.#stop('report_conflict', detail);
        return 'stopped';
      case 'unsupported_media_type':
        if (this.#form === 'json') return { retryAfterMs: null };
        logger.info({ detail }, 'control takes no reports in lines: it is older; sending JSON');
        this.#form = 'json';
        this.#next = null;
        return 'again';
      case 'invalid_request':
      case 'invalid_json':
      case 'body_too_large':
        return this.#refusedForm(batch, detail);
      default:
        // About the host, not about the report: the sync finds out the same, and decides.
        this.#options.askPosition();
        return { retryAfterMs: null };
    }
  }

  /** R6. */
  #refusedForm({ report, lastSeq }: Batch, detail: string): Sent {
    const sent = report.entries.length;
    this.#next = null;
    this.#pace = paceAfterRefusal(this.#pace, sent);
    if (sent > 1) return 'again';
    this.#options.logger.error(
      { seq: lastSeq, detail },
      'control refuses this entry, and what follows it waits: is it older than this sidecar?',
    );
    return { retryAfterMs: null };
  }

  #makeAhead(afterSeq: number): void {
    const made = this.#make(afterSeq);
    // Its failure is looked at where it is used.
    made.catch(() => undefined);
    this.#next = { afterSeq, made };
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
    if (this.#gapBootMs === null && isForward) this.#setAfter(seq);
  }

  #setAfter(seq: number): void {
    this.#afterSeq = seq;
    this.#learntBootMs = this.#options.clock.now().bootMs;
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
