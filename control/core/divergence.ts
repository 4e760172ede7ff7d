/**
 * A decision of a host, made again under what was in force at its instant (DESIGN 4, come back).
 *
 * V1  It diverges where what was in force decided otherwise: refused what was accepted, or permitted
 *     what the policy of the host refused. Other terms of the same answer are no divergence.
 * V2  The instant is an interval. What differs at every moment of it is certain, what differs at some
 *     is possible; both are listed, and nothing else is.
 * V3  A notice goes before the policy. What was decided by control for this very request (`fresh`) is
 *     held only against later revisions and against notices.
 * V4  The explanation is that of the earliest moment at which the answers differ.
 */
import { NOTICE_REASONS } from '../../shared/core/notice-index.ts';
import { decide, type CompiledPolicy, type Decision } from '../../shared/core/policy.ts';
import type { DivergenceKind, DivergenceVerdict } from '../../shared/wire/divergences.ts';
import type { DecisionInput } from '../../shared/wire/policy-document.ts';
import {
  authorityDuring,
  type Authority,
  type InForce,
  type Notice,
} from './authority-timeline.ts';
import { speaksAgainst, type NoticedRequest } from './notice-verdict.ts';

export type RecordedDecision = {
  readonly decision: 'permit' | 'deny';
  readonly policyRevision: number;
  readonly reason: string;
  readonly rule: string | null;
  readonly message: string;
  readonly basis: 'fresh' | 'cached';
  readonly stalenessMs: number;
  readonly request: NoticedRequest;
  readonly input: DecisionInput;
};

export type Reevaluated =
  | { readonly kind: 'same' }
  | {
      readonly kind: DivergenceKind;
      readonly certainty: 'certain' | 'possible';
      readonly current: DivergenceVerdict;
      /** Of the earliest that differs. */
      readonly sinceMs: number;
    }
  /** Nothing says what was in force then. */
  | { readonly kind: 'unknown' };

/** `timeline` is that of the host: its own entries and those of every host, ascending. */
export function reevaluate(
  recorded: RecordedDecision,
  timeline: { readonly entries: readonly InForce[]; readonly notices: readonly Notice[] },
  interval: { readonly fromMs: number; readonly toMs: number },
  policyOf: (policyRevision: number) => CompiledPolicy | null,
): Reevaluated {
  const notices = timeline.notices.filter((one) => speaksAgainst(one, recorded.request));
  const during = authorityDuring({ entries: timeline.entries, notices }, interval);
  let looked = 0;
  let differing = 0;
  let first: { current: DivergenceVerdict; sinceMs: number } | null = null;
  for (const authority of during) {
    const current = verdictUnder(authority, recorded, policyOf);
    if (current === null) continue;
    looked += 1;
    if (current.decision === recorded.decision) continue;
    differing += 1;
    first ??= { current, sinceMs: authority.atMs };
  }
  if (looked === 0) return { kind: 'unknown' };
  if (first === null) return { kind: 'same' };
  const kind = recorded.decision === 'permit' ? 'permit_to_deny' : 'deny_to_permit';
  return { kind, certainty: differing === looked ? 'certain' : 'possible', ...first };
}

/** `null` where there was no policy, or it is not to be had. */
function verdictUnder(
  { policyRevision, notices }: Authority,
  recorded: RecordedDecision,
  policyOf: (policyRevision: number) => CompiledPolicy | null,
): DivergenceVerdict | null {
  // V3: these are of this request.
  const notice = notices[0];
  if (notice !== undefined) {
    const { kind, noticeId, subject, reason: why } = notice;
    return {
      policyRevision,
      decision: 'deny',
      reason: NOTICE_REASONS[kind],
      rule: null,
      message: `${kind} ${subject}: ${why}`,
      noticeId,
    };
  }
  if (policyRevision === null) return null;
  if (recorded.basis === 'fresh' && policyRevision <= recorded.policyRevision) {
    return { ...recordedVerdict(recorded), policyRevision };
  }
  const policy = policyOf(policyRevision);
  if (policy === null) return null;
  const decision = decide(policy, recorded.input);
  const { reason, rule, message } = decision;
  const verdict = { policyRevision, decision: decision.decision, reason, rule, message };
  const refusal =
    decision.decision === 'permit'
      ? beyondPolicy(decision, policyRevision, recorded, policyOf)
      : null;
  return refusal === null
    ? { ...verdict, noticeId: null }
    : { ...verdict, decision: 'deny', ...refusal, noticeId: null };
}

export function recordedVerdict(recorded: RecordedDecision): DivergenceVerdict {
  const { policyRevision, decision, reason, rule, message } = recorded;
  return { policyRevision, decision, reason, rule, message, noticeId: null };
}

/** What a permit of the policy does not say: how old the authority may be, and who must approve. */
function beyondPolicy(
  { terms, rule }: Decision,
  policyRevision: number,
  recorded: RecordedDecision,
  policyOf: (policyRevision: number) => CompiledPolicy | null,
): { readonly reason: string; readonly message: string } | null {
  if (terms === null) return null;
  const { basis, stalenessMs } = recorded;
  if (basis === 'cached' && terms.freshness === 'fresh') {
    return { reason: 'fresh_required', message: `rule ${rule} needs control to be asked` };
  }
  if (basis === 'cached' && stalenessMs > terms.maxStalenessMs) {
    return {
      reason: 'policy_expired',
      message: `rule ${rule} allows authority of ${terms.maxStalenessMs} ms, this was ${stalenessMs} ms old`,
    };
  }
  if (terms.approval === null || policyRevision === recorded.policyRevision) return null;
  // What was approved under its own revision is not held against it again.
  const own = policyOf(recorded.policyRevision)?.rules.find(({ name }) => name === recorded.rule);
  if (own !== undefined && own.terms.approval !== null) return null;
  return { reason: 'approval_required', message: `rule ${rule} asks for an approval` };
}
