/**
 * The port to what control remembers. It is asynchronous, and each write is one transaction that
 * says on what it was decided (the revision it follows, the version it replaces): it answers
 * `conflict` and changes nothing where that is no longer so. A second adapter needs no more than
 * this.
 *
 * S1  A write and its entries in the audit trail are one transaction.
 * S2  A write of a run that has been followed by a newer one is refused for good:
 *     `SupersededError`.
 * S3  After a failed commit nothing is known: the store answers nothing more, and says so once
 *     (`onFailure`).
 */
import type {
  AuditEntry,
  Host,
  Operator,
  PolicyRevision,
  ReportedRefusal,
  UnreadableEvent,
} from '../../shared/wire/control-api.ts';
import type { JournalEvent, OperationState, Outage, Refusal } from '../../shared/wire/operation.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import type { ReportEntry } from '../../shared/wire/report-lines.ts';
import type { Proposal, PublicationReport } from '../../shared/wire/publication.ts';
import type { Rollout } from '../../shared/wire/rollout.ts';
import type { HostSettingsView, PlacementGroup } from '../../shared/wire/placement-api.ts';
import type { PublicKey } from '../../shared/wire/statements.ts';
import type { HostFacts } from '../core/host-facts.ts';
import type { Budget, BudgetState } from '../core/allotments.ts';
import type { InForce } from '../core/authority-timeline.ts';
import type { LeaseRecord, Lessor } from '../core/lease-transition.ts';
import type { ProjectedOperation } from '../core/operation-projection.ts';
import type { ReportPosition } from '../core/report-continuity.ts';
import type { OutageTally } from '../core/outage-tally.ts';
import type { OutageStore } from './outage-store.ts';
import type { ParkedStore } from './parked-store.ts';
import type { DivergenceStore, TimelineStore } from './divergence-store.ts';
import type { ApprovalStore, ApprovalWrite } from './approval-store.ts';
import type { NoticeStore } from './notice-store.ts';

export type AuditDraft = Pick<AuditEntry, 'atMs' | 'actor' | 'action' | 'target' | 'detail'>;

export type PageRequest = { readonly limit: number; readonly cursor: string | null };
export type Page<T> = { readonly items: readonly T[]; readonly nextCursor: string | null };

export type WriteOutcome = 'ok' | 'conflict';

export type Run = { readonly controlId: string; readonly run: number };
export type StoredState = {
  /** `null` before the first run. */
  readonly controlId: string | null;
  /** 0 before the first run. */
  readonly run: number;
  readonly highestEpoch: number;
  /** Over all leases; 0 where there are none. */
  readonly longestTermMs: number;
};

export type StoredRevision = PolicyRevision & {
  readonly policy: PolicyDocument;
  readonly bundle: string;
};

export interface PolicyStore {
  /** The newest revision's number, `null` before the first. */
  currentNumber(): Promise<number | null>;
  current(): Promise<StoredRevision | null>;
  fetch(policyRevision: number): Promise<StoredRevision | null>;
  /** Newest first. */
  list(page: PageRequest): Promise<Page<PolicyRevision>>;
  append(
    revision: StoredRevision,
    follows: number | null,
    audit: AuditDraft,
    besides?: PublicationWrites,
  ): Promise<WriteOutcome>;
}

export type RolloutWrite = {
  readonly record: Rollout;
  /** What it replaces, as it was read; `null` for a new one. */
  readonly replaces: Rollout | null;
};

export type ProposalRecord = Proposal & { readonly report: PublicationReport };

export type ProposalWrite = {
  readonly record: Proposal;
  /** The state it is in until now. */
  readonly replaces: Proposal['state'];
};

/** What is written together with a revision. */
export type PublicationWrites = {
  readonly rollout?: RolloutWrite | undefined;
  readonly proposal?: ProposalWrite | undefined;
  /** What it puts in force, where that is not staged. */
  readonly inForce?: readonly InForce[] | undefined;
};

