/** What a worker does to an operation: O1 to O7, and O9, of `operation-lifecycle.ts`. */
import { canonicalJson } from '../../shared/core/canonical-json.ts';
import { checkFence, type OwnershipVerdict } from '../../shared/core/lease.ts';
import type { BootMs, Instant } from '../../shared/core/time.ts';
import type { Outcome } from '../../shared/wire/operation.ts';
import {
  type LifecycleEvent,
  type LifecycleResult,
  type RecheckProof,
  SETTLED_STATES,
  type StoredEffect,
  type StoredOperation,
  because,
  deadlinePassed,
  hasEnded,
  markUnknown,
  moved,
  refused,
  shown,
  unchanged,
} from './operation-record.ts';

export function startAttempt(
  operation: StoredOperation,
  event: LifecycleEvent & { kind: 'start_attempt' },
  now: Instant,
): LifecycleResult {
  const asked = event.key === null ? 0 : operation.attemptKeys.lastIndexOf(event.key) + 1;
  if (asked > 0 && asked === operation.attempt && operation.state === 'executing') {
    return { ...unchanged(operation), replayed: true };
  }
  if (hasEnded(operation)) return ended(operation);
  if (deadlinePassed(operation, now))
    return refused(
      'deadline_passed',
      `the deadline of operation ${operation.operationId} has passed: submit it anew if it is still wanted`,
    );
  if (operation.state === 'awaiting_approval')
    return refused(
      'operation_awaiting_approval',
      `operation ${operation.operationId} waits for an approval from role:${operation.approval?.role} (request ${operation.approval?.requestId}): nothing begins before`,
    );
  if (operation.state === 'paused')
    return refused(
      'operation_paused',
      `operation ${operation.operationId} is paused${because(operation)}; it goes on when control is back`,
    );
  if (asked > 0) {
    return refused(
      'attempt_stale',
      `that key started attempt ${asked}, which is over: start another with a new key`,
    );
  }
  if (operation.state === 'executing') {
    if (!event.supersede)
      return refused(
        'attempt_in_progress',
        `attempt ${operation.attempt} is executing: wait for its end or for its missed heartbeats`,
      );
    if (operation.onWorkerLoss !== 'retry') {
      return refused(
        'attempt_in_progress',
        `attempt ${operation.attempt} is executing and its rule says onWorkerLoss: ${operation.onWorkerLoss}, so it cannot be superseded`,
      );
    }
  }
  const ownership = checkOwnership(operation, event.ownership);
  if (!ownership.ok) return ownership;
  return moved(
    operation,
    {
      state: 'executing',
      reason: null,
      attempt: operation.attempt + 1,
      attemptStartedAtMs: now.wallMs,
      attemptLeaseEpoch: ownership.epoch,
      attemptKeys: [...operation.attemptKeys, event.key],
    },
    'attempt_started',
    now,
    { leaseEpoch: ownership.epoch, leaseInGrace: ownership.inGrace },
  );
}

export function beginEffect(
  operation: StoredOperation,
  event: LifecycleEvent & { kind: 'begin_effect' },
  now: Instant,
): LifecycleResult {
  const stale = staleAttempt(operation, event.attempt);
  if (stale !== null) return stale;
  // Of its own: a name such as `constructor` is declared by no rule.
  const terms = Object.hasOwn(operation.effectTerms, event.name)
    ? operation.effectTerms[event.name]
    : undefined;
  if (terms === undefined) {
    const declared = Object.keys(operation.effectTerms).join(', ') || 'none';
    return refused(
      'effect_undeclared',
      `rule ${operation.rule} declares no effect ${event.name} (declared: ${declared})`,
    );
  }
  const existing = operation.effects.find(({ name }) => name === event.name);
  if (existing?.state === 'succeeded') return { ...unchanged(operation), replayed: true };
  if (hasEnded(operation)) return ended(operation);
  if (operation.state === 'paused')
    return refused(
      'operation_paused',
      `operation ${operation.operationId} is paused${because(operation)}; no new effect begins`,
    );
  if (operation.state !== 'executing')
    return refused(
      'operation_not_executing',
      `operation ${operation.operationId} is ${operation.state}: start an attempt first`,
    );
  const sameCall =
    existing?.state === 'begun' &&
    existing.attempt === event.attempt &&
    event.key !== null &&
    existing.beginKey === event.key;
  if (sameCall) return unchanged(operation);
  if (deadlinePassed(operation, now))
    return refused(
      'deadline_passed',
      `the deadline of operation ${operation.operationId} has passed: report what is known and stop`,
    );
  const ownership = checkOwnership(operation, event.ownership);
  if (!ownership.ok) return ownership;
  if (ownership.epoch !== operation.attemptLeaseEpoch) {
    return refused(
      'lease_lost',
      `the attempt began under epoch ${operation.attemptLeaseEpoch} and the lease is now at ${ownership.epoch}: start a new attempt`,
    );
  }
  const repeat = mayBeginAgain(existing, terms.idempotent, event.attempt);
  if (repeat !== null) return repeat;
  if (operation.recheck === 'commit' && event.recheck === null)
    return refused(
      'control_unreachable',
      `rule ${operation.rule} says recheck: commit, and control was not asked about effect ${event.name}`,
    );
  const effect: StoredEffect = {
    name: event.name,
    state: 'begun',
    attempt: event.attempt,
    idempotent: terms.idempotent,
    fencing: terms.fencing,
    leaseEpoch: ownership.epoch,
    begunAtMs: now.wallMs,
    settledAtMs: null,
    result: null,
    beginKey: event.key,
  };
  // A refusal of before is over.
  const change = { effects: withEffect(operation, effect), reason: null };
  return moved(operation, change, 'effect_begun', now, {
    effect: shown(effect),
    ...recheckFact(operation, event.recheck),
  });
}

