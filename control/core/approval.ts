/**
 * What becomes of a request for an approval when somebody decides about it.
 *
 * V1  Nobody approves what is done in their own name, and each person has one vote.
 * V2  Who decides has the role that the rule names, and names the digest of what they looked at.
 * V3  As many approvals as the rule wants approve it; one denial denies it. Then it is decided, once.
 *     The same vote again is the same vote, and not an error.
 * V4  Until the work has begun an approval may be taken back, by one of those who gave it. Whether it
 *     had begun is the host's word; what is asked for here is asked of the host.
 * V5  Nothing is decided about what has expired, or about a host that was enrolled anew since.
 */
import type {
  ApprovalOutcome,
  ApprovalRequest,
  ApprovalStatement,
  ApprovalVerb,
} from '../../shared/wire/approval.ts';
import type { ErrorCode } from '../../shared/wire/problem.ts';

export type Voter = {
  /** As in an operator's name. */
  readonly name: string;
  readonly roles: ReadonlySet<string>;
};

export type Asked = {
  readonly verb: ApprovalVerb;
  readonly voter: Voter;
  readonly digest: string;
  readonly reason: string;
  readonly nowMs: number;
  /** Of the host, now. */
  readonly hostEpoch: number;
  /** The host has reported that the work began, or ended. */
  readonly isUsed: boolean;
};

export type Verdict =
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly detail: string }
  /** It stands as it was: the same had been said before. */
  | { readonly kind: 'unchanged' }
  | {
      readonly kind: 'changed';
      readonly request: ApprovalRequest;
      /** What the host is to be told; `null` while votes are missing. */
      readonly outcome: ApprovalOutcome | null;
    };

/** As it stands now, whether or not that was written. The host ends the wait itself, and no later. */
export function asOf(request: ApprovalRequest, nowMs: number): ApprovalRequest {
  const isOver = request.state === 'pending' && nowMs >= request.expiresAtMs;
  return isOver ? { ...request, state: 'expired' } : request;
}

export function judgeVerdict(request: ApprovalRequest, asked: Asked): Verdict {
  const { verb, voter } = asked;
  const by = actorOf(voter);
  const own = request.votes.find((vote) => vote.by === by);
  // V3: also when it was decided since.
  if (verb !== 'withdraw' && own?.verdict === verb) return { kind: 'unchanged' };
  const barrier =
    settledBarrier(request, asked) ?? looksBarrier(request, asked) ?? voteBarrier(request, asked);
  if (barrier !== null) return barrier;
  if (verb === 'withdraw') return withdrawn(request, asked, by);
  const { reason, nowMs: atMs } = asked;
  const votes = [...request.votes, { by, verdict: verb, reason, atMs }];
  if (verb === 'deny') return decided({ ...request, votes }, 'denied', asked);
  const approvals = votes.filter(({ verdict }) => verdict === 'approve').length;
  return approvals >= request.required
    ? decided({ ...request, votes }, 'approved', asked)
    : { kind: 'changed', request: { ...request, votes }, outcome: null };
}

/** V5, and V4: what can no longer be decided. */
function settledBarrier(request: ApprovalRequest, asked: Asked): Verdict | null {
  const { requestId, hostId, hostEpoch } = request;
  const { state } = asOf(request, asked.nowMs);
  const settled = (why: string) => refused('approval_settled', `request ${requestId} ${why}`);
  if (hostEpoch !== asked.hostEpoch)
    return settled(`is of host ${hostId} before it was enrolled anew: what it waited for is over`);
  if (asked.verb === 'withdraw' && state === 'approved')
    return asked.isUsed ? settled('was approved, and the work has begun: cancel it instead') : null;
  return state === 'pending' ? null : settled(`is ${state}: there is nothing left to decide`);
}

/** V2. */
function looksBarrier({ requestId, payloadDigest }: ApprovalRequest, asked: Asked): Verdict | null {
  if (asked.digest === payloadDigest) return null;
  return refused(
    'approval_changed',
    `request ${requestId} is about ${payloadDigest}, and ${asked.digest} was looked at: look again`,
  );
}

/** V1, V2. */
function voteBarrier(request: ApprovalRequest, { verb, voter }: Asked): Verdict | null {
  const { role, principal, rule, requestId } = request;
  const by = actorOf(voter);
  const own = request.votes.find((vote) => vote.by === by);
  if (verb === 'withdraw')
    return own?.verdict === 'approve'
      ? null
      : refused('forbidden', `${by} has not approved ${requestId}: there is nothing to take back`);
  if (verb === 'approve' && isSamePerson(voter.name, principal))
    return refused('self_approval', `${principal} asked for it: somebody else has to approve it`);
  if (!voter.roles.has(role))
    return refused(
      'forbidden',
      `rule ${rule} wants the role ${role}, and ${by} has ${[...voter.roles].join(', ') || 'none'}: give it to user:${voter.name} in /principals of the policy, or to an operator`,
    );
  return own === undefined
    ? null
    : refused('approval_voted', `${by} has approved ${requestId} before: withdraw that first`);
}

/** By name, whatever kind of principal it is: a person has one. */
export function isSamePerson(name: string, principal: string): boolean {
  const of = principal.slice(principal.indexOf(':') + 1);
  return of.toLowerCase() === name.toLowerCase();
}

/** V4. */
function withdrawn(request: ApprovalRequest, asked: Asked, by: string): Verdict {
  if (request.state === 'approved') return decided(request, 'withdrawn', asked);
  const votes = request.votes.filter((vote) => vote.by !== by);
  return { kind: 'changed', request: { ...request, votes }, outcome: null };
}

function decided(
  request: ApprovalRequest,
  outcome: ApprovalOutcome,
  { reason, nowMs }: Asked,
): Verdict {
  const next: ApprovalRequest = {
    ...request,
    state: outcome,
    sequence: request.sequence + 1,
    decidedAtMs: nowMs,
    reason,
    delivery: 'waiting',
    confirmedAtMs: null,
  };
  return { kind: 'changed', request: next, outcome };
}

/** What is signed for the host: bound to all that it was decided about. */
export function wordAbout(
  request: ApprovalRequest,
  { outcome, controlId }: { readonly outcome: ApprovalOutcome; readonly controlId: string },
): ApprovalStatement {
  const { hostId, hostEpoch, requestId, operationId, sequence, payloadDigest } = request;
  const { policyRevision, rule, ttlMs, votes, reason, decidedAtMs } = request;
  return {
    controlId,
    hostId,
    hostEpoch,
    requestId,
    operationId,
    sequence,
    outcome,
    payloadDigest,
    policyRevision,
    rule,
    ttlMs,
    reason: reason ?? '',
    votes,
    decidedAtMs: decidedAtMs ?? 0,
  };
}

export const actorOf = ({ name }: Pick<Voter, 'name'>): string => `operator:${name}`;

function refused(code: ErrorCode, detail: string): Verdict & { kind: 'refused' } {
  return { kind: 'refused', code, detail };
}
