/** Records of operations, and what can befall them, with as little said as a test needs. */
import type { Instant } from '../../shared/core/time.ts';
import type {
  LifecycleEvent,
  StoredEffect,
  StoredOperation,
} from '../../dataplane/core/operation-record.ts';

export const NOW: Instant = { wallMs: 1_000_000, bootMs: 50_000, bootId: 'boot-1' };
export const LATE: Instant = { wallMs: 2_000_000, bootMs: 1_050_000, bootId: 'boot-1' };

export function operation(change: Partial<StoredOperation> = {}): StoredOperation {
  return {
    operationId: 'op_1',
    hostId: 'host_1',
    app: 'demo',
    idempotencyKey: 'key-1',
    fingerprint: 'f',
    principal: 'agent:billing',
    action: 'payments.capture',
    resource: { id: 'order-1', attributes: {} },
    attributes: {},
    state: 'accepted',
    reason: null,
    policyRevision: 1,
    rule: 'capture',
    basis: 'cached',
    stalenessMs: 10,
    leaseResource: null,
    leaseEpoch: null,
    leaseInGrace: false,
    outageId: null,
    warnings: [],
    onControlLoss: 'finish',
    onWorkerLoss: 'unknown',
    onRevoke: 'abort',
    recheck: null,
    heartbeatTimeoutMs: 30_000,
    ownershipMode: null,
    ownershipGraceMs: 0,
    effectTerms: {
      charge: { idempotent: false, fencing: 'enforced' },
      send: { idempotent: true, fencing: 'none' },
    },
    admittedAtMs: 900_000,
    deadlineAtMs: 1_500_000,
    updatedAtMs: 900_000,
    settledAtMs: null,
    attempt: 0,
    attemptStartedAtMs: null,
    attemptLeaseEpoch: null,
    effects: [],
    checkpoint: null,
    outcome: null,
    attemptKeys: [],
    deadlineBoot: { bootId: 'boot-1', bootMs: 550_000 },
    ...change,
  };
}

export function effect(change: Partial<StoredEffect> = {}): StoredEffect {
  return {
    name: 'charge',
    state: 'begun',
    attempt: 1,
    idempotent: false,
    fencing: 'enforced',
    leaseEpoch: null,
    begunAtMs: 1,
    settledAtMs: null,
    result: null,
    beginKey: null,
    ...change,
  };
}

export const executing = (change: Partial<StoredOperation> = {}): StoredOperation =>
  operation({ state: 'executing', attempt: 1, ...change });
export const start = (
  change: Partial<LifecycleEvent & { kind: 'start_attempt' }> = {},
): LifecycleEvent => ({
  kind: 'start_attempt',
  supersede: false,
  key: null,
  ownership: null,
  ...change,
});
export const begin = (
  change: Partial<LifecycleEvent & { kind: 'begin_effect' }> = {},
): LifecycleEvent => ({
  kind: 'begin_effect',
  attempt: 1,
  name: 'charge',
  key: null,
  ownership: null,
  recheck: null,
  ...change,
});
export const settle = (
  change: Partial<LifecycleEvent & { kind: 'settle_effect' }> = {},
): LifecycleEvent => ({
  kind: 'settle_effect',
  attempt: 1,
  name: 'charge',
  outcome: 'succeeded',
  result: null,
  ...change,
});
export const report = (
  change: Partial<LifecycleEvent & { kind: 'report_outcome' }> = {},
): LifecycleEvent => ({
  kind: 'report_outcome',
  attempt: 1,
  outcome: 'succeeded',
  result: null,
  reason: null,
  ownership: null,
  ...change,
});
