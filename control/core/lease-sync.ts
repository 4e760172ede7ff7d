/**
 * All that one sync does to leases, in one decision: releases first, so that a host can give up and
 * another name be granted within a limit; then renewals; then what it asks for anew.
 */
import type { SyncAnswer, SyncRequest } from '../../shared/wire/statements.ts';
import {
  acquireLease,
  leaseEndMs,
  releaseLease,
  renewLease,
  type Holder,
  type LeaseRecord,
  type Lessor,
} from './lease-transition.ts';

export type LeaseTransition = {
  readonly kind: 'granted' | 'renewed' | 'released' | 'lost' | 'pending';
  readonly resource: string;
  readonly epoch: number | null;
  /** The epoch that this one replaces. */
  readonly replaces: number | null;
};

export type LeaseSync = Pick<SyncAnswer, 'leases' | 'lost' | 'pending'> & {
  /** Each with the version it was decided on; `null`: there was none. */
  readonly writes: readonly {
    readonly record: LeaseRecord;
    readonly replacesVersion: number | null;
  }[];
  readonly highestEpoch: number;
  readonly transitions: readonly LeaseTransition[];
};

export function decideLeaseSync(
  records: ReadonlyMap<string, LeaseRecord>,
  asked: {
    readonly holder: Holder;
    readonly leases: SyncRequest['leases'];
    /** Leases this host holds now, without those that have expired, and may hold at most. */
    readonly heldCount: number;
    readonly heldMax: number;
    /** No epoch up to this one is granted again. */
    readonly highestEpoch: number;
  },
  lessor: Lessor,
): LeaseSync {
  const { holder } = asked;
  const current = new Map(records);
  const changed = new Set<string>();
  const transitions: LeaseTransition[] = [];
  const answer = {
    leases: new Map<string, SyncAnswer['leases'][number]>(),
    lost: [] as SyncAnswer['lost'],
    pending: [] as SyncAnswer['pending'],
  };
  let { heldCount, highestEpoch } = asked;
  const keep = (record: LeaseRecord): void => {
    current.set(record.resource, record);
    changed.add(record.resource);
  };
  const note = (kind: LeaseTransition['kind'], resource: string, epoch: number | null): void => {
    const replaces = records.get(resource)?.epoch ?? null;
    transitions.push({ kind, resource, epoch, replaces });
  };

  const isHeldHere = (record: LeaseRecord | undefined): boolean =>
    record?.state === 'held' &&
    record.holder.hostId === holder.hostId &&
    lessor.now.bootMs < leaseEndMs(record, lessor);

  for (const { resource, epoch } of asked.leases.release) {
    const before = current.get(resource);
    const outcome = releaseLease(before, { resource, epoch, holder });
    if (outcome.kind === 'ignored') continue;
    keep(outcome.record);
    if (isHeldHere(before)) heldCount -= 1;
    note('released', resource, epoch);
  }
  for (const { resource, epoch } of asked.leases.renew) {
    const before = current.get(resource);
    const outcome = renewLease(before, { resource, epoch, holder }, lessor);
    if (outcome.kind === 'renewed') {
      if (!isHeldHere(before)) heldCount += 1;
      keep(outcome.record);
      answer.leases.set(resource, { resource, epoch, ttlMs: lessor.ttlMs });
      note('renewed', resource, epoch);
    } else if (outcome.kind === 'lost') {
      answer.lost.push({ resource, epoch, reason: outcome.reason });
      note('lost', resource, epoch);
    } else {
      const { reason, holder: heldBy, retryAfterMs } = outcome;
      answer.pending.push({ resource, reason, holder: heldBy, retryAfterMs });
      note('pending', resource, epoch);
    }
  }
  for (const resource of new Set(asked.leases.acquire)) {
    const record = current.get(resource);
    const isMore = !isHeldHere(record);
    if (isMore && heldCount >= asked.heldMax) {
      answer.pending.push({ resource, reason: 'limit', holder: null, retryAfterMs: lessor.ttlMs });
      note('pending', resource, null);
      continue;
    }
    const epoch = highestEpoch + 1;
    const outcome = acquireLease(record, { resource, holder, epoch }, lessor);
    if (outcome.kind === 'granted') {
      highestEpoch = epoch;
      if (isMore) heldCount += 1;
      keep(outcome.record);
      answer.leases.set(resource, { resource, epoch, ttlMs: lessor.ttlMs });
      note('granted', resource, epoch);
    } else {
      const { reason, holder: heldBy, retryAfterMs } = outcome;
      answer.pending.push({ resource, reason, holder: heldBy, retryAfterMs });
      note('pending', resource, null);
    }
  }
  return {
    leases: [...answer.leases.values()],
    lost: answer.lost,
    pending: answer.pending,
    writes: [...changed].flatMap((resource) => {
      const record = current.get(resource);
      const replacesVersion = records.get(resource)?.version ?? null;
      return record === undefined ? [] : [{ record, replacesVersion }];
    }),
    highestEpoch,
    transitions,
  };
}
