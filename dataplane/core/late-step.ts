/**
 * What a step of an operation rests on, looked at once more when the journal takes it: it may have
 * waited in the queue until its lease was over, or taken over, or until a permit was too old.
 */
import { checkFence } from '../../shared/core/lease.ts';
import type { BootMs } from '../../shared/core/time.ts';
import type { LifecycleEvent, LifecycleResult, StoredOperation } from './operation-record.ts';
import { refused } from './operation-record.ts';

export type LateFacts = {
  readonly bootMs: BootMs;
  /** Highest fencing token seen for the operation's lease; asked for only where there is one. */
  readonly highestEpoch: (resource: string) => number | null;
};

type Refused = LifecycleResult & { ok: false };

/** `null` where it may go on. */
export function tooLate(
  operation: StoredOperation,
  event: LifecycleEvent,
  facts: LateFacts,
): Refused | null {
  return staleOwner(operation, event, facts) ?? recheckOver(event, facts);
}

/** I6: a step of a guarded operation under an epoch below the highest seen here is refused. */
function staleOwner(
  { leaseResource }: StoredOperation,
  event: LifecycleEvent,
  { bootMs, highestEpoch }: LateFacts,
): Refused | null {
  if (leaseResource === null) return null;
  if (event.kind !== 'start_attempt' && event.kind !== 'begin_effect') return null;
  if (event.ownership?.owned !== true) return null;
  const { epoch, endsBootMs } = event.ownership;
  if (bootMs >= endsBootMs)
    return refused(
      'lease_lost',
      `the lease of ${leaseResource} ended while this waited for the journal`,
    );
  const verdict = checkFence(highestEpoch(leaseResource), epoch);
  if (verdict.accepted) return null;
  return refused(
    'stale_owner',
    `epoch ${epoch} for ${leaseResource} is below ${verdict.highestEpoch}, the highest seen on this host`,
  );
}

/** I4: control's word for an effect is for a moment only. */
function recheckOver(event: LifecycleEvent, { bootMs }: LateFacts): Refused | null {
  if (event.kind !== 'begin_effect' || event.recheck === null) return null;
  if (bootMs <= event.recheck.endsBootMs) return null;
  return refused(
    'control_unreachable',
    `control's permit for effect ${event.name} got too old while it waited for the journal: begin it again`,
  );
}
