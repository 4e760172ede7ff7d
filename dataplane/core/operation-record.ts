/** The record of an operation, what can befall it, and how a change of it is made. */
import type { OwnershipVerdict } from '../../shared/core/lease.ts';
import type { ApprovalStatement } from '../../shared/wire/approval.ts';
import type { Instant } from '../../shared/core/time.ts';
import { traceIdOf, traceOf } from '../../shared/core/trace-context.ts';
import type {
  Effect,
  EventKind,
  Operation,
  OperationState,
  Provenance,
} from '../../shared/wire/operation.ts';
import type { ErrorCode } from '../../shared/wire/problem.ts';
import type { Claim, Reconciliation } from '../../shared/wire/reconciliation.ts';
import { reconciliationAfter } from './reconciliation.ts';
import type { ReconciliationEvent } from './reconciliation-event.ts';
import type { ApprovalUse } from './approval-use.ts';

/** What is stored beyond what the API shows. */
export type StoredEffect = Effect & { readonly beginKey: string | null };

export type StoredReconciliation = Omit<Reconciliation, 'claim'> & {
  /** With its end on the boot clock of the boot in which it was made. */
  readonly claim:
    | (Claim & { readonly endsBoot?: { readonly bootId: string; readonly bootMs: number } })
    | null;
  /** The key under which it was settled: the same key gets the same answer. */
  readonly settleKey?: string | null;
};

export type StoredOperation = Omit<Operation, 'effects' | 'reconciliation'> & {
  readonly effects: StoredEffect[];
  readonly reconciliation?: StoredReconciliation;
  /** The key with which each attempt was asked for: the same key gets the same attempt. */
  readonly attemptKeys: readonly (string | null)[];
  /** The deadline on the boot clock of the boot in which it was admitted. */
  readonly deadlineBoot: { readonly bootId: string; readonly bootMs: number };
};

/** That control permitted an effect when it was asked again (`recheck: commit`). */
export type RecheckProof = {
  readonly policyRevision: number;
  readonly stalenessMs: number;
  /** On the boot clock: an answer holds for a moment only. */
  readonly endsBootMs: number;
  /** By the clock of control, for people. */
  readonly decidedAtMs?: number;
};

/** Why control's word for an effect was not to be had. */
export type EffectRefusal = {
  readonly code: 'recheck_refused' | 'control_unreachable' | 'control_rejected';
  readonly message: string;
  readonly policyRevision: number | null;
  readonly rule: string | null;
};

/** On what a paused operation goes on, and who released it where a person did. */
export type ResumeBasis = {
  readonly basis: 'fresh' | 'cached';
  readonly policyRevision: number;
  readonly rule: string;
  readonly stalenessMs: number;
  readonly by?: string;
  readonly why?: string;
};

/** Why the policy in force does not let a paused operation go on. */
export type ResumeRefusal = {
  readonly code: ErrorCode;
  readonly message: string;
  readonly policyRevision: number | null;
  readonly rule: string | null;
};

export type LifecycleEvent =
  | {
      readonly kind: 'start_attempt';
      readonly supersede: boolean;
      readonly key: string | null;
      readonly ownership: OwnershipVerdict | null;
    }
  | {
      readonly kind: 'begin_effect';
      readonly attempt: number;
      readonly name: string;
      readonly key: string | null;
      readonly ownership: OwnershipVerdict | null;
      /** Control's permit for this very effect; `null` where it was not asked. */
      readonly recheck: RecheckProof | null;
    }
  | {
      readonly kind: 'refuse_effect';
      readonly attempt: number;
      readonly name: string;
      readonly refusal: EffectRefusal;
    }
  | {
      readonly kind: 'settle_effect';
      readonly attempt: number;
      readonly name: string;
      readonly outcome: 'succeeded' | 'failed' | 'unknown';
      readonly result: unknown;
    }
  | { readonly kind: 'save_checkpoint'; readonly attempt: number; readonly checkpoint: unknown }
  | {
      readonly kind: 'report_outcome';
      readonly attempt: number;
      readonly outcome: 'succeeded' | 'failed' | 'unknown';
      readonly result: unknown;
      readonly reason: string | null;
      readonly ownership: OwnershipVerdict | null;
    }
  | {
      readonly kind: 'settle_approval';
      /** Verified, and bound to this host. */
      readonly word: ApprovalStatement;
      /** As control signed it: it goes into the journal. */
      readonly statement: string;
      /** What the authority at hand says of using it; `null` where nothing is approved. */
      readonly use: ApprovalUse | null;
    }
  | { readonly kind: 'expire_approval' }
  | { readonly kind: 'cancel'; readonly reason: string }
  | { readonly kind: 'lose_worker'; readonly attempt: number }
  | { readonly kind: 'lose_control' }
  /** `because`: the code of the notice that speaks against it; left out where all authority went. */
  | { readonly kind: 'revoke_authority'; readonly because?: string }
  /** `basis`: what lets it go on, decided again. */
  | { readonly kind: 'regain_control'; readonly basis?: ResumeBasis }
  | { readonly kind: 'refuse_resume'; readonly refusal: ResumeRefusal }
  | { readonly kind: 'pass_deadline' }
  | ({
      readonly kind: 'resolve';
      readonly outcome: 'succeeded' | 'failed';
      readonly provenance: Provenance;
      readonly reason: string;
      readonly result: unknown;
    } & Partial<Settlement>)
  | ReconciliationEvent;