export interface RolloutStore {
  /** The newest; `null` where there never was one. */
  newest(): Promise<Rollout | null>;
  write(
    write: RolloutWrite,
    audit: readonly AuditDraft[],
    inForce?: readonly InForce[],
  ): Promise<WriteOutcome>;
  /** Of every host that has said something about itself. */
  facts(): Promise<ReadonlyMap<string, HostFacts>>;
}

export interface ProposalStore {
  add(proposal: ProposalRecord, policy: PolicyDocument, audit: AuditDraft): Promise<void>;
  fetch(
    proposalId: string,
  ): Promise<{ readonly record: ProposalRecord; readonly policy: PolicyDocument } | null>;
  write(write: ProposalWrite, audit: AuditDraft): Promise<WriteOutcome>;
  /** Newest first. */
  list(page: PageRequest): Promise<Page<ProposalRecord>>;
  countOpen(nowMs: number): Promise<number>;
}

export type JoinTokenRecord = {
  readonly tokenId: string;
  readonly secretSha256: string;
  readonly hostName: string;
  readonly expiresAtMs: number;
  readonly createdBy: string;
  /** What it was used for; `null` while it is unused. */
  readonly use: {
    readonly kid: string;
    readonly hostId: string;
    readonly hostEpoch: number;
  } | null;
};

export type HostRecord = Omit<Host, 'state'> & {
  readonly kid: string;
  readonly highWater: { readonly policyRevision: number; readonly epoch: number };
  readonly acked: ReportPosition;
};

export type EnrolledKey = {
  readonly kid: string;
  readonly publicKey: PublicKey;
  readonly host: HostRecord;
  /** The host epoch under which this key was enrolled. */
  readonly hostEpoch: number;
};

export type Enrolling = {
  readonly tokenId: string;
  readonly hostId: string;
  readonly hostName: string;
  readonly hostEpoch: number;
  /** The host epoch this one follows; `null` for a new host. */
  readonly follows: number | null;
  readonly kid: string;
  readonly publicKey: PublicKey;
  readonly atMs: number;
};

export interface HostStore {
  addJoinToken(token: JoinTokenRecord, audit: AuditDraft): Promise<void>;
  joinToken(tokenId: string): Promise<JoinTokenRecord | null>;
  /**
   * Uses the token, raises the epoch and replaces the key, or `conflict` where any of them has
   * changed.
   */
  enrol(enrolling: Enrolling, audit: AuditDraft): Promise<WriteOutcome>;
  byKey(kid: string): Promise<EnrolledKey | null>;
  byName(hostName: string): Promise<HostRecord | null>;
  fetch(hostId: string): Promise<HostRecord | null>;
  /** In the order of their ids. */
  list(page: PageRequest): Promise<Page<HostRecord>>;
  all(): Promise<readonly HostRecord[]>;
  highestReportedRevision(): Promise<number>;
}

export type SyncedHost = {
  readonly hostId: string;
  readonly hostEpoch: number;
  readonly atMs: number;
  readonly sidecarVersion: string;
  readonly policyRevision: number | null;
  readonly policyRejected: Host['policyRejected'];
  readonly highWater: { readonly policyRevision: number; readonly epoch: number };
  readonly journalSeq: number;
  readonly operations: Readonly<Record<string, number>>;
  readonly facts?: HostFacts;
};

export type LeaseWrite = {
  readonly record: LeaseRecord;
  readonly replacesVersion: number | null;
  /** It says nothing new but that the lease goes on: its end, when it was renewed, its version. */
  readonly isExtension: boolean;
};

export type SyncWrite = {
  readonly host: SyncedHost;
  readonly leases: readonly LeaseWrite[];
  /** The counter of epochs, and the value on which the grants were decided. */
  readonly epochs: { readonly replaces: number; readonly highest: number };
  readonly audit: readonly AuditDraft[];
  /** Nothing in it was promised to anybody: it may be answered before it is on disk. */
  readonly isLazy: boolean;
};

