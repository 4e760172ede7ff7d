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
 * Y4  Told that control takes back only so many at a time, it comes when it was told to, a little
 *     later by chance; sooner where a lease would end before, since who says so is not known. That
 *     is neither contact nor the loss of it: nothing but the wait follows, for as long as
 *     `OVERLOADED_MS_MAX`.
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
  | { readonly kind: 'overloaded'; readonly detail: string }
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
  const phase = {
    refused: 'refused',
    unreachable: 'disconnected',
    overloaded: state.phase,
  } as const;
  return {
    ...state,
    phase: phase[outcome.kind],
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

/** Nobody signs that control is overloaded; said for longer, it is an outage like any other. */
export const OVERLOADED_MS_MAX = 60_000;
const OVERLOADED_JITTER = 0.2;
const OVERLOADED_WAIT_MS_MIN = 100;

export type SyncPace = {
  readonly syncIntervalMs: number;
  /** Of the leases that have not ended, the shortest time to live; `null` without any. */
  readonly leaseTtlMs: number | null;
  /** What control asked for in its last answer. */
  readonly retryAfterMs: number | null;
  /** Y4. */
  readonly overloaded?: { readonly leaseEndsMs: number | null };
};

export function nextSyncDelayMs(state: SyncState, pace: SyncPace, unitRandom: number): number {
  const leaseMs = pace.leaseTtlMs === null ? Number.POSITIVE_INFINITY : pace.leaseTtlMs / 3;
  if (state.failures === 0) {
    // The jitter comes before the bound, so that it can only bring a renewal forward.
    return Math.floor(Math.min(jitteredMs(pace.syncIntervalMs, JITTER, unitRandom), leaseMs));
  }
  if (pace.overloaded !== undefined && pace.retryAfterMs !== null)
    return overloadedDelayMs(pace.retryAfterMs, pace.overloaded.leaseEndsMs, unitRandom);
  const restMs = Math.max(pace.syncIntervalMs, BACKOFF_MAX_MS);
  const maxMs = Math.min(restMs, Math.max(BACKOFF_BASE_MS, leaseMs));
  return backoffWithFloorMs(
    { failures: state.failures, maxMs, retryAfterMs: pace.retryAfterMs },
    unitRandom,
  );
}

/** Y4: half of what is left of a lease, again and again, is in time whatever was asked for. */
function overloadedDelayMs(
  retryAfterMs: number,
  leaseEndsMs: number | null,
  unitRandom: number,
): number {
  const askedMs = Math.min(retryAfterMs, RETRY_AFTER_MS_MAX);
  const waitMs = askedMs * (1 + OVERLOADED_JITTER * unitRandom);
  const inTimeMs = leaseEndsMs === null ? waitMs : Math.min(waitMs, leaseEndsMs / 2);
  return Math.ceil(Math.max(OVERLOADED_WAIT_MS_MIN, inTimeMs));
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
