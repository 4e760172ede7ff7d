/**
 * The question that a probe puts to the app, and what its answer means. Whatever is not an answer
 * in the form that is asked for means that the outcome is still unknown (I8).
 */
import type { TryVerdict } from '../../shared/wire/reconciliation.ts';
import { unreported, type StoredOperation } from './operation-record.ts';

const RESULT_LENGTH_MAX = 32 * 1_024;
const EVIDENCE_LENGTH_MAX = 8 * 1_024;
const NESTING_MAX = 64;

export type ProbeQuestion = {
  readonly operationId: string;
  /** Under which the app had it admitted. */
  readonly operationKey: string;
  readonly action: string;
  readonly principal: string;
  readonly resourceId: string;
  readonly attempt: number;
  readonly try: number;
  /** What was begun and not reported; none where a worker was lost between its steps. */
  readonly effects: readonly {
    readonly effect: string;
    /** The stable key that the worker was given for the target. */
    readonly idempotencyKey: string;
    readonly fencingToken: string | null;
    readonly attempt: number;
    readonly begunAtMs: number;
  }[];
};

export function probeQuestion(operation: StoredOperation, number: number): ProbeQuestion {
  const { operationId, leaseResource } = operation;
  return {
    operationId,
    operationKey: operation.idempotencyKey,
    action: operation.action,
    principal: operation.principal,
    resourceId: operation.resource.id,
    attempt: operation.attempt,
    try: number,
    effects: unreported(operation).map(({ name, leaseEpoch, attempt, begunAtMs }) => ({
      effect: name,
      idempotencyKey: `${operationId}.${name}`,
      fencingToken:
        leaseResource === null || leaseEpoch === null ? null : `${leaseResource}:${leaseEpoch}`,
      attempt,
      begunAtMs,
    })),
  };
}

/** The same for a query: what belongs to an effect is repeated for each, in the same order. */
export function probeQuery({ effects, ...of }: ProbeQuestion): [string, string][] {
  return [
    ...Object.entries(of).map(([name, value]): [string, string] => [name, String(value)]),
    ...effects.flatMap(({ effect, idempotencyKey, fencingToken }): [string, string][] => [
      ['effect', effect],
      ['idempotencyKey', idempotencyKey],
      ['fencingToken', fencingToken ?? ''],
    ]),
  ];
}

export type ProbeFinding = {
  readonly verdict: TryVerdict;
  readonly detail: string;
  readonly result: unknown;
  readonly evidence: unknown;
};

const VERDICTS: ReadonlySet<unknown> = new Set<TryVerdict>(['succeeded', 'failed', 'unknown']);

export function readProbeAnswer({ status, body }: { status: number; body: string }): ProbeFinding {
  if (status !== 200) return notKnown(`it answered with status ${status}`);
  let answer: unknown;
  try {
    answer = JSON.parse(body);
  } catch {
    return notKnown('its answer is not JSON');
  }
  if (typeof answer !== 'object' || answer === null || Array.isArray(answer))
    return notKnown('its answer is no object');
  const { outcome, result = null, evidence = null } = answer as Readonly<Record<string, unknown>>;
  if (!VERDICTS.has(outcome))
    return notKnown('its answer has no outcome of succeeded, failed or unknown');
  // Before anything walks over it.
  if (!isPlain(result, NESTING_MAX) || !isPlain(evidence, NESTING_MAX))
    return notKnown(
      `its answer is nested deeper than ${NESTING_MAX} levels, or has no finite number`,
    );
  if (JSON.stringify(result).length > RESULT_LENGTH_MAX)
    return notKnown(`its result is over ${RESULT_LENGTH_MAX} characters`);
  if (JSON.stringify(evidence).length > EVIDENCE_LENGTH_MAX)
    return notKnown(`its evidence is over ${EVIDENCE_LENGTH_MAX} characters`);
  const verdict = outcome as TryVerdict;
  return { verdict, detail: `it answered ${verdict}`, result, evidence };
}

export function notKnown(detail: string): ProbeFinding {
  return { verdict: 'unknown', detail, result: null, evidence: null };
}

/** JSON has no infinity, and its parser makes one of 1e400. */
function isPlain(value: unknown, levels: number): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object' || value === null) return true;
  return levels > 0 && Object.values(value).every((inner) => isPlain(inner, levels - 1));
}
