/**
 * The life of a lease as control sees it (promises I6, I7). A record is `held` or `released`; a
 * held one whose time has passed is `expired`, which is not stored: it is what the clock says.
 *
 *     free --grant--> held --release--> released --grant--> held (a new epoch, always)
 *                      | renew (same epoch)
 *                      +--time--> expired --renew by its holder--> held (same epoch)
 *                                    +--lock delay--> free for others
 *
 * T1  Every grant has an epoch higher than every grant before it, of any resource.
 * T2  Another host gets a resource only after the grantor's end of the one before, and its lock
 *     delay.
 * T3  A boot reading means something only in the run of control that took it. A lease of an earlier
 *     run counts as held until this run has lasted as long as that lease may: its holder may have
 *     been renewed at the very last moment.
 * T4  After a rollback (the store is an older copy) somebody may hold what the copy does not know.
 *     Until every lease of before must have ended nothing is granted, and what the copy says was
 *     held is not renewed then or afterwards: its holder asks anew and gets a higher epoch.
 * T5  A store need not show that it is an older copy. So after every start grants wait as after a
 *     rollback (`heldSinceMs`), until a term has passed or every host has been heard; known holders
 *     renew at once.
 *
 * A hand-over (`lease-handover.ts`) rides on a record through all of this.
 *
 * The grantor counts from the moment it decides, which is after the holder sent its request; the
 * holder counts from the sending. So the holder's end is the earlier one, however long the commit
 * and the answer take.
 */
import { grantorEndMs } from '../../shared/core/lease.ts';
import type { Instant } from '../../shared/core/time.ts';
import { currentHandover, handoverEndMs, reservedAfter, type Handover } from './lease-handover.ts';

export type Holder = { readonly hostId: string; readonly hostEpoch: number };

export type LeaseRecord = {
  readonly resource: string;
  readonly epoch: number;
  readonly state: 'held' | 'released';
  readonly holder: Holder;
  /** The run of control in which `endsBootMs` was read. */
  readonly run: number;
  readonly endsBootMs: number;
  /**
   * The grantor's length of it, so that a shorter `leaseTtl` after a restart does not shorten this
   * one.
   */
  readonly termMs: number;
  readonly grantedAtMs: number;
  readonly renewedAtMs: number;
  readonly transitions: number;
  readonly handover: Handover | null;
  /** Raised by every write; a write names the one that it replaces. */
  readonly version: number;
};

export type Recovery = { readonly kind: 'restart' | 'rollback'; readonly startedBootMs: number };

export type Lessor = {
  readonly now: Instant;
  readonly run: number;
  readonly recovery: Recovery;
  readonly ttlMs: number;
  readonly drift: number;
  readonly lockDelayMs: number;
  /** The longest lease that may still be held from before this run. */
  readonly longestTermMs: number;
  /** T4, T5: nothing is granted for `longestTermMs` from then; `null`: nothing to wait for. */
  readonly heldSinceMs: number | null;
  /** T4: leases up to this epoch are not renewed. */
  readonly disownedEpoch: number;
};

export type Claim = { readonly resource: string; readonly epoch: number; readonly holder: Holder };

export type LostReason = 'superseded' | 'expired' | 'unknown' | 'revoked';
export type Pending = {
  readonly kind: 'pending';
  readonly reason:
    | 'held'
    | 'lock_delay'
    | 'recovering'
    | 'limit'
    | 'reserved'
    | 'revoked'
    | 'placed';
  readonly holder: string | null;
  readonly retryAfterMs: number;
};

export type RenewOutcome =
  | { readonly kind: 'renewed'; readonly record: LeaseRecord }
  | { readonly kind: 'lost'; readonly reason: LostReason; readonly record: LeaseRecord | null }
  | Pending;
export type AcquireOutcome = { readonly kind: 'granted'; readonly record: LeaseRecord } | Pending;
export type ReleaseOutcome =
  | { readonly kind: 'released'; readonly record: LeaseRecord }
  | { readonly kind: 'ignored' };

const sameHolder = (a: Holder, b: Holder): boolean =>
  a.hostId === b.hostId && a.hostEpoch === b.hostEpoch;

export function grantorTermMs(terms: { readonly ttlMs: number; readonly drift: number }): number {
  return grantorEndMs(0, terms.ttlMs, terms.drift);
}

/** T4, T5: when this run may grant; `0` where nothing holds it back. */
function grantsFromMs({ heldSinceMs, longestTermMs }: Lessor): number {
  return heldSinceMs === null ? 0 : heldSinceMs + longestTermMs;
}

/** The grantor's end of a lease on this run's boot clock; T3. */
export function leaseEndMs(record: LeaseRecord, lessor: Lessor): number {
  if (record.state === 'released') return 0;
  return record.run === lessor.run
    ? record.endsBootMs
    : lessor.recovery.startedBootMs + record.termMs;
}

export type LeaseView = {
  readonly state: 'held' | 'released' | 'expired';
  /** Until another host may have it. */
  readonly remainingMs: number;
  /** As it is by now. */
  readonly handover: Handover | null;
};

export function viewLease(record: LeaseRecord, lessor: Lessor): LeaseView {
  const endMs = leaseEndMs(record, lessor);
  const nowMs = lessor.now.bootMs;
  const freeMs = record.state === 'released' ? 0 : endMs + lessor.lockDelayMs;
  const handover = currentHandover(record.handover, lessor);
  const reservedMs = handover?.mode === 'reserved' ? (handoverEndMs(handover, lessor) ?? 0) : 0;
  const remainingMs = Math.max(0, Math.max(freeMs, reservedMs, grantsFromMs(lessor)) - nowMs);
  if (record.state === 'released') return { state: 'released', remainingMs, handover };
  return { state: nowMs < endMs ? 'held' : 'expired', remainingMs, handover };
}

