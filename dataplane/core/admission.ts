/**
 * Admission, decided purely from what is at hand. Reasons in order of precedence:
 * `control_rejected`, what a notice says (`notice-book.ts`), `policy_absent`,
 * then what policy says (`unknown_principal`, `no_rule`,
 * `rule_error`, `denied`), `policy_expired`, `approval_required` (`approval-use.ts`), what limits say
 * (`limits.ts`),
 * `lease_absent` or `lease_expired`, `lease_draining`, `deadline_too_long`.
 *
 * A1  A rule of class `fresh` is never decided here (I4), not even to refuse: control is asked.
 * A2  A bounded rule is decided only under authority no older than its `maxStaleness` (I5).
 * A3  What needs an approval is recorded as waiting for it, and is not accepted before it came
 *     (`operation-approval.ts`).
 * A4  Whatever is accepted carries its whole basis (I3; `new-admission.ts`), and the moment at which that basis ends,
 *     so that the writer can look once more just before the commit.
 */
import { ownershipAt, type HeldLease, type OwnershipVerdict } from '../../shared/core/lease.ts';
import { decide, type Decision, type RuleTerms } from '../../shared/core/policy.ts';
import { formatDurationMs, type Instant } from '../../shared/core/time.ts';
import type { AdmitRequest } from '../../shared/wire/operation.ts';
import type { ErrorCode } from '../../shared/wire/problem.ts';
import type { LimitState } from '../../shared/wire/limits.ts';
import type { ActivePolicy } from './active-policy.ts';
import type { Noticed } from './notice-book.ts';

export type AuthorityAtHand = {
  readonly policy: ActivePolicy | null;
  readonly revoked: { readonly reason: string } | null;
  readonly stalenessMs: number | null;
  readonly now: Instant;
  /** What speaks against the request, whatever policy says. */
  readonly noticed?: Noticed | null;
};

export type Basis = {
  readonly basis: 'fresh' | 'cached';
  readonly policyRevision: number;
  readonly stalenessMs: number;
  /** When the basis ends on the boot clock; the writer looks once more. */
  readonly endsBootMs: number;
};

export type Refused = {
  readonly kind: 'refused';
  readonly code: ErrorCode;
  readonly detail: string;
  readonly rule: string | null;
  readonly policyRevision: number | null;
  readonly basis: 'fresh' | 'cached' | null;
  readonly stalenessMs: number | null;
  /** The lease whose lack is the reason: it is to be asked for. */
  readonly leaseResource: string | null;
  /** The limit whose lack of room is the reason. */
  readonly limit?: { readonly state: LimitState; readonly retryAfterMs: number };
};

export type Plan =
  | Refused
  | {
      readonly kind: 'ask_control';
      readonly rule: string;
      /** Of the revision whose rule it is, whatever is in force when control has answered. */
      readonly policyRevision: number;
    }
  | {
      readonly kind: 'decided';
      readonly decision: Decision;
      readonly terms: RuleTerms;
      readonly basis: Basis;
    };

/** The first step: what local authority says, or that control must be asked. */
export function planAdmission(authority: AuthorityAtHand, request: AdmitRequest): Plan {
  const { policy, stalenessMs, now } = authority;
  const at = {
    policyRevision: policy?.policyRevision ?? null,
    basis: null,
    stalenessMs,
    rule: null,
    leaseResource: null,
  };
  if (authority.revoked !== null) {
    return {
      kind: 'refused',
      code: 'control_rejected',
      detail: `control has withdrawn this host's authority: ${authority.revoked.reason}`,
      ...at,
    };
  }
  const noticed = authority.noticed ?? null;
  if (noticed !== null) {
    const { code, detail } = noticed;
    return { kind: 'refused', code, detail, ...at };
  }
  if (policy === null) {
    return {
      kind: 'refused',
      code: 'policy_absent',
      detail:
        'this host has never received a policy: publish one, and see that control can be reached',
      ...at,
    };
  }
  const decision = decide(policy.compiled, request);
  const { terms } = decision;
  if (terms?.freshness === 'fresh') {
    const { policyRevision } = policy;
    return { kind: 'ask_control', rule: decision.rule ?? '', policyRevision };
  }
  const cached = { ...at, basis: 'cached' as const, rule: decision.rule };
  if (decision.decision === 'deny' || terms === null)
    return { kind: 'refused', code: refusalCode(decision), detail: decision.message, ...cached };
  if (stalenessMs === null || stalenessMs > terms.maxStalenessMs) {
    const age = stalenessMs === null ? 'of unknown age' : `${formatDurationMs(stalenessMs)} old`;
    return {
      kind: 'refused',
      code: 'policy_expired',
      detail: `cached authority is ${age} and rule ${decision.rule} allows ${formatDurationMs(terms.maxStalenessMs)}: control must be reached first`,
      ...cached,
    };
  }
  return {
    kind: 'decided',
    decision,
    terms,
    basis: {
      basis: 'cached',
      policyRevision: policy.policyRevision,
      stalenessMs,
      endsBootMs: now.bootMs + terms.maxStalenessMs - stalenessMs,
    },
  };
}

