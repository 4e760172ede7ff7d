/**
 * The shell around the execution of accepted operations. None of it calls control (I10), but for an
 * effect whose rule says `recheck: commit`: ownership is looked up in the leases at hand, and every
 * decision is made by the writer on the record in its transaction.
 */
import { ownershipAt, type OwnershipVerdict } from '../../shared/core/lease.ts';
import type { TraceContext } from '../../shared/core/trace-context.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import { failpoint } from '../../shared/platform/failpoints.ts';
import { SPAN_ATTRIBUTES } from '../../shared/platform/tracing.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type {
  FreshAuthority,
  LeaseAuthority,
  NoticeAuthority,
} from '../authority/authority-view.ts';
import { notExecuting, staleAttempt } from '../core/operation-steps.ts';
import type { Noticed } from '../core/notice-book.ts';
import { noticedOperation } from '../core/noticed-request.ts';
import { hasEnded, type LifecycleEvent, type StoredOperation } from '../core/operation-record.ts';
import type { JournalAnswer } from '../journal/journal-command.ts';
import type { Journal } from '../journal/journal.ts';
import { EffectRecheck, refusedEffect } from './effect-recheck.ts';
import type { Heartbeats } from './heartbeats.ts';
import { attemptTrace, spannedStep } from './operation-spans.ts';

const CONFLICT_RETRY_MS = 500;

export type Applied = {
  readonly operation: StoredOperation;
  readonly changed: boolean;
  readonly replayed: boolean;
};

export class Executions {
  readonly #journal: Journal;
  readonly #leases: LeaseAuthority;
  readonly #notices: NoticeAuthority;
  readonly #recheck: EffectRecheck;
  readonly #heartbeats: Heartbeats;
  readonly #clock: Clock;

  constructor(parts: {
    journal: Journal;
    leases: LeaseAuthority;
    notices: NoticeAuthority;
    fresh: FreshAuthority;
    heartbeats: Heartbeats;
    clock: Clock;
  }) {
    this.#journal = parts.journal;
    this.#leases = parts.leases;
    this.#notices = parts.notices;
    this.#recheck = new EffectRecheck(parts);
    this.#heartbeats = parts.heartbeats;
    this.#clock = parts.clock;
  }

  /** `app: null` sees the operations of every app. Throws `operation_not_found`. */
  find(operationId: string, app: string | null): StoredOperation {
    const operation = this.#journal.operation(operationId);
    if (operation === null || (app !== null && operation.app !== app)) throw notFound(operationId);
    return operation;
  }

  async startAttempt(
    operationId: string,
    app: string | null,
    request: { supersede: boolean; key: string | null },
  ): Promise<Applied & { readonly trace: TraceContext | null }> {
    const operation = this.find(operationId, app);
    return spannedStep('holdfast.attempt', { operation }, async (tell) => {
      await this.#obey(operation);
      const applied = await this.apply(operationId, app, {
        kind: 'start_attempt',
        ...request,
        ownership: this.#ownership(operation, true),
      });
      tell({ [SPAN_ATTRIBUTES.attempt]: applied.operation.attempt });
      return { ...applied, trace: attemptTrace(applied.operation) };
    });
  }

  async beginEffect(
    operationId: string,
    app: string | null,
    request: { attempt: number; name: string; key: string | null },
  ): Promise<Applied> {
    const operation = this.find(operationId, app);
    const step = { operation, attempt: request.attempt, effect: request.name, step: 'begin' };
    return spannedStep('holdfast.effect', step, () => this.#begin(operation, app, request));
  }

  /** What became of an effect. */
  async settleEffect(
    operationId: string,
    app: string | null,
    settled: Omit<LifecycleEvent & { kind: 'settle_effect' }, 'kind'>,
  ): Promise<Applied> {
    const operation = this.find(operationId, app);
    const step = { operation, attempt: settled.attempt, effect: settled.name, step: 'settle' };
    return spannedStep('holdfast.effect', step, (tell) => {
      tell({ [SPAN_ATTRIBUTES.outcome]: settled.outcome });
      return this.apply(operationId, app, { kind: 'settle_effect', ...settled });
    });
  }

  async #begin(
    operation: StoredOperation,
    app: string | null,
    request: { attempt: number; name: string; key: string | null },
  ): Promise<Applied> {
    await this.#obey(operation);
    const { operationId } = operation;
    const asked = {
      kind: 'begin_effect' as const,
      ...request,
      ownership: this.#ownership(operation, false),
    };
    const answer = await this.#recheck.ask(operation, asked);
    // One may have come while control was asked.
    if (answer.kind === 'permitted') await this.#obey(operation);
    if (answer.kind === 'permitted') {
      const ownership = this.#ownership(operation, false);
      return this.apply(operationId, app, { ...asked, ownership, recheck: answer.proof });
    }
    if (answer.kind === 'not_needed')
      return this.apply(operationId, app, { ...asked, recheck: null });
    const { refusal } = answer;
    const { attempt, name } = request;
    await this.apply(operationId, app, { kind: 'refuse_effect', attempt, name, refusal });
    throw refusedEffect(operation, name, refusal);
  }

