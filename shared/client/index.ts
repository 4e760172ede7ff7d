/** The public surface of the clients: what is not named here may change without notice. */
export { ControlClient, openControl } from './control-client.ts';
export type {
  ControlAddress,
  ControlClientOptions,
  PageQuery,
  PublishOptions,
  RolloutOrder,
} from './control-client.ts';
export { SidecarClient, openSidecar } from './sidecar-client.ts';
export type {
  Admitted,
  AdmitOptions,
  Page,
  ReportedResult,
  SidecarAddress,
  SidecarClientOptions,
} from './sidecar-client.ts';
export type { RegisterGuard } from './register-request.ts';
export { ConfigClient } from './config-client.ts';
export type { ConfigChange, ConfigWatchOptions } from './config-client.ts';
export { ReconciliationClient } from './reconciliation-client.ts';
export type { ReconciliationQuery, Settlement } from './reconciliation-client.ts';
export type { WorkItem } from '../wire/reconciliation-api.ts';
export type { DecisionAnswer, PolicyDecision } from '../wire/decision.ts';
export type { LimitState } from '../wire/limits.ts';
export type { DecisionTrace } from '../wire/decision-trace.ts';
export type { ConfigList, ConfigValue } from '../wire/config-value.ts';
export { AUTHORITY_HEADER, guardWithFencing, memoryFences } from './fencing-plugin.ts';
export type { Authority, Fences, FencingOptions } from './fencing-plugin.ts';
export { POSTGRES_FENCES_TABLE, postgresFences } from './postgres-fences.ts';
export type { PostgresConnection } from './postgres-fences.ts';
export { REDIS_FENCED_SET, redisFences } from './redis-fences.ts';
export type { RedisConnection, RedisFences, RedisWrite } from './redis-fences.ts';
export { EPOCH_METADATA, getFenced, putFenced } from './object-fences.ts';
export type {
  FencedObject,
  FencedPut,
  FencedPutRequest,
  ObjectAnswer,
  ObjectFetch,
  ObjectRequest,
} from './object-fences.ts';
export { Holdfast } from './holdfast.ts';
export type { HoldfastOptions } from './holdfast.ts';
export type { OperationHandle } from './operation-handle.ts';
export { EffectFailedError, EffectUnknownError } from './run-errors.ts';
export { ProblemError } from './problem-error.ts';
export { UnreachableError } from './transport.ts';
export type { Transport, TransportRequest, TransportResponse } from './transport.ts';
export { ERRORS, isErrorCode } from '../wire/problem.ts';
export type { ErrorCode, Problem } from '../wire/problem.ts';
export type {
  AdmitRequest,
  Effect,
  Operation,
  OperationState,
  Outage,
  OutageMoment,
  OutageTally,
  Outcome,
  Refusal,
} from '../wire/operation.ts';
export type {
  Attempt,
  EffectAnswer,
  Explanation,
  Fence,
  HeldLeaseView,
  OutageBudget,
  SidecarLeaseToken,
  SidecarStatus,
} from '../wire/sidecar-api.ts';
export { exportRecovery } from './recovery-export.ts';
export type { Recovery, RecoveryList, RecoveryPage } from '../wire/recovery-api.ts';
export type {
  ApprovalDetail,
  ApprovalRequest,
  ApprovalVerdictRequest,
  OperationApproval,
} from '../wire/approval.ts';
export type { FencingToken, Register, RegisterSummary } from '../wire/register-api.ts';
export type { Health } from '../wire/health.ts';
export { runInTrace } from '../platform/tracing.ts';
