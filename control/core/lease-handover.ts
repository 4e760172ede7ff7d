/**
 * A hand-over of a lease from its holder to somebody else, wherever the lease is in its life.
 *
 *     held --transfer--> drain --its holder releases--> reserved --the target syncs--> held (new epoch)
 *                          | time-out: given up (held as before), or stop
 *     held --revoke--> stop --its holder releases--> free, or reserved
 *                        +--the grantor's end passes--> expired: as after a crash
 *
 * V1  A hand-over changes no right by itself: a draining lease is renewed as any other, and another
 *     host gets it only after a release, or after the grantor's end (T2).
 * V2  A lease that is to stop is never renewed. Its holder is told, and its release is its word that
 *     it has stopped; without that the lease runs out as if the holder had crashed.
 * V3  A reservation ends after a term of the lease: a target that does not come leaves nothing
 *     without an owner. Of a lease that has expired nothing is reserved.
 * V4  Time-outs of an earlier run of control count anew from the start of this one.
 */
import type { Instant, WallMs } from '../../shared/core/time.ts';

export type Handover = {
  readonly mode: 'drain' | 'stop' | 'reserved';
  /** `null`: whoever asks first. */
  readonly toHostId: string | null;
  /** Who asked for it, as in the audit trail. */
  readonly by: string;
  readonly reason: string | null;
  readonly sinceMs: WallMs;
  /** The run in which `modeSinceBootMs` was read. */
  readonly run: number;
  readonly modeSinceBootMs: number;
  /** Of this mode; a stop has none. */
  readonly timeoutMs: number | null;
  /** Of a drain that takes too long. */
  readonly onTimeout: 'give_up' | 'revoke';
};

export type HandoverClock = {
  readonly now: Instant;
  readonly run: number;
  readonly recovery: { readonly startedBootMs: number };
};

/** When its mode ends on this run's boot clock, or `null`; V4. */
export function handoverEndMs(handover: Handover, at: HandoverClock): number | null {
  if (handover.timeoutMs === null) return null;
  const sinceMs = handover.run === at.run ? handover.modeSinceBootMs : at.recovery.startedBootMs;
  return sinceMs + handover.timeoutMs;
}

/** What it is by now: a time-out that nobody was there to see has passed all the same. */
export function currentHandover(handover: Handover | null, at: HandoverClock): Handover | null {
  if (handover === null) return null;
  const endMs = handoverEndMs(handover, at);
  if (endMs === null || at.now.bootMs < endMs) return handover;
  if (handover.mode === 'reserved' || handover.onTimeout === 'give_up') return null;
  return inMode(handover, { mode: 'stop', timeoutMs: null }, at);
}

/** After a release of its holder; V3. */
export function reservedAfter(
  handover: Handover | null,
  at: HandoverClock & { readonly reservationMs: number },
): Handover | null {
  if (handover === null || handover.toHostId === null) return null;
  return inMode(handover, { mode: 'reserved', timeoutMs: at.reservationMs }, at);
}

function inMode(
  handover: Handover,
  next: Pick<Handover, 'mode' | 'timeoutMs'>,
  at: HandoverClock,
): Handover {
  return { ...handover, ...next, run: at.run, modeSinceBootMs: at.now.bootMs };
}
