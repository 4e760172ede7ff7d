/**
 * What an admission would end as, without one (DESIGN 8). It goes the way of `admission.ts`, so that
 * the two cannot differ: plan, then owner; of what comes after, the limits, as they are now.
 *
 * D1  Nothing is recorded, asked for or spent: no refusal, no lease, no limit, no key.
 * D2  The decision under a rule of class `fresh` is control's, like that of the admission (I4).
 */
import { ownershipAt, type HeldLease } from '../../shared/core/lease.ts';
import type { Decision } from '../../shared/core/policy.ts';
import type { Instant } from '../../shared/core/time.ts';
import type { DecisionAnswer } from '../../shared/wire/decision.ts';
import type { LimitState } from '../../shared/wire/limits.ts';
import type { DecisionInput } from '../../shared/wire/policy-document.ts';
import type { ErrorCode } from '../../shared/wire/problem.ts';
import { checkAdmissible, type Plan } from './admission.ts';

/** The state of the limits of a rule for one request, and what they would refuse it with. */
export type LimitsNow = {
  readonly states: readonly LimitState[];
  readonly refusal: Refusal | null;
};

export type Preview = Pick<
  DecisionAnswer,
  'basis' | 'stalenessMs' | 'maxStalenessMs' | 'lease' | 'limits'
> & { readonly refusal: Refusal | null };

/** With what an admission would be refused. */
type Refusal = { readonly code: ErrorCode; readonly detail: string };

export type PreviewAt = {
  readonly decision: Decision;
  readonly plan: Exclude<Plan, { kind: 'ask_control' }>;
  readonly lease: HeldLease | undefined;
  readonly limits: LimitsNow | null;
  readonly now: Instant;
};

export function previewAdmission(input: DecisionInput, at: PreviewAt): Preview {
  const { decision, plan, limits, now } = at;
  const basis = plan.kind === 'decided' ? plan.basis : plan;
  return {
    basis: basis.basis ?? 'cached',
    stalenessMs: basis.stalenessMs,
    maxStalenessMs: decision.terms?.maxStalenessMs ?? null,
    lease: leaseVerdict(decision, at.lease, now),
    limits: limits?.states ?? null,
    refusal: refusalOf(input, at),
  };
}

function refusalOf(input: DecisionInput, at: PreviewAt): Refusal | null {
  const { plan, lease, limits, now } = at;
  const refused = plan.kind === 'refused' ? plan : checkAdmissible(plan, input, lease, now);
  if (refused.kind === 'admissible') return limits?.refusal ?? null;
  const { code, detail } = refused;
  return { code, detail };
}

function leaseVerdict(
  { terms, leaseResource }: Decision,
  lease: HeldLease | undefined,
  now: Instant,
): DecisionAnswer['lease'] {
  const ownership = terms?.ownership ?? null;
  if (ownership === null || leaseResource === null) return null;
  const { mode, graceMs } = ownership;
  const verdict = ownershipAt(lease, { mode, graceMs, now });
  return verdict.owned
    ? {
        resource: leaseResource,
        owned: true,
        epoch: verdict.epoch,
        inGrace: verdict.inGrace,
        reason: null,
      }
    : {
        resource: leaseResource,
        owned: false,
        epoch: lease?.epoch ?? null,
        inGrace: false,
        reason: verdict.reason,
      };
}
