/** What befalls an operation whose outcome is unknown: U1 to U4 of `reconciliation.ts`. */
import { formatDurationMs, type Instant } from '../../shared/core/time.ts';
import {
  type LifecycleResult,
  type StoredOperation,
  type StoredReconciliation,
  deadlinePassed,
  moved,
  refused,
  unchanged,
  unreported,
} from './operation-record.ts';
import {
  claimAt,
  isSafeToRunAgain,
  onUnknownOf,
  reconciliationOf,
  tryDelayMs,
} from './reconciliation.ts';
import type { ReconciliationEvent } from './reconciliation-event.ts';

type Of<Kind extends ReconciliationEvent['kind']> = ReconciliationEvent & { readonly kind: Kind };
type Refusal = LifecycleResult & { readonly ok: false };

/** U1, U3. */
export function beginTry(
  operation: StoredOperation,
  event: Of<'begin_try'>,
  now: Instant,
): LifecycleResult {
  const refusal = notUnknown(operation) ?? claimedByAnother(operation, event.by, now);
  if (refusal !== null) return refusal;
  const terms = onUnknownOf(operation);
  const known = reconciliationOf(operation);
  if (terms.strategy !== event.strategy)
    return refused(
      'probe_undeclared',
      `rule ${operation.rule} says ${terms.strategy} where an outcome is unknown: there is nothing to ${event.strategy}`,
    );
  // What its rule no longer tries, a person may still ask for.
  if (event.by === null && (known.strategy !== event.strategy || known.tries >= terms.attempts))
    return unchanged(operation);
  const number = known.tries + 1;
  const lastTry = {
    number,
    strategy: event.strategy,
    by: event.by,
    begunAtMs: now.wallMs,
    endedAtMs: null,
    verdict: null,
    detail: null,
  };
  const nextTryAtMs =
    known.nextTryAtMs === null ? null : now.wallMs + tryDelayMs(terms, number, event.unitRandom);
  const reconciliation = { ...known, tries: number, lastTry, nextTryAtMs };
  if (event.strategy === 'retry') return runAgain(operation, reconciliation, now);
  return moved(operation, { reconciliation }, 'reconciliation_try_begun', now);
}

/** I9: what an attempt began and did not report may have happened. */
function runAgain(
  operation: StoredOperation,
  reconciliation: StoredReconciliation,
  now: Instant,
): LifecycleResult {
  if (!isSafeToRunAgain(operation)) {
    const open = unreported(operation)[0]?.name ?? Object.keys(operation.effectTerms)[0];
    return refused(
      'effect_unknown',
      `${open === undefined ? 'no effect is declared' : `effect ${open} may have happened`} and not every effect of rule ${operation.rule} is idempotent: it is not run again`,
    );
  }
  if (deadlinePassed(operation, now))
    return refused(
      'deadline_passed',
      `the deadline of operation ${operation.operationId} has passed: it is not run again`,
    );
  const ended = { ...reconciliation, claim: null, nextTryAtMs: null };
  const lastTry =
    ended.lastTry === null
      ? null
      : { ...ended.lastTry, endedAtMs: now.wallMs, detail: 'to be run again by a new attempt' };
  return moved(
    operation,
    {
      state: 'accepted',
      reason: 'unknown_run_again',
      outcome: null,
      reconciliation: { ...ended, lastTry },
    },
    'retried',
    now,
    { outcome: null },
  );
}

/** A try that was cut off, or overtaken by another, ends nothing. */
export function endTry(
  operation: StoredOperation,
  event: Of<'end_try'>,
  now: Instant,
): LifecycleResult {
  const known = reconciliationOf(operation);
  const { lastTry } = known;
  if (
    operation.state !== 'unknown' ||
    lastTry?.number !== event.number ||
    lastTry.endedAtMs !== null
  )
    return unchanged(operation);
  const { verdict, detail } = event;
  const ended = { ...known, lastTry: { ...lastTry, endedAtMs: now.wallMs, verdict, detail } };
  if (verdict === 'unknown') {
    const terms = onUnknownOf(operation);
    const isLast = terms.strategy !== 'human' && ended.tries >= terms.attempts;
    const reason = event.isFinal ? detail : isLast ? 'attempts_used' : null;
    const reconciliation =
      reason === null || ended.strategy === 'human' ? ended : givenUp(ended, reason);
    return moved(operation, { reconciliation }, 'reconciliation_try_ended', now);
  }
  const reason = `probe_${verdict}`;
  const outcome = {
    outcome: verdict,
    provenance: 'verified' as const,
    result: event.result,
    reason,
    attempt: operation.attempt,
    atMs: now.wallMs,
    late: true,
    by: lastTry.by ?? 'probe',
    ...(event.evidence === null ? {} : { evidence: event.evidence }),
  };
  const reconciliation = { ...ended, claim: null, nextTryAtMs: null };
  const change = { state: verdict, reason, outcome, reconciliation };
  return moved(operation, change, verdict, now, { outcome, resolved: true });
}

