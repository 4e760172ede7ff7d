/**
 * Lease and fencing arithmetic (promises I6, I7), the same on both planes.
 *
 * L1  The holder's end is earlier than the grantor's: it counts from the moment the request was
 *     *sent*, shortened by the drift bound; the grantor counts from the moment it answered,
 *     lengthened by it.
 * L2  Answers carry durations, never absolute times; each side adds them to its own boot clock.
 * L3  A boot clock means nothing after a reboot: a lease of another boot has ended for its holder.
 */
import type { BootMs, Instant } from './time.ts';

/**
 * Added to the grantor's end and taken from the holder's: clock resolution and a stall of the event
 * loop.
 */
export const LEASE_MARGIN_MS = 100;

export type OwnershipMode = 'strict' | 'fenced';

export function holderEndMs(sentBootMs: BootMs, ttlMs: number, drift: number): BootMs {
  return sentBootMs + Math.floor(ttlMs * (1 - drift)) - LEASE_MARGIN_MS;
}

export function grantorEndMs(answeredBootMs: BootMs, ttlMs: number, drift: number): BootMs {
  return answeredBootMs + Math.ceil(ttlMs * (1 + drift)) + LEASE_MARGIN_MS;
}

/** A lease as its holder keeps it. `endsBootMs` is the holder's end. */
export type HeldLease = {
  readonly resource: string;
  readonly epoch: number;
  readonly bootId: string;
  readonly endsBootMs: BootMs;
  /**
   * Control has asked for it: nothing new is begun under it, and it is given up when what was
   * accepted has ended; control looks again then.
   */
  readonly drainEndsBootMs?: BootMs;
};

export type OwnershipVerdict =
  | {
      readonly owned: true;
      readonly epoch: number;
      readonly inGrace: boolean;
      readonly endsBootMs: BootMs;
    }
  | { readonly owned: false; readonly reason: 'lease_absent' | 'lease_expired' };

/**
 * Whether the holder may act for the resource now. `strict` stops at the lease's end; `fenced` goes
 * on for `graceMs` after it, marked, because a rival's higher epoch wins at the resource itself.
 */
export function ownershipAt(
  lease: HeldLease | undefined,
  request: { readonly mode: OwnershipMode; readonly graceMs: number; readonly now: Instant },
): OwnershipVerdict {
  if (lease === undefined) return { owned: false, reason: 'lease_absent' };
  if (lease.bootId !== request.now.bootId) return { owned: false, reason: 'lease_expired' };
  const nowMs = request.now.bootMs;
  if (nowMs < lease.endsBootMs) {
    return { owned: true, epoch: lease.epoch, inGrace: false, endsBootMs: lease.endsBootMs };
  }
  const graceEndMs = lease.endsBootMs + request.graceMs;
  if (request.mode === 'fenced' && nowMs < graceEndMs) {
    return { owned: true, epoch: lease.epoch, inGrace: true, endsBootMs: graceEndMs };
  }
  return { owned: false, reason: 'lease_expired' };
}

export type FenceVerdict =
  | { readonly accepted: true; readonly highestEpoch: number; readonly advances: boolean }
  | { readonly accepted: false; readonly highestEpoch: number };

/** I6: a token below the highest seen is refused for good; an equal one is the same owner again. */
export function checkFence(highestEpoch: number | null, presentedEpoch: number): FenceVerdict {
  const highest = highestEpoch ?? 0;
  if (presentedEpoch < highest) return { accepted: false, highestEpoch: highest };
  return { accepted: true, highestEpoch: presentedEpoch, advances: presentedEpoch > highest };
}