export interface LeaseStore {
  /**
   * What one sync of a host is decided on: the leases that it names, and those that are to be handed
   * over to it. A lease that has expired is not held. What it holds is counted where it matters.
   */
  forSync(
    hostId: string,
    resources: readonly string[],
    at: Pick<Lessor, 'now' | 'run' | 'recovery'> & { readonly countsHeld: boolean },
  ): Promise<{
    readonly leases: ReadonlyMap<string, LeaseRecord>;
    readonly heldCount: number;
    readonly highestEpoch: number;
  }>;
  /** `host_changed` where the host is no longer at the epoch under which it spoke. */
  applySync(write: SyncWrite): Promise<WriteOutcome | 'host_changed'>;
  /** One record, by order of somebody who is no host of it. */
  change(write: { readonly lease: LeaseWrite; readonly audit: AuditDraft }): Promise<WriteOutcome>;
  fetch(resource: string): Promise<LeaseRecord | null>;
  /** Those of these resources that there are. */
  named(resources: readonly string[]): Promise<readonly LeaseRecord[]>;
  /** In the order of their resources. */
  list(page: PageRequest): Promise<Page<LeaseRecord>>;
  all(): Promise<readonly LeaseRecord[]>;
}

/** A group, or that there was one: revisions of a name go on when it comes back. */
export type GroupRecord = Omit<PlacementGroup, 'spec'> & {
  readonly spec: PlacementGroup['spec'] | null;
};
export type HostSettings = Omit<HostSettingsView, 'hostName' | 'effectiveLabels'> & {
  readonly version: number;
};

export interface PlacementStore {
  /** Also those that were deleted; by name. */
  groups(): Promise<readonly GroupRecord[]>;
  /** `replaces`: the revision it was decided on, 0 where there never was one. */
  putGroup(group: GroupRecord, replaces: number, audit: AuditDraft): Promise<WriteOutcome>;
  /** Of those hosts for which anything was ever set. */
  hostSettings(): Promise<readonly HostSettings[]>;
  putHostSettings(settings: HostSettings, audit: AuditDraft): Promise<WriteOutcome>;
  /** What happened to placement itself. */
  note(audit: AuditDraft): Promise<WriteOutcome>;
}

/** What budgets of the fleet were divided into; a write names the version it was decided on. */
export type BudgetRecord = {
  readonly budget: Pick<Budget, 'rule' | 'per' | 'key' | 'kind'>;
  readonly state: BudgetState;
  /** 0 where there is none yet. */
  readonly version: number;
};

export type BudgetWrite = {
  readonly record: Omit<BudgetRecord, 'version'>;
  readonly replacesVersion: number;
  /** When nothing of it counts any more: on the boot clock of this run, and as a length. */
  readonly endsBootMs: number;
  readonly termMs: number;
};

export interface AllotmentStore {
  /** In the order asked for; of one that is not there, the state of before anything. */
  forSync(budgets: readonly BudgetRecord['budget'][]): Promise<readonly BudgetRecord[]>;
  apply(writes: readonly BudgetWrite[], run: number): Promise<WriteOutcome>;
  /** In the order of their names. */
  list(page: PageRequest): Promise<Page<BudgetRecord>>;
  /** Removes at most `limit` of which nothing counts any more. */
  forgetEnded(at: {
    readonly run: number;
    readonly startedBootMs: number;
    readonly nowBootMs: number;
    readonly limit: number;
  }): Promise<void>;
}

export type StoredEvent = {
  readonly event: ReportEntry & { readonly previousHash: string };
  /** Why it is part of no projection. */
  readonly problem: string | null;
};

export type ReportWrite = {
  readonly hostId: string;
  readonly hostEpoch: number;
  readonly follows: ReportPosition;
  readonly position: ReportPosition;
  readonly receivedAtMs: number;
  readonly events: readonly StoredEvent[];
  readonly operations: readonly ProjectedOperation[];
  readonly refusals: readonly Refusal[];
  readonly outages: readonly Outage[];
  /** By outage: what these events add to it. */
  readonly tallies: ReadonlyMap<string, OutageTally>;
  readonly approvals?: readonly ApprovalWrite[];
  readonly audit: readonly AuditDraft[];
};

