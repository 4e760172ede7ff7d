/** What work is done against: a sidecar over HTTP, or its journal alone. */
import { ProblemError, UnreachableError } from '../../../shared/client/index.ts';
import { HoldfastError } from '../../../shared/wire/problem.ts';
import type { CallAnswer, CallEnd, CallRequest } from './history.ts';

export interface WorkTarget {
  /** `operationId` and `attempt` are what earlier answers said; an admission and a fence need none. */
  perform(
    request: CallRequest,
    known: { readonly operationId: string; readonly attempt: number },
  ): Promise<CallAnswer>;
}

/** As the documentation of the client has it: of all coded answers only one leaves open what happened. */
export function endOfError(error: unknown): CallEnd {
  if (error instanceof UnreachableError) return { kind: 'info', code: `no_answer_${error.kind}` };
  if (error instanceof ProblemError || error instanceof HoldfastError) {
    const code: string = error.code;
    return { kind: code === 'outcome_unknown' ? 'info' : 'fail', code };
  }
  throw error;
}