/** Who settles it, what shows it, and under which key; over another's claim only with `force`. */
export type Settlement = {
  readonly by: string | null;
  readonly evidence: unknown;
  readonly key: string | null;
  readonly force: boolean;
};

/**
 * What goes into the journal with the new record; `null` where nothing changed (the same report
 * again).
 */
export type JournalNote = {
  readonly kind: EventKind;
  readonly body: Readonly<Record<string, unknown>>;
};

export type LifecycleResult =
  | {
      readonly ok: true;
      readonly operation: StoredOperation;
      readonly note: JournalNote | null;
      readonly replayed: boolean;
    }
  | { readonly ok: false; readonly code: ErrorCode; readonly detail: string };

export const SETTLED_STATES: ReadonlySet<OperationState> = new Set([
  'succeeded',
  'failed',
  'cancelled',
  'expired',
]);

/**
 * Within the boot of its admission the boot clock alone decides, whatever the wall clock was set to;
 * after a reboot the wall clock does.
 */
export function deadlinePassed(operation: StoredOperation, now: Instant): boolean {
  const { deadlineBoot, deadlineAtMs } = operation;
  if (now.bootId === deadlineBoot.bootId) return now.bootMs >= deadlineBoot.bootMs;
  return now.wallMs >= deadlineAtMs;
}

/** `unknown` is an end too: one with a way to resolve it (I8). */
export function hasEnded(operation: StoredOperation): boolean {
  return operation.state === 'unknown' || SETTLED_STATES.has(operation.state);
}

export function unreported(operation: StoredOperation): StoredEffect[] {
  return operation.effects.filter(({ state }) => state === 'begun' || state === 'unknown');
}

export function markUnknown(operation: StoredOperation, now: Instant): StoredEffect[] {
  return operation.effects.map((effect) =>
    effect.state === 'begun' ? { ...effect, state: 'unknown', settledAtMs: now.wallMs } : effect,
  );
}

export function shown({ beginKey: _, ...effect }: StoredEffect): Effect {
  return effect;
}

export function because(operation: StoredOperation): string {
  return operation.reason === null ? '' : ` (${operation.reason})`;
}

export function refused(code: ErrorCode, detail: string): LifecycleResult & { ok: false } {
  return { ok: false, code, detail };
}

export function unchanged(operation: StoredOperation): LifecycleResult & { ok: true } {
  return { ok: true, operation, note: null, replayed: false };
}

export function moved(
  operation: StoredOperation,
  change: Partial<StoredOperation>,
  kind: EventKind,
  now: Instant,
  facts: Readonly<Record<string, unknown>> = {},
): LifecycleResult & { ok: true } {
  const approval = change.approval ?? approvalAtEnd(operation, change);
  const next: StoredOperation = {
    ...operation,
    ...change,
    ...reconciliationAfter(operation, change, now),
    ...(approval === undefined ? {} : { approval }),
    updatedAtMs: now.wallMs,
  };
  const settled = SETTLED_STATES.has(next.state) && !SETTLED_STATES.has(operation.state);
  // Whoever asked is told with the end too, whichever end it is.
  const told = change.approval ?? (hasEnded(next) ? approval : undefined);
  const effects =
    change.effects !== undefined && kind !== 'effect_begun' && kind !== 'effect_settled'
      ? { effects: change.effects.map(shown) }
      : {};
  const reconciliation =
    next.reconciliation === operation.reconciliation ? {} : { reconciliation: next.reconciliation };
  return {
    ok: true,
    operation: settled ? { ...next, settledAtMs: now.wallMs } : next,
    note: {
      kind,
      body: {
        state: next.state,
        reason: next.reason,
        attempt: next.attempt,
        ...facts,
        ...effects,
        ...reconciliation,
        ...(told === undefined ? {} : { approval: told }),
        ...traced(operation),
      },
    },
    replayed: false,
  };
}

/** What ended in another way before anybody decided is decided by nobody any more. */
function approvalAtEnd(
  { approval }: StoredOperation,
  { state }: Partial<StoredOperation>,
): StoredOperation['approval'] {
  if (approval?.state !== 'pending' || state === undefined || state === 'awaiting_approval')
    return approval;
  return { ...approval, state: 'ended' };
}

/** An entry by itself is to be found by its trace, too. */
function traced(operation: StoredOperation): { readonly traceId?: string } {
  const trace = traceOf(operation);
  return trace === null ? {} : { traceId: traceIdOf(trace) };
}