export type OperationFilter = {
  readonly hostId: string | null;
  readonly state: OperationState | null;
};

export interface ReportStore {
  operations(ids: readonly string[]): Promise<ReadonlyMap<string, ProjectedOperation>>;
  /** By number, of what is stored of one epoch of a host; both ends are included. */
  hashesOf(
    host: { readonly hostId: string; readonly hostEpoch: number },
    range: { readonly fromSeq: number; readonly toSeq: number },
  ): Promise<ReadonlyMap<number, string>>;
  append(write: ReportWrite): Promise<WriteOutcome>;
  /** Of a report that is not stored. */
  recordRefused(audit: AuditDraft): Promise<WriteOutcome>;
  /** Newest first, as all lists of reports. */
  listOperations(filter: OperationFilter, page: PageRequest): Promise<Page<ProjectedOperation>>;
  eventsOf(operationId: string, limit: number): Promise<readonly JournalEvent[]>;
  listRefusals(page: PageRequest): Promise<Page<ReportedRefusal>>;
  listUnreadable(page: PageRequest): Promise<Page<UnreadableEvent>>;
  countByState(): Promise<Readonly<Record<string, number>>>;
  countUnreadable(): Promise<number>;
  /** Newest first by when control got them; `after` is the place of the last one that was read. */
  decisionEvents(limit: number, after: number | null): Promise<readonly DecisionEvent[]>;
  /** Accepted work in one state with what was admitted, newest first. */
  unfinished(
    state: 'awaiting_approval' | 'accepted' | 'executing' | 'paused',
    limit: number,
    after: string | null,
  ): Promise<readonly UnfinishedOperation[]>;
}

/** An admission or a refusal as a host reported it. */
export type DecisionEvent = {
  readonly place: number;
  readonly kind: 'admitted' | 'refused';
  readonly operationId: string | null;
  readonly receivedAtMs: number;
  readonly body: Readonly<Record<string, unknown>>;
};

export type UnfinishedOperation = {
  readonly operation: ProjectedOperation;
  /** Of its admission; `null` where that was never reported. */
  readonly body: Readonly<Record<string, unknown>> | null;
};

export type OperatorRecord = Operator & { readonly tokenSha256: string };

export interface OperatorStore {
  add(operator: OperatorRecord, audit: AuditDraft): Promise<'ok' | 'exists'>;
  remove(name: string, audit: AuditDraft): Promise<'ok' | 'not_found' | 'last_admin'>;
  byToken(tokenSha256: string): Promise<Operator | null>;
  /** By name. */
  list(): Promise<readonly Operator[]>;
}

export interface AuditStore {
  /** Newest first. */
  list(page: PageRequest): Promise<Page<AuditEntry>>;
  /** The newest `count`, oldest first. */
  tail(count: number): Promise<readonly AuditEntry[]>;
}

export interface ControlStore {
  readonly policy: PolicyStore;
  readonly hosts: HostStore;
  readonly leases: LeaseStore;
  readonly placement: PlacementStore;
  readonly allotments: AllotmentStore;
  readonly reports: ReportStore;
  readonly outages: OutageStore;
  readonly parked: ParkedStore;
  readonly operators: OperatorStore;
  readonly audit: AuditStore;
  readonly rollouts: RolloutStore;
  readonly proposals: ProposalStore;
  readonly timeline: TimelineStore;
  readonly divergences: DivergenceStore;
  readonly approvals: ApprovalStore;
  readonly notices: NoticeStore;
  state(): Promise<StoredState>;
  /**
   * Begins a run; from now on writes of any other run are refused (S2). The id is kept from the
   * first start on.
   */
  startRun(run: Run): Promise<Run>;
  /** S3. */
  onFailure(tell: (error: Error) => void): void;
  close(): Promise<void>;
}

export class SupersededError extends Error {
  override name = 'SupersededError';
}