  /** Throws what a notice says against going on; what becomes of the record is for its `onRevoke`. */
  async #obey(operation: StoredOperation): Promise<void> {
    const noticed = this.revokedBy(operation);
    if (noticed === null) return;
    const { operationId } = operation;
    await this.apply(operationId, null, { kind: 'revoke_authority', because: noticed.code });
    throw new HoldfastError(noticed.code, noticed.detail, { operationId });
  }

  /** The notice by which it is not to go on. */
  revokedBy(operation: StoredOperation): Noticed | null {
    if (operation.onRevoke === 'finish' || hasEnded(operation)) return null;
    const noticed = this.#notices.against(noticedOperation(operation));
    // What is not known stops nothing that was accepted.
    return noticed?.code === 'notices_unknown' ? null : noticed;
  }

  /** O9. */
  async reportOutcome(
    operationId: string,
    app: string | null,
    report: Omit<LifecycleEvent & { kind: 'report_outcome' }, 'kind' | 'ownership'>,
  ): Promise<Applied> {
    const operation = this.find(operationId, app);
    const step = { operation, attempt: report.attempt };
    return spannedStep('holdfast.outcome', step, (tell) => {
      tell({ [SPAN_ATTRIBUTES.outcome]: report.outcome });
      const ownership = this.#ownership(operation, false);
      return this.apply(operationId, app, { kind: 'report_outcome', ...report, ownership });
    });
  }

  /** Not journaled, unless there is a checkpoint to save. */
  async heartbeat(
    operationId: string,
    app: string | null,
    beat: { attempt: number; checkpoint?: unknown },
  ): Promise<StoredOperation> {
    if (beat.checkpoint !== undefined) {
      const saved = await this.apply(operationId, app, {
        kind: 'save_checkpoint',
        attempt: beat.attempt,
        checkpoint: beat.checkpoint,
      });
      return saved.operation;
    }
    const operation = this.find(operationId, app);
    const refusal = staleAttempt(operation, beat.attempt) ?? notExecuting(operation);
    if (refusal !== null) throw declined({ type: 'declined', ...refusal }, operationId);
    this.#heartbeats.follow(operation, this.#clock.now().bootMs);
    return operation;
  }

  async apply(operationId: string, app: string | null, event: LifecycleEvent): Promise<Applied> {
    failpoint('execution.before_submit');
    const answer = await this.#journal.submit({ type: 'apply', operationId, app, event });
    if (answer.type !== 'applied') throw declined(answer, operationId);
    this.#heartbeats.follow(answer.operation, this.#clock.now().bootMs);
    return answer;
  }

  /**
   * Durable before it resolves: the comparison and the new high-water mark are one transaction
   * (I6).
   */
  async checkFence(
    resource: string,
    epoch: number,
  ): Promise<{ highestEpoch: number; accepted: boolean }> {
    const answer = await this.#journal.submit({ type: 'check_fence', resource, epoch });
    if (answer.type !== 'fence') throw declined(answer, resource);
    this.#leases.noteEpoch({ resource, epoch: answer.highestEpoch });
    return answer;
  }

  /** As an attempt that begins now would have it; what is not held is asked for. */
  ownershipOf(operation: StoredOperation): OwnershipVerdict | null {
    return this.#ownership(operation, true);
  }

  /** Whether the lease under which its attempt began is gone, or another epoch of it is held. */
  isLeaseLost(operation: StoredOperation): boolean {
    const verdict = this.#ownership(operation, false);
    if (verdict === null) return false;
    return !verdict.owned || verdict.epoch !== operation.attemptLeaseEpoch;
  }

  /** Its worker is known to live now. */
  follow(operation: StoredOperation): void {
    this.#heartbeats.follow(operation, this.#clock.now().bootMs);
  }

  #ownership(operation: StoredOperation, wanted: boolean): OwnershipVerdict | null {
    if (operation.leaseResource === null || operation.ownershipMode === null) return null;
    const verdict = ownershipAt(this.#leases.lease(operation.leaseResource), {
      mode: operation.ownershipMode,
      graceMs: operation.ownershipGraceMs,
      now: this.#clock.now(),
    });
    if (!verdict.owned && wanted) this.#leases.want(operation.leaseResource);
    return verdict;
  }
}

function notFound(operationId: string): HoldfastError {
  return new HoldfastError(
    'operation_not_found',
    `there is no operation ${operationId} of this app on this host`,
  );
}

export function declined(answer: JournalAnswer, what: string): Error {
  if (answer.type !== 'declined')
    return new Error(`the journal answered ${answer.type} about ${what}`);
  const retry =
    answer.code === 'attempt_in_progress' ||
    answer.code === 'operation_paused' ||
    answer.code === 'reconciliation_claimed'
      ? { retry_after_ms: CONFLICT_RETRY_MS }
      : {};
  return new HoldfastError(answer.code, answer.detail, retry);
}
