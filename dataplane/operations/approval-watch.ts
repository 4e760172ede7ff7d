/**
 * What waits for an approval, looked through in turn: a wait that is over ends (I8), and the record
 * says whether control, from where the approval would come, is away.
 */
import type { Instant } from '../../shared/core/time.ts';
import { waitIsOver } from '../core/approval-use.ts';
import type { LifecycleEvent, StoredOperation } from '../core/operation-record.ts';
import type { Journal } from '../journal/journal.ts';

const LOOKED_AT_MAX = 200;

export class ApprovalWatch {
  readonly #journal: Journal;
  #seenSeq = 0;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  /** `isControlLost`: out of reach for so long that rules about it take hold. */
  proposals(at: {
    readonly now: Instant;
    readonly isControlLost: boolean;
    readonly isInReach: boolean;
  }): [string, LifecycleEvent][] {
    if ((this.#journal.operationCounts()['awaiting_approval'] ?? 0) === 0) return [];
    const rows = this.#journal.reader.awaitingAfter(this.#seenSeq, LOOKED_AT_MAX);
    this.#seenSeq = rows.length < LOOKED_AT_MAX ? 0 : (rows.at(-1)?.seq ?? 0);
    return rows.flatMap(({ operation }) => {
      const event = eventFor(operation, at);
      return event === null ? [] : [[operation.operationId, event] as [string, LifecycleEvent]];
    });
  }
}

function eventFor(
  operation: StoredOperation,
  at: { readonly now: Instant; readonly isControlLost: boolean; readonly isInReach: boolean },
): LifecycleEvent | null {
  if (waitIsOver(operation, at.now)) return { kind: 'expire_approval' };
  const saysLost = operation.reason === 'control_lost';
  if (at.isControlLost && !saysLost) return { kind: 'lose_control' };
  return at.isInReach && saysLost ? { kind: 'regain_control' } : null;
}
