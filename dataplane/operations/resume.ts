/**
 * Brings paused work back once control is: first all of it is decided again, then what may go on is
 * released at a rate, the earliest deadline first, since that is what waiting costs most. What is
 * decided is in `core/resume-verdict.ts`; the writer moves the record.
 *
 * S1  Nothing is released before control has been heard after it was lost, and whatever is released
 *     was decided again just before, under the policy then in force (I3, I5).
 * S2  An operation leaves `paused` once: the writer looks at its record (I8). One that is not released
 *     stays in the listing until its deadline.
 * S3  A stop is in force before it is answered, holds refusals back as well, and is on disk: after a
 *     restart it still holds. What was handed to the writer before it is not called back.
 * S4  Each round is bounded, and the thread is given up between its pages.
 */
import type { Instant } from '../../shared/core/time.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Pause } from '../../shared/platform/slices.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { Resume as ResumeView, ResumeOrder } from '../../shared/wire/resume-api.ts';
import type {
  FreshAuthority,
  NoticeAuthority,
  PolicyAuthority,
} from '../authority/authority-view.ts';
import { planFromControl, type AuthorityAtHand } from '../core/admission.ts';
import { decisionInputOf } from '../core/decision-input.ts';
import { noticedOperation } from '../core/noticed-request.ts';
import type { LifecycleEvent, ResumeBasis, StoredOperation } from '../core/operation-record.ts';
import { fullPace, paceAt, type ResumePace } from '../core/resume-pace.ts';
import {
  classifyPaused,
  isConfirmedSince,
  noTally,
  verdictOf,
  type ResumeTally,
  type ResumeVerdict,
} from '../core/resume-verdict.ts';
import { FIRST_DEADLINE, type DeadlineCursor } from '../journal/journal-reader.ts';
import type { Journal } from '../journal/journal.ts';
import type { Executions } from './executions.ts';

const PAGE = 200;
const CLASSIFIED_PER_ROUND_MAX = 2_000;
const RELEASED_PER_ROUND_MAX = 500;
/** Until what needs a person, and nothing else is left, is looked at again. */
const REST_MS = 10_000;
const NEEDS_PERSON_SHOWN_MAX = 100;
/** Of control's answer for one operation that is released with it. */
const FRESH_MS = 5_000;

const AWAY = 'control is out of reach';

export type ResumeParts = {
  readonly journal: Journal;
  readonly executions: Executions;
  readonly policy: PolicyAuthority;
  readonly notices: NoticeAuthority;
  readonly fresh: FreshAuthority;
  readonly clock: Clock;
  readonly logger: Logger;
  /** As configured. */
  readonly ratePerSecond: number;
  readonly pause: Pause;
  readonly onResumed: (as: 'released' | 'refused' | 'released_by_person') => void;
};

/** One look through all that is paused, and then the release of it. */
type Pass = {
  readonly policyRevision: number | null;
  phase: 'classifying' | 'releasing';
  cursor: DeadlineCursor;
  readonly tally: ResumeTally;
  readonly needsPerson: ResumeView['needsPerson'];
};
type Waiting = { readonly for: string } | null;
export type OrderedBy = { readonly by: string; readonly reason: string };

export class Resume {
  readonly #parts: ResumeParts;
  #order: ResumeOrder | null;
  #lostSinceBootMs: number;
  #waiting: Waiting = { for: AWAY };
  #pass: Pass | null = null;
  /** What is left of the last pass needs a person. */
  #restUntilBootMs: number | null = null;
  #pace: ResumePace;
  #released = 0;
  #refused = 0;

  constructor(parts: ResumeParts) {
    this.#parts = parts;
    const { journal, clock } = parts;
    this.#order = journal.quarantine === null ? journal.reader.resumeOrder() : null;
    this.#lostSinceBootMs = clock.now().bootMs;
    this.#pace = fullPace(this.#rate, this.#lostSinceBootMs);
  }

