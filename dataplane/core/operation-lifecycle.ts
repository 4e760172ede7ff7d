/**
 * The life of an accepted operation: one pure state machine. The writer thread loads the record,
 * asks here, and writes what comes back in the same transaction; nobody else changes a record.
 *
 * O1  Only the newest attempt acts; an older one is told that it is stale (I9).
 * O2  An effect is begun by at most one live attempt. A recorded success is returned instead of run
 *     again. One begun and not reported is never begun again unless its rule declares it idempotent
 *     (I9).
 * O3  A fact that an attempt reports about an effect it began is recorded whatever else has
 *     happened since.
 * O4  `succeeded` and `failed` need every begun effect reported; what is not known ends as
 *     `unknown` (I8).
 * O5  A new effect needs the lease under which the attempt began, at the same epoch (I6).
 * O6  After the deadline nothing new begins (I8).
 * O7  Where the rule says `recheck: commit`, no effect begins without control's permit for it, given
 *     for this very effect and moments ago (I4). That it was refused, or not to be had, is recorded.
 * O8  When control withdraws the authority of the host, accepted work goes as `onRevoke` said at its
 *     admission, and nothing that was paused is released before control gives authority again.
 * O9  An outcome is recorded as it was reported, also when the lease of its attempt was lost before:
 *     refusing it would unmake nothing that was done. The record says that it was lost, and the
 *     operation ends with that as its reason, unless the worker gave one (I6, I8).
 * O10 What is unknown is brought to an end as its rule said at admission, by a bounded number of
 *     tries, then by a person (I8); it is executable again only where every effect is idempotent
 *     (I9). While somebody holds the claim nobody else settles it; what a worker or a try that was
 *     under way reports is a fact all the same (O3).
 * O11 What waits for an approval is not begun, by no event but control's word (`operation-approval.ts`).
 * O12 What was paused goes on, or is refused, by a decision made again under the policy in force when
 *     control is back; the entry says which (I3). It leaves `paused` once.
 */
import { assertNever } from '../../shared/core/assert.ts';
import type { Instant } from '../../shared/core/time.ts';
import type { OperationState } from '../../shared/wire/operation.ts';
import { expireApproval, settleApproval } from './operation-approval.ts';
import {
  cancel,
  loseControl,
  loseWorker,
  passDeadline,
  refuseResume,
  regainControl,
  resolve,
  revokeAuthority,
} from './operation-endings.ts';
import type { LifecycleEvent, LifecycleResult, StoredOperation } from './operation-record.ts';
import {
  beginTry,
  claim,
  compensated,
  endTry,
  leaveToPerson,
  linkCompensation,
  release,
} from './reconciliation-steps.ts';
import {
  beginEffect,
  refuseEffect,
  reportOutcome,
  saveCheckpoint,
  settleEffect,
  startAttempt,
} from './operation-steps.ts';

/**
 * Every legal change of state, by event. The documentation prints this table; a test holds it to
 * the code.
 */
export const TRANSITIONS: Readonly<
  Record<
    OperationState,
    Readonly<Partial<Record<LifecycleEvent['kind'], readonly OperationState[]>>>
  >
> = {
  awaiting_approval: {
    settle_approval: ['accepted', 'awaiting_approval', 'cancelled', 'expired'],
    expire_approval: ['expired'],
    cancel: ['cancelled'],
    lose_control: ['awaiting_approval', 'cancelled'],
    revoke_authority: ['cancelled'],
    regain_control: ['awaiting_approval'],
    pass_deadline: ['expired'],
  },
  accepted: {
    settle_approval: ['accepted', 'cancelled'],
    start_attempt: ['executing'],
    settle_effect: ['accepted'],
    report_outcome: ['succeeded', 'failed', 'unknown'],
    cancel: ['cancelled'],
    lose_control: ['paused', 'cancelled', 'unknown'],
    revoke_authority: ['paused', 'cancelled', 'unknown'],
    pass_deadline: ['expired', 'unknown'],
  },
  executing: {
    settle_approval: ['executing'],
    start_attempt: ['executing'],
    begin_effect: ['executing'],
    refuse_effect: ['executing'],
    settle_effect: ['executing'],
    save_checkpoint: ['executing'],
    report_outcome: ['succeeded', 'failed', 'unknown'],
    cancel: ['cancelled'],
    lose_worker: ['accepted', 'failed', 'unknown'],
    lose_control: ['paused', 'cancelled', 'unknown'],
    revoke_authority: ['paused', 'cancelled', 'unknown'],
    pass_deadline: ['expired', 'unknown'],
  },
  paused: {
    settle_approval: ['paused', 'cancelled'],
    settle_effect: ['paused'],
    report_outcome: ['succeeded', 'failed', 'unknown'],
    cancel: ['cancelled'],
    revoke_authority: ['cancelled', 'unknown'],
    regain_control: ['accepted'],
    refuse_resume: ['cancelled', 'unknown'],
    pass_deadline: ['expired', 'unknown'],
  },
  succeeded: { settle_effect: ['succeeded'] },
  failed: { settle_effect: ['failed'] },
  cancelled: { settle_effect: ['cancelled'] },
  expired: { settle_effect: ['expired'] },
  unknown: {
    settle_effect: ['unknown'],
    report_outcome: ['succeeded', 'failed'],
    resolve: ['succeeded', 'failed'],
    begin_try: ['unknown', 'accepted'],
    end_try: ['succeeded', 'failed', 'unknown'],
    leave_to_person: ['unknown'],
    link_compensation: ['unknown'],
    compensated: ['failed'],
    claim: ['unknown'],
    release: ['unknown'],
  },
};

export function applyLifecycleEvent(
  operation: StoredOperation,
  event: LifecycleEvent,
  now: Instant,
): LifecycleResult {
  switch (event.kind) {
    case 'start_attempt':
      return startAttempt(operation, event, now);
    case 'begin_effect':
      return beginEffect(operation, event, now);
    case 'refuse_effect':
      return refuseEffect(operation, event, now);
    case 'settle_effect':
      return settleEffect(operation, event, now);
    case 'save_checkpoint':
      return saveCheckpoint(operation, event, now);
    case 'report_outcome':
      return reportOutcome(operation, event, now);
    case 'settle_approval':
      return settleApproval(operation, event, now);
    case 'expire_approval':
      return expireApproval(operation, now);
    case 'cancel':
      return cancel(operation, event.reason, now);
    case 'lose_worker':
      return loseWorker(operation, event.attempt, now);
    case 'lose_control':
      return loseControl(operation, now);
    case 'revoke_authority':
      return revokeAuthority(operation, event, now);
    case 'regain_control':
      return regainControl(operation, event, now);
    case 'refuse_resume':
      return refuseResume(operation, event, now);
    case 'pass_deadline':
      return passDeadline(operation, now);
    case 'resolve':
      return resolve(operation, event, now);
    case 'begin_try':
      return beginTry(operation, event, now);
    case 'end_try':
      return endTry(operation, event, now);
    case 'leave_to_person':
      return leaveToPerson(operation, event, now);
    case 'link_compensation':
      return linkCompensation(operation, event, now);
    case 'compensated':
      return compensated(operation, event, now);
    case 'claim':
      return claim(operation, event, now);
    case 'release':
      return release(operation, event, now);
    default:
      return assertNever(event);
  }
}
