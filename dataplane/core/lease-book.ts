/**
 * The leases of this host as it believes in them (promises I6, I7). It only keeps and computes;
 * when to ask, and what is on disk, is the lease keeper's.
 *
 * L1  A holder's end counts from when the sync was *sent*, for less than the time to live
 *     (`holderEndMs`); an answer that comes so late that the end has passed gives nothing but the
 *     right to renew.
 * L2  A grant below the highest epoch ever seen for its resource is refused: it comes from a past
 *     that a rival has already been granted over.
 * L3  What was released, or no longer wanted, while its grant was on the way does not come back: it
 *     is given up. Of what is being given up no epoch is taken again, wanted or not.
 * L4  A lease that has ended stays in the book until control says what became of it: renewing it
 *     keeps the epoch, and `fenced` ownership needs the epoch for its grace. Every reader compares
 *     the end with its own `now`.
 *     What control revoked is not asked for again; its release, which follows, is this host's word that
 *     nothing is begun under it any more.
 * L5  Leases of another boot are not taken over; the boot clock that measured them is gone.
 */
import { holderEndMs, type HeldLease } from '../../shared/core/lease.ts';
import type { BootMs, Instant } from '../../shared/core/time.ts';
import type { SyncAnswer, SyncRequest } from '../../shared/wire/statements.ts';

export type BookedLease = HeldLease & { readonly ttlMs: number };

export type Wanted = {
  readonly resource: string;
  /** A want that nobody repeats is forgotten after a while. */
  readonly wantedBootMs: BootMs;
  /** As control last said; `null` while it has not answered. */
  readonly reason: string | null;
  readonly holder: string | null;
  /** Asking sooner is of no use, control said. */
  readonly retryBootMs: BootMs;
};

export type LeaseRef = { readonly resource: string; readonly epoch: number };

export type LeaseRequest = {
  readonly renew: readonly LeaseRef[];
  readonly acquire: readonly string[];
  readonly release: readonly LeaseRef[];
  /** Those of `renew` that are being handed over. */
  readonly draining: NonNullable<SyncRequest['leases']['draining']>;
};

export type LeaseLoss = LeaseRef & { readonly reason: string };

/** What applying an answer did. */
export type LeaseChanges = {
  readonly granted: readonly LeaseRef[];
  readonly lost: readonly LeaseLoss[];
  /** L2: epochs that went back. */
  readonly refused: readonly (LeaseRef & { readonly highestEpoch: number })[];
  /** Membership or a highest epoch changed: must be durable before it is relied upon. */
  readonly mustBeDurable: boolean;
};

export const LEASES_MAX = 10_000;
const WANT_PATIENCE_MS = 120_000;
/** Highest epochs are remembered for this many resources, the last used ones. */
const EPOCHS_MAX = 20_000;

export class LeaseBook {
  readonly #held = new Map<string, BookedLease>();
  readonly #wanted = new Map<string, Wanted>();
  readonly #releasing = new Map<string, number>();
  readonly #cancelled = new Set<string>();
  readonly #epochs = new Map<string, number>();
  /** Of leases that drain: operations under them that have not ended, as last counted. */
  #unfinished: ReadonlyMap<string, number> = new Map();
  #highestEpoch = 0;

  /** L5. */
  load(
    stored: { leases: readonly BookedLease[]; epochs: readonly LeaseRef[]; highestEpoch: number },
    now: Instant,
  ): void {
    for (const { resource, epoch } of stored.epochs) this.#raise(resource, epoch);
    this.#highestEpoch = Math.max(this.#highestEpoch, stored.highestEpoch);
    for (const lease of stored.leases) {
      if (lease.bootId === now.bootId) this.#held.set(lease.resource, lease);
    }
  }

