/** The newest attempt of an operation, as its worker is told of it. */
import type { Instant } from '../../shared/core/time.ts';
import { traceOf } from '../../shared/core/trace-context.ts';
import type { Attempt } from '../../shared/wire/sidecar-api.ts';
import type { StoredOperation } from '../core/operation-record.ts';

/** Two that are lost on the way do not make a worker a lost one. */
const HEARTBEATS_IN_TIMEOUT = 3;

export function attemptOf(operation: StoredOperation, now: Instant): Attempt {
  const { heartbeatTimeoutMs } = operation;
  return {
    operationId: operation.operationId,
    attempt: operation.attempt,
    deadlineAtMs: operation.deadlineAtMs,
    remainingMs: remainingMs(operation, now),
    heartbeatTimeoutMs,
    heartbeatIntervalMs: Math.max(1, Math.floor(heartbeatTimeoutMs / HEARTBEATS_IN_TIMEOUT)),
    leaseResource: operation.leaseResource,
    leaseEpoch: operation.attemptLeaseEpoch,
    leaseInGrace: operation.leaseInGrace,
    checkpoint: operation.checkpoint,
    effects: operation.effects,
    policyRevision: operation.policyRevision,
    rule: operation.rule,
    ...traceOf(operation),
  };
}

export function remainingMs(operation: StoredOperation, now: Instant): number {
  return Math.max(0, operation.deadlineAtMs - now.wallMs);
}
