/** What a run can throw besides `ProblemError` and `UnreachableError`. */
import type { Operation } from './sidecar-shapes.ts';

/** The operation has come to another end than success; its record says why. */
export class OperationEndedError extends Error {
  override name = 'OperationEndedError';
  readonly operation: Operation;

  constructor(operation: Operation) {
    const { operationId, state, reason } = operation;
    super(`operation ${operationId} is ${state}${reason === null ? '' : `: ${reason}`}`);
    this.operation = operation;
  }
}

/**
 * Why `ctx.signal` is aborted: `code` is what the sidecar said (`attempt_stale`, `lease_lost`,
 * `operation_settled`, `operation_paused`, …), `deadline_passed`, or `worker_closing`.
 */
export class RunStoppedError extends Error {
  override name = 'RunStoppedError';
  readonly code: string;

  constructor(code: string, detail: string) {
    super(detail);
    this.code = code;
  }
}

/** Throw it in an effect whose target has said that nothing was done: then it may be tried again. */
export class EffectFailedError extends Error {
  override name = 'EffectFailedError';
  readonly result: unknown;

  constructor(
    message: string,
    options: { readonly result?: unknown; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.result = options.result ?? null;
  }
}

/** The effect may or may not have happened: it is recorded so, and is not run again by itself. */
export class EffectUnknownError extends Error {
  override name = 'EffectUnknownError';
  readonly effect: string;

  constructor(effect: string, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super(`whether effect ${effect} was done is not known: ${why}`, { cause });
    this.effect = effect;
  }
}
