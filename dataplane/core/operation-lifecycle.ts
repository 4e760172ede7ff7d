/**
 * The life of an accepted operation: one pure state machine. The writer thread loads the record, asks here,
 * and writes what comes back in the same transaction; nobody else changes a record.
 *
 * O1  Only the newest attempt acts; an older one is told that it is stale (I9).
 * O2  An effect is begun by at most one live attempt. A recorded success is returned instead of run again. One
 *     begun and not reported is never begun again unless its rule declares it idempotent (I9).
 * O3  A fact that an attempt reports about an effect it began is recorded whatever else has happened since.
 * O4  `succeeded` and `failed` need every begun effect reported; what is not known ends as `unknown` (I8).
 * O5  A new effect needs the lease under which the attempt began, at the same epoch (I6).
 * O6  After the deadline nothing new begins (I8).
 */
import { assertNever } from '../../shared/core/assert.ts';
import type { OwnershipVerdict } from '../../shared/core/lease.ts';
import type { Instant } from '../../shared/core/time.ts';
import type {
  Effect,
  EventKind,
  Operation,
  OperationState,
  Provenance,
} from '../../shared/wire/operation.ts';
import type { ErrorCode } from '../../shared/wire/problem.ts';

/** What is stored beyond what the API shows. */
export type StoredEffect = Effect & { readonly beginKey: string | null };
export type StoredOperation = Omit<Operation, 'effects'> & {
  readonly effects: StoredEffect[];
  /** The key with which the newest attempt was asked for: the same key gets the same attempt. */
  readonly attemptKey: string | null;
  /** The deadline on the boot clock of the boot in which it was admitted. */
  readonly deadlineBoot: { readonly bootId: string; readonly bootMs: number };
};

export type LifecycleEvent =
  | {
      readonly kind: 'start_attempt';
      readonly supersede: boolean;
      readonly key: string | null;
      readonly ownership: OwnershipVerdict | null;
    }
  | {
      readonly kind: 'begin_effect';
      readonly attempt: number;
      readonly name: string;
      readonly key: string | null;
      readonly ownership: OwnershipVerdict | null;
    }
  | {
      readonly kind: 'settle_effect';
      readonly attempt: number;
      readonly name: string;
      readonly outcome: 'succeeded' | 'failed' | 'unknown';
      readonly result: unknown;
    }
  | { readonly kind: 'save_checkpoint'; readonly attempt: number; readonly checkpoint: unknown }
  | {
      readonly kind: 'report_outcome';
      readonly attempt: number;
      readonly outcome: 'succeeded' | 'failed' | 'unknown';
      readonly result: unknown;
      readonly reason: string | null;
    }
  | { readonly kind: 'cancel'; readonly reason: string }
  | { readonly kind: 'lose_worker'; readonly attempt: number }
  | { readonly kind: 'lose_control' }
  | { readonly kind: 'regain_control' }
  | { readonly kind: 'pass_deadline' }
  | {
      readonly kind: 'resolve';
      readonly outcome: 'succeeded' | 'failed';
      readonly provenance: Provenance;
      readonly reason: string;
      readonly result: unknown;
    };

/** What goes into the journal with the new record; `null` where nothing changed (the same report again). */
export type JournalNote = {
  readonly kind: EventKind;
  readonly body: Readonly<Record<string, unknown>>;
};

export type LifecycleResult =
  | {
      readonly ok: true;
      readonly operation: StoredOperation;
      readonly note: JournalNote | null;
      readonly replayed: boolean;
    }
  | { readonly ok: false; readonly code: ErrorCode; readonly detail: string };

/** Every legal change of state, by event. The documentation prints this table; a test holds it to the code. */
export const TRANSITIONS: Readonly<
  Record<
    OperationState,
    Readonly<Partial<Record<LifecycleEvent['kind'], readonly OperationState[]>>>
  >
> = {
  accepted: {
    start_attempt: ['executing'],
    settle_effect: ['accepted'],
    report_outcome: ['succeeded', 'failed', 'unknown'],
    cancel: ['cancelled'],
    lose_control: ['paused', 'cancelled', 'unknown'],
    pass_deadline: ['expired', 'unknown'],
  },
  executing: {
    start_attempt: ['executing'],
    begin_effect: ['executing'],
    settle_effect: ['executing'],
    save_checkpoint: ['executing'],
    report_outcome: ['succeeded', 'failed', 'unknown'],
    cancel: ['cancelled'],
    lose_worker: ['accepted', 'failed', 'unknown'],
    lose_control: ['paused', 'cancelled', 'unknown'],
    pass_deadline: ['expired', 'unknown'],
  },
  paused: {
    settle_effect: ['paused'],
    report_outcome: ['succeeded', 'failed', 'unknown'],
    cancel: ['cancelled'],
    regain_control: ['accepted'],
    pass_deadline: ['expired', 'unknown'],
  },
  succeeded: { settle_effect: ['succeeded'] },
  failed: { settle_effect: ['failed'] },
  cancelled: { settle_effect: ['cancelled'] },
  expired: { settle_effect: ['expired'] },
  unknown: {
    settle_effect: ['unknown'],
    report_outcome: ['succeeded', 'failed'],
    resolve: ['succeeded', 'failed'],
  },
};

