/**
 * The regular exchange with control, and the only one whose failure means an outage (DESIGN 4).
 *
 * Z1  One sync at a time, each built from what is true when it is sent; an answer that comes after
 *     its time-out is dropped with its nonce.
 * Z2  An answer is applied in this order: what it confirms, leases, the report position, and at
 *     last the end of the outage, so that whoever resumes work then does it under the authority
 *     that the same answer brought. What it says of approvals is taken after all of this.
 *     Notices come before all of it: an answer whose notices are not held confirms nothing.
 * Z3  A refusal is no outage. One that withdraws what was granted is obeyed at once, policy and
 *     leases alike, and holds until a sync succeeds.
 * Z4  `kick` brings the next sync forward, at most every `KICK_SPACING_MS`, and never past a
 *     back-off.
 * Z5  What it asks says which start of control it has heard last, so that control can tell it from
 *     a request of before (I7). Of another start than the last one it syncs again at once: control
 *     grants nothing until it has.
 * Z6  That control takes back only so many at a time is no outage, and ends none: the host waits as it
 *     was told. Anybody could have said it, so what is said so for `OVERLOADED_MS_MAX` on end is an
 *     outage as if nothing had been said.
 */
import { elapsedMs, type Instant } from '../../shared/core/time.ts';
import { VERSION } from '../../shared/core/version.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Random } from '../../shared/platform/random.ts';
import { spanned } from '../../shared/platform/tracing.ts';
import type { Task } from '../../shared/platform/task-group.ts';
import type { SidecarStatus } from '../../shared/wire/sidecar-api.ts';
import type { AllotmentKeeper } from '../authority/allotment-keeper.ts';
import {
  LEASE_TOKENS_MAX,
  type SyncAnswer,
  type SyncRequest,
} from '../../shared/wire/statements.ts';
import type { NoticeKeeper } from '../authority/notice-keeper.ts';
import type { LeaseKeeper } from '../authority/lease-keeper.ts';
import type { LeaseTokens } from '../authority/lease-tokens.ts';
import type { PolicyKeeper } from '../authority/policy-keeper.ts';
import type { LeaseRequest } from '../core/lease-book.ts';
import {
  OVERLOADED_MS_MAX,
  SYNC_STATE_AT_START,
  afterSync,
  nextSyncDelayMs,
  type SyncState,
} from '../core/sync-state.ts';
import type { JournalFeed } from '../journal/journal-feed.ts';
import type { OutageTracker } from '../recovery/outage-tracker.ts';
import type { ApprovalInbox } from './approval-inbox.ts';
import type { ControlLink } from './control-link.ts';
import { HOST_WITHDRAWALS, type LinkResult } from './link-result.ts';
import type { Reach } from './reach.ts';
import type { SelfReport } from './self-report.ts';
import type { UpstreamMetrics } from './upstream-metrics.ts';
import { Wakeup } from './wakeup.ts';

export const KICK_SPACING_MS = 250;

const REFUSED_WAY_OUT =
  'stop it if another machine has its place; else remove identity.json from its data directory ' +
  'and start it with a new join token';

const UNPROVEN_WAY_OUT =
  'compare the clock of this host with that of control, and identity.json with how it was enrolled';

export type SynchronizerOptions = {
  readonly link: ControlLink;
  readonly policy: PolicyKeeper;
  readonly leases: LeaseKeeper;
  readonly allotments: AllotmentKeeper;
  readonly leaseTokens: LeaseTokens;
  readonly approvals: ApprovalInbox;
  readonly notices: NoticeKeeper;
  readonly outages: OutageTracker;
  readonly feed: JournalFeed;
  readonly self: SelfReport;
  readonly reach: Reach;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: UpstreamMetrics;
  readonly controlUrl: string;
  readonly syncIntervalMs: number;
  /**
   * Makes this host known to control where it is not; returns when it is, or when the daemon stops.
   */
  readonly enrol: (hooks: {
    signal: AbortSignal;
    onFailure: (detail: string) => void;
  }) => Promise<void>;
  /** The report position of an answer, with the moment the question was sent. */
  readonly onPosition: (position: { ackedSeq: number; sentBootMs: number }) => Promise<void>;
  /** Operations that a person has revoked. */
  readonly onStop: (operationIds: readonly string[]) => void;
  /** After each answer; the newest revision may be another. */
  readonly onAnswer: () => void;
};

