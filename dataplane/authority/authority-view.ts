/**
 * What admission and execution see of the authority that control has granted to this host. All of
 * it is local.
 */
import type { HeldLease } from '../../shared/core/lease.ts';
import type { CompiledPolicy, Decision } from '../../shared/core/policy.ts';
import type { Instant } from '../../shared/core/time.ts';
import type { DecisionInput } from '../../shared/wire/policy-document.ts';
import type { NoticedRequest } from '../../shared/core/notice-index.ts';
import type { ActivePolicy } from '../core/active-policy.ts';
import type { Noticed } from '../core/notice-book.ts';
import type { Outage } from '../../shared/wire/operation.ts';

export type PolicyAuthority = {
  /** The revision in force; a caller keeps the object it got for the whole of its request. */
  activePolicy(): ActivePolicy | null;
  /** The newest revision that could not be applied, and why; `null` once a newer one was. */
  rejectedPolicy(): { readonly policyRevision: number; readonly reason: string } | null;
  /**
   * Age of the authority in use: since the *sending* of the last sync that confirmed it. `null`
   * when that cannot be known (never confirmed, or the wall clock went back over a reboot): then it
   * counts as expired.
   */
  stalenessMs(now: Instant): number | null;
  /** Control answered that this host has no authority any more (not: could not be reached). */
  revoked(): { readonly reason: string } | null;
  /** After each change of any of these that is not the mere passing of time. */
  onChange(listener: () => void): void;
};

/** Revisions that are kept: the one in force, and a few before it. */
export type RevisionArchive = {
  /** `null` where it is not kept (any more), or cannot be trusted. */
  find(policyRevision: number): Promise<CompiledPolicy | null>;
};

/** Notices that this host has been given. */
export type NoticeAuthority = {
  readonly isEmpty: boolean;
  against(request: Omit<NoticedRequest, 'hostId'>): Noticed | null;
};

export type LeaseStatus = {
  readonly resource: string;
  readonly lease: HeldLease | null;
  /** Why it is not held, as control last said; `null` where it has not said. */
  readonly reason: string | null;
  readonly holder: string | null;
};

export type LeaseAuthority = {
  lease(resource: string): HeldLease | undefined;
  statuses(): readonly LeaseStatus[];
  /** Asks for it with the next sync, which is made to come soon; returns at once. */
  want(resource: string): void;
  /** Those that control has asked to be handed over. */
  draining(): readonly HeldLease[];
  noteUnfinished(unfinished: ReadonlyMap<string, number>): void;
  /** Gives it up now on this host, and to control with the next sync. */
  release(resource: string): void;
  /** A fencing token was seen at a guarded write; control must never grant one below it. */
  noteEpoch(seen: { resource: string; epoch: number }): void;
  /** Resolves when the lease is held or control said why not, or after `timeoutMs`. */
  settled(resource: string, timeoutMs: number): Promise<LeaseStatus>;
};

export type FreshAnswer =
  | {
      readonly ok: true;
      readonly decision: Decision;
      readonly policyRevision: number;
      readonly stalenessMs: number;
      /** By the clock of control; an older one does not say. */
      readonly decidedAtMs?: number;
    }
  | {
      readonly ok: false;
      readonly reason: 'control_unreachable' | 'control_rejected';
      readonly detail: string;
    };

/**
 * Asks control now, bound to this request; never answers from cache, and never later than its
 * time-out.
 */
export type FreshAuthority = { decide(input: DecisionInput): Promise<FreshAnswer> };

export type OutageAuthority = {
  /** The open outage, if one is. */
  current(): Outage | null;
  /** What a record that is made now names: also one that the journal is only just taking. */
  outageId(): string | null;
  /** How long control has been out of reach, on the boot clock; `null` while it is not. */
  outOfReachMs(now: Instant): number | null;
};
