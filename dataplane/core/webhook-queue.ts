/**
 * What a target of webhooks is told next. The journal is the queue: a target has a place in it, and
 * what was given up is kept aside.
 *
 * W1  At least once, in order, each under an id of its own that is the same at each try.
 * W2  A delivery is tried so often, with back-off, then parked: one that is never taken does not hold
 *     up the others for ever.
 * W3  What is parked is bounded; what has to go for newer ones is counted.
 */
import type { Operation, JournalEvent } from '../../shared/wire/operation.ts';
import type { OperationApproval } from '../../shared/wire/approval.ts';
import type { WebhookMessage, Webhook } from '../../shared/wire/webhook-api.ts';

export const DELIVERY_TRIES_MAX = 8;
export const PARKED_MAX = 100;

export type Delivery = { readonly id: string; readonly type: string; readonly body: string };

export type TargetState = {
  /** Entries up to here were told, or are of no interest. */
  readonly sentUpToSeq: number;
  readonly parked: Webhook['parked'];
  readonly parkedForgotten: number;
  /** Parked before, and to be tried again first. */
  readonly again: readonly Delivery[];
};

/** `null`: an entry that says nothing of an approval. */
export function deliveryOf(
  event: JournalEvent,
  operation: Operation | null,
  isoTime: (wallMs: number) => string,
): Delivery | null {
  const approval = event.body['approval'] as OperationApproval | undefined;
  if (approval === undefined || operation === null) return null;
  const type = typeOf(event, approval);
  if (type === null) return null;
  const { operationId, app, idempotencyKey, principal, action, resource } = operation;
  const message: WebhookMessage = {
    type,
    timestamp: isoTime(event.atMs),
    data: {
      operationId,
      app,
      idempotencyKey,
      principal,
      action,
      resourceId: resource.id,
      state: event.body['state'] as Operation['state'],
      reason: (event.body['reason'] ?? null) as string | null,
      approval,
    },
  };
  // The hash of the entry: no two have the same, and a restart finds it again.
  return { id: `msg_${event.hash.slice(0, 32)}`, type, body: JSON.stringify(message) };
}

function typeOf(
  { kind }: JournalEvent,
  { state }: OperationApproval,
): WebhookMessage['type'] | null {
  if (kind === 'approval_asked') return 'approval.requested';
  if (kind === 'approved') return 'approval.approved';
  // It had been approved, and ended later.
  if (kind === 'approval_refused' || state === 'approved' || state === 'pending') return null;
  return `approval.${state}`;
}

/** W2, W3. */
export function parked(
  state: TargetState,
  delivery: Delivery,
  at: { readonly error: string; readonly atMs: number },
): TargetState {
  const all = [
    ...state.parked,
    { ...delivery, parkedAtMs: at.atMs, error: at.error.slice(0, 500) },
  ];
  const kept = all.slice(-PARKED_MAX);
  const parkedForgotten = state.parkedForgotten + all.length - kept.length;
  return { ...state, parked: kept, parkedForgotten };
}

/** A person says that the target is well again. */
export function unparked(state: TargetState): TargetState {
  const again = [...state.again, ...state.parked.map(({ id, type, body }) => ({ id, type, body }))];
  return { ...state, parked: [], again };
}
