/** What befalls an operation from outside its worker: I8, every accepted operation ends. */
import type { Instant } from '../../shared/core/time.ts';
import { waitWithControl, waitWithoutControl } from './operation-approval.ts';
import {
  type LifecycleEvent,
  type LifecycleResult,
  type StoredOperation,
  deadlinePassed,
  hasEnded,
  markUnknown,
  moved,
  refused,
  unchanged,
  unreported,
} from './operation-record.ts';
import { reconciliationOf } from './reconciliation.ts';
import { claimedByAnother } from './reconciliation-steps.ts';

export function cancel(operation: StoredOperation, reason: string, now: Instant): LifecycleResult {
  if (operation.state === 'cancelled') return { ...unchanged(operation), replayed: true };
  if (hasEnded(operation))
    return refused(
      'operation_settled',
      `operation ${operation.operationId} has ended as ${operation.state}: it can no longer be cancelled`,
    );
  const open = unreported(operation)[0];
  if (open !== undefined)
    return refused(
      'effect_in_progress',
      `effect ${open.name} was begun and not reported: an effect under way cannot be called back`,
    );
  return moved(operation, { state: 'cancelled', reason }, 'cancelled', now);
}

export function loseWorker(
  operation: StoredOperation,
  attempt: number,
  now: Instant,
): LifecycleResult {
  if (operation.state !== 'executing' || operation.attempt !== attempt) return unchanged(operation);
  // An idempotent effect may be run again by a retry; for any other end it, too, may have happened.
  const retries = operation.onWorkerLoss === 'retry';
  const open = unreported(operation).find(({ idempotent }) => !(idempotent && retries));
  if (open !== undefined)
    return becomesUnknown(operation, `worker_lost_in_effect_${open.name}`, now);
  if (retries)
    return moved(operation, { state: 'accepted', reason: 'worker_lost' }, 'worker_lost', now);
  if (operation.onWorkerLoss === 'fail' && Object.keys(operation.effectTerms).length > 0) {
    return moved(operation, { state: 'failed', reason: 'worker_lost' }, 'failed', now);
  }
  return becomesUnknown(operation, 'worker_lost', now);
}

export function loseControl(operation: StoredOperation, now: Instant): LifecycleResult {
  if (operation.state === 'awaiting_approval') return waitWithoutControl(operation, now);
  if (operation.state !== 'accepted' && operation.state !== 'executing')
    return unchanged(operation);
  if (operation.onControlLoss === 'finish') return unchanged(operation);
  if (operation.onControlLoss === 'pause')
    return moved(operation, { state: 'paused', reason: 'control_lost' }, 'paused', now);
  if (mayHaveActed(operation)) return becomesUnknown(operation, 'aborted_on_control_loss', now);
  return moved(operation, { state: 'cancelled', reason: 'control_lost' }, 'cancelled', now);
}

/** O8: at once, and also what was paused while control could not be reached. */
export function revokeAuthority(
  operation: StoredOperation,
  { because: reason = 'authority_revoked' }: LifecycleEvent & { kind: 'revoke_authority' },
  now: Instant,
): LifecycleResult {
  if (hasEnded(operation) || operation.onRevoke === 'finish') return unchanged(operation);
  if (operation.onRevoke === 'pause') {
    // What waits for an approval stands still anyway, and must not come back as accepted.
    if (operation.state === 'paused' || operation.state === 'awaiting_approval')
      return unchanged(operation);
    return moved(operation, { state: 'paused', reason }, 'paused', now);
  }
  if (mayHaveActed(operation)) return becomesUnknown(operation, 'aborted_on_revocation', now);
  return moved(operation, { state: 'cancelled', reason }, 'cancelled', now);
}

/** O12. */
export function regainControl(
  operation: StoredOperation,
  { basis }: LifecycleEvent & { kind: 'regain_control' },
  now: Instant,
): LifecycleResult {
  if (operation.state === 'awaiting_approval') return waitWithControl(operation, now);
  if (operation.state !== 'paused') return unchanged(operation);
  const reason = operation.reason === 'control_lost' ? 'control_regained' : 'authority_regained';
  const facts = basis === undefined ? {} : { resume: basis };
  return moved(operation, { state: 'accepted', reason }, 'resumed', now, facts);
}

