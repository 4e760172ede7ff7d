/**
 * What an operator, or placement, may order about a lease: hand it over, take it away, or call that
 * off. An order only marks the record; the holder and the target learn of it by their syncs. Answers
 * in order of precedence.
 */
import { currentHandover, type Handover } from './lease-handover.ts';
import { grantorTermMs, leaseEndMs, type LeaseRecord, type Lessor } from './lease-transition.ts';

export type Order = Pick<Handover, 'by' | 'reason'>;
export type TransferOrder = Order & {
  readonly toHostId: string;
  readonly drainTimeoutMs: number;
  readonly onTimeout: Handover['onTimeout'];
};

export type Marked = { readonly kind: 'marked'; readonly record: LeaseRecord };
export type Declined = {
  readonly kind: 'declined';
  readonly reason: 'absent' | 'in_handover' | 'same_host' | 'not_held' | 'no_handover' | 'told';
};

const declined = (reason: Declined['reason']): Declined => ({ kind: 'declined', reason });

/**
 * Of a lease that nobody holds there is nothing to drain: it is reserved for the target at once. One
 * that has expired goes to the target as to anybody, after the lock delay: its holder may have
 * crashed.
 */
export function orderTransfer(
  record: LeaseRecord | undefined,
  order: TransferOrder,
  lessor: Lessor,
): Marked | Declined {
  if (record === undefined) return declined('absent');
  if (currentHandover(record.handover, lessor) !== null) return declined('in_handover');
  const isHeld = record.state === 'held';
  if (isHeld && record.holder.hostId === order.toHostId) return declined('same_host');
  const { toHostId, by, reason, onTimeout } = order;
  const mode = isHeld
    ? ({ mode: 'drain', timeoutMs: order.drainTimeoutMs } as const)
    : ({ mode: 'reserved', timeoutMs: grantorTermMs(lessor) } as const);
  return marked(record, { ...begun(lessor), ...mode, toHostId, by, reason, onTimeout });
}

/** Also one that is being drained: it then stops instead, and what it was drained for stays. */
export function orderRevoke(
  record: LeaseRecord | undefined,
  order: Order & { readonly toHostId: string | null },
  lessor: Lessor,
): Marked | Declined {
  if (record === undefined) return declined('absent');
  if (record.state !== 'held' || lessor.now.bootMs >= leaseEndMs(record, lessor)) {
    return declined('not_held');
  }
  const before = currentHandover(record.handover, lessor);
  if (before?.mode === 'stop') return declined('in_handover');
  const { by, reason } = order;
  const toHostId = order.toHostId ?? before?.toHostId ?? null;
  return marked(record, {
    ...begun(lessor),
    mode: 'stop',
    timeoutMs: null,
    toHostId,
    by,
    reason,
    onTimeout: 'revoke',
  });
}

/** What was told to stop may have stopped already: that is not called off. */
export function orderCancel(record: LeaseRecord | undefined, lessor: Lessor): Marked | Declined {
  if (record === undefined) return declined('absent');
  const handover = currentHandover(record.handover, lessor);
  if (handover === null) return declined('no_handover');
  return handover.mode === 'stop' ? declined('told') : marked(record, null);
}

function begun(lessor: Lessor): Pick<Handover, 'sinceMs' | 'run' | 'modeSinceBootMs'> {
  return { sinceMs: lessor.now.wallMs, run: lessor.run, modeSinceBootMs: lessor.now.bootMs };
}

function marked(record: LeaseRecord, handover: Handover | null): Marked {
  return { kind: 'marked', record: { ...record, handover, version: record.version + 1 } };
}