/**
 * The same step with control's own answer for this request. `endsBootMs`: it serves for this
 * admission only.
 */
export function planFromControl(
  decision: Decision,
  fresh: { policyRevision: number; stalenessMs: number; endsBootMs: number },
): Exclude<Plan, { kind: 'ask_control' }> {
  const basis = {
    basis: 'fresh' as const,
    policyRevision: fresh.policyRevision,
    stalenessMs: fresh.stalenessMs,
  };
  if (decision.decision === 'deny' || decision.terms === null) {
    return {
      kind: 'refused',
      code: refusalCode(decision),
      detail: decision.message,
      rule: decision.rule,
      leaseResource: null,
      ...basis,
    };
  }
  return {
    kind: 'decided',
    decision,
    terms: decision.terms,
    basis: { ...basis, endsBootMs: fresh.endsBootMs },
  };
}

function refusalCode(decision: Decision): ErrorCode {
  return decision.reason === 'permitted' ? 'denied' : decision.reason;
}

export type Admissible = {
  readonly kind: 'admissible';
  readonly ownership: (OwnershipVerdict & { readonly owned: true }) | null;
  readonly deadlineMs: number;
  readonly authorityEndsBootMs: number;
};

/** The second step: owner and epoch, then deadline. */
export function checkAdmissible(
  plan: Plan & { kind: 'decided' },
  request: AdmitRequest,
  lease: HeldLease | undefined,
  now: Instant,
): Admissible | Refused {
  const { decision, terms, basis } = plan;
  const at = {
    rule: decision.rule,
    policyRevision: basis.policyRevision,
    basis: basis.basis,
    stalenessMs: basis.stalenessMs,
    leaseResource: null,
  };
  let ownership: Admissible['ownership'] = null;
  if (terms.ownership !== null) {
    const verdict = ownershipAt(lease, {
      mode: terms.ownership.mode,
      graceMs: terms.ownership.graceMs,
      now,
    });
    if (!verdict.owned) {
      const what = verdict.reason === 'lease_absent' ? 'does not hold' : 'no longer holds';
      return {
        kind: 'refused',
        code: verdict.reason,
        detail: `this host ${what} the lease of ${decision.leaseResource}; it has been asked for`,
        ...at,
        leaseResource: decision.leaseResource,
      };
    }
    if (lease?.drainEndsBootMs !== undefined) {
      return {
        kind: 'refused',
        code: 'lease_draining',
        detail: `the lease of ${decision.leaseResource} is being handed over to another host: ask there, or again when it is done`,
        ...at,
      };
    }
    ownership = verdict;
  }
  const deadlineMs = request.deadlineMs ?? terms.deadlineMs;
  if (deadlineMs > terms.maxDeadlineMs) {
    return {
      kind: 'refused',
      code: 'deadline_too_long',
      detail: `deadlineMs ${deadlineMs} is beyond the ${formatDurationMs(terms.maxDeadlineMs)} that rule ${decision.rule} allows: ask for at most ${terms.maxDeadlineMs}`,
      ...at,
    };
  }
  return {
    kind: 'admissible',
    ownership,
    deadlineMs,
    authorityEndsBootMs: Math.min(
      basis.endsBootMs,
      ownership?.endsBootMs ?? Number.MAX_SAFE_INTEGER,
    ),
  };
}
