/**
 * What befalls an operation that waits for an approval, up to its first attempt.
 *
 * Y1  Pending is not denied: only control's signed word, the end of the wait, or an end of the
 *     operation itself ends the wait. A restart, an outage and a lost message do not.
 * Y2  Control's word is taken once: what names another request than the one that is waited for, or
 *     other work than this, changes nothing (I2). The same word again changes nothing either.
 * Y3  An approval is used when it comes: under the authority of that moment (`approval-use.ts`), and
 *     only within its time (I3).
 * Y4  It can be withdrawn until the first attempt has begun. A withdrawal that comes later is recorded
 *     as such, and the work goes on: what has begun is not unmade by wishing.
 */
import type { Instant } from '../../shared/core/time.ts';
import type { ApprovalStatement, OperationApproval } from '../../shared/wire/approval.ts';
import { waitIsOver, type ApprovalUse } from './approval-use.ts';
import {
  hasEnded,
  moved,
  unchanged,
  type LifecycleEvent,
  type LifecycleResult,
  type StoredOperation,
} from './operation-record.ts';

/** Why a word of control is not one about this operation. */
export type WordProblem =
  | 'request_unknown'
  | 'digest_mismatch'
  | 'rule_mismatch'
  | 'not_enough_approvers';

/** Y2. */
export function problemOfWord(
  { approval, fingerprint }: Pick<StoredOperation, 'approval' | 'fingerprint'>,
  word: ApprovalStatement,
): WordProblem | null {
  if (approval?.requestId !== word.requestId) return 'request_unknown';
  if (fingerprint !== word.payloadDigest) return 'digest_mismatch';
  const { policyRevision, rule, required } = approval;
  if (policyRevision !== word.policyRevision || rule !== word.rule) return 'rule_mismatch';
  if (word.outcome !== 'approved') return null;
  const approvers = word.votes.filter(({ verdict }) => verdict === 'approve').map(({ by }) => by);
  return new Set(approvers).size >= required ? null : 'not_enough_approvers';
}

type Word = LifecycleEvent & { kind: 'settle_approval' };

export function settleApproval(
  operation: StoredOperation,
  event: Word,
  now: Instant,
): LifecycleResult {
  const { approval } = operation;
  const { word } = event;
  if (approval === undefined || problemOfWord(operation, word) !== null)
    return unchanged(operation);
  if (word.sequence <= approval.sequence) return { ...unchanged(operation), replayed: true };
  if (hasEnded(operation)) return unchanged(operation);
  if (operation.state === 'awaiting_approval') {
    if (waitIsOver(operation, now)) return expireApproval(operation, now);
    return word.outcome === 'approved'
      ? applyUse(operation, event, now)
      : withhold(operation, event, now);
  }
  const hasBegun = operation.state === 'executing' || operation.attempt > 0;
  if (word.outcome === 'withdrawn' && !hasBegun) return withhold(operation, event, now);
  // Y4.
  const late = { ...approval, sequence: word.sequence };
  return moved(operation, { approval: late }, 'approval_refused', now, {
    refused: { outcome: word.outcome, reason: word.reason, why: 'approval_used' },
    statement: event.statement,
  });
}

/** Y3. */
function applyUse(operation: StoredOperation, event: Word, now: Instant): LifecycleResult {
  const { word, statement } = event;
  if (event.use === null) return unchanged(operation);
  const decided = decidedBy(operation, word, { use: event.use, now });
  switch (event.use.kind) {
    case 'fits':
      return moved(
        operation,
        { state: 'accepted', reason: null, approval: { ...decided, state: 'approved' } },
        'approved',
        now,
        { statement },
      );
    case 'refused': {
      const { code, detail } = event.use;
      return moved(
        operation,
        {
          state: 'cancelled',
          reason: 'approval_overruled',
          approval: { ...decided, state: 'overruled' },
        },
        'cancelled',
        now,
        { statement, overruled: { code, detail } },
      );
    }
    case 'ask_anew':
      return askAnew(operation, event, { use: event.use, now });
  }
}

/** U2. */
function askAnew(
  operation: StoredOperation,
  { statement }: Word,
  { use, now }: { readonly use: ApprovalUse & { kind: 'ask_anew' }; readonly now: Instant },
): LifecycleResult {
  const approval: OperationApproval = {
    state: 'pending',
    ...use.asked,
    policyRevision: use.policyRevision,
    rule: use.rule,
    requestedAtMs: now.wallMs,
    sequence: 0,
    decidedUnder: null,
    decidedAtMs: null,
    reason: null,
    votes: [],
    replaces: operation.approval?.requestId ?? null,
  };
  const change = { approval, reason: 'policy_tightened' };
  return moved(operation, change, 'approval_asked', now, { statement });
}

/** Denied, or withdrawn before its use. */
function withhold(
  operation: StoredOperation,
  { word, statement }: Word,
  now: Instant,
): LifecycleResult {
  const state = word.outcome === 'denied' ? ('denied' as const) : ('withdrawn' as const);
  const approval = { ...decidedBy(operation, word, { use: null, now }), state };
  const change = { state: 'cancelled' as const, reason: `approval_${state}`, approval };
  return moved(operation, change, 'cancelled', now, { statement });
}

function decidedBy(
  operation: StoredOperation,
  { sequence, reason, votes }: ApprovalStatement,
  { use, now }: { readonly use: ApprovalUse | null; readonly now: Instant },
): OperationApproval {
  return {
    ...(operation.approval as OperationApproval),
    sequence,
    reason,
    votes: [...votes],
    decidedUnder: use?.policyRevision ?? null,
    decidedAtMs: now.wallMs,
  };
}

/** I8: the wait ends by itself. */
export function expireApproval(operation: StoredOperation, now: Instant): LifecycleResult {
  const { approval, state } = operation;
  if (state !== 'awaiting_approval' || approval === undefined || !waitIsOver(operation, now))
    return unchanged(operation);
  const change = {
    state: 'expired' as const,
    reason: 'approval_expired',
    approval: { ...approval, state: 'expired' as const },
  };
  return moved(operation, change, 'expired', now);
}

/** What is waited for cannot come now: the rule says whether that ends it (Y1). */
export function waitWithoutControl(operation: StoredOperation, now: Instant): LifecycleResult {
  if (operation.approval?.onControlLoss === 'fail')
    return moved(operation, { state: 'cancelled', reason: 'control_lost' }, 'cancelled', now);
  if (operation.reason === 'control_lost') return unchanged(operation);
  return moved(operation, { reason: 'control_lost' }, 'approval_waiting', now);
}

export function waitWithControl(operation: StoredOperation, now: Instant): LifecycleResult {
  if (operation.reason !== 'control_lost') return unchanged(operation);
  return moved(operation, { reason: 'control_regained' }, 'approval_waiting', now);
}
