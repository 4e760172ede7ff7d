/**
 * The history of one simulated run: all that could be seen from outside, in one order, and at the
 * end what was really on the disks. Checkers judge it and nothing else.
 *
 * H1  Events are only appended. `seq` counts them from 0 without gaps; `atMs` is true simulated time
 *     since the run began, and never goes back. No daemon knows it.
 * H2  What a machine's own clock showed is `clock`: it drifts, jumps and is set apart from true time.
 * H3  A call that got no answer, or an answer which says that nobody knows, ends as `info`: it may
 *     have happened, or may happen still. `refused` says that it did not happen.
 * H4  What the disks held is read at the very end by reading the files, by no daemon (`final`).
 * H5  A journal of a host that was given up (its host was enrolled anew) is in `final` as well, marked.
 */
import type { LeaseRecord } from '../../control/core/lease-transition.ts';
import type { InForce, Notice } from '../../control/core/authority-timeline.ts';
import type { StoredOperation } from '../../dataplane/core/operation-record.ts';
import type { Instant } from '../../shared/core/time.ts';
import type { ApprovalRequest } from '../../shared/wire/approval.ts';
import type {
  AuditEntry,
  Host,
  ReportedOperation,
  ReportedRefusal,
  UnreadableEvent,
} from '../../shared/wire/control-api.ts';
import type { Divergence } from '../../shared/wire/divergences.ts';
import type { JournalEvent, Outage, Refusal } from '../../shared/wire/operation.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import type { Register } from '../../shared/wire/register-api.ts';
import type { HeldLeaseView } from '../../shared/wire/sidecar-api.ts';
import type { CallEnd, CallRequest } from './history-calls.ts';

/** `control`, or the name of a host as `host-1`. */
export type NodeName = string;
export const CONTROL: NodeName = 'control';

export type { BodyOf, CallBodies, CallEnd, CallKind, CallRequest } from './history-calls.ts';

/** What the target of an effect made of it. */
export type EffectVerdict =
  | 'taken'
  /** Its epoch is below one that the target has seen for the resource. */
  | 'stale_epoch'
  /** The same idempotency key was taken before: nothing was done a second time. */
  | 'taken_before'
  /** It was asked before, and said that nothing was done: so it stays. */
  | 'closed';

/** What a message between a sidecar and control carries. */
export type MessagePurpose =
  | 'sync'
  | 'bundle'
  | 'report'
  | 'enrol'
  | 'decision'
  | 'approval'
  | 'other';