export const SETTLED_STATES: ReadonlySet<OperationState> = new Set([
  'succeeded',
  'failed',
  'cancelled',
  'expired',
]);

/** The wall clock may only shorten; within the boot of its admission the boot clock decides as well. */
export function deadlinePassed(operation: StoredOperation, now: Instant): boolean {
  if (now.wallMs >= operation.deadlineAtMs) return true;
  return (
    now.bootId === operation.deadlineBoot.bootId && now.bootMs >= operation.deadlineBoot.bootMs
  );
}

export function applyLifecycleEvent(
  operation: StoredOperation,
  event: LifecycleEvent,
  now: Instant,
): LifecycleResult {
  switch (event.kind) {
    case 'start_attempt':
      return startAttempt(operation, event, now);
    case 'begin_effect':
      return beginEffect(operation, event, now);
    case 'settle_effect':
      return settleEffect(operation, event, now);
    case 'save_checkpoint':
      return saveCheckpoint(operation, event, now);
    case 'report_outcome':
      return reportOutcome(operation, event, now);
    case 'cancel':
      return cancel(operation, event.reason, now);
    case 'lose_worker':
      return loseWorker(operation, event.attempt, now);
    case 'lose_control':
      return loseControl(operation, now);
    case 'regain_control':
      if (operation.state !== 'paused') return unchanged(operation);
      return moved(operation, { state: 'accepted', reason: 'control_regained' }, 'resumed', now);
    case 'pass_deadline':
      return passDeadline(operation, now);
    case 'resolve':
      return resolve(operation, event, now);
    default:
      return assertNever(event);
  }
}

function startAttempt(
  operation: StoredOperation,
  event: LifecycleEvent & { kind: 'start_attempt' },
  now: Instant,
): LifecycleResult {
  if (event.key !== null && event.key === operation.attemptKey && operation.state === 'executing')
    return { ...unchanged(operation), replayed: true };
  if (hasEnded(operation))
    return refused(
      'operation_settled',
      `operation ${operation.operationId} has ended as ${operation.state}${because(operation)}`,
    );
  if (deadlinePassed(operation, now))
    return refused(
      'deadline_passed',
      `the deadline of operation ${operation.operationId} has passed: submit it anew if it is still wanted`,
    );
  if (operation.state === 'paused')
    return refused(
      'operation_paused',
      `operation ${operation.operationId} is paused${because(operation)}; it goes on when control is back`,
    );
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
      attemptKey: event.key,
    },
    'attempt_started',
    now,
    { leaseEpoch: ownership.epoch, leaseInGrace: ownership.inGrace },
  );
}

