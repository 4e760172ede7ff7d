/** The approval that a record waits for, and what control may say about it. */
import type { ApprovalUse } from '../../dataplane/core/approval-use.ts';
import type { LifecycleEvent } from '../../dataplane/core/operation-record.ts';
import type {
  ApprovalAsked,
  ApprovalOutcome,
  ApprovalStatement,
  OperationApproval,
} from '../../shared/wire/approval.ts';

export function asked(requestId = 'apr_1', over: Partial<ApprovalAsked> = {}): ApprovalAsked {
  return {
    requestId,
    required: 1,
    role: 'security',
    ttlMs: 300_000,
    onControlLoss: 'wait',
    showPayload: true,
    expiresAtMs: 1_200_000,
    ...over,
  };
}

export function pendingApproval(over: Partial<OperationApproval> = {}): OperationApproval {
  return {
    state: 'pending',
    ...asked(),
    policyRevision: 1,
    rule: 'capture',
    requestedAtMs: 900_000,
    sequence: 0,
    decidedUnder: null,
    decidedAtMs: null,
    reason: null,
    votes: [],
    replaces: null,
    ...over,
  };
}

export function wordOf(
  outcome: ApprovalOutcome,
  over: Partial<ApprovalStatement> = {},
): ApprovalStatement {
  const verdict = outcome === 'denied' ? 'deny' : 'approve';
  return {
    controlId: 'ctl_1',
    hostId: 'host_1',
    hostEpoch: 1,
    requestId: 'apr_1',
    operationId: 'op_1',
    sequence: outcome === 'withdrawn' ? 2 : 1,
    outcome,
    payloadDigest: 'f',
    policyRevision: 1,
    rule: 'capture',
    ttlMs: 300_000,
    reason: 'looked at it',
    votes: [{ by: 'operator:ann', verdict, reason: 'looked at it', atMs: 950_000 }],
    decidedAtMs: 950_000,
    ...over,
  };
}

export function approvalWord(
  outcome: ApprovalOutcome,
  over: { readonly use?: ApprovalUse; readonly word?: Partial<ApprovalStatement> } = {},
): LifecycleEvent & { kind: 'settle_approval' } {
  return {
    kind: 'settle_approval',
    word: wordOf(outcome, over.word),
    statement: 'signed',
    use: over.use ?? null,
  };
}
