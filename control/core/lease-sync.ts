/**
 * All that one sync does to leases, in one decision: releases first, so that a host can give up and
 * another name be granted within a limit; then renewals; then what it asks for anew; at last what it
 * gets unasked, because it was placed or handed over to it.
 */
import type { SyncAnswer, SyncRequest } from '../../shared/wire/statements.ts';
import { currentHandover, handoverEndMs } from './lease-handover.ts';
import {
  acquireLease,
  leaseEndMs,
  releaseLease,
  renewLease,
  type Holder,
  type LeaseRecord,
  type Lessor,
  type Pending,
} from './lease-transition.ts';

export type LeaseTransition = {
  readonly kind:
    | 'granted'
    | 'renewed'
    | 'released'
    | 'lost'
    | 'pending'
    | 'revoked'
    | 'transfer_given_up';
  readonly resource: string;
  readonly epoch: number | null;
  /** The epoch that this one replaces. */
  readonly replaces: number | null;
};

export type LeaseSync = Required<Pick<SyncAnswer, 'leases' | 'lost' | 'pending' | 'drain'>> & {
  /** Each with the version it was decided on; `null`: there was none. */
  readonly writes: readonly {
    readonly record: LeaseRecord;
    readonly replacesVersion: number | null;
    /** It only extends what is known as held by this run: T3 covers a crash that loses it. */
    readonly isExtension: boolean;
  }[];
  readonly highestEpoch: number;
  readonly transitions: readonly LeaseTransition[];
};

export type SyncAsked = {
  readonly holder: Holder;
  readonly leases: SyncRequest['leases'];
  /** Leases this host holds now, without those that have expired, and may hold at most. */
  readonly heldCount: number;
  readonly heldMax: number;
  /** No epoch up to this one is granted again. */
  readonly highestEpoch: number;
  /** What is placed on this host. */
  readonly assigned: Iterable<string>;
  /** Of those asked for: the host on which each is placed; `null`: none yet. Absent: not placed. */
  readonly placed: ReadonlyMap<string, string | null>;
};

export function decideLeaseSync(
  records: ReadonlyMap<string, LeaseRecord>,
  asked: SyncAsked,
  lessor: Lessor,
): LeaseSync {
  const draft = new SyncDraft(records, asked, lessor);
  for (const { resource, epoch } of asked.leases.release) draft.release(resource, epoch);
  for (const { resource, epoch } of asked.leases.renew) draft.renew(resource, epoch);
  const acquire = new Set(asked.leases.acquire);
  for (const resource of acquire) draft.acquire(resource);
  for (const resource of unasked(records, asked, lessor)) {
    if (!acquire.has(resource)) draft.assign(resource);
  }
  return draft.result();
}

/** What a host gets without asking: not what it renews, and not what it has just given up. */
function unasked(
  records: ReadonlyMap<string, LeaseRecord>,
  { holder, leases, assigned }: SyncAsked,
  lessor: Lessor,
): Set<string> {
  const wanted = new Set(assigned);
  for (const { resource, handover } of records.values()) {
    if (currentHandover(handover, lessor)?.toHostId === holder.hostId) wanted.add(resource);
  }
  for (const { resource } of [...leases.renew, ...leases.release]) wanted.delete(resource);
  return wanted;
}

class SyncDraft {
  readonly #before: ReadonlyMap<string, LeaseRecord>;
  readonly #asked: SyncAsked;
  readonly #lessor: Lessor;
  readonly #current: Map<string, LeaseRecord>;
  readonly #changed = new Set<string>();
  readonly #leases = new Map<string, SyncAnswer['leases'][number]>();
  readonly #lost: SyncAnswer['lost'] = [];
  readonly #pending: SyncAnswer['pending'] = [];
  readonly #drain: LeaseSync['drain'] = [];
  readonly #transitions: LeaseTransition[] = [];
  #heldCount: number;
  #highestEpoch: number;

  constructor(records: ReadonlyMap<string, LeaseRecord>, asked: SyncAsked, lessor: Lessor) {
    this.#before = records;
    this.#current = new Map(records);
    this.#asked = asked;
    this.#lessor = lessor;
    this.#heldCount = asked.heldCount;
    this.#highestEpoch = asked.highestEpoch;
  }

