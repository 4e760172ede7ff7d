/** Spans of the steps of an operation, joined to the trace under which it was admitted. */
import { traceIdOf, traceOf, type TraceContext } from '../../shared/core/trace-context.ts';
import {
  SPAN_ATTRIBUTES,
  currentTrace,
  spanned,
  type SpanFacts,
  type Tell,
} from '../../shared/platform/tracing.ts';
import type { StoredOperation } from '../core/operation-record.ts';

type Step = {
  readonly operation: StoredOperation;
  readonly attempt?: number;
  readonly effect?: string;
  readonly step?: string;
};

/**
 * Under the span of the worker where that is of the trace of the operation. A worker that asks from
 * a trace of its own, as one that polls, is linked, and the step stays with its operation.
 */
export function spannedStep<T>(
  name: string,
  { operation, attempt, effect, step }: Step,
  work: (tell: Tell) => Promise<T>,
): Promise<T> {
  const own = traceOf(operation);
  const parent = own === null || isWithin(own) ? {} : { parent: own };
  const { operationId, action, rule } = operation;
  const facts = {
    [SPAN_ATTRIBUTES.operationId]: operationId,
    [SPAN_ATTRIBUTES.action]: action,
    [SPAN_ATTRIBUTES.rule]: rule,
    [SPAN_ATTRIBUTES.attempt]: attempt,
    [SPAN_ATTRIBUTES.effect]: effect,
    [SPAN_ATTRIBUTES.step]: step,
  };
  return spanned(name, { ...parent, facts }, work);
}

function isWithin(own: TraceContext): boolean {
  const now = currentTrace();
  return now !== null && traceIdOf(now) === traceIdOf(own);
}

/** What the worker goes on with: the trace of the operation, from the nearest span of it. */
export function attemptTrace(operation: StoredOperation): TraceContext | null {
  const own = traceOf(operation);
  return own !== null && isWithin(own) ? currentTrace() : own;
}

export function admissionFacts(operation: StoredOperation, decision: string): SpanFacts {
  return {
    [SPAN_ATTRIBUTES.operationId]: operation.operationId,
    [SPAN_ATTRIBUTES.rule]: operation.rule,
    [SPAN_ATTRIBUTES.policyRevision]: operation.policyRevision,
    [SPAN_ATTRIBUTES.basis]: operation.basis,
    [SPAN_ATTRIBUTES.decision]: decision,
  };
}
