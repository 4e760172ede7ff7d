/**
 * The model of an operation's life: which entry of a journal may lead from which state to which, as
 * the table of transitions has it (`dataplane/core/operation-lifecycle.ts`).
 */
import type { LifecycleEvent } from '../../../dataplane/core/operation-record.ts';
import { TRANSITIONS } from '../../../dataplane/core/operation-lifecycle.ts';
import type { EventKind, JournalEvent, OperationState } from '../../../shared/wire/operation.ts';

type Cause = LifecycleEvent['kind'];

/** Entries about an operation, but its admission, by what can have made them. */
const CAUSES: Readonly<Partial<Record<EventKind, readonly Cause[]>>> = {
  attempt_started: ['start_attempt'],
  effect_begun: ['begin_effect'],
  effect_refused: ['refuse_effect'],
  effect_settled: ['settle_effect'],
  checkpoint_saved: ['save_checkpoint'],
  worker_lost: ['lose_worker'],
  approval_waiting: ['lose_control', 'regain_control'],
  approval_asked: ['settle_approval'],
  approved: ['settle_approval'],
  approval_refused: ['settle_approval'],
  paused: ['lose_control', 'revoke_authority'],
  resumed: ['regain_control'],
  succeeded: ['report_outcome', 'resolve', 'end_try'],
  failed: ['report_outcome', 'resolve', 'end_try', 'lose_worker', 'compensated'],
  unknown: [
    'report_outcome',
    'lose_worker',
    'lose_control',
    'revoke_authority',
    'refuse_resume',
    'pass_deadline',
  ],
  cancelled: ['cancel', 'settle_approval', 'lose_control', 'revoke_authority', 'refuse_resume'],
  expired: ['pass_deadline', 'expire_approval', 'settle_approval'],
  retried: ['begin_try'],
  reconciliation_try_begun: ['begin_try'],
  reconciliation_try_ended: ['end_try'],
  reconciliation_left_to_person: ['leave_to_person'],
  reconciliation_claimed: ['claim'],
  reconciliation_released: ['release'],
  compensation_admitted: ['link_compensation'],
};

export function stateAfter({ kind, body }: JournalEvent): OperationState {
  if (kind === 'admitted') return body['approval'] === undefined ? 'accepted' : 'awaiting_approval';
  return body['state'] as OperationState;
}

/** Whether the model allows that entry where the operation was in `state`. */
export function isLawful(state: OperationState, entry: JournalEvent): boolean {
  const next = stateAfter(entry);
  if (isState(entry.kind) && entry.kind !== next) return false;
  return (CAUSES[entry.kind] ?? []).some((cause) => TRANSITIONS[state][cause]?.includes(next));
}

/** An entry that is called as a state leads to it. */
function isState(kind: EventKind): boolean {
  return kind in TRANSITIONS;
}
