/** What a host reports of its work, as its journal has it: one admission and one refusal, to be varied. */
import { makeId } from '../../shared/core/ids.ts';
import type { Admission, Refusal } from '../../shared/wire/operation.ts';

const FIRST_MS = 1_900_000_000_000;

/** In the order of their numbers. */
export function operationIdOf(number: number): string {
  return makeId('op', FIRST_MS + number, new Uint8Array(16));
}

export function reportedAdmission(
  hostId: string,
  number: number,
  over: Partial<Admission> = {},
): Admission {
  return {
    hostId,
    app: 'billing',
    idempotencyKey: `key-${number}`,
    fingerprint: 'f'.repeat(64),
    principal: 'agent:billing',
    action: 'payments.capture',
    resource: { id: 'order-1', attributes: {} },
    policyRevision: 1,
    rule: 'capture-payment',
    basis: 'cached',
    stalenessMs: 12,
    onControlLoss: 'finish',
    onWorkerLoss: 'unknown',
    heartbeatTimeoutMs: 30_000,
    effectTerms: {},
    deadlineAtMs: 2,
    deadlineBoot: { bootId: 'boot-1', bootMs: 2 },
    ...over,
  };
}

export function reportedRefusal(over: Partial<Refusal>): Refusal {
  return {
    refusalId: 'ref_1',
    app: 'billing',
    idempotencyKey: 'k',
    principal: 'agent:billing',
    action: 'a.b',
    resourceId: '',
    reason: 'denied',
    message: 'no',
    policyRevision: 1,
    rule: null,
    basis: 'cached',
    stalenessMs: 1,
    leaseEpoch: null,
    outageId: null,
    atMs: 6,
    ...over,
  };
}

/** An effect that was begun, and of which nobody knows more. */
export const BEGUN_EFFECT = {
  name: 'charge',
  state: 'begun',
  attempt: 1,
  idempotent: false,
  fencing: 'none',
  leaseEpoch: null,
  begunAtMs: 3,
  settledAtMs: null,
  result: null,
} as const;
