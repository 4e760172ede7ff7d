/**
 * The state of the exchange with control, and when to try next (DESIGN 4 and 6).
 *
 * starting -> connected <-> disconnected, and `refused` when control answered that this host has no
 * authority.
 *
 * Y1  Healthy: the interval or up to 20 % less, so that it is a bound to what waits for a sync, and
 *     shortened so that a lease is renewed at a third of its time to live.
 * Y2  Not healthy: exponential back-off with full jitter, so that recovery is not the second
 *     outage; never sooner than control asked for, and a wait that it asks for is bounded, because
 *     nothing may silence a host. While a lease can still be renewed the back-off stays under a
 *     third of its time to live too.
 * Y3  A failure after a success begins the back-off anew; only a success ends it.
 */
import { backoffDelayMs, jitteredMs } from '../../shared/core/backoff.ts';
import type { Instant } from '../../shared/core/time.ts';

export type SyncPhase = 'starting' | 'connected' | 'disconnected' | 'refused';

export type SyncState = {
  readonly phase: SyncPhase;
  /** Tries since the last success that did not succeed. */
  readonly failures: number;
  readonly lastAttempt: Instant | null;
  readonly lastSuccess: Instant | null;
  readonly lastError: string | null;
};

export const SYNC_STATE_AT_START: SyncState = {
  phase: 'starting',
  failures: 0,
  lastAttempt: null,
  lastSuccess: null,
  lastError: null,
};

export type SyncOutcome =
  | { readonly kind: 'answer' }
  | { readonly kind: 'unreachable'; readonly detail: string }
  | { readonly kind: 'refused'; readonly detail: string };

export function afterSync(state: SyncState, outcome: SyncOutcome, sentAt: Instant): SyncState {
  if (outcome.kind === 'answer') {
    return {
      phase: 'connected',
      failures: 0,
      lastAttempt: sentAt,
      lastSuccess: sentAt,
      lastError: null,
    };
  }
  return {
    ...state,
    phase: outcome.kind === 'refused' ? 'refused' : 'disconnected',
    failures: state.failures + 1,
    lastAttempt: sentAt,
    lastError: outcome.detail,
  };
}

const JITTER = 0.2;
export const BACKOFF_BASE_MS = 500;
const BACKOFF_MAX_MS = 30_000;
/** Control may ask for a pause, not for silence. */
export const RETRY_AFTER_MS_MAX = 60_000;

export type SyncPace = {
  readonly syncIntervalMs: number;
  /** Of the leases that have not ended, the shortest time to live; `null` without any. */
  readonly leaseTtlMs: number | null;
  /** What control asked for in its last answer. */
  readonly retryAfterMs: number | null;
};

export function nextSyncDelayMs(state: SyncState, pace: SyncPace, unitRandom: number): number {
  const leaseMs = pace.leaseTtlMs === null ? Number.POSITIVE_INFINITY : pace.leaseTtlMs / 3;
  if (state.failures === 0) {
    // The jitter comes before the bound, so that it can only bring a renewal forward.
    return Math.floor(Math.min(jitteredMs(pace.syncIntervalMs, JITTER, unitRandom), leaseMs));
  }
  const restMs = Math.max(pace.syncIntervalMs, BACKOFF_MAX_MS);
  const maxMs = Math.min(restMs, Math.max(BACKOFF_BASE_MS, leaseMs));
  return backoffWithFloorMs(
    { failures: state.failures, maxMs, retryAfterMs: pace.retryAfterMs },
    unitRandom,
  );
}

/** Full jitter, on top of what the peer asked for. */
export function backoffWithFloorMs(
  wait: { readonly failures: number; readonly maxMs: number; readonly retryAfterMs: number | null },
  unitRandom: number,
): number {
  const floorMs = Math.min(wait.retryAfterMs ?? 0, RETRY_AFTER_MS_MAX);
  return (
    floorMs +
    backoffDelayMs(wait.failures, { baseMs: BACKOFF_BASE_MS, maxMs: wait.maxMs }, unitRandom)
  );
}