/** O12. */
export function refuseResume(
  operation: StoredOperation,
  { refusal }: LifecycleEvent & { kind: 'refuse_resume' },
  now: Instant,
): LifecycleResult {
  if (operation.state !== 'paused') return unchanged(operation);
  // It may have been paused while a worker was at steps that its rule does not declare.
  const isUndeclared = operation.attempt > 0 && Object.keys(operation.effectTerms).length === 0;
  if (isUndeclared || mayHaveActed(operation))
    return becomesUnknown(operation, 'resume_refused', now, { refusal });
  return moved(operation, { state: 'cancelled', reason: 'resume_refused' }, 'cancelled', now, {
    refusal,
  });
}

export function passDeadline(operation: StoredOperation, now: Instant): LifecycleResult {
  if (hasEnded(operation) || !deadlinePassed(operation, now)) return unchanged(operation);
  if (mayHaveActed(operation)) return becomesUnknown(operation, 'deadline_passed', now);
  return moved(operation, { state: 'expired', reason: 'deadline_passed' }, 'expired', now);
}

export function resolve(
  operation: StoredOperation,
  event: LifecycleEvent & { kind: 'resolve' },
  now: Instant,
): LifecycleResult {
  if (operation.state !== 'unknown') return settledBefore(operation, event);
  const { by = null, evidence = null, key = null, force = false } = event;
  const claimed = force ? null : claimedByAnother(operation, by, now);
  if (claimed !== null) return claimed;
  const outcome = {
    outcome: event.outcome,
    provenance: event.provenance,
    result: event.result,
    reason: event.reason,
    attempt: operation.attempt,
    atMs: now.wallMs,
    late: true,
    ...(by === null ? {} : { by }),
    ...(evidence === null ? {} : { evidence }),
  };
  const known = reconciliationOf(operation);
  const reconciliation = { ...known, claim: null, nextTryAtMs: null, settleKey: key };
  return moved(
    operation,
    { state: event.outcome, reason: event.reason, outcome, reconciliation },
    event.outcome,
    now,
    { outcome, resolved: true },
  );
}

/** Whoever lost the answer asks again with the same key. */
function settledBefore(
  operation: StoredOperation,
  { key = null, outcome, reason, provenance }: LifecycleEvent & { kind: 'resolve' },
): LifecycleResult {
  const { operationId, state, outcome: recorded } = operation;
  if (key === null || operation.reconciliation?.settleKey !== key)
    return refused(
      'operation_not_unknown',
      `operation ${operationId} is ${state}: only an unknown one can be resolved`,
    );
  const isSame =
    recorded?.outcome === outcome &&
    recorded.reason === reason &&
    recorded.provenance === provenance;
  if (isSame) return { ...unchanged(operation), replayed: true };
  return refused(
    'idempotency_key_reused',
    `operation ${operationId} was settled as ${state} under that key, for another reason: look at what is recorded`,
  );
}

/** An unreported effect, or a worker at work whose steps the rule does not declare. */
function mayHaveActed(operation: StoredOperation): boolean {
  if (unreported(operation).length > 0) return true;
  return operation.state === 'executing' && Object.keys(operation.effectTerms).length === 0;
}

function becomesUnknown(
  operation: StoredOperation,
  reason: string,
  now: Instant,
  facts: Readonly<Record<string, unknown>> = {},
): LifecycleResult {
  const outcome = {
    outcome: 'unknown' as const,
    provenance: 'observed' as const,
    result: null,
    reason,
    attempt: operation.attempt,
    atMs: now.wallMs,
    late: false,
  };
  return moved(
    operation,
    { state: 'unknown', reason, outcome, effects: markUnknown(operation, now) },
    'unknown',
    now,
    { outcome, ...facts },
  );
}
