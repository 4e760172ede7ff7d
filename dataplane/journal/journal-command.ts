/**
 * What can be asked of the writer, and what it answers. All of it is plain data: it crosses a
 * thread.
 */
import type { OwnershipVerdict } from '../../shared/core/lease.ts';
import type { Instant } from '../../shared/core/time.ts';
import type { Outage, OutageTally, Refusal } from '../../shared/wire/operation.ts';
import type { ErrorCode } from '../../shared/wire/problem.ts';
import type { ResumeOrder } from '../../shared/wire/resume-api.ts';
import type { AdmissionText } from '../core/admission-text.ts';
import type { OutageEventKind } from '../core/outage-interval.ts';
import type { RetentionLimits } from '../core/retention.ts';
import type { QuotaNote } from '../core/quota-note.ts';
import type { LifecycleEvent, StoredOperation } from '../core/operation-record.ts';
import type { RegisterWrite } from '../core/register.ts';
import type { JournalHead } from './journal-feed.ts';

type Context = { readonly now: Instant; readonly outageId: string | null };

export type JournalCommand = Context &
  (
    | {
        readonly type: 'admit';
        readonly operationId: string;
        readonly app: string;
        readonly idempotencyKey: string;
        readonly fingerprint: string;
        readonly leaseResource: string | null;
        readonly leaseEpoch: number | null;
        /** In which it is once it is recorded. */
        readonly state: 'accepted' | 'awaiting_approval';
        readonly onControlLoss: string;
        readonly deadlineAtMs: number;
        readonly action: string;
        readonly authorityEndsBootMs: number;
        /** The `Admission`: a text crosses a thread cheaply. */
        readonly admission: AdmissionText;
        /** Counted with it; left out where its rule has no quota. */
        readonly quota?: QuotaNote;
        /** Why nothing new may be written; a key that is known is answered all the same. */
        readonly noRoom?: string;
      }
    /** Changes nothing: the writer has the index of keys. */
    | { readonly type: 'find_key'; readonly app: string; readonly idempotencyKey: string }
    | { readonly type: 'refuse'; readonly refusal: Refusal }
    | {
        readonly type: 'apply';
        readonly operationId: string;
        readonly app: string | null;
        readonly event: LifecycleEvent;
      }
    /** Begins an attempt of each candidate that can still be taken, in their order, up to `limit`. */
    | {
        readonly type: 'claim';
        readonly app: string;
        readonly key: string;
        /** Of what is asked for: the same key with another is refused. */
        readonly fingerprint: string;
        readonly limit: number;
        readonly candidates: readonly {
          readonly operationId: string;
          readonly ownership: OwnershipVerdict | null;
        }[];
      }
    | { readonly type: 'check_fence'; readonly resource: string; readonly epoch: number }
    | ({ readonly type: 'write_register' } & RegisterWrite)
    | {
        readonly type: 'record_outage';
        readonly kind: OutageEventKind;
        readonly outage: Outage;
      }
    | {
        readonly type: 'record_policy';
        readonly kind: 'policy_activated' | 'policy_rejected';
        readonly fact: Readonly<Record<string, unknown>>;
      }
    /** Kept besides, for the next start. */
    | {
        readonly type: 'order_resume';
        readonly kind: 'resume_ordered';
        readonly fact: ResumeOrder;
      }
    | { readonly type: 'acknowledge'; readonly seq: number }
    /** One step of it. */
    | { readonly type: 'prune'; readonly limits: RetentionLimits }
  );

export type JournalAnswer =
  /** `recorded` is what the key named already; `null` where the operation was admitted just now. */
  | { readonly type: 'admitted'; readonly recorded: StoredOperation | null }
  | { readonly type: 'found'; readonly operation: StoredOperation | null }
  | {
      readonly type: 'applied';
      readonly operation: StoredOperation;
      readonly changed: boolean;
      readonly replayed: boolean;
      /** It had not ended before. */
      readonly ended: boolean;
    }
  /** Each with the attempt that the claim has begun; `replayed`: the key had claimed before. */
  | {
      readonly type: 'claimed';
      readonly operations: readonly StoredOperation[];
      readonly replayed: boolean;
    }
  | { readonly type: 'fence'; readonly accepted: boolean; readonly highestEpoch: number }
  /** `version` is the entry that wrote or deleted it. */
  | { readonly type: 'register'; readonly version: number; readonly updatedAtMs: number }
  | { readonly type: 'recorded' }
  /** With its entries, and with its tally when it is closed. */
  | { readonly type: 'outage_recorded'; readonly outage: Outage }
  | {
      readonly type: 'pruned';
      /** Those that are gone. */
      readonly operationIds: readonly string[];
      /** The entry up to which only what may not go yet is left. */
      readonly prunedSeq: number;
      /** Another step would find something at once. */
      readonly more: boolean;
      readonly usedBytes: number;
      /** Over the size, and nothing more may go. */
      readonly isStuckOverSize: boolean;
    }
  /** Control holds entries after `seq`, which is where this journal ends. */
  | { readonly type: 'behind_control'; readonly seq: number }
  | {
      readonly type: 'declined';
      readonly code: ErrorCode;
      readonly detail: string;
      /** Of another payload under the same key. */
      readonly operationId?: string;
    };

/** Answers are in the order of the commands; the whole batch is on disk. */
export type BatchAnswer = {
  readonly answers: readonly JournalAnswer[];
  readonly head: JournalHead;
  readonly ackedSeq: number;
  /** Operations by state, after the batch. */
  readonly counts: Readonly<Record<string, number>>;
  readonly commitMs: number;
  /** Of the outage that is open; left out where none is. */
  readonly outage?: OpenOutageTally;
};

export type OpenOutageTally = { readonly outageId: string; readonly tally: OutageTally };

/** The writer: batches that wait for it go together in one transaction, with one fsync. */
export interface JournalWriter {
  /**
   * Batches are answered in the order in which they were given. Rejects when the outcome of the
   * batch is not known; the writer is then stopped for good.
   */
  write(commands: readonly JournalCommand[]): Promise<BatchAnswer>;
  close(): Promise<void>;
}