  get #rate(): number {
    return this.#order?.ratePerSecond ?? this.#parts.ratePerSecond;
  }

  get #isStopped(): boolean {
    return this.#order?.isStopped ?? false;
  }

  /** Control is out of reach, or has withdrawn the authority of this host, since that moment. */
  lost(sinceBootMs: number, why: string = AWAY): void {
    this.#lostSinceBootMs = Math.max(this.#lostSinceBootMs, sinceBootMs);
    this.#waiting = { for: why };
    this.#pass = null;
    this.#restUntilBootMs = null;
  }

  /** Control is within reach. */
  async round(): Promise<void> {
    const now = this.#parts.clock.now();
    this.#waiting = this.#waitsFor(now);
    if (this.#waiting !== null || this.#paused() === 0) {
      this.#pass = null;
      return;
    }
    const pass = this.#passFor(now);
    if (pass.phase === 'classifying') await this.#classify(pass);
    if (pass.phase === 'releasing' && this.#restUntilBootMs === null) await this.#release(pass);
  }

  status(): ResumeView {
    const pass = this.#pass;
    const tally = pass?.tally ?? noTally();
    return {
      state: this.#state(),
      waitingFor: this.#waiting?.for ?? null,
      ratePerSecond: this.#rate,
      policyRevision: this.#parts.policy.activePolicy()?.policyRevision ?? null,
      remaining: this.#paused(),
      classified: Object.values(tally).reduce((sum, count) => sum + count, 0),
      byVerdict: { ...tally },
      held: tally.needs_person + tally.not_yet,
      released: this.#released,
      refused: this.#refused,
      order: this.#order,
      needsPerson: [...(pass?.needsPerson ?? [])],
    };
  }

  /** S3. */
  async stop(ordered: OrderedBy): Promise<ResumeView> {
    return this.#give({ order: 'stop', isStopped: true, ratePerSecond: this.#ordered }, ordered);
  }

  async start(ordered: OrderedBy): Promise<ResumeView> {
    return this.#give({ order: 'start', isStopped: false, ratePerSecond: this.#ordered }, ordered);
  }

  /** `null`: as configured. */
  async setRate(ratePerSecond: number | null, ordered: OrderedBy): Promise<ResumeView> {
    return this.#give({ order: 'rate', isStopped: this.#isStopped, ratePerSecond }, ordered);
  }

  /**
   * One of them, by a person, also while they are stopped. Throws `operation_not_paused`,
   * `operation_paused`, `deadline_passed`, or `resume_refused`: policy is nobody's to pass over (S1).
   */
  async release(operationId: string, { by, reason }: OrderedBy): Promise<StoredOperation> {
    const { executions, clock } = this.#parts;
    const operation = executions.find(operationId, null);
    if (operation.state !== 'paused') throw notPaused(operation);
    const waiting = this.#waiting ?? this.#waitsFor(clock.now());
    if (waiting !== null)
      throw new HoldfastError('operation_paused', `it stays paused: ${waiting.for}`, {
        retry_after_ms: 1_000,
      });
    const basis = basisFor(operation, await this.#decide(operation));
    const event = { kind: 'regain_control', basis: { ...basis, by, why: reason } } as const;
    const applied = await executions.apply(operationId, null, event);
    if (!applied.changed) throw notPaused(applied.operation);
    this.#count('released_by_person');
    return applied.operation;
  }

  get #ordered(): number | null {
    return this.#order?.ratePerSecond ?? null;
  }

  #paused(): number {
    return this.#parts.journal.operationCounts()['paused'] ?? 0;
  }

  #state(): ResumeView['state'] {
    if (this.#paused() === 0) return this.#isStopped ? 'stopped' : 'idle';
    if (this.#waiting !== null) return 'waiting';
    if (this.#pass?.phase !== 'releasing') return 'classifying';
    if (this.#isStopped) return 'stopped';
    return this.#restUntilBootMs === null ? 'releasing' : 'held';
  }

  /** S1. */
  #waitsFor(now: Instant): Waiting {
    const { policy } = this.#parts;
    const revoked = policy.revoked();
    if (revoked !== null) return { for: `control has withdrawn the authority: ${revoked.reason}` };
    if (isConfirmedSince(policy.stalenessMs(now), this.#lostSinceBootMs, now)) return null;
    return { for: 'control has not confirmed the policy in force since it was lost' };
  }

  #authority(operation: StoredOperation): AuthorityAtHand {
    const { policy, notices, clock } = this.#parts;
    const now = clock.now();
    const [revoked, stalenessMs] = [policy.revoked(), policy.stalenessMs(now)];
    const noticed = notices.against(noticedOperation(operation));
    return { policy: policy.activePolicy(), revoked, stalenessMs, now, noticed };
  }

  #passFor(now: Instant): Pass {
    const policyRevision = this.#parts.policy.activePolicy()?.policyRevision ?? null;
    const isOver = this.#restUntilBootMs !== null && now.bootMs >= this.#restUntilBootMs;
    if (this.#pass !== null && this.#pass.policyRevision === policyRevision && !isOver)
      return this.#pass;
    this.#restUntilBootMs = null;
    this.#pass = {
      policyRevision,
      phase: 'classifying',
      cursor: FIRST_DEADLINE,
      tally: noTally(),
      needsPerson: [],
    };
    return this.#pass;
  }

  async #classify(pass: Pass): Promise<void> {
    const { journal, pause } = this.#parts;
    for (let done = 0; done < CLASSIFIED_PER_ROUND_MAX; done += PAGE) {
      const page = journal.reader.pausedByDeadline(pass.cursor, PAGE);
      for (const { operation, cursor } of page) {
        pass.cursor = cursor;
        this.#tell(pass, operation, classifyPaused(operation, this.#authority(operation)));
      }
      if (page.length < PAGE) {
        pass.phase = 'releasing';
        pass.cursor = FIRST_DEADLINE;
        this.#parts.logger.info({ ...pass.tally }, 'paused work was decided again');
        return;
      }
      await pause();
    }
  }

  #tell(pass: Pass, operation: StoredOperation, verdict: ResumeVerdict): void {
    pass.tally[verdict.kind] += 1;
    if (verdict.kind !== 'needs_person' || pass.needsPerson.length >= NEEDS_PERSON_SHOWN_MAX)
      return;
    const { operationId, principal, action, deadlineAtMs } = operation;
    const { reason, detail } = verdict;
    pass.needsPerson.push({ operationId, principal, action, reason, detail, deadlineAtMs });
  }

  async #release(pass: Pass): Promise<void> {
    const { journal, clock } = this.#parts;
    const { bootMs } = clock.now();
    this.#pace = paceAt(this.#pace, this.#rate, bootMs);
    if (this.#isStopped) return;
    const chosen: StoredOperation[] = [];
    let isEnd = false;
    const room = Math.min(RELEASED_PER_ROUND_MAX, Math.floor(this.#pace.tokens));
    for (let seen = 0; chosen.length < room && seen < CLASSIFIED_PER_ROUND_MAX && !isEnd;) {
      const page = journal.reader.pausedByDeadline(pass.cursor, PAGE);
      isEnd = page.length < PAGE;
      seen += page.length;
      for (const { operation, cursor } of page) {
        if (chosen.length === room) {
          isEnd = false;
          break;
        }
        pass.cursor = cursor;
        const { kind } = classifyPaused(operation, this.#authority(operation));
        if (kind === 'may_continue' || kind === 'ask_control' || kind === 'refused')
          chosen.push(operation);
      }
    }
    this.#pace = { ...this.#pace, tokens: this.#pace.tokens - chosen.length };
    await Promise.all(chosen.map((operation) => this.#settle(pass, operation)));
    if (isEnd) this.#restUntilBootMs = bootMs + (chosen.length > 0 ? 0 : REST_MS);
  }

  /** S1: decided again at the last moment. */
  async #settle(pass: Pass, operation: StoredOperation): Promise<void> {
    const was = classifyPaused(operation, this.#authority(operation)).kind;
    const verdict = await this.#decide(operation);
    if (this.#isStopped || this.#pass !== pass) return;
    const event = eventOf(verdict);
    if (event === null) {
      this.#retell(pass, operation, was, verdict);
      return;
    }
    const { executions, logger } = this.#parts;
    const { operationId } = operation;
    try {
      const { changed, operation: next } = await executions.apply(operationId, null, event);
      if (!changed) return;
      pass.tally[was] = Math.max(0, pass.tally[was] - 1);
      this.#count(event.kind === 'regain_control' ? 'released' : 'refused');
      const { state, reason } = next;
      logger.info({ operationId, event: event.kind, state, reason }, 'paused work moved on');
    } catch (error) {
      // A full queue, or a record that went another way meanwhile: the next pass looks again.
      if (error instanceof HoldfastError && error.code !== 'outcome_unknown') return;
      throw error;
    }
  }

  #retell(
    pass: Pass,
    operation: StoredOperation,
    was: ResumeVerdict['kind'],
    verdict: ResumeVerdict,
  ): void {
    pass.tally[was] = Math.max(0, pass.tally[was] - 1);
    this.#tell(pass, operation, verdict);
  }

  async #decide(operation: StoredOperation): Promise<ResumeVerdict> {
    const verdict = classifyPaused(operation, this.#authority(operation));
    if (verdict.kind !== 'ask_control') return verdict;
    const answer = await this.#parts.fresh.decide(decisionInputOf(operation));
    if (!answer.ok) return { kind: 'not_yet', detail: answer.detail };
    const { decision, policyRevision, stalenessMs } = answer;
    const endsBootMs = this.#parts.clock.now().bootMs + FRESH_MS;
    return verdictOf(
      operation,
      planFromControl(decision, { policyRevision, stalenessMs, endsBootMs }),
    );
  }

  #count(as: Parameters<ResumeParts['onResumed']>[0]): void {
    if (as === 'refused') this.#refused += 1;
    else this.#released += 1;
    this.#parts.onResumed(as);
  }

  /** S3. */
  async #give(
    order: Pick<ResumeOrder, 'order' | 'isStopped' | 'ratePerSecond'>,
    { by, reason }: OrderedBy,
  ): Promise<ResumeView> {
    const { journal, clock, logger } = this.#parts;
    const before = this.#order;
    const fact: ResumeOrder = { ...order, by, reason, atMs: clock.now().wallMs };
    // A stop holds while it is written; what lets more go waits until it is on disk.
    if (order.isStopped) this.#order = fact;
    try {
      await journal.submit({ type: 'order_resume', kind: 'resume_ordered', fact });
    } catch (error) {
      if (this.#order === fact) this.#order = before;
      throw error;
    }
    this.#order = fact;
    this.#restUntilBootMs = null;
    logger.warn({ ...fact }, 'order about the resumption of paused work');
    return this.status();
  }
}

function eventOf(verdict: ResumeVerdict): LifecycleEvent | null {
  if (verdict.kind === 'may_continue') return { kind: 'regain_control', basis: verdict.basis };
  if (verdict.kind === 'refused') return { kind: 'refuse_resume', refusal: verdict.refusal };
  return null;
}

function basisFor(operation: StoredOperation, verdict: ResumeVerdict): ResumeBasis {
  const { operationId } = operation;
  switch (verdict.kind) {
    case 'may_continue':
      return verdict.basis;
    case 'needs_person':
      if (verdict.basis !== null) return verdict.basis;
      throw refusedNow(operationId, verdict.detail);
    case 'refused':
      throw refusedNow(operationId, verdict.refusal.message);
    case 'deadline_passed':
      throw new HoldfastError('deadline_passed', `the deadline of ${operationId} has passed`);
    case 'ask_control':
      throw new Error('control was asked, and the answer is to ask control');
    case 'not_yet':
      throw new HoldfastError('operation_paused', `it stays paused: ${verdict.detail}`, {
        retry_after_ms: 1_000,
      });
  }
}

function refusedNow(operationId: string, detail: string): HoldfastError {
  return new HoldfastError(
    'resume_refused',
    `the policy in force does not let operation ${operationId} go on: ${detail}; publish one that does, or cancel it`,
  );
}

function notPaused({ operationId, state }: StoredOperation): HoldfastError {
  return new HoldfastError('operation_not_paused', `operation ${operationId} is ${state}`);
}