function recheckFact(
  operation: StoredOperation,
  proof: RecheckProof | null,
): Readonly<Record<string, unknown>> {
  if (operation.recheck === null || proof === null) return {};
  const { endsBootMs: _ends, ...told } = proof;
  return { recheck: told };
}

/** O7: the effect has not begun; that it was asked for, and what was said, is a fact. */
export function refuseEffect(
  operation: StoredOperation,
  event: LifecycleEvent & { kind: 'refuse_effect' },
  now: Instant,
): LifecycleResult {
  const stale = staleAttempt(operation, event.attempt) ?? notExecuting(operation);
  if (stale !== null) return stale;
  const refusal = { effect: event.name, ...event.refusal };
  return moved(operation, { reason: event.refusal.code }, 'effect_refused', now, { refusal });
}

/** O2. */
function mayBeginAgain(
  existing: StoredEffect | undefined,
  idempotent: boolean,
  attempt: number,
): (LifecycleResult & { ok: false }) | null {
  if (existing === undefined || existing.state === 'failed' || idempotent) return null;
  if (existing.state === 'begun' && existing.attempt === attempt) {
    return refused(
      'effect_in_progress',
      `effect ${existing.name} was begun by this attempt: report its result`,
    );
  }
  return refused(
    'effect_unknown',
    `attempt ${existing.attempt} began effect ${existing.name} and its outcome is not known: find out, then resolve the operation`,
  );
}

export function settleEffect(
  operation: StoredOperation,
  event: LifecycleEvent & { kind: 'settle_effect' },
  now: Instant,
): LifecycleResult {
  const existing = operation.effects.find(({ name }) => name === event.name);
  if (existing === undefined)
    return refused(
      'effect_not_found',
      `effect ${event.name} was never begun in operation ${operation.operationId}`,
    );
  if (existing.attempt !== event.attempt) {
    return refused(
      'attempt_stale',
      `effect ${event.name} was begun by attempt ${existing.attempt}, not by ${event.attempt}`,
    );
  }
  if (existing.state === event.outcome && sameValue(existing.result, event.result))
    return { ...unchanged(operation), replayed: true };
  if (existing.state === 'succeeded' || existing.state === 'failed') {
    return refused(
      'effect_settled',
      `effect ${event.name} is recorded as ${existing.state}; a recorded result does not change`,
    );
  }
  const effect: StoredEffect = {
    ...existing,
    state: event.outcome,
    settledAtMs: now.wallMs,
    result: event.result,
  };
  return moved(operation, { effects: withEffect(operation, effect) }, 'effect_settled', now, {
    effect: shown(effect),
  });
}

export function saveCheckpoint(
  operation: StoredOperation,
  event: LifecycleEvent & { kind: 'save_checkpoint' },
  now: Instant,
): LifecycleResult {
  const stale = staleAttempt(operation, event.attempt) ?? notExecuting(operation);
  if (stale !== null) return stale;
  return moved(operation, { checkpoint: event.checkpoint }, 'checkpoint_saved', now, {
    checkpoint: event.checkpoint,
  });
}

