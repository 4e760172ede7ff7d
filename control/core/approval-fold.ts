/**
 * Requests for approvals as the journals of hosts tell of them. A fold over what hosts report, as all
 * of what control shows of work is.
 *
 * G1  What a host says that it did is so: where control had decided otherwise (its store is an older
 *     copy; the wait had ended meanwhile), the request ends as the host's operation did. One outcome,
 *     the same on both sides.
 * G2  A word of control is repeated until an entry says what became of it; not before, and not after.
 * G3  Entries may come again: nothing that is known changes by that.
 */
import type { ApprovalRequest, OperationApproval } from '../../shared/wire/approval.ts';
import type { EventKind, Operation } from '../../shared/wire/operation.ts';

export type Source = {
  readonly hostId: string;
  readonly hostEpoch: number;
  readonly receivedAtMs: number;
};

/**
 * The requests that change by an admission, the one that it is last; `known`: the one that its
 * operation has now, if there is one.
 */
export function foldAdmission(
  known: ApprovalRequest | undefined,
  operation: Operation,
  source: Source,
): readonly ApprovalRequest[] {
  const { approval } = operation;
  if (approval === undefined) return [];
  // An entry of a journal that goes on under a new epoch: what was promised to the old one is void.
  if (known !== undefined && known.hostEpoch >= source.hostEpoch) return [];
  const request: ApprovalRequest = {
    ...askedBy(approval, source),
    operationId: operation.operationId,
    app: operation.app,
    principal: operation.principal,
    action: operation.action,
    resourceId: operation.resource.id,
    leaseResource: operation.leaseResource,
    payloadDigest: operation.fingerprint,
    replaces: null,
  };
  const isAnother = known !== undefined && known.requestId !== request.requestId;
  // It had been asked anew since, and the entry that says so comes again as well.
  return isAnother ? [{ ...known, state: 'superseded' }, request] : [request];
}

export type Change = {
  readonly kind: EventKind;
  readonly approval: OperationApproval;
};

/** The requests that change, the one that the operation has now last. */
export function foldChange(
  known: ApprovalRequest,
  { kind, approval }: Change,
  source: Source,
): readonly ApprovalRequest[] {
  if (known.hostEpoch > source.hostEpoch) return [];
  if (approval.requestId !== known.requestId) {
    // G3: of one that was asked anew since.
    if (kind !== 'approval_asked' || approval.replaces !== known.requestId) return [];
    const { receivedAtMs } = source;
    const anew = { ...known, ...askedBy(approval, source), replaces: known.requestId };
    return [{ ...confirmed(known, receivedAtMs), state: 'superseded' }, anew];
  }
  if (approval.state === 'pending') return [];
  // G2: it was used, and a withdrawal is on its way: what comes of that the host will say.
  if (kind === 'approved' && known.sequence > approval.sequence) return [];
  if (known.delivery === 'confirmed' && known.state === approval.state) return [];
  const sequence = Math.max(known.sequence, approval.sequence);
  // G1: its votes too, where this store does not know them.
  const votes = known.sequence < approval.sequence ? [...approval.votes] : known.votes;
  const { state, reason } = approval;
  const told = { state, sequence, votes, reason: reason ?? known.reason };
  return [{ ...confirmed(known, source.receivedAtMs), ...told }];
}

function confirmed(known: ApprovalRequest, atMs: number): ApprovalRequest {
  const decidedAtMs = known.decidedAtMs ?? atMs;
  return { ...known, delivery: 'confirmed', confirmedAtMs: atMs, decidedAtMs };
}

type AskedBy = Omit<
  ApprovalRequest,
  | 'operationId'
  | 'app'
  | 'principal'
  | 'action'
  | 'resourceId'
  | 'leaseResource'
  | 'payloadDigest'
  | 'replaces'
>;

function askedBy(approval: OperationApproval, source: Source): AskedBy {
  const { requestId, policyRevision, rule, required, role, ttlMs } = approval;
  const { onControlLoss, showPayload, requestedAtMs } = approval;
  const { hostId, hostEpoch, receivedAtMs } = source;
  return {
    requestId,
    hostId,
    hostEpoch,
    policyRevision,
    rule,
    required,
    role,
    ttlMs,
    onControlLoss,
    showPayload,
    requestedAtMs,
    receivedAtMs,
    // A duration: two clocks are not compared. The host ends it sooner, never later.
    expiresAtMs: receivedAtMs + ttlMs,
    state: 'pending',
    votes: [],
    sequence: 0,
    decidedAtMs: null,
    reason: null,
    delivery: 'none',
    confirmedAtMs: null,
  };
}
