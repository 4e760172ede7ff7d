/**
 * The shell around admission: read what is at hand, decide in `core/`, write, then answer.
 *
 * I1  the answer comes after the journal's; I2  a known key is answered with its record, whatever
 *     policy says now;
 * I3  every record and refusal names its basis; I10  a bounded admission makes no call to control.
 *
 * What limits allow is taken before the journal is asked and given back where it records nothing
 * new. So a retry under a known key holds room for a moment: whoever finds none looks once more
 * after its own key was looked up, when all that were asked for before have been answered.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import { digestOf } from '../../shared/platform/digest.ts';
import { failpoint } from '../../shared/platform/failpoints.ts';
import type { Random } from '../../shared/platform/random.ts';
import { SPAN_ATTRIBUTES, currentTrace, isHeard, spanned } from '../../shared/platform/tracing.ts';
import { makeId } from '../../shared/core/ids.ts';
import { traceIdOf } from '../../shared/core/trace-context.ts';
import type { AdmitRequest, Refusal } from '../../shared/wire/operation.ts';
import { ERRORS, HoldfastError } from '../../shared/wire/problem.ts';
import type {
  FreshAuthority,
  LeaseAuthority,
  NoticeAuthority,
  OutageAuthority,
  PolicyAuthority,
} from '../authority/authority-view.ts';
import {
  checkAdmissible,
  planAdmission,
  planFromControl,
  type Admissible,
  type Plan,
  type Refused,
} from '../core/admission.ts';
import { approvalBarrier } from '../core/approval-use.ts';
import { newAdmission } from '../core/new-admission.ts';
import { noticedRequest } from '../core/noticed-request.ts';
import type { StoredOperation } from '../core/operation-record.ts';
import type { Journal } from '../journal/journal.ts';
import { approvalRequestId } from './approvals.ts';
import { admissionFacts } from './operation-spans.ts';
import type { LimitKeeper, Reservation } from './limit-keeper.ts';
import type { LimitRefusals } from './limit-refusals.ts';

const { action: ACTION } = SPAN_ATTRIBUTES;

/** What a retry may usefully wait for when authority is missing: about one sync. */
const AUTHORITY_RETRY_MS = 1_000;

/** How long control's fresh answer holds for the one admission that it was asked for. */
const FRESH_ANSWER_MS = 5_000;

export type Caller = {
  readonly app: string;
  readonly idempotencyKey: string;
  /** The operation that what is asked for is to undo. */
  readonly compensates?: string;
};
export type Admitted = { readonly operation: StoredOperation; readonly replayed: boolean };

type LocalPlan = Exclude<Plan, { kind: 'ask_control' }>;
type Ready = {
  readonly kind: 'ready';
  readonly plan: Plan & { kind: 'decided' };
  readonly admissible: Admissible;
  readonly reservation: Reservation;
};

export type AdmissionParts = {
  readonly journal: Journal;
  readonly policy: PolicyAuthority;
  readonly notices: NoticeAuthority;
  readonly leases: LeaseAuthority;
  readonly fresh: FreshAuthority;
  readonly outages: OutageAuthority;
  /** Whether control can give approvals. */
  readonly approvalsServed: () => boolean;
  readonly limits: LimitKeeper;
  readonly limitRefusals: LimitRefusals;
  readonly clock: Clock;
  readonly random: Random;
  readonly hostId: () => string;
  readonly onDecision: (fact: {
    decision: 'admitted' | 'replayed' | 'refused';
    reason: string;
    basis: string;
    policyRevision: number | null;
  }) => void;
  readonly onLimited: (limit: { rule: string; kind: string }) => void;
};

