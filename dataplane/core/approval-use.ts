/**
 * What an approval that has come is worth now: the revision in force may be another than the one
 * that asked for it.
 *
 * U1  What is approved is decided again at the moment of its use, under the authority of that moment.
 *     What that refuses is not done, whoever approved it.
 * U2  Where the rule then asks for an approval that this one is not (another role, or more approvers
 *     than there were), it is asked for anew; an approval never stands in for another.
 * U3  Where that cannot be decided now (control is to be asked and gives no answer, authority is too
 *     old), nothing is used up: control says it again with the next sync.
 */
import type { ApprovalTerms, Decision } from '../../shared/core/policy.ts';
import type { Instant } from '../../shared/core/time.ts';
import type { ApprovalAsked, ApprovalStatement } from '../../shared/wire/approval.ts';
import type { ErrorCode } from '../../shared/wire/problem.ts';
import type { Plan } from './admission.ts';
import type { StoredOperation } from './operation-record.ts';

export type ApprovalUse =
  | { readonly kind: 'fits'; readonly policyRevision: number }
  | {
      readonly kind: 'ask_anew';
      readonly policyRevision: number;
      readonly rule: string;
      readonly asked: ApprovalAsked;
    }
  | {
      readonly kind: 'refused';
      readonly policyRevision: number;
      readonly code: ErrorCode;
      readonly detail: string;
    };

/** What makes no decision possible now, and may pass. */
const PASSING: ReadonlySet<ErrorCode> = new Set([
  'control_unreachable',
  'control_rejected',
  'policy_absent',
  'policy_expired',
]);

/** `null`: it cannot be decided now (U3). */
export function useOf(
  plan: Exclude<Plan, { kind: 'ask_control' }>,
  word: Pick<ApprovalStatement, 'votes'>,
  at: {
    readonly operation: StoredOperation;
    readonly requestId: string;
    readonly now: Instant;
  },
): ApprovalUse | null {
  if (plan.kind === 'refused') {
    if (PASSING.has(plan.code)) return null;
    const policyRevision = plan.policyRevision ?? 0;
    return { kind: 'refused', policyRevision, code: plan.code, detail: plan.detail };
  }
  const { decision, terms, basis } = plan;
  const { policyRevision } = basis;
  const { approval } = terms;
  if (approval === null || suffices(approval, word, at.operation))
    return { kind: 'fits', policyRevision };
  const asked = askFor(approval, { ...at, deadline: at.operation });
  return { kind: 'ask_anew', policyRevision, rule: ruleOf(decision), asked };
}

function ruleOf({ rule }: Decision): string {
  return rule ?? '';
}

/** U2. */
function suffices(
  terms: ApprovalTerms,
  { votes }: Pick<ApprovalStatement, 'votes'>,
  { approval }: Pick<StoredOperation, 'approval'>,
): boolean {
  if (terms.role !== approval?.role) return false;
  const approvers = new Set(
    votes.filter(({ verdict }) => verdict === 'approve').map(({ by }) => by),
  );
  return approvers.size >= terms.required;
}

/** Whether the approval that an operation was given is one that these terms ask for. */
export function isApprovedFor(
  terms: ApprovalTerms,
  { approval }: Pick<StoredOperation, 'approval'>,
): boolean {
  return approval?.state === 'approved' && suffices(terms, approval, { approval });
}

type Deadline = Pick<StoredOperation, 'deadlineAtMs' | 'deadlineBoot'>;

/** What an operation says of the approval that it waits for. */
export function askFor(
  terms: ApprovalTerms,
  at: { readonly requestId: string; readonly now: Instant; readonly deadline: Deadline },
): ApprovalAsked {
  const { required, role, ttlMs, onControlLoss, showPayload } = terms;
  const { requestId, now, deadline } = at;
  const expiresAtMs = Math.min(steadyWallMs(deadline, now) + ttlMs, deadline.deadlineAtMs);
  return { requestId, required, role, ttlMs, onControlLoss, showPayload, expiresAtMs };
}

/** The wall clock as it would be had nobody set it since the admission, within its boot. */
function steadyWallMs({ deadlineAtMs, deadlineBoot }: Deadline, now: Instant): number {
  if (now.bootId !== deadlineBoot.bootId) return now.wallMs;
  return deadlineAtMs - (deadlineBoot.bootMs - now.bootMs);
}

/** As the deadline: by the boot clock within the boot of its admission, else by the wall clock. */
export function waitIsOver(operation: StoredOperation, now: Instant): boolean {
  const { approval } = operation;
  return approval !== undefined && steadyWallMs(operation, now) >= approval.expiresAtMs;
}

/** Why an approval cannot be asked for from here; `null` where it can. */
export function approvalBarrier(
  { rule }: Decision,
  terms: ApprovalTerms,
  at: { readonly isServed: boolean; readonly outage: string | null },
): { readonly code: ErrorCode; readonly detail: string } | null {
  const who = terms.required === 1 ? 'an approval' : `${terms.required} approvals`;
  const needs = `rule ${rule} asks for ${who} from role:${terms.role}`;
  if (!at.isServed) {
    const detail = `${needs}, and this control knows no approvals: upgrade control`;
    return { code: 'approval_required', detail };
  }
  if (at.outage !== null && terms.onControlLoss === 'fail') {
    const detail = `${needs} and says onControlLoss: fail, and control cannot be reached (outage ${at.outage})`;
    return { code: 'control_unreachable', detail };
  }
  return null;
}