function givenUp(known: StoredReconciliation, reason: string): StoredReconciliation {
  return { ...known, strategy: 'human', nextTryAtMs: null, leftToPerson: reason };
}

export function leaveToPerson(
  operation: StoredOperation,
  { reason }: Of<'leave_to_person'>,
  now: Instant,
): LifecycleResult {
  const known = reconciliationOf(operation);
  if (operation.state !== 'unknown' || known.strategy === 'human') return unchanged(operation);
  const reconciliation = givenUp(known, reason);
  return moved(operation, { reconciliation }, 'reconciliation_left_to_person', now);
}

/** From now on the end of that operation decides. */
export function linkCompensation(
  operation: StoredOperation,
  { operationId, number }: Of<'link_compensation'>,
  now: Instant,
): LifecycleResult {
  const known = reconciliationOf(operation);
  const { lastTry } = known;
  if (operation.state !== 'unknown' || known.compensatedBy === operationId || lastTry === null)
    return unchanged(operation);
  const isOurs = lastTry.number === number;
  const detail = `operation ${operationId} is to undo it`;
  const reconciliation: StoredReconciliation = {
    ...known,
    lastTry: isOurs ? { ...lastTry, endedAtMs: now.wallMs, detail } : lastTry,
    nextTryAtMs: null,
    compensatedBy: operationId,
  };
  return moved(operation, { reconciliation }, 'compensation_admitted', now);
}

/** Whatever it did is undone: it is `failed`, and that is known as well as the undoing is. */
export function compensated(
  operation: StoredOperation,
  { operationId, provenance }: Of<'compensated'>,
  now: Instant,
): LifecycleResult {
  const { compensatedBy } = reconciliationOf(operation);
  if (operation.state !== 'unknown' || compensatedBy !== operationId) return unchanged(operation);
  const outcome = {
    outcome: 'failed' as const,
    provenance,
    result: null,
    reason: 'compensated',
    attempt: operation.attempt,
    atMs: now.wallMs,
    late: true,
    by: operationId,
  };
  const change = { state: 'failed' as const, reason: 'compensated', outcome };
  return moved(operation, change, 'failed', now, { outcome, resolved: true });
}

/** U4. By the same holder it is a renewal. */
export function claim(
  operation: StoredOperation,
  { holder, app, ttlMs }: Of<'claim'>,
  now: Instant,
): LifecycleResult {
  const refusal = notUnknown(operation) ?? claimedByAnother(operation, holder, now);
  if (refusal !== null) return refusal;
  const known = reconciliationOf(operation);
  const endsAtMs = now.wallMs + ttlMs;
  const endsBoot = { bootId: now.bootId, bootMs: now.bootMs + ttlMs };
  const held = { holder, app, atMs: now.wallMs, endsAtMs, endsBoot };
  // Its rule tries nothing while somebody works on it.
  const nextTryAtMs = known.nextTryAtMs === null ? null : Math.max(known.nextTryAtMs, endsAtMs);
  const reconciliation = { ...known, claim: held, nextTryAtMs };
  return moved(operation, { reconciliation }, 'reconciliation_claimed', now, { holder, app });
}

export function release(
  operation: StoredOperation,
  { holder, force }: Of<'release'>,
  now: Instant,
): LifecycleResult {
  const gone = notUnknown(operation);
  if (gone !== null) return gone;
  const known = reconciliationOf(operation);
  const held = claimAt(known, now);
  // What has ended by itself needs no release, and a second release none either.
  if (held === null) return { ...unchanged(operation), replayed: true };
  if (held.holder !== holder && !force)
    return claimedByAnother(operation, holder, now) ?? unchanged(operation);
  const nextTryAtMs = known.nextTryAtMs === null ? null : now.wallMs;
  const reconciliation = { ...known, claim: null, nextTryAtMs };
  return moved(operation, { reconciliation }, 'reconciliation_released', now, {
    holder: held.holder,
    by: holder,
  });
}

function notUnknown({ operationId, state }: StoredOperation): Refusal | null {
  if (state === 'unknown') return null;
  return refused(
    'operation_not_unknown',
    `operation ${operationId} is ${state}: there is nothing to reconcile`,
  );
}

export function claimedByAnother(
  operation: StoredOperation,
  holder: string | null,
  now: Instant,
): Refusal | null {
  const held = claimAt(reconciliationOf(operation), now);
  if (held === null || held.holder === holder) return null;
  const leftMs = Math.max(0, held.endsAtMs - now.wallMs);
  return refused(
    'reconciliation_claimed',
    `${held.holder} (app ${held.app}) works on operation ${operation.operationId} for another ${formatDurationMs(leftMs)} at most: wait, or ask for its release`,
  );
}
