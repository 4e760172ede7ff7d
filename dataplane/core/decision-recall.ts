/**
 * The decision on an operation, made again under the revision that it was made under, with how it
 * came about; and on how fresh an authority it rested.
 */
import { explainDecision } from '../../shared/core/decision-trace.ts';
import type { CompiledPolicy } from '../../shared/core/policy.ts';
import { formatDurationMs } from '../../shared/core/time.ts';
import type { Explanation } from '../../shared/wire/sidecar-api.ts';
import { decisionInputOf } from './decision-input.ts';
import type { StoredOperation } from './operation-record.ts';

export type Recalled = Pick<Explanation, 'decision' | 'decisionMissing' | 'freshness'> & {
  readonly summary: readonly string[];
};

/** `policy`: of the revision of the operation; `null` where that is not kept any more. */
export function recallDecision(
  operation: StoredOperation,
  policy: CompiledPolicy | null,
): Recalled {
  if (policy === null) return { ...gone(operation), ...freshnessOf(operation, null) };
  const { decision, trace } = explainDecision(policy, decisionInputOf(operation));
  const agrees = decision.decision === 'permit' && decision.rule === operation.rule;
  const maxStalenessMs = decision.terms?.maxStalenessMs ?? null;
  const { freshness, summary } = freshnessOf(operation, maxStalenessMs);
  const disagreement = agrees
    ? []
    : [
        `Made again under revision ${operation.policyRevision}, the decision is another (${decision.reason}, rule ${decision.rule ?? 'none'}): this build does not decide as the one that admitted it.`,
      ];
  return {
    decision: { trace, agrees },
    decisionMissing: null,
    freshness,
    summary: [...summary, ...disagreement],
  };
}

function gone({ policyRevision }: StoredOperation): Pick<Recalled, 'decision' | 'decisionMissing'> {
  const detail = `revision ${policyRevision} is not kept on this host any more: control has it (holdfast policy decide --revision ${policyRevision})`;
  return { decision: null, decisionMissing: { reason: 'policy_gone', detail } };
}

/** The arithmetic: when the proof was sent, how old it was, and how old it might have been. */
function freshnessOf(
  { basis, stalenessMs, admittedAtMs }: StoredOperation,
  maxStalenessMs: number | null,
): Pick<Recalled, 'freshness' | 'summary'> {
  const provenAtMs = Math.max(0, admittedAtMs - stalenessMs);
  const provenBy = basis === 'fresh' ? 'question' : 'sync';
  const freshness = { basis, stalenessMs, maxStalenessMs, provenBy, provenAtMs } as const;
  const age = formatDurationMs(stalenessMs);
  if (basis === 'fresh')
    return {
      freshness,
      summary: [`The question to control was sent ${age} before the admission.`],
    };
  const bound =
    maxStalenessMs === null
      ? 'a bound that is not known any more'
      : `at most ${formatDurationMs(maxStalenessMs)}`;
  const line = `The sync that proved the authority was sent ${age} before the admission, of ${bound}.`;
  return { freshness, summary: [line] };
}