export function reportOutcome(
  operation: StoredOperation,
  event: LifecycleEvent & { kind: 'report_outcome' },
  now: Instant,
): LifecycleResult {
  const stale = staleAttempt(operation, event.attempt);
  if (stale !== null) return stale;
  const recorded = operation.outcome;
  if (
    recorded !== null &&
    recorded.outcome === event.outcome &&
    recorded.attempt === event.attempt &&
    sameValue(recorded.result, event.result)
  ) {
    return { ...unchanged(operation), replayed: true };
  }
  if (SETTLED_STATES.has(operation.state)) {
    return ended(operation);
  }
  if (operation.state === 'unknown' && event.outcome === 'unknown') return unchanged(operation);
  const open = operation.effects.find(({ state }) => state === 'begun' || state === 'unknown');
  if (event.outcome !== 'unknown' && open !== undefined) {
    return open.state === 'begun'
      ? refused(
          'effect_in_progress',
          `effect ${open.name} was begun and not reported: report it before the outcome`,
        )
      : refused(
          'effect_unknown',
          `the outcome of effect ${open.name} is not known: report it, or report the operation as unknown`,
        );
  }
  const ownership = ownershipAtEnd(operation, event.ownership);
  const outcome = {
    outcome: event.outcome,
    provenance: 'asserted' as const,
    result: event.result,
    reason: event.reason,
    attempt: event.attempt,
    atMs: now.wallMs,
    late: operation.state === 'unknown',
    ...(ownership === null ? {} : { ownership }),
  };
  const effects = event.outcome === 'unknown' ? markUnknown(operation, now) : operation.effects;
  return moved(
    operation,
    {
      state: event.outcome,
      reason: event.reason ?? reasonOfEnd(event.outcome, ownership),
      outcome,
      effects,
    },
    event.outcome,
    now,
    { outcome },
  );
}

/** O9: a report may have waited in the queue until its lease was over, or taken over. */
export function ownedAsOf(
  event: LifecycleEvent,
  at: { readonly bootMs: BootMs; readonly highestEpoch: number | null },
): LifecycleEvent {
  if (event.kind !== 'report_outcome' || event.ownership?.owned !== true) return event;
  const { epoch, endsBootMs } = event.ownership;
  if (at.bootMs < endsBootMs && checkFence(at.highestEpoch, epoch).accepted) return event;
  return { ...event, ownership: { owned: false, reason: 'lease_expired' } };
}

type Ending = NonNullable<Outcome['ownership']>;

/** O9. */
function ownershipAtEnd(
  { leaseResource, attemptLeaseEpoch }: StoredOperation,
  verdict: OwnershipVerdict | null,
): Ending | null {
  if (leaseResource === null) return null;
  if (verdict?.owned !== true || verdict.epoch !== attemptLeaseEpoch) return 'lost';
  return verdict.inGrace ? 'in_grace' : 'held';
}

function reasonOfEnd(outcome: Outcome['outcome'], ownership: Ending | null): string | null {
  if (ownership === 'lost') return 'lease_lost_before_outcome';
  return outcome === 'unknown' ? 'reported_unknown' : null;
}

function withEffect(operation: StoredOperation, effect: StoredEffect): StoredEffect[] {
  return [...operation.effects.filter(({ name }) => name !== effect.name), effect];
}

function ended(operation: StoredOperation): LifecycleResult & { ok: false } {
  return refused(
    'operation_settled',
    `operation ${operation.operationId} has ended as ${operation.state}${because(operation)}`,
  );
}

/** O1. */
export function staleAttempt(
  operation: StoredOperation,
  attempt: number,
): (LifecycleResult & { ok: false }) | null {
  if (attempt > operation.attempt || attempt < 1)
    return refused(
      'attempt_not_found',
      `operation ${operation.operationId} has no attempt ${attempt}; the newest is ${operation.attempt}`,
    );
  if (attempt < operation.attempt)
    return refused(
      'attempt_stale',
      `attempt ${attempt} was taken over by attempt ${operation.attempt}: stop, and act no more`,
    );
  return null;
}

export function notExecuting(operation: StoredOperation): (LifecycleResult & { ok: false }) | null {
  if (operation.state === 'executing') return null;
  if (operation.state === 'paused')
    return refused(
      'operation_paused',
      `operation ${operation.operationId} is paused${because(operation)}`,
    );
  if (hasEnded(operation)) return ended(operation);
  return refused(
    'operation_not_executing',
    `operation ${operation.operationId} is ${operation.state}`,
  );
}

/** O5. */
function checkOwnership(
  operation: StoredOperation,
  ownership: OwnershipVerdict | null,
):
  | { readonly ok: true; readonly epoch: number | null; readonly inGrace: boolean }
  | (LifecycleResult & { ok: false }) {
  if (operation.leaseResource === null) return { ok: true, epoch: null, inGrace: false };
  if (ownership?.owned !== true) {
    return refused(
      'lease_lost',
      `this host does not hold the lease of ${operation.leaseResource} any more (${ownership?.reason ?? 'lease_absent'})`,
    );
  }
  return { ok: true, epoch: ownership.epoch, inGrace: ownership.inGrace };
}

function sameValue(a: unknown, b: unknown): boolean {
  return canonicalJson(a ?? null) === canonicalJson(b ?? null);
}
