/**
 * What is to become of a paused operation now that control is back: it is decided again, from what
 * its record says, under the policy in force.
 *
 * V1  Nothing goes on that the policy in force refuses, whatever it said at the admission (I3). What
 *     a rule of class `fresh` covers is for control to decide, now (I4).
 * V2  Authority counts only as of a sync that was sent after control had been lost: what was in force
 *     before may be what control has changed meanwhile (I5).
 * V3  Where policy does not say no and does not say yes either (an approval that was not given, an
 *     expression fails), and where an effect was begun whose result nobody knows, a person decides.
 * V4  Pure refusals by policy end the operation; those of the moment leave it paused.
 */
import type { Instant } from '../../shared/core/time.ts';
import type { ErrorCode } from '../../shared/wire/problem.ts';
import type { ResumeVerdictKind } from '../../shared/wire/resume-api.ts';
import { isApprovedFor } from './approval-use.ts';
import { planAdmission, type AuthorityAtHand, type Plan } from './admission.ts';
import { decisionInputOf } from './decision-input.ts';
import {
  deadlinePassed,
  unreported,
  type ResumeBasis,
  type ResumeRefusal,
  type StoredOperation,
} from './operation-record.ts';

export type ResumeVerdict =
  | { readonly kind: 'may_continue'; readonly basis: ResumeBasis }
  | { readonly kind: 'ask_control' | 'deadline_passed' }
  | { readonly kind: 'refused'; readonly refusal: ResumeRefusal }
  | {
      readonly kind: 'needs_person';
      readonly reason: 'effect_unreported' | 'approval_required' | 'rule_error';
      readonly detail: string;
      /** With it a person may release it all the same; `null` where policy does not permit it. */
      readonly basis: ResumeBasis | null;
    }
  | { readonly kind: 'not_yet'; readonly detail: string };

/** V4: what the host lacks at the moment, not what policy says of the operation. */
const OF_THE_MOMENT: ReadonlySet<ErrorCode> = new Set([
  'control_rejected',
  'policy_absent',
  'policy_expired',
  'principal_revoked',
  'credential_revoked',
  'action_killed',
  'resource_held',
  'notices_unknown',
]);

export function classifyPaused(
  operation: StoredOperation,
  authority: AuthorityAtHand,
): ResumeVerdict {
  if (deadlinePassed(operation, authority.now)) return { kind: 'deadline_passed' };
  const plan = planAdmission(authority, decisionInputOf(operation));
  if (plan.kind === 'ask_control') return { kind: 'ask_control' };
  return verdictOf(operation, plan);
}

/** Of a plan that is made, here or with control's own answer. */
export function verdictOf(
  operation: StoredOperation,
  plan: Exclude<Plan, { kind: 'ask_control' }>,
): Exclude<ResumeVerdict, { kind: 'ask_control' }> {
  if (plan.kind === 'refused') {
    const { code, detail, policyRevision, rule } = plan;
    if (OF_THE_MOMENT.has(code)) return { kind: 'not_yet', detail };
    if (code === 'rule_error') return { kind: 'needs_person', reason: code, detail, basis: null };
    return { kind: 'refused', refusal: { code, message: detail, policyRevision, rule } };
  }
  const { basis: by, decision, terms } = plan;
  if (terms.approval !== null && !isApprovedFor(terms.approval, operation)) {
    const detail = `rule ${decision.rule} asks for an approval from role:${terms.approval.role}, which the operation does not have: cancel it, and submit it anew`;
    return { kind: 'needs_person', reason: 'approval_required', detail, basis: null };
  }
  const { basis, policyRevision, stalenessMs } = by;
  const found: ResumeBasis = { basis, policyRevision, stalenessMs, rule: decision.rule ?? '' };
  const open = unreported(operation).find(({ idempotent }) => !idempotent);
  if (open === undefined) return { kind: 'may_continue', basis: found };
  const detail = `attempt ${open.attempt} began effect ${open.name} and its result is not known: report it, or find out and release the operation`;
  return { kind: 'needs_person', reason: 'effect_unreported', detail, basis: found };
}

/** V2. `lostSinceBootMs`: when control was lost, or when this process started. */
export function isConfirmedSince(
  stalenessMs: number | null,
  lostSinceBootMs: number,
  now: Instant,
): boolean {
  return stalenessMs !== null && now.bootMs - stalenessMs >= lostSinceBootMs;
}

export type ResumeTally = Record<ResumeVerdictKind, number>;

export const noTally = (): ResumeTally => ({
  may_continue: 0,
  ask_control: 0,
  refused: 0,
  needs_person: 0,
  deadline_passed: 0,
  not_yet: 0,
});