function beginEffect(
  operation: StoredOperation,
  event: LifecycleEvent & { kind: 'begin_effect' },
  now: Instant,
): LifecycleResult {
  const stale = staleAttempt(operation, event.attempt);
  if (stale !== null) return stale;
  const terms = operation.effectTerms[event.name];
  if (terms === undefined) {
    const declared = Object.keys(operation.effectTerms).join(', ') || 'none';
    return refused(
      'effect_undeclared',
      `rule ${operation.rule} declares no effect ${event.name} (declared: ${declared})`,
    );
  }
  const existing = operation.effects.find(({ name }) => name === event.name);
  if (existing?.state === 'succeeded') return { ...unchanged(operation), replayed: true };
  if (hasEnded(operation))
    return refused(
      'operation_settled',
      `operation ${operation.operationId} has ended as ${operation.state}${because(operation)}`,
    );
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
  return moved(operation, { effects: withEffect(operation, effect) }, 'effect_begun', now, {
    effect: shown(effect),
  });
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

function settleEffect(
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

function saveCheckpoint(
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

function reportOutcome(
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
    return refused(
      'operation_settled',
      `operation ${operation.operationId} has ended as ${operation.state}${because(operation)}`,
    );
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
  const outcome = {
    outcome: event.outcome,
    provenance: 'asserted' as const,
    result: event.result,
    reason: event.reason,
    attempt: event.attempt,
    atMs: now.wallMs,
    late: operation.state === 'unknown',
  };
  const effects = event.outcome === 'unknown' ? markUnknown(operation, now) : operation.effects;
  return moved(
    operation,
    {
      state: event.outcome,
      reason: event.reason ?? (event.outcome === 'unknown' ? 'reported_unknown' : null),
      outcome,
      effects,
    },
    event.outcome,
    now,
    { outcome },
  );
}

function cancel(operation: StoredOperation, reason: string, now: Instant): LifecycleResult {
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

function loseWorker(operation: StoredOperation, attempt: number, now: Instant): LifecycleResult {
  if (operation.state !== 'executing' || operation.attempt !== attempt) return unchanged(operation);
  const open = unreported(operation).find(({ idempotent }) => !idempotent);
  if (open !== undefined)
    return becomesUnknown(operation, `worker_lost_in_effect_${open.name}`, now);
  if (operation.onWorkerLoss === 'retry')
    return moved(operation, { state: 'accepted', reason: 'worker_lost' }, 'worker_lost', now);
  if (operation.onWorkerLoss === 'fail' && Object.keys(operation.effectTerms).length > 0) {
    return moved(operation, { state: 'failed', reason: 'worker_lost' }, 'failed', now);
  }
  return becomesUnknown(operation, 'worker_lost', now);
}

function loseControl(operation: StoredOperation, now: Instant): LifecycleResult {
  if (operation.state !== 'accepted' && operation.state !== 'executing')
    return unchanged(operation);
  if (operation.onControlLoss === 'finish') return unchanged(operation);
  if (operation.onControlLoss === 'pause')
    return moved(operation, { state: 'paused', reason: 'control_lost' }, 'paused', now);
  if (mayHaveActed(operation)) return becomesUnknown(operation, 'aborted_on_control_loss', now);
  return moved(operation, { state: 'cancelled', reason: 'control_lost' }, 'cancelled', now);
}

function passDeadline(operation: StoredOperation, now: Instant): LifecycleResult {
  if (hasEnded(operation) || !deadlinePassed(operation, now)) return unchanged(operation);
  if (mayHaveActed(operation)) return becomesUnknown(operation, 'deadline_passed', now);
  return moved(operation, { state: 'expired', reason: 'deadline_passed' }, 'expired', now);
}

function resolve(
  operation: StoredOperation,
  event: LifecycleEvent & { kind: 'resolve' },
  now: Instant,
): LifecycleResult {
  if (operation.state !== 'unknown')
    return refused(
      'operation_not_unknown',
      `operation ${operation.operationId} is ${operation.state}: only an unknown one can be resolved`,
    );
  const outcome = {
    outcome: event.outcome,
    provenance: event.provenance,
    result: event.result,
    reason: event.reason,
    attempt: operation.attempt,
    atMs: now.wallMs,
    late: true,
  };
  return moved(
    operation,
    { state: event.outcome, reason: event.reason, outcome },
    event.outcome,
    now,
    { outcome, resolved: true },
  );
}

/** `unknown` is an end too: one with a way to resolve it (I8). */
function hasEnded(operation: StoredOperation): boolean {
  return operation.state === 'unknown' || SETTLED_STATES.has(operation.state);
}

function unreported(operation: StoredOperation): StoredEffect[] {
  return operation.effects.filter(({ state }) => state === 'begun' || state === 'unknown');
}

/** An unreported effect, or a worker at work whose steps the rule does not declare. */
function mayHaveActed(operation: StoredOperation): boolean {
  if (unreported(operation).length > 0) return true;
  return operation.state === 'executing' && Object.keys(operation.effectTerms).length === 0;
}

function becomesUnknown(operation: StoredOperation, reason: string, now: Instant): LifecycleResult {
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
    { outcome },
  );
}

function markUnknown(operation: StoredOperation, now: Instant): StoredEffect[] {
  return operation.effects.map((effect) =>
    effect.state === 'begun' ? { ...effect, state: 'unknown', settledAtMs: now.wallMs } : effect,
  );
}

function withEffect(operation: StoredOperation, effect: StoredEffect): StoredEffect[] {
  return [...operation.effects.filter(({ name }) => name !== effect.name), effect];
}

function shown({ beginKey: _, ...effect }: StoredEffect): Effect {
  return effect;
}

/** O1. */
function staleAttempt(
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

function notExecuting(operation: StoredOperation): (LifecycleResult & { ok: false }) | null {
  if (operation.state === 'executing') return null;
  if (operation.state === 'paused')
    return refused(
      'operation_paused',
      `operation ${operation.operationId} is paused${because(operation)}`,
    );
  if (hasEnded(operation))
    return refused(
      'operation_settled',
      `operation ${operation.operationId} has ended as ${operation.state}${because(operation)}`,
    );
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

function because(operation: StoredOperation): string {
  return operation.reason === null ? '' : ` (${operation.reason})`;
}

function sameValue(a: unknown, b: unknown): boolean {
  return JSON.stringify(a ?? null) === JSON.stringify(b ?? null);
}

function refused(code: ErrorCode, detail: string): LifecycleResult & { ok: false } {
  return { ok: false, code, detail };
}

function unchanged(operation: StoredOperation): LifecycleResult & { ok: true } {
  return { ok: true, operation, note: null, replayed: false };
}

function moved(
  operation: StoredOperation,
  change: Partial<StoredOperation>,
  kind: EventKind,
  now: Instant,
  facts: Readonly<Record<string, unknown>> = {},
): LifecycleResult & { ok: true } {
  const next: StoredOperation = { ...operation, ...change, updatedAtMs: now.wallMs };
  const settled = SETTLED_STATES.has(next.state) && !SETTLED_STATES.has(operation.state);
  const effects =
    change.effects !== undefined && kind !== 'effect_begun' && kind !== 'effect_settled'
      ? { effects: change.effects.map(shown) }
      : {};
  return {
    ok: true,
    operation: settled ? { ...next, settledAtMs: now.wallMs } : next,
    note: {
      kind,
      body: { state: next.state, reason: next.reason, attempt: next.attempt, ...facts, ...effects },
    },
    replayed: false,
  };
}