export class Synchronizer {
  readonly #options: SynchronizerOptions;
  readonly #wakeup = new Wakeup();
  #state: SyncState = SYNC_STATE_AT_START;
  #retryAfterMs: number | null = null;
  /** Z5; an older control has none. */
  #runId: string | undefined;
  /** Z6: since when nothing else was said; `null` where something else was said last. */
  #overloadedSince: Instant | null = null;
  /** By which control knows how long that request can have been under way. */
  #answered: { readonly bootMs: number; readonly tookMs: number } | null = null;

  constructor(options: SynchronizerOptions) {
    this.#options = options;
  }

  /** Z4. */
  kick(): void {
    this.#wakeup.wake();
  }

  status(): SidecarStatus['control'] {
    const { phase, lastAttempt, lastSuccess, lastError } = this.#state;
    const outage = this.#options.outages.current();
    return {
      url: this.#options.controlUrl,
      // A fresh decision may have met the silence before the next sync does.
      state: outage !== null && phase === 'connected' ? 'disconnected' : phase,
      lastAttemptMs: lastAttempt?.wallMs ?? null,
      lastSuccessMs: lastSuccess?.wallMs ?? null,
      lastError: lastError ?? outage?.detail ?? null,
      outage,
    };
  }

  readonly task: Task = {
    name: 'synchronizer',
    run: async (signal) => {
      await this.#options.enrol({ signal, onFailure: (detail) => this.#enrolmentFailed(detail) });
      while (!signal.aborted) {
        await spanned('holdfast.sync', {}, () => this.#syncOnce(signal));
        await this.#pause(signal);
      }
    },
  };

  async #syncOnce(signal: AbortSignal): Promise<void> {
    const { link, leases, clock } = this.#options;
    const startedAt = clock.now();
    const asked = leases.request();
    const leaseEndsMs = leases.firstEndMs();
    const result = await link.sync(this.#request(asked, startedAt), { leaseEndsMs, signal });
    if (result.kind === 'answer') {
      const tookMs = clock.now().bootMs - startedAt.bootMs;
      this.#answered = { bootMs: startedAt.bootMs, tookMs };
    }
    if (signal.aborted && result.kind !== 'answer') return;
    this.#retryAfterMs = result.kind === 'unreachable' ? result.retryAfterMs : null;
    this.#count(result);
    if (this.#mustOnlyWait(result, startedAt)) return;
    if (result.kind === 'answer') {
      this.#state = afterSync(this.#state, { kind: 'answer' }, result.sentAt);
      await this.#apply(result.payload, asked, result.sentAt);
      return;
    }
    const kind = result.kind;
    const detail =
      kind === 'refused' ? `${result.code}: ${result.detail}` : `${result.cause}: ${result.detail}`;
    this.#state = afterSync(this.#state, { kind, detail }, startedAt);
    this.#options.reach.set(false);
    if (kind === 'refused') {
      if (!HOST_WITHDRAWALS.includes(result.code)) return;
      this.#options.policy.revoke({ reason: detail });
      leases.revoke();
      this.#options.allotments.revoke();
    } else {
      await this.#options.outages.syncFailed({ cause: result.cause, detail: result.detail });
      if (result.isForeignKey === true) this.#options.reach.noteForeignKey();
    }
  }

  /** Z6. */
  #mustOnlyWait(result: LinkResult<SyncAnswer>, startedAt: Instant): boolean {
    if (result.kind !== 'unreachable' || result.isOverloaded !== true) {
      this.#overloadedSince = null;
      return false;
    }
    this.#overloadedSince ??= startedAt;
    const saidForMs = elapsedMs(this.#overloadedSince, this.#options.clock.now());
    if (saidForMs === null || saidForMs >= OVERLOADED_MS_MAX) return false;
    const { detail } = result;
    this.#state = afterSync(this.#state, { kind: 'overloaded', detail }, startedAt);
    return true;
  }

  /** Z2. */
  async #apply(
    answer: SyncAnswer,
    asked: LeaseRequest,
    sentAt: Extract<LinkResult<SyncAnswer>, { kind: 'answer' }>['sentAt'],
  ): Promise<void> {
    const { policy, leases, outages, reach, metrics } = this.#options;
    const { isWhole, isMore } = await this.#options.notices.take(answer.notices);
    if (isWhole) policy.noteSync({ newestRevision: answer.policyRevision, sentAt });
    if (isMore || !isWhole) this.kick();
    leases.apply(answer, asked, sentAt);
    this.#options.allotments.apply(answer, sentAt);
    this.#options.leaseTokens.apply(answer, sentAt.bootMs);
    this.#options.self.healthAsked(answer.asksHealth === true);
    await this.#options.onPosition({ ackedSeq: answer.ackedSeq, sentBootMs: sentAt.bootMs });
    await outages.syncSucceeded();
    metrics.set('holdfast_last_sync_success_timestamp_seconds', Math.floor(sentAt.wallMs / 1_000));
    reach.set(true);
    this.#options.approvals.noteAnswer(answer.approvals);
    if (answer.stop !== undefined) this.#options.onStop(answer.stop);
    this.#options.onAnswer();
    if (answer.runId !== this.#runId) this.kick();
    this.#runId = answer.runId;
  }

  #request(asked: LeaseRequest, { bootId, bootMs }: Instant): SyncRequest {
    const { policy, leases, leaseTokens, feed, self } = this.#options;
    const tokens = leaseTokens.wanted();
    const { seq, hash } = feed.head();
    const allotments = this.#options.allotments.request();
    const health = self.health();
    const notices = this.#options.notices.request();
    return {
      sidecarVersion: VERSION,
      policyRevision: policy.activePolicy()?.policyRevision ?? null,
      policyRejected: policy.rejectedPolicy(),
      labels: self.labels,
      processId: self.processId,
      clock: { bootId, bootMs, answered: this.#answered },
      // An older control does not know it.
      ...(this.#runId === undefined ? {} : { runId: this.#runId }),
      activationDeaths: policy.activationDeaths(),
      decisions: self.tallies(),
      highWater: { policyRevision: policy.highWaterRevision(), epoch: leases.highestEpoch() },
      leases: {
        renew: [...asked.renew],
        acquire: [...asked.acquire],
        release: [...asked.release],
        ...(asked.draining.length === 0 ? {} : { draining: [...asked.draining] }),
        ...(tokens.length === 0 ? {} : { tokens: tokens.slice(0, LEASE_TOKENS_MAX) }),
      },
      journal: { seq, hash, operations: this.#operationCounts() },
      ...(allotments === null ? {} : { allotments }),
      ...(notices === null ? {} : { notices: { ...notices } }),
      ...(health === null ? {} : { health }),
    };
  }

  /** A control of before there were approvals refuses a sync that names a state it does not know. */
  #operationCounts(): SyncRequest['journal']['operations'] {
    const { feed, approvals } = this.#options;
    const { awaiting_approval: waiting = 0, ...counts } = feed.operationCounts();
    const isTold = waiting > 0 && approvals.isKnownToBeServed();
    return { ...counts, ...(isTold ? { awaiting_approval: waiting } : {}) };
  }

  async #pause(signal: AbortSignal): Promise<void> {
    const { clock, random, leases, syncIntervalMs } = this.#options;
    const pace = {
      syncIntervalMs,
      leaseTtlMs: leases.shortestTtlMs(),
      retryAfterMs: this.#retryAfterMs,
      ...(this.#overloadedSince === null
        ? {}
        : { overloaded: { leaseEndsMs: leases.firstEndMs() } }),
    };
    const delayMs = nextSyncDelayMs(this.#state, pace, random.unit());
    if (this.#state.failures > 0) {
      await clock.sleep(delayMs, signal);
      return;
    }
    const restedMs = Math.min(delayMs, KICK_SPACING_MS);
    await clock.sleep(restedMs, signal);
    await this.#wakeup.wait(clock, delayMs - restedMs, signal);
  }

  #enrolmentFailed(detail: string): void {
    this.#state = {
      ...this.#state,
      lastAttempt: this.#options.clock.now(),
      lastError: `enrolment: ${detail}`,
    };
  }

  #count(result: LinkResult<SyncAnswer>): void {
    const { metrics, logger } = this.#options;
    const outcome =
      result.kind === 'answer' ? 'ok' : result.kind === 'refused' ? 'refused' : result.cause;
    const isOverloaded = result.kind === 'unreachable' && result.isOverloaded === true;
    metrics.add('holdfast_sync_attempts_total', { outcome: isOverloaded ? 'overloaded' : outcome });
    if (!isOverloaded) metrics.set('holdfast_control_connected', result.kind === 'answer' ? 1 : 0);
    if (result.kind === 'refused') {
      const { code, detail } = result;
      const wayOut = HOST_WITHDRAWALS.includes(code) ? REFUSED_WAY_OUT : UNPROVEN_WAY_OUT;
      logger.error({ code, detail, wayOut }, 'control refuses to sync with this host');
    } else if (result.kind === 'unreachable') {
      logger.debug({ cause: result.cause, detail: result.detail }, 'sync failed');
    }
  }
}