export function renewLease(
  record: LeaseRecord | undefined,
  claim: Claim,
  lessor: Lessor,
): RenewOutcome {
  if (record === undefined || record.epoch < claim.epoch) return lost('unknown');
  if (record.epoch > claim.epoch) return lost('superseded');
  if (!sameHolder(record.holder, claim.holder)) return lost('unknown');
  if (record.state === 'released') return lost('expired');
  if (record.epoch <= lessor.disownedEpoch) {
    const waitMs = grantsFromMs(lessor) - lessor.now.bootMs;
    // T4. It is not told that the lease is lost while it may still be in time: it ends by its own
    // clock.
    return waitMs > 0 ? pending('recovering', null, waitMs) : lost('expired');
  }
  const handover = currentHandover(record.handover, lessor);
  if (handover?.mode === 'stop') {
    // Kept where it was a drain until now: a restart must not begin the drain anew.
    const isNews = record.handover?.mode !== 'stop';
    return lost('revoked', isNews ? { ...record, handover, version: record.version + 1 } : null);
  }
  // Also when it has expired: nobody had the resource in between, so no higher token exists, and
  // work that goes on in its grace keeps the token under which it began. A write in between would
  // have raised the version.
  const { now, run } = lessor;
  const termMs = grantorTermMs(lessor);
  return {
    kind: 'renewed',
    record: {
      ...record,
      run,
      endsBootMs: now.bootMs + termMs,
      termMs,
      renewedAtMs: now.wallMs,
      handover,
      version: record.version + 1,
    },
  };
}

/**
 * The present holder that asks again gets it at once, under a new epoch: it has lost its memory (a
 * restart), and workers that survived the restart must not be taken for those that come after it.
 */
export function acquireLease(
  record: LeaseRecord | undefined,
  asked: { readonly resource: string; readonly holder: Holder; readonly epoch: number },
  lessor: Lessor,
): AcquireOutcome {
  const nowMs = lessor.now.bootMs;
  const waitMs = grantsFromMs(lessor) - nowMs;
  // Of a copy it is not even said who holds what.
  if (waitMs > 0 && lessor.recovery.kind === 'rollback') return pending('recovering', null, waitMs);
  if (record?.state === 'held' && !sameHolder(record.holder, asked.holder)) {
    const endMs = leaseEndMs(record, lessor);
    const holder = record.holder.hostId;
    if (nowMs < endMs) {
      const reason = record.run === lessor.run ? 'held' : 'recovering';
      return pending(reason, holder, endMs - nowMs);
    }
    const delayedMs = endMs + lessor.lockDelayMs - nowMs;
    if (delayedMs > 0) return pending('lock_delay', holder, delayedMs);
  }
  // Its own, too: the store may be a copy of a time before it gave it up.
  if (waitMs > 0) return pending('recovering', null, waitMs);
  const handover = currentHandover(record?.handover ?? null, lessor);
  const isOwn = record?.state === 'held' && nowMs < leaseEndMs(record, lessor);
  if (record !== undefined && isOwn && handover?.mode === 'stop') {
    return pending('revoked', null, leaseEndMs(record, lessor) - nowMs);
  }
  if (handover?.mode === 'reserved' && handover.toHostId !== asked.holder.hostId) {
    const endMs = handoverEndMs(handover, lessor) ?? nowMs;
    return pending('reserved', handover.toHostId, endMs - nowMs);
  }
  const termMs = grantorTermMs(lessor);
  const changesHands = record !== undefined && record.holder.hostId !== asked.holder.hostId;
  return {
    kind: 'granted',
    record: {
      resource: asked.resource,
      epoch: asked.epoch,
      state: 'held',
      holder: asked.holder,
      run: lessor.run,
      endsBootMs: nowMs + termMs,
      termMs,
      grantedAtMs: lessor.now.wallMs,
      renewedAtMs: lessor.now.wallMs,
      transitions: (record?.transitions ?? 0) + (changesHands ? 1 : 0),
      // The holder that has lost its memory goes on draining.
      handover: isOwn ? handover : null,
      version: (record?.version ?? 0) + 1,
    },
  };
}

/**
 * Only its holder, and only of the epoch it names: a late release must not free what was granted
 * since.
 */
export function releaseLease(
  record: LeaseRecord | undefined,
  claim: Claim,
  lessor: Lessor,
): ReleaseOutcome {
  const isTheirs =
    record?.state === 'held' &&
    record.epoch === claim.epoch &&
    sameHolder(record.holder, claim.holder);
  if (!isTheirs) return { kind: 'ignored' };
  const handover = reservedAfter(currentHandover(record.handover, lessor), {
    ...lessor,
    reservationMs: grantorTermMs(lessor),
  });
  return {
    kind: 'released',
    record: { ...record, state: 'released', endsBootMs: 0, handover, version: record.version + 1 },
  };
}

function lost(reason: LostReason, record: LeaseRecord | null = null): RenewOutcome {
  return { kind: 'lost', reason, record };
}

function pending(reason: Pending['reason'], holder: string | null, retryAfterMs: number): Pending {
  return { kind: 'pending', reason, holder, retryAfterMs };
}
