/**
 * What is listed about a divergence when it is found. Its id is that of the decision: found again, it
 * is the same.
 */
import type { Divergence } from '../../shared/wire/divergences.ts';
import type { Placed } from './decision-instant.ts';
import { recordedVerdict, type RecordedDecision, type Reevaluated } from './divergence.ts';

export type FoundIn = {
  readonly operationId: string | null;
  readonly refusalId: string | null;
  readonly outageId: string | null;
  readonly claimedAtMs: number;
  readonly foundAtMs: number;
};

export function foundDivergence(
  recorded: RecordedDecision,
  found: Extract<Reevaluated, { certainty: string }>,
  placed: Placed,
  where: FoundIn,
): Divergence {
  const { operationId, refusalId, outageId, claimedAtMs, foundAtMs } = where;
  const { hostId, app, principal, action, resourceId } = recorded.request;
  const source = operationId ?? refusalId ?? '';
  return {
    divergenceId: `div_${source.slice(source.indexOf('_') + 1)}`,
    kind: found.kind,
    certainty: found.certainty,
    state: 'open',
    operationId,
    refusalId,
    hostId,
    outageId,
    app,
    principal,
    action,
    resourceId,
    basis: recorded.basis,
    stalenessMs: recorded.stalenessMs,
    decided: recordedVerdict(recorded),
    current: found.current,
    instant: { fromMs: placed.fromMs, toMs: placed.toMs, by: placed.by, claimedAtMs },
    foundAtMs,
    resolution: null,
  };
}