  release(resource: string, epoch: number): void {
    const before = this.#current.get(resource);
    const { holder } = this.#asked;
    const outcome = releaseLease(before, { resource, epoch, holder }, this.#lessor);
    if (outcome.kind === 'ignored') return;
    this.#keep(outcome.record);
    if (this.#isHeldHere(before)) this.#heldCount -= 1;
    this.#note('released', resource, epoch);
  }

  renew(resource: string, epoch: number): void {
    const before = this.#current.get(resource);
    const { holder } = this.#asked;
    const outcome = renewLease(before, { resource, epoch, holder }, this.#lessor);
    if (outcome.kind === 'renewed') {
      if (!this.#isHeldHere(before)) this.#heldCount += 1;
      this.#grant(outcome.record);
      this.#note('renewed', resource, epoch);
      const wasInHandover = before !== undefined && before.handover !== null;
      if (wasInHandover && outcome.record.handover === null) {
        this.#note('transfer_given_up', resource, epoch);
      }
    } else if (outcome.kind === 'lost') {
      if (outcome.record !== null) this.#keep(outcome.record);
      this.#lost.push({ resource, epoch, reason: outcome.reason });
      this.#note(outcome.reason === 'revoked' ? 'revoked' : 'lost', resource, epoch);
    } else {
      this.#putOff(resource, outcome, epoch);
    }
  }

  acquire(resource: string): void {
    const { placed, holder } = this.#asked;
    const assignee = placed.get(resource);
    const retryAfterMs = this.#lessor.ttlMs;
    if (assignee !== undefined && assignee !== holder.hostId) {
      const pending = {
        kind: 'pending',
        reason: 'placed',
        holder: assignee,
        retryAfterMs,
      } as const;
      this.#putOff(resource, pending, null);
      return;
    }
    const outcome = this.#tryAcquire(resource);
    if (outcome !== null) this.#putOff(resource, outcome, null);
  }

  /** Of what it did not ask for, it is not told why it does not get it. */
  assign(resource: string): void {
    this.#tryAcquire(resource);
  }

  result(): LeaseSync {
    return {
      leases: [...this.#leases.values()],
      lost: this.#lost,
      pending: this.#pending,
      drain: this.#drain,
      writes: [...this.#changed].flatMap((resource) => {
        const record = this.#current.get(resource);
        const before = this.#before.get(resource);
        const replacesVersion = before?.version ?? null;
        if (record === undefined) return [];
        return [{ record, replacesVersion, isExtension: isOnlyExtended(before, record) }];
      }),
      highestEpoch: this.#highestEpoch,
      transitions: this.#transitions,
    };
  }

  #tryAcquire(resource: string): Pending | null {
    const record = this.#current.get(resource);
    const isMore = !this.#isHeldHere(record);
    if (isMore && this.#heldCount >= this.#asked.heldMax) {
      return { kind: 'pending', reason: 'limit', holder: null, retryAfterMs: this.#lessor.ttlMs };
    }
    const epoch = this.#highestEpoch + 1;
    const { holder } = this.#asked;
    const outcome = acquireLease(record, { resource, holder, epoch }, this.#lessor);
    if (outcome.kind === 'pending') return outcome;
    this.#highestEpoch = epoch;
    if (isMore) this.#heldCount += 1;
    this.#grant(outcome.record);
    this.#note('granted', resource, epoch);
    return null;
  }

  #grant(record: LeaseRecord): void {
    const { resource, epoch, handover } = record;
    this.#keep(record);
    this.#leases.set(resource, { resource, epoch, ttlMs: this.#lessor.ttlMs });
    if (handover?.mode !== 'drain') return;
    const endMs = handoverEndMs(handover, this.#lessor) ?? this.#lessor.now.bootMs;
    this.#drain.push({ resource, epoch, remainingMs: endMs - this.#lessor.now.bootMs });
  }

  #putOff(resource: string, outcome: Pending, epoch: number | null): void {
    const { reason, holder, retryAfterMs } = outcome;
    this.#pending.push({ resource, reason, holder, retryAfterMs });
    this.#note('pending', resource, epoch);
  }

  #keep(record: LeaseRecord): void {
    this.#current.set(record.resource, record);
    this.#changed.add(record.resource);
  }

  #note(kind: LeaseTransition['kind'], resource: string, epoch: number | null): void {
    const replaces = this.#before.get(resource)?.epoch ?? null;
    this.#transitions.push({ kind, resource, epoch, replaces });
  }

  #isHeldHere(record: LeaseRecord | undefined): boolean {
    return (
      record?.state === 'held' &&
      record.holder.hostId === this.#asked.holder.hostId &&
      this.#lessor.now.bootMs < leaseEndMs(record, this.#lessor)
    );
  }
}

/**
 * Whether a start that finds the one before holds the lease for its holder as long as one that finds
 * the one after: of the same run, so that a later run counts a whole term, and of no longer a term.
 */
function isOnlyExtended(before: LeaseRecord | undefined, after: LeaseRecord): boolean {
  return (
    before?.state === 'held' &&
    after.state === 'held' &&
    before.epoch === after.epoch &&
    before.run === after.run &&
    before.termMs === after.termMs &&
    before.handover === after.handover
  );
}