export class Admissions {
  readonly #parts: AdmissionParts;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
  }

  /**
   * Resolves when the record is on disk. Throws a `HoldfastError`; where policy refused, the
   * refusal is recorded too.
   */
  admit(caller: Caller, request: AdmitRequest): Promise<Admitted> {
    if (!isHeard()) return this.#admit(caller, request);
    return spanned('holdfast.admission', { facts: { [ACTION]: request.action } }, async (tell) => {
      const admitted = await this.#admit(caller, request);
      const { operation, replayed } = admitted;
      tell(admissionFacts(operation, replayed ? 'replayed' : 'admitted'));
      return admitted;
    });
  }

  async #admit(caller: Caller, request: AdmitRequest): Promise<Admitted> {
    const { journal, limits } = this.#parts;
    const fingerprint = digestOf(request);
    const plan = this.#plan(caller, request);
    let local = plan.kind === 'ask_control' ? plan : this.#settle(plan, request);
    if (local.kind !== 'ready') {
      // What is ready meets its key in the journal; nothing else is said of a key that is known.
      const known = await journal.operationByKey(caller.app, caller.idempotencyKey);
      if (known !== null) return this.#replay(caller, known, fingerprint);
      if (plan.kind !== 'ask_control' && local.kind === 'refused' && local.limit !== undefined)
        local = this.#settle(this.#looked(caller, request, plan), request);
    }
    const verdict =
      local.kind === 'ask_control'
        ? this.#settle(
            this.#looked(caller, request, await this.#askControl(local, request)),
            request,
          )
        : local;
    if (verdict.kind !== 'ready') throw await this.#refuse(caller, request, verdict);
    let answer: Awaited<ReturnType<Journal['admit']>>;
    let isNew = false;
    try {
      failpoint('admission.before_submit');
      answer = await journal.admit(this.#entryOf(caller, fingerprint, request, verdict));
      isNew = answer.type === 'admitted' && !answer.replayed;
    } finally {
      // What limits hold for it goes back wherever nothing new is recorded.
      if (!isNew) limits.giveBack(verdict.reservation);
    }
    if (answer.type === 'declined')
      throw await this.#declined(caller, request, verdict.plan, answer);
    const { operation, replayed } = answer;
    this.#parts.onDecision({
      decision: replayed ? 'replayed' : 'admitted',
      reason: 'permitted',
      basis: operation.basis,
      policyRevision: operation.policyRevision,
    });
    return { operation, replayed };
  }

  #entryOf(
    caller: Caller,
    fingerprint: string,
    request: AdmitRequest,
    { plan, admissible, reservation }: Ready,
  ): Parameters<Journal['admit']>[0] {
    const { clock, random } = this.#parts;
    const now = clock.now();
    const asks = plan.terms.approval !== null;
    const approval = asks ? { approvalRequestId: approvalRequestId(now.wallMs, random) } : {};
    const trace = currentTrace();
    const admitter = { hostId: this.#parts.hostId(), ...caller, fingerprint, trace, ...approval };
    return {
      operationId: makeId('op', now.wallMs, random.bytes(16)),
      admission: newAdmission(admitter, request, plan, admissible, now),
      authorityEndsBootMs: admissible.authorityEndsBootMs,
      quota: reservation.quota,
      now,
    };
  }

  /** What is to be thrown where the journal took nothing. */
  async #declined(
    caller: Caller,
    request: AdmitRequest,
    { decision, basis }: Ready['plan'],
    {
      code,
      detail,
      operationId = '',
    }: Awaited<ReturnType<Journal['admit']>> & {
      type: 'declined';
    },
  ): Promise<HoldfastError> {
    if (code === 'idempotency_key_reused') return new HoldfastError(code, detail, { operationId });
    return this.#refuse(caller, request, {
      kind: 'refused',
      code,
      detail,
      leaseResource: code === 'lease_expired' ? decision.leaseResource : null,
      rule: decision.rule,
      policyRevision: basis.policyRevision,
      basis: basis.basis,
      stalenessMs: basis.stalenessMs,
    });
  }

  #replay(caller: Caller, known: StoredOperation, fingerprint: string): Admitted {
    if (known.fingerprint !== fingerprint) {
      throw new HoldfastError(
        'idempotency_key_reused',
        `Idempotency-Key ${caller.idempotencyKey} names operation ${known.operationId} with another payload: use a new key for a new operation`,
        { operationId: known.operationId },
      );
    }
    const { basis, policyRevision } = known;
    this.#parts.onDecision({ decision: 'replayed', reason: 'permitted', basis, policyRevision });
    return { operation: known, replayed: true };
  }

  #plan({ app }: Caller, request: AdmitRequest): Plan {
    const now = this.#parts.clock.now();
    const { policy, notices } = this.#parts;
    return planAdmission(
      {
        policy: policy.activePolicy(),
        revoked: policy.revoked(),
        stalenessMs: policy.stalenessMs(now),
        now,
        noticed: notices.against(noticedRequest(app, request)),
      },
      request,
    );
  }

  /** A notice may have come while control was asked. */
  #looked({ app }: Caller, request: AdmitRequest, plan: LocalPlan): LocalPlan {
    const noticed = this.#parts.notices.against(noticedRequest(app, request));
    if (noticed === null || plan.kind === 'refused') return plan;
    const { code, detail } = noticed;
    const { decision, basis } = plan;
    return { kind: 'refused', code, detail, rule: decision.rule, ...basis, leaseResource: null };
  }

  async #askControl(
    { rule, policyRevision }: Plan & { kind: 'ask_control' },
    request: AdmitRequest,
  ): Promise<LocalPlan> {
    const { policy, fresh, clock } = this.#parts;
    const { deadlineMs: _, ...input } = request;
    const answer = await fresh.decide(input);
    if (!answer.ok) {
      return {
        kind: 'refused',
        code: answer.reason,
        detail: `rule ${rule} needs fresh authority: ${answer.detail}`,
        rule,
        policyRevision,
        basis: null,
        stalenessMs: policy.stalenessMs(clock.now()),
        leaseResource: null,
      };
    }
    return planFromControl(answer.decision, {
      policyRevision: answer.policyRevision,
      stalenessMs: answer.stalenessMs,
      endsBootMs: clock.now().bootMs + FRESH_ANSWER_MS,
    });
  }

  /** In the order of DESIGN section 4: approval, limits, owner and epoch, deadline. */
  #settle(plan: LocalPlan, request: AdmitRequest): Ready | Refused {
    if (plan.kind === 'refused') return plan;
    const { decision, terms, basis } = plan;
    const { limits, leases, clock } = this.#parts;
    const now = clock.now();
    const barrier = this.#approvalBarrier(plan);
    if (barrier !== null)
      return { kind: 'refused', ...barrier, rule: decision.rule, ...basis, leaseResource: null };
    // A control of before there were limits says nothing of them.
    const taken = limits.take(decision.rule ?? '', terms.limits ?? null, request, now);
    if (!taken.ok) {
      const { code, detail, ...limit } = taken.refusal;
      const { rule } = decision;
      return { kind: 'refused', code, detail, rule, ...basis, leaseResource: null, limit };
    }
    const { leaseResource } = decision;
    const lease = leaseResource === null ? undefined : leases.lease(leaseResource);
    const admissible = checkAdmissible(plan, request, lease, now);
    const { reservation } = taken;
    if (admissible.kind === 'admissible') return { kind: 'ready', plan, admissible, reservation };
    limits.giveBack(reservation);
    return admissible;
  }

  #approvalBarrier({ decision, terms }: Plan & { kind: 'decided' }) {
    const { outages, approvalsServed } = this.#parts;
    if (terms.approval === null) return null;
    const outage = outages.outageId();
    return approvalBarrier(decision, terms.approval, { isServed: approvalsServed(), outage });
  }

  /** Records the refusal and makes the error that says so; the caller throws it. */
  async #refuse(caller: Caller, request: AdmitRequest, refused: Refused): Promise<HoldfastError> {
    const { clock, random, outages } = this.#parts;
    if (refused.leaseResource !== null) this.#parts.leases.want(refused.leaseResource);
    const now = clock.now();
    const trace = currentTrace();
    const refusal: Refusal = {
      refusalId: makeId('ref', now.wallMs, random.bytes(16)),
      ...caller,
      principal: request.principal,
      action: request.action,
      resourceId: request.resource?.id ?? '',
      ...replayable(request),
      reason: refused.code,
      message: refused.detail,
      policyRevision: refused.policyRevision,
      rule: refused.rule,
      basis: refused.basis,
      stalenessMs: refused.stalenessMs,
      leaseEpoch: null,
      outageId: outages.outageId(),
      atMs: now.wallMs,
      atBoot: { bootId: now.bootId, bootMs: now.bootMs },
      ...(refused.limit === undefined ? {} : { limit: refused.limit.state }),
      ...(trace === null ? {} : { traceId: traceIdOf(trace) }),
    };
    const refusalId = await this.#recordRefusal(refusal, refused);
    this.#parts.onDecision({
      decision: 'refused',
      reason: refused.code,
      basis: refused.basis ?? 'none',
      policyRevision: refused.policyRevision,
    });
    const { policyRevision, rule, basis, stalenessMs, outageId } = refusal;
    const { state: limit, retryAfterMs = AUTHORITY_RETRY_MS } = refused.limit ?? {};
    return new HoldfastError(refused.code, refused.detail, {
      refusalId,
      policyRevision,
      rule,
      basis,
      stalenessMs,
      outageId,
      ...(limit === undefined ? {} : { limit }),
      ...(ERRORS[refused.code].retryable ? { retry_after_ms: retryAfterMs } : {}),
    });
  }

  async #recordRefusal(refusal: Refusal, { limit }: Refused): Promise<string> {
    const { journal, limitRefusals, onLimited } = this.#parts;
    if (limit !== undefined) {
      const { rule, kind } = limit.state;
      onLimited({ rule, kind });
      return limitRefusals.add(refusal);
    }
    await journal.submit({ type: 'refuse', refusal });
    return refusal.refusalId;
  }
}

/** Characters of JSON: a refusal is a note, and holds no more than it takes to decide it again. */
const REPLAYED_LENGTH_MAX = 4_096;

function replayable(request: AdmitRequest): Pick<Refusal, 'attributes' | 'resourceAttributes'> {
  const resourceAttributes = request.resource?.attributes ?? {};
  const attributes = request.attributes ?? {};
  const facts = { resourceAttributes, attributes };
  return JSON.stringify(facts).length > REPLAYED_LENGTH_MAX ? {} : facts;
}

/** 202 as long as it waits, also for who asks again. */
export function admissionStatus({ operation, replayed }: Admitted): 200 | 201 | 202 {
  if (operation.state === 'awaiting_approval') return 202;
  return replayed ? 200 : 201;
}