/** Faults by name; what begins must end (at the latest by `heal`), what is `once` has no end. */
export const FAULT_KINDS = [
  'message_loss',
  'message_delay',
  'message_reordering',
  'message_duplication',
  'one_way_cut',
  'half_open',
  'partition',
  'crash',
  'lost_tail',
  'control_backup_restored',
  'host_backup_restored',
  'clock_drift',
  'clock_jump',
  'wall_step',
  'suspend',
  'reboot',
  'disk_full',
  'slow_disk',
  'disk_error',
  'key_rotation',
  'worker_death',
  'journal_damaged',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** Why a daemon is not running any more. */
export type DaemonEnd =
  /** Asked to stop, and it did. */
  | 'stopped'
  /** Cut off without a word: `kill -9`, or the machine lost power. */
  | 'crashed'
  /** It ended by itself, as after an error of its disk. */
  | 'ended';

type Facts =
  | { readonly kind: 'phase'; readonly phase: 'safety' | 'heal' | 'liveness' | 'over' }
  /** The nth start of that node, from 1; `outcome` says what became of it. */
  | {
      readonly kind: 'daemon_started';
      readonly node: NodeName;
      readonly start: number;
      readonly clock: Instant;
      /** A sidecar that found its journal damaged serves nothing (`quarantined`). */
      readonly outcome: 'serving' | 'quarantined' | 'refused_to_start';
      readonly detail: string | null;
      /** Host: from its status. Control: its id and the number of its run. */
      readonly hostId: string | null;
      readonly run: number | null;
      /** The journal or store as the start found it. */
      readonly journalSeq: number | null;
    }
  | {
      readonly kind: 'daemon_ended';
      readonly node: NodeName;
      readonly start: number;
      readonly clock: Instant;
      readonly how: DaemonEnd;
      /** The point of the code it died at, where a crash was aimed at one. */
      readonly point: string | null;
      readonly detail: string | null;
    }
  /** A person gave a host whose journal is damaged a new, empty one, and a new join token. */
  | { readonly kind: 'host_renewed'; readonly node: NodeName; readonly detail: string }
  | {
      readonly kind: 'fault';
      readonly fault: FaultKind;
      readonly stage: 'begun' | 'ended' | 'once';
      /** Names one fault from its beginning to its end. */
      readonly faultId: number;
      readonly nodes: readonly NodeName[];
      /** In words and numbers of that fault, for people and for those checkers that need it. */
      readonly detail: Readonly<Record<string, string | number | boolean | null>>;
    }
  /** After any change of a clock; `rate` is how fast it goes from now on, 1 being true. */
  | {
      readonly kind: 'clock_changed';
      readonly node: NodeName;
      readonly before: Instant;
      readonly after: Instant;
      readonly rate: number;
    }
  | {
      readonly kind: 'call_sent';
      readonly callId: number;
      /** Who asks; for apps as they are called in `Operation.app`. */
      readonly client: string;
      readonly to: NodeName;
      readonly request: CallRequest;
      /** The number of the earlier call that this one repeats, with the same key and body. */
      readonly repeats: number | null;
    }
  /** `clock` is of the node that was asked, at this moment. */
  | {
      readonly kind: 'call_ended';
      readonly callId: number;
      readonly clock: Instant;
      readonly end: CallEnd;
    }
  /** Somebody's worker calls the outside world: it holds a `begin_effect` that was answered `ok`. */
  | {
      readonly kind: 'effect_arrived';
      readonly target: string;
      readonly host: NodeName;
      readonly operationId: string;
      readonly attempt: number;
      readonly effect: string;
      /** As `begin_effect` gave it; the same for each try of one effect. */
      readonly idempotencyKey: string;
      readonly resource: string | null;
      readonly epoch: number | null;
      readonly isIdempotent: boolean;
      readonly fencing: 'enforced' | 'dispatch' | 'none';
      readonly verdict: EffectVerdict;
      /** Of that resource, that this target had seen before. */
      readonly highestEpochBefore: number | null;
    }
  /** A sidecar asks what became of an operation; whether it hears the answer is another matter. */
  | {
      readonly kind: 'probe_answered';
      readonly host: NodeName;
      readonly operationId: string;
      /** Which try it is, as the sidecar counts them. */
      readonly number: number;
      /** When the sidecar asked: whoever has ended since asked all the same. */
      readonly askedMs: number;
      readonly outcome: 'succeeded' | 'failed' | 'unknown';
    }
  /** Between a sidecar and control; a duplicate has the number of its original. */
  | {
      readonly kind: 'message_sent';
      readonly messageId: number;
      readonly from: NodeName;
      readonly purpose: MessagePurpose;
      readonly method: string;
      readonly path: string;
      readonly clock: Instant;
    }
  | {
      readonly kind: 'message_arrived';
      readonly messageId: number;
      readonly at: NodeName;
      readonly isDuplicate: boolean;
    }
  /** `status` null: it got none, as `cause` says; its sender hears of it now. */
  | {
      readonly kind: 'message_answered';
      readonly messageId: number;
      readonly status: number | null;
      readonly cause: string | null;
      readonly clock: Instant;
    }
  /** Control's store has a new revision, whether or not whoever asked for it was answered. */
  | {
      readonly kind: 'revision_published';
      readonly policyRevision: number;
      readonly policyDigest: string;
      readonly document: PolicyDocument;
      readonly clock: Instant;
    }
  /** A write of control's store about a lease; `before` is `null` where there was no record. */
  | {
      readonly kind: 'lease_written';
      readonly change: LeaseChange;
      readonly resource: string;
      readonly epoch: number;
      /** The name of the host. */
      readonly host: NodeName;
      readonly before: LeaseRecord | null;
      readonly after: LeaseRecord;
      readonly clock: Instant;
    }
  /**
   * What a host believes to hold, read in its memory; `state` `held` or `draining` means that it acts
   * as the owner for `remainingMs` more, by its own clock.
   */
  | {
      readonly kind: 'leases_believed';
      readonly host: NodeName;
      readonly clock: Instant;
      readonly leases: readonly HeldLeaseView[];
    }
  /** What a host says of itself: the revision it decides by, and how old it takes that to be. */
  | {
      readonly kind: 'host_state';
      readonly host: NodeName;
      readonly clock: Instant;
      readonly hostId: string | null;
      readonly activeRevision: number | null;
      readonly stalenessMs: number | null;
      readonly outageId: string | null;
      readonly journalSeq: number;
      readonly ackedSeq: number;
    };

export type LeaseChange = 'granted' | 'renewed' | 'released' | 'revoked' | 'handover';

export type HistoryEvent = Facts & { readonly seq: number; readonly atMs: number };
export type EventKind = HistoryEvent['kind'];
export type EventOf<K extends EventKind> = Extract<HistoryEvent, { kind: K }>;
export type EventDraft = Facts;

/** A journal as its files have it at the end. */
export type FinalJournal = {
  readonly host: NodeName;
  readonly hostId: string;
  /** H5. */
  readonly isGivenUp: boolean;
  /** Why the verification of its files says that they are not sound; `null`: they are. */
  readonly damage: string | null;
  readonly head: { readonly seq: number; readonly hash: string };
  readonly ackedSeq: number;
  /** Entries up to there were forgotten by the retention. */
  readonly prunedSeq: number;
  /** In order, all that is there. */
  readonly events: readonly JournalEvent[];
  readonly operations: readonly StoredOperation[];
  readonly refusals: readonly Refusal[];
  /** The highest epoch of each resource. */
  readonly fences: Readonly<Record<string, number>>;
  readonly registers: readonly Register[];
  readonly outages: readonly Outage[];
};

/** What control's store holds at the end. */
export type FinalControl = {
  readonly controlId: string;
  readonly run: number;
  readonly highestEpoch: number;
  readonly leases: readonly LeaseRecord[];
  readonly hosts: readonly (Host & { readonly ackedSeq: number })[];
  /** Of each host, by its id: what was in force, and when, in control's time. */
  readonly inForce: Readonly<Record<string, readonly InForce[]>>;
  readonly notices: readonly Notice[];
  readonly revisions: readonly { readonly policyRevision: number; readonly policyDigest: string }[];
  readonly operations: readonly ReportedOperation[];
  readonly refusals: readonly ReportedRefusal[];
  readonly unreadable: readonly UnreadableEvent[];
  readonly outages: readonly (Outage & { readonly hostId: string })[];
  readonly divergences: readonly Divergence[];
  readonly approvals: readonly ApprovalRequest[];
  readonly audit: readonly AuditEntry[];
  /** As they were received, each once, by the id of the host; ordered by host epoch, then `seq`. */
  readonly events: Readonly<
    Record<
      string,
      readonly {
        readonly hostEpoch: number;
        readonly seq: number;
        readonly kind: string;
        readonly hash: string;
        readonly operationId: string | null;
      }[]
    >
  >;
};

/** Whether everything came to rest after the faults had ended, and what did not. */
export type Liveness = {
  readonly isSettled: boolean;
  /** Simulated time from the healing until all was settled, or until it was given up. */
  readonly tookMs: number;
  readonly boundMs: number;
  /** One sentence each, as `op_… of host-1 is executing`. */
  readonly unsettled: readonly string[];
};

/** The terms under which a run goes: what a checker has to know of configuration. */
export type RunTerms = {
  readonly seed: number;
  readonly hosts: readonly NodeName[];
  /** How many times as long everything is configured, and takes, as in a run of the quick pace. */
  readonly stretch: number;
  /** Simulated time of the safety phase. */
  readonly safetyMs: number;
  readonly syncIntervalMs: number;
  readonly requestTimeoutMs: number;
  readonly freshTimeoutMs: number;
  readonly controlLossAfterMs: number;
  readonly leaseTtlMs: number;
  readonly lockDelayMs: number;
  /** The declared bound of a clock's rate, as 0.01. */
  readonly drift: number;
};

export type History = {
  readonly terms: RunTerms;
  readonly events: readonly HistoryEvent[];
  readonly final: {
    readonly journals: readonly FinalJournal[];
    readonly control: FinalControl;
    readonly liveness: Liveness;
  };
};

/** The promises of DESIGN.md section 1. */
export const PROMISES = [
  'I1',
  'I2',
  'I3',
  'I4',
  'I5',
  'I6',
  'I7',
  'I8',
  'I9',
  'I10',
  'I11',
  'I12',
] as const;
export type Promised = (typeof PROMISES)[number];

export type Violation = {
  readonly promise: Promised;
  /** What is wrong, with its ids and numbers, in one sentence. */
  readonly detail: string;
  /** Events that show it, by `seq`, in order. */
  readonly events: readonly number[];
};

/** What one checker made of one history: how much it really looked at, and what it found. */
export type Verdict = {
  readonly promise: Promised;
  /** Single facts that were held against the promise: 0 says that it proved nothing in this run. */
  readonly checks: number;
  readonly violations: readonly Violation[];
};
/** Pure: the same history gives the same verdict. `checkers/iNN-….ts` exports one. */
export type Checker = (history: History) => Verdict;