  /** With the same content, and its own future: an exploration goes on from one in several ways. */
  copy(): LeaseBook {
    const copy = new LeaseBook();
    for (const [resource, lease] of this.#held) copy.#held.set(resource, lease);
    for (const [resource, wanted] of this.#wanted) copy.#wanted.set(resource, wanted);
    for (const [resource, epoch] of this.#releasing) copy.#releasing.set(resource, epoch);
    for (const [resource, epoch] of this.#epochs) copy.#epochs.set(resource, epoch);
    for (const resource of this.#cancelled) copy.#cancelled.add(resource);
    copy.#highestEpoch = this.#highestEpoch;
    return copy;
  }

  held(): readonly BookedLease[] {
    return [...this.#held.values()];
  }

  heldLease(resource: string): BookedLease | undefined {
    return this.#held.get(resource);
  }

  wanted(): readonly Wanted[] {
    return [...this.#wanted.values()];
  }

  wantedEntry(resource: string): Wanted | undefined {
    return this.#wanted.get(resource);
  }

  epochs(): readonly LeaseRef[] {
    return Array.from(this.#epochs, ([resource, epoch]) => ({ resource, epoch }));
  }

  highestEpoch(): number {
    return this.#highestEpoch;
  }

  /** A token seen elsewhere (at a guarded write); returns whether it was news. */
  noteEpoch({ resource, epoch }: LeaseRef): boolean {
    return this.#raise(resource, epoch);
  }

  /** Whether asking control now could change something. */
  want(resource: string, now: Instant): boolean {
    const lease = this.#held.get(resource);
    if (lease !== undefined && now.bootMs < lease.endsBootMs) return false;
    this.#cancelled.delete(resource);
    const known = this.#wanted.get(resource);
    if (known === undefined && this.#wanted.size + this.#held.size >= LEASES_MAX) return false;
    const isAnswered =
      known !== undefined && known.reason !== null && now.bootMs < known.retryBootMs;
    const blank = { reason: null, holder: null, retryBootMs: now.bootMs };
    this.#wanted.set(resource, {
      resource,
      ...(isAnswered ? known : blank),
      wantedBootMs: now.bootMs,
    });
    return !isAnswered;
  }

  /** Gives up what is held or wanted; returns whether there was anything. */
  release(resource: string): boolean {
    const lease = this.#held.get(resource);
    const wasWanted = this.#wanted.delete(resource);
    // L3: the grant may be on its way.
    this.#cancelled.add(resource);
    if (lease === undefined) return wasWanted;
    this.#held.delete(resource);
    this.#releasing.set(resource, lease.epoch);
    return true;
  }

  draining(): readonly BookedLease[] {
    return this.held().filter(({ drainEndsBootMs }) => drainEndsBootMs !== undefined);
  }

  noteUnfinished(unfinished: ReadonlyMap<string, number>): void {
    this.#unfinished = unfinished;
  }

  request(now: Instant): LeaseRequest {
    for (const [resource, { wantedBootMs }] of this.#wanted) {
      if (now.bootMs - wantedBootMs > WANT_PATIENCE_MS) this.#wanted.delete(resource);
    }
    return {
      renew: this.held().map(({ resource, epoch }) => ({ resource, epoch })),
      // Not in one request with its release: in whatever order control took the two, one of us
      // would be wrong.
      acquire: [...this.#wanted.keys()].filter(
        (resource) => !this.#held.has(resource) && !this.#releasing.has(resource),
      ),
      release: Array.from(this.#releasing, ([resource, epoch]) => ({ resource, epoch })).slice(
        0,
        LEASES_MAX,
      ),
      draining: this.draining().flatMap(({ resource, epoch }) => {
        const unfinished = this.#unfinished.get(resource);
        return unfinished === undefined ? [] : [{ resource, epoch, unfinished }];
      }),
    };
  }

  apply(
    answer: Pick<SyncAnswer, 'leases' | 'lost' | 'pending' | 'drain' | 'drift'>,
    asked: LeaseRequest,
    times: { sentAt: Instant; now: Instant },
  ): LeaseChanges {
    const granted: LeaseRef[] = [];
    const refused: (LeaseRef & { highestEpoch: number })[] = [];
    let mustBeDurable = false;
    for (const { resource, epoch } of asked.release) {
      if (this.#releasing.get(resource) === epoch) this.#releasing.delete(resource);
    }
    const lost = answer.lost.flatMap((loss): LeaseLoss[] =>
      this.#lose(loss, times.now) ? [loss] : [],
    );
    const drains = new Map((answer.drain ?? []).map((drain) => [drain.resource, drain]));
    for (const grant of answer.leases) {
      const { resource, epoch, ttlMs } = grant;
      const highestEpoch = this.#epochs.get(resource) ?? 0;
      if (epoch < highestEpoch) {
        refused.push({ resource, epoch, highestEpoch });
        continue;
      }
      if (this.#raise(resource, epoch)) mustBeDurable = true;
      // Also where it is wanted again by now: control will be told that this one is free.
      if (this.#cancelled.has(resource) || this.#releasing.get(resource) === epoch) {
        this.#releasing.set(resource, epoch);
        continue;
      }
      const endsBootMs = holderEndMs(times.sentAt.bootMs, ttlMs, Math.max(0, answer.drift));
      if (this.#held.get(resource)?.epoch !== epoch) {
        granted.push({ resource, epoch });
        mustBeDurable = true;
      }
      const { bootId } = times.sentAt;
      const drain = drains.get(resource);
      this.#held.set(resource, {
        resource,
        epoch,
        ttlMs,
        endsBootMs,
        bootId,
        ...(drain?.epoch === epoch
          ? { drainEndsBootMs: times.now.bootMs + drain.remainingMs }
          : {}),
      });
      this.#wanted.delete(resource);
    }
    for (const { resource, reason, holder, retryAfterMs } of answer.pending) {
      const entry = this.#wanted.get(resource);
      if (entry === undefined) continue;
      this.#wanted.set(resource, {
        ...entry,
        reason,
        holder,
        retryBootMs: times.now.bootMs + retryAfterMs,
      });
    }
    this.#cancelled.clear();
    return { granted, lost, refused, mustBeDurable: mustBeDurable || lost.length > 0 };
  }

  /** Takes back grants that could not be made durable: they are given up, not used. */
  renounce(leases: readonly LeaseRef[]): void {
    for (const { resource, epoch } of leases) {
      if (this.#held.get(resource)?.epoch !== epoch) continue;
      this.#held.delete(resource);
      this.#releasing.set(resource, epoch);
    }
  }

  /** The clocks cannot be trusted: every lease ends now, and is left for control to renew. */
  endAll(now: Instant): readonly LeaseRef[] {
    const ended = this.held().filter(({ endsBootMs }) => now.bootMs < endsBootMs);
    for (const lease of ended) this.#held.set(lease.resource, { ...lease, endsBootMs: now.bootMs });
    return ended.map(({ resource, epoch }) => ({ resource, epoch }));
  }

  /** Until the first of those that have not ended ends; `null` without any. */
  firstEndMs(now: Instant): number | null {
    let firstMs: number | null = null;
    for (const { endsBootMs } of this.#held.values()) {
      const leftMs = endsBootMs - now.bootMs;
      if (leftMs > 0) firstMs = Math.min(firstMs ?? leftMs, leftMs);
    }
    return firstMs;
  }

  /** Of those that have not ended. */
  shortestTtlMs(now: Instant): number | null {
    let shortestMs: number | null = null;
    for (const { ttlMs, endsBootMs } of this.#held.values()) {
      if (now.bootMs < endsBootMs) shortestMs = Math.min(shortestMs ?? ttlMs, ttlMs);
    }
    return shortestMs;
  }

  /**
   * A lease that ran out is asked for again, since nobody took it; one that control gave to a rival
   * is not, or two hosts would take it from each other for ever.
   */
  #lose({ resource, epoch, reason }: LeaseLoss, now: Instant): boolean {
    const lease = this.#held.get(resource);
    if (lease === undefined || lease.epoch > epoch) return false;
    this.#held.delete(resource);
    if (reason === 'revoked') {
      this.#releasing.set(resource, lease.epoch);
      return true;
    }
    if (reason !== 'superseded' && !this.#wanted.has(resource)) {
      this.#wanted.set(resource, {
        resource,
        wantedBootMs: now.bootMs,
        reason: null,
        holder: null,
        retryBootMs: now.bootMs,
      });
    }
    return true;
  }

  #raise(resource: string, epoch: number): boolean {
    const known = this.#epochs.get(resource) ?? 0;
    this.#highestEpoch = Math.max(this.#highestEpoch, epoch);
    // Set anew even when equal, so that the map stays in order of use.
    this.#epochs.delete(resource);
    this.#epochs.set(resource, Math.max(known, epoch));
    if (this.#epochs.size > EPOCHS_MAX) {
      const oldest = [...this.#epochs.keys()].find((candidate) => !this.#held.has(candidate));
      if (oldest !== undefined) this.#epochs.delete(oldest);
    }
    return epoch > known;
  }
}
