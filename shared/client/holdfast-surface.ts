/** What both forms of the package have in common: all but how a client is made. */
export { Holdfast } from './holdfast.ts';
export type { AdmitOptions, HoldfastOptions } from './holdfast.ts';
export { OperationHandle } from './operation-handle.ts';
export { ClaimWorker } from './claim-worker.ts';
export type { WorkerOptions } from './claim-worker.ts';
export type { EffectContext, EffectOptions, RunContext, RunHandler } from './attempt-run.ts';
export {
  EffectFailedError,
  EffectUnknownError,
  OperationEndedError,
  RunStoppedError,
} from './run-errors.ts';
export { holdfastTool } from './tool-guard.ts';
export type { GuardedTool, ToolCall, ToolOutcome } from './tool-guard.ts';
export { ProblemError } from './problem-error.ts';
export { UnreachableError } from './transport-port.ts';
export { ERRORS, isErrorCode } from './error-table.ts';
export type { ErrorCode } from './error-table.ts';
export type { Patience } from './patience.ts';
export type {
  AdmitRequest,
  Attempt,
  Effect,
  Operation,
  OperationState,
  Outcome,
  Problem,
} from './sidecar-shapes.ts';
