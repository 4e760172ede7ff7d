/** Publications that wait for a second person: shown, approved, rejected, withdrawn. */
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { PublishAnswer } from '../../shared/wire/control-api.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { Proposal, ProposalDetail } from '../../shared/wire/publication.ts';
import { asOf, judgeProposal, type ProposalVerb } from '../core/proposal.ts';
import type { Precondition } from '../core/publication.ts';
import type { ControlStore, Page, PageRequest, ProposalRecord } from '../store/control-store.ts';
import type { PolicyPublisher } from './policy-publisher.ts';
import type { PublicationDesk } from './publication-desk.ts';

type Ports = {
  readonly store: ControlStore;
  readonly publisher: PolicyPublisher;
  readonly desk: PublicationDesk;
  readonly clock: Clock;
  readonly logger: Logger;
};

type Asked = {
  readonly actor: string;
  /** The digest that was read; only an approval needs it. */
  readonly digest: string | null;
  readonly reason: string | null;
};

export class ProposalDesk {
  readonly #ports: Ports;

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  async list(page: PageRequest): Promise<Page<Proposal>> {
    const { store, clock } = this.#ports;
    const { items, nextCursor } = await store.proposals.list(page);
    const nowMs = clock.now().wallMs;
    return { items: items.map((record) => asOf(withoutReport(record), nowMs)), nextCursor };
  }

  async fetch(proposalId: string): Promise<ProposalDetail> {
    const { record, policy } = await this.#read(proposalId);
    const { report } = record;
    return { ...asOf(withoutReport(record), this.#ports.clock.now().wallMs), policy, report };
  }

  /** `proposal_settled`, `forbidden`, or `revision_conflict`, and whatever a publication answers. */
  async approve(proposalId: string, asked: Asked): Promise<PublishAnswer> {
    const { publisher, desk, clock } = this.#ports;
    const { record, policy } = await this.#read(proposalId);
    const proposal = this.#judge(record, 'approve', asked);
    const { replaces, proposedBy, comment, rollout } = proposal;
    const precondition: Precondition =
      replaces === null ? { kind: 'first' } : { kind: 'replaces', policyRevision: replaces };
    const decided = { decidedBy: asked.actor, decidedAtMs: clock.now().wallMs };
    try {
      const answer = await desk.publishApproved(
        publisher.checkDocument(policy),
        { actor: `${proposedBy} with ${asked.actor}`, comment, rollout, precondition },
        {
          id: proposalId,
          write: (policyRevision) => ({
            record: { ...proposal, state: 'published', ...decided, policyRevision },
            replaces: 'open',
          }),
        },
      );
      return { ...answer, proposalId };
    } catch (error) {
      // Revisions only rise: what it was written against is never in force again.
      if (error instanceof HoldfastError && error.code === 'revision_conflict') {
        await this.#settle(proposal, 'superseded', asked, 'approve');
      }
      throw error;
    }
  }

  async decline(
    proposalId: string,
    verb: Exclude<ProposalVerb, 'approve'>,
    asked: Asked,
  ): Promise<Proposal> {
    const { record } = await this.#read(proposalId);
    const proposal = this.#judge(record, verb, asked);
    return this.#settle(proposal, verb === 'reject' ? 'rejected' : 'withdrawn', asked, verb);
  }

  async #settle(
    proposal: Proposal,
    state: 'rejected' | 'withdrawn' | 'superseded',
    { actor, reason }: Asked,
    verb: ProposalVerb,
  ): Promise<Proposal> {
    const { store, clock, logger } = this.#ports;
    const atMs = clock.now().wallMs;
    const settled: Proposal = { ...proposal, state, decidedBy: actor, decidedAtMs: atMs, reason };
    const outcome = await store.proposals.write(
      { record: settled, replaces: 'open' },
      {
        atMs,
        actor,
        action: `policy.proposal.${state}`,
        target: `proposal/${proposal.proposalId}`,
        detail: { policyDigest: proposal.policyDigest, verb, reason },
      },
    );
    if (outcome === 'conflict') {
      const detail = `proposal ${proposal.proposalId} was decided by somebody else meanwhile`;
      throw new HoldfastError('proposal_settled', detail);
    }
    logger.info({ proposalId: proposal.proposalId, state, actor, reason }, 'proposal settled');
    return settled;
  }

  #judge(record: ProposalRecord, verb: ProposalVerb, { actor, digest }: Asked): Proposal {
    const proposal = withoutReport(record);
    const nowMs = this.#ports.clock.now().wallMs;
    const verdict = judgeProposal(proposal, { verb, actor, digest, nowMs });
    if (verdict.kind === 'refused') throw new HoldfastError(verdict.code, verdict.detail);
    return proposal;
  }

  async #read(proposalId: string) {
    const found = await this.#ports.store.proposals.fetch(proposalId);
    if (found !== null) return found;
    const detail = `there is no proposal ${proposalId}; GET /v1/policy/proposals lists them`;
    throw new HoldfastError('not_found', detail);
  }
}

function withoutReport({ report: _report, ...proposal }: ProposalRecord): Proposal {
  return proposal;
}
