/**
 * What becomes of a proposed publication.
 *
 * W1  Who proposed it does not approve it.
 * W2  What is approved is the document that the approver has read: its digest is said with it.
 * W3  Only an open one is decided, once, before it expires.
 */
import type { Proposal } from '../../shared/wire/publication.ts';

export type ProposalVerb = 'approve' | 'reject' | 'withdraw';

export type ProposalVerdict =
  | { readonly kind: 'allowed' }
  | {
      readonly kind: 'refused';
      /** The code under which it is refused. */
      readonly code: 'proposal_settled' | 'forbidden' | 'revision_conflict';
      readonly detail: string;
    };

/** As it stands now: an open one whose time is over has expired, whether or not that was written. */
export function asOf(proposal: Proposal, nowMs: number): Proposal {
  return proposal.state === 'open' && nowMs >= proposal.expiresAtMs
    ? { ...proposal, state: 'expired' }
    : proposal;
}

export function judgeProposal(
  proposal: Proposal,
  asked: {
    readonly verb: ProposalVerb;
    readonly actor: string;
    readonly digest: string | null;
    readonly nowMs: number;
  },
): ProposalVerdict {
  const { proposalId, proposedBy, policyDigest } = proposal;
  const { state } = asOf(proposal, asked.nowMs);
  const isProposer = asked.actor === proposedBy;
  const refused = (code: 'proposal_settled' | 'forbidden' | 'revision_conflict', detail: string) =>
    ({ kind: 'refused', code, detail }) as const;
  if (state !== 'open') {
    const left = state === 'published' ? 'there is nothing left to decide' : 'propose it again';
    return refused('proposal_settled', `proposal ${proposalId} is ${state}: ${left}`);
  }
  switch (asked.verb) {
    case 'withdraw':
      return isProposer
        ? { kind: 'allowed' }
        : refused('forbidden', `only ${proposedBy} can withdraw it; others reject it`);
    case 'reject':
      return isProposer
        ? refused('forbidden', `${asked.actor} proposed it: withdraw it instead`)
        : { kind: 'allowed' };
    case 'approve':
      if (isProposer) {
        return refused('forbidden', `${asked.actor} proposed it: somebody else has to approve it`);
      }
      return asked.digest === policyDigest
        ? { kind: 'allowed' }
        : refused(
            'revision_conflict',
            `If-Match names the document ${asked.digest ?? ''}, and the proposal is ${policyDigest}: read it again`,
          );
  }
}
