/**
 * The journal of a host folded into what control shows: operations, refusals, outages. A fold, so
 * that the same events always give the same picture.
 *
 * R1  An event that was folded is not folded again: `lastSeq` of an operation only rises within a
 *     host epoch.
 * R2  What does not fold changes nothing and is named; the events after it go on.
 */
import type { OperationApproval } from '../../shared/wire/approval.ts';
import type { ReportedOperation } from '../../shared/wire/control-api.ts';
import type {
  Effect,
  EventKind,
  Operation,
  OperationState,
  Outage,
  Outcome,
  Refusal,
} from '../../shared/wire/operation.ts';
import type { Reconciliation } from '../../shared/wire/reconciliation.ts';

/** An event whose body has been checked against its kind. */
export type ReadEvent = { readonly seq: number; readonly atMs: number } & (
  | { readonly type: 'admitted'; readonly operation: Operation }
  | { readonly type: 'refused'; readonly refusal: Refusal }
  | { readonly type: 'outage'; readonly outage: Outage }
  | {
      readonly type: 'changed';
      readonly kind: EventKind;
      readonly operationId: string;
      readonly change: OperationChange;
    }
  /** Of the host itself: kept in the stream, part of no projection. */
  | { readonly type: 'other' }
);

export type OperationChange = {
  readonly state: OperationState;
  readonly reason: string | null;
  readonly attempt: number;
  readonly effect?: Effect;
  readonly effects?: readonly Effect[];
  readonly outcome?: Outcome | null;
  readonly reconciliation?: Reconciliation;
  readonly approval?: OperationApproval;
};

export type ProjectedOperation = ReportedOperation & { readonly hostEpoch: number };

export type Projected =
  | { readonly kind: 'operation'; readonly operation: ProjectedOperation }
  | { readonly kind: 'refusal'; readonly refusal: Refusal }
  | { readonly kind: 'outage'; readonly outage: Outage }
  | { readonly kind: 'none' }
  | { readonly kind: 'unreadable'; readonly problem: string };

export type EventSource = { readonly hostId: string; readonly hostEpoch: number };

export function projectEvent(
  known: ProjectedOperation | undefined,
  event: ReadEvent,
  source: EventSource,
): Projected {
  switch (event.type) {
    case 'other':
      return { kind: 'none' };
    case 'refused':
      return { kind: 'refusal', refusal: event.refusal };
    case 'outage':
      return { kind: 'outage', outage: event.outage };
    case 'admitted':
      return projectAdmission(known, event, source);
    case 'changed':
      return projectChange(known, event, source);
  }
}

function isFolded(known: ProjectedOperation, seq: number, source: EventSource): boolean {
  return known.hostEpoch === source.hostEpoch && seq <= known.lastSeq;
}

function projectAdmission(
  known: ProjectedOperation | undefined,
  event: Extract<ReadEvent, { type: 'admitted' }>,
  source: EventSource,
): Projected {
  const { operation, seq } = event;
  if (operation.hostId !== source.hostId) {
    return unreadable(`operation ${operation.operationId} says it is of host ${operation.hostId}`);
  }
  if (known !== undefined && known.hostId !== source.hostId) {
    return unreadable(`operation ${operation.operationId} was reported by host ${known.hostId}`);
  }
  // R1.
  if (known !== undefined && isFolded(known, seq, source)) return { kind: 'none' };
  return {
    kind: 'operation',
    operation: {
      operationId: operation.operationId,
      hostId: operation.hostId,
      hostEpoch: source.hostEpoch,
      app: operation.app,
      idempotencyKey: operation.idempotencyKey,
      principal: operation.principal,
      action: operation.action,
      resourceId: operation.resource.id,
      state: operation.state,
      reason: operation.reason,
      policyRevision: operation.policyRevision,
      rule: operation.rule,
      basis: operation.basis,
      stalenessMs: operation.stalenessMs,
      leaseResource: operation.leaseResource,
      leaseEpoch: operation.leaseEpoch,
      outageId: operation.outageId,
      admittedAtMs: operation.admittedAtMs,
      deadlineAtMs: operation.deadlineAtMs,
      updatedAtMs: operation.updatedAtMs,
      attempt: operation.attempt,
      effects: operation.effects,
      outcome: operation.outcome,
      lastSeq: seq,
    },
  };
}

function projectChange(
  known: ProjectedOperation | undefined,
  event: Extract<ReadEvent, { type: 'changed' }>,
  source: EventSource,
): Projected {
  const { operationId, change, seq, atMs, kind } = event;
  if (known === undefined) {
    return unreadable(`${kind} of operation ${operationId}, whose admission was never reported`);
  }
  if (known.hostId !== source.hostId) {
    return unreadable(`operation ${operationId} was reported by host ${known.hostId}`);
  }
  if (isFolded(known, seq, source)) return { kind: 'none' };
  return {
    kind: 'operation',
    operation: {
      ...known,
      hostEpoch: source.hostEpoch,
      state: change.state,
      reason: change.reason,
      attempt: change.attempt,
      effects: [...mergeEffects(known.effects, change)],
      outcome: change.outcome === undefined ? known.outcome : change.outcome,
      ...(change.reconciliation === undefined ? {} : { reconciliation: change.reconciliation }),
      updatedAtMs: atMs,
      lastSeq: seq,
    },
  };
}

function mergeEffects(known: readonly Effect[], change: OperationChange): readonly Effect[] {
  const base = change.effects ?? known;
  const { effect } = change;
  if (effect === undefined) return base;
  const isKnown = base.some(({ name }) => name === effect.name);
  return isKnown ? base.map((one) => (one.name === effect.name ? effect : one)) : [...base, effect];
}

function unreadable(problem: string): Projected {
  return { kind: 'unreadable', problem };
}
