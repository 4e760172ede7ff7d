/**
 * What is done about an operation whose outcome is unknown, and when.
 *
 * U1  It goes as its rule said at admission. Tries are counted before they are made and bounded, so
 *     that no crash between a try and its record makes it endless; then it is a person's (I8).
 * U2  The first try comes an interval after the outcome became unknown: what was begun may still be
 *     under way, and whoever is asked too early says truthfully what is not true for long.
 * U3  It is run again only where every declared effect is idempotent, and there is one (I9).
 * U4  A claim holds others off until it ends: on the boot clock of its boot, after a reboot on the
 *     wall clock.
 */
import { jitteredMs } from '../../shared/core/backoff.ts';
import { LEFT_TO_A_PERSON, type OnUnknown, type TryTerms } from '../../shared/core/on-unknown.ts';
import { MINUTE_MS, type Instant } from '../../shared/core/time.ts';
import type { StoredOperation, StoredReconciliation } from './operation-record.ts';

const DELAY_MS_MAX = 15 * MINUTE_MS;
const DELAY_SPREAD = 0.2;
const DOUBLINGS_MAX = 20;

export function onUnknownOf({ onUnknown }: StoredOperation): OnUnknown {
  return onUnknown ?? LEFT_TO_A_PERSON;
}

/** As it stands; of records of builds that knew none, a person's. */
export function reconciliationOf(operation: StoredOperation): StoredReconciliation {
  return operation.reconciliation ?? leftToPerson(operation.outcome?.atMs ?? operation.updatedAtMs);
}

function leftToPerson(sinceMs: number): StoredReconciliation {
  return {
    strategy: 'human',
    sinceMs,
    tries: 0,
    lastTry: null,
    nextTryAtMs: null,
    leftToPerson: null,
    claim: null,
    compensatedBy: null,
  };
}

/** What a change of state does to it, where the change does not say that itself. */
export function reconciliationAfter(
  operation: StoredOperation,
  change: Partial<StoredOperation>,
  now: Instant,
): Pick<StoredOperation, 'reconciliation'> {
  if (change.reconciliation !== undefined || change.state === undefined) return {};
  const was = operation.state === 'unknown';
  const is = change.state === 'unknown';
  if (was === is) return {};
  const { reconciliation } = operation;
  if (is) return { reconciliation: opened(operation, now) };
  if (reconciliation === undefined) return {};
  return { reconciliation: { ...reconciliation, claim: null, nextTryAtMs: null } };
}

/** U2. One that was run again before keeps the count of its tries. */
function opened(operation: StoredOperation, now: Instant): StoredReconciliation {
  const terms = onUnknownOf(operation);
  const fresh = leftToPerson(now.wallMs);
  const { tries = 0, lastTry = null } = operation.reconciliation ?? {};
  if (terms.strategy === 'human') return fresh;
  const nextTryAtMs = now.wallMs + terms.intervalMs;
  return { ...fresh, strategy: terms.strategy, tries, lastTry, nextTryAtMs };
}

/** Doubled with each try, spread so that many do not go in step. */
export function tryDelayMs({ intervalMs }: TryTerms, tries: number, unitRandom: number): number {
  const doubled = intervalMs * 2 ** Math.min(DOUBLINGS_MAX, Math.max(0, tries - 1));
  const boundedMs = Math.min(doubled, Math.max(intervalMs, DELAY_MS_MAX));
  return jitteredMs(boundedMs, DELAY_SPREAD, unitRandom);
}

export type ReconciliationStep =
  | { readonly kind: 'probe' | 'retry' | 'compensate' }
  | { readonly kind: 'leave_to_person'; readonly reason: string };

/** What is to be done about one that is due. */
export function stepOf(operation: StoredOperation): ReconciliationStep {
  const terms = onUnknownOf(operation);
  const { strategy, tries, compensatedBy } = reconciliationOf(operation);
  if (terms.strategy === 'human' || strategy === 'human' || compensatedBy !== null)
    return { kind: 'leave_to_person', reason: 'nothing_to_try' };
  if (tries >= terms.attempts) return { kind: 'leave_to_person', reason: 'attempts_used' };
  if (terms.strategy === 'retry' && !isSafeToRunAgain(operation))
    return { kind: 'leave_to_person', reason: 'not_idempotent' };
  // A chain of them would have no end.
  if (terms.strategy === 'compensate' && operation.compensates !== undefined)
    return { kind: 'leave_to_person', reason: 'is_a_compensation' };
  return { kind: terms.strategy };
}

/** U3. */
export function isSafeToRunAgain({ effectTerms, effects }: StoredOperation): boolean {
  const terms = Object.values(effectTerms);
  return (
    terms.length > 0 &&
    terms.every(({ idempotent }) => idempotent) &&
    effects.every(({ idempotent }) => idempotent)
  );
}

/** U4: who holds others off now. */
export function claimAt(
  { claim }: Pick<StoredReconciliation, 'claim'>,
  now: Instant,
): StoredReconciliation['claim'] {
  if (claim === null) return null;
  const { endsBoot, endsAtMs } = claim;
  const isOver =
    endsBoot?.bootId === now.bootId ? now.bootMs >= endsBoot.bootMs : now.wallMs >= endsAtMs;
  return isOver ? null : claim;
}
