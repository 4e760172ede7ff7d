/**
 * A host in the model: the real lease book, and around it what the keeper and the synchronizer do:
 * one question at a time, an answer that comes after its time-out is dropped, the file beside the
 * book is as new as the book.
 */
import { ownershipAt } from '../../shared/core/lease.ts';
import type { Instant } from '../../shared/core/time.ts';
import { LeaseBook, type LeaseRequest } from '../../dataplane/core/lease-book.ts';
import type { LeaseSync } from '../../control/core/lease-sync.ts';
import type { Laws } from './laws.ts';
import { DRIFT, RESOURCE, type Rate } from './terms.ts';

export type Awaiting = {
  readonly id: number;
  readonly asked: LeaseRequest;
  readonly sentAt: Instant;
};

export type HostSide = {
  readonly id: string;
  readonly rate: Rate;
  readonly bootMs: number;
  readonly boots: number;
  readonly book: LeaseBook;
  /** The book has it too, and does not show it. */
  readonly isCancelled: boolean;
  readonly awaiting: Awaiting | null;
  /** Of the newest answer that it has had. */
  readonly runId: number | null;
};

export function newHost(id: string, rate: Rate): HostSide {
  return {
    id,
    rate,
    bootMs: 0,
    boots: 1,
    book: new LeaseBook(),
    isCancelled: false,
    awaiting: null,
    runId: null,
  };
}

export function nowOf({ bootMs, boots }: HostSide): Instant {
  return { bootMs, wallMs: bootMs, bootId: `boot-${boots}` };
}

/** The epoch under which it would act now as the strict owner; `null`: it would not. */
export function believedEpoch(host: HostSide, laws: Laws): number | null {
  const verdict = ownershipAt(host.book.heldLease(RESOURCE), {
    mode: 'strict',
    graceMs: 0,
    now: laws.lookedAt(nowOf(host)),
  });
  return verdict.owned ? verdict.epoch : null;
}

export function wants(host: HostSide): boolean {
  return host.book.wantedEntry(RESOURCE) !== undefined;
}

/** Somebody on the host asks for the resource; the same host where that changes nothing. */
export function wanting(host: HostSide): HostSide {
  const now = nowOf(host);
  const lease = host.book.heldLease(RESOURCE);
  const isInTime = lease !== undefined && now.bootMs < lease.endsBootMs;
  if (isInTime || (wants(host) && !host.isCancelled)) return host;
  const book = host.book.copy();
  book.want(RESOURCE, now);
  return { ...host, book, isCancelled: false };
}

export function releasing(host: HostSide): HostSide {
  const book = host.book.copy();
  book.release(RESOURCE);
  return { ...host, book, isCancelled: true };
}

export function asking(
  host: HostSide,
  id: number,
): { readonly host: HostSide; readonly asked: LeaseRequest } {
  const book = host.book.copy();
  const now = nowOf(host);
  const asked = book.request(now);
  return { host: { ...host, book, awaiting: { id, asked, sentAt: now } }, asked };
}

export function answered(
  host: HostSide,
  { answer, runId }: { readonly answer: LeaseSync; readonly runId: number },
  laws: Laws,
): HostSide {
  if (host.awaiting === null) return host;
  const book = host.book.copy();
  const now = nowOf(host);
  const { asked, sentAt } = host.awaiting;
  book.apply({ ...answer, drift: laws.holderDrift(DRIFT) }, asked, {
    sentAt: laws.countedFrom({ sentAt, now }),
    now,
  });
  return { ...host, book, isCancelled: false, awaiting: null, runId };
}

/** The wall clock of the host was stepped: it takes nothing for held until control has said so. */
export function distrusting(host: HostSide): HostSide {
  const book = host.book.copy();
  book.endAll(nowOf(host));
  return { ...host, book };
}

/** Its process starts again, in the same boot or in another one. */
export function restarted(host: HostSide, kind: 'process' | 'machine'): HostSide {
  const { book } = host;
  const boots = host.boots + (kind === 'machine' ? 1 : 0);
  const empty = { book: new LeaseBook(), isCancelled: false, awaiting: null, runId: null };
  const next = { ...host, boots, ...empty };
  const leases = [...book.held()];
  next.book.load({ leases, epochs: book.epochs(), highestEpoch: book.highestEpoch() }, nowOf(next));
  return next;
}
