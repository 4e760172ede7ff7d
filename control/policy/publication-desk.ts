/**
 * Every way in which a document comes into force: published, approved, rolled back. One order for
 * all of them: the gate, the precondition, the report, the second person, the roll-out, the number.
 *
 * B1  What needs a second person gets no number before that person has approved that very document
 *     against the revision that is in force then.
 * B2  While one revision is rolled out no other is published, but one that puts an earlier document
 *     back in force for everybody.
 */
import { makeId } from '../../shared/core/ids.ts';
import { HOUR_MS } from '../../shared/core/time.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import type { PolicyFormat } from '../../shared/platform/policy-gate.ts';
import type { Random } from '../../shared/platform/random.ts';
import type { PublishAnswer } from '../../shared/wire/control-api.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { PublicationReport, RolloutMode } from '../../shared/wire/publication.ts';
import type { ControlConfig } from '../config.ts';
import type { Precondition } from '../core/publication.ts';
import { beginRollout, rollBack } from '../core/rollout.ts';
import type { ControlMetrics } from '../metrics.ts';
import type { ControlStore, ProposalWrite } from '../store/control-store.ts';
import type { BundleFeed } from './bundle-feed.ts';
import {
  summaryOf,
  type Checked,
  type PolicyPublisher,
  type Prepared,
} from './policy-publisher.ts';
import type { PublicationReporter } from './publication-reporter.ts';
import type { RolloutDriver } from './rollout-driver.ts';

export const PROPOSAL_TTL_MS = 24 * HOUR_MS;

type Wanted = {
  readonly precondition: Precondition;
  readonly isDryRun: boolean;
  readonly comment: string | null;
  readonly actor: string;
  /** `null`: as the configuration says. */
  readonly rollout: RolloutMode | null;
  /** How many recent decisions the report replays; 0 for none. */
  readonly impactDecisions: number;
};

export type Publishing = Wanted & { readonly bytes: Uint8Array; readonly format: PolicyFormat };

type Ports = {
  readonly store: ControlStore;
  readonly publisher: PolicyPublisher;
  readonly reporter: PublicationReporter;
  readonly driver: RolloutDriver;
  readonly feed: BundleFeed;
  readonly clock: Clock;
  readonly random: Random;
  readonly config: ControlConfig;
  readonly metrics: Metrics<ControlMetrics>;
};

/** What a publication is, in the audit trail. */
type Kind = {
  readonly action: string;
  readonly detail: Readonly<Record<string, unknown>>;
  /** Ends the roll-out that is under way (B2). */
  readonly endsRollout: boolean;
  readonly proposal?: (policyRevision: number) => ProposalWrite;
};

const PUBLISHED: Kind = { action: 'policy.published', detail: {}, endsRollout: false };

export class PublicationDesk {
  readonly #ports: Ports;

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  /**
   * `policy_invalid`, `invalid_yaml`, `invalid_json`, `body_too_large`, `revision_conflict`,
   * `rollout_in_progress`, or `recovering`.
   */
  publish(publishing: Publishing): Promise<PublishAnswer> {
    return this.#counted(async () => {
      const { publisher } = this.#ports;
      const checked = publisher.check(publishing.bytes, publishing.format);
      return this.#take(checked, publishing, PUBLISHED);
    });
  }

  /** The document of an earlier revision, as a new one. */
  rollBack(toRevision: number, wanted: Wanted): Promise<PublishAnswer> {
    return this.#counted(async () => {
      const { store, publisher } = this.#ports;
      const stored = await store.policy.fetch(toRevision);
      if (stored === null) {
        const detail = `there is no policy revision ${toRevision}; GET /v1/policy/revisions lists them`;
        throw new HoldfastError('not_found', detail);
      }
      const checked = publisher.checkDocument(stored.policy);
      return this.#take(checked, wanted, {
        action: 'policy.rolled_back',
        detail: { documentOf: toRevision },
        endsRollout: true,
      });
    });
  }

  /** B1: a document that was approved, against what is in force now. */
  publishApproved(
    checked: Checked,
    wanted: Omit<Wanted, 'isDryRun' | 'impactDecisions'> & { readonly rollout: RolloutMode },
    proposal: { readonly id: string; write(policyRevision: number): ProposalWrite },
  ): Promise<PublishAnswer> {
    return this.#counted(async () => {
      const prepared = await this.#ports.publisher.prepare(checked, wanted.precondition);
      if (prepared.isUnchanged && prepared.current !== null) {
        return { ...summaryOf(prepared.current), outcome: 'unchanged' };
      }
      return this.#commit(prepared, wanted, {
        ...PUBLISHED,
        detail: { proposalId: proposal.id },
        proposal: (policyRevision) => proposal.write(policyRevision),
      });
    });
  }

  async #take(checked: Checked, wanted: Wanted, kind: Kind): Promise<PublishAnswer> {
    const { publisher, driver, clock } = this.#ports;
    const prepared = await publisher.prepare(checked, wanted.precondition);
    const { current, policyRevision, policyDigest, document } = prepared;
    if (prepared.isUnchanged && current !== null) {
      return { ...summaryOf(current), outcome: 'unchanged' };
    }
    const report = await this.#report(prepared, wanted.impactDecisions);
    const rollout = this.#modeOf(wanted, kind, prepared);
    const needsApproval = this.#needsApproval(report);
    const answer = {
      policyRevision,
      policyDigest,
      publishedAtMs: clock.now().wallMs,
      publishedBy: wanted.actor,
      comment: wanted.comment,
      rules: document.rules.length,
      report,
      rollout,
      needsApproval,
    };
    if (wanted.isDryRun) return { ...answer, outcome: 'valid' };
    if (!kind.endsRollout || needsApproval) driver.refuseWhileUnderWay();
    if (needsApproval) {
      const proposalId = await this.#propose(prepared, { ...wanted, rollout }, report);
      return { ...answer, outcome: 'proposed', proposalId };
    }
    return { ...(await this.#commit(prepared, { ...wanted, rollout }, kind)), report };
  }

  async #report(prepared: Prepared, decisions: number): Promise<PublicationReport> {
    const { publisher, reporter } = this.#ports;
    const { current } = prepared;
    if (current === null) return reporter.report(null, prepared, { decisions });
    const { policyRevision, policy: document } = current;
    const held = await publisher.compiled(policyRevision);
    if (held === null) return reporter.report(null, prepared, { decisions });
    const before = { policyRevision, document, compiled: held.compiled };
    return reporter.report(before, prepared, { decisions });
  }

  /** What returns to an earlier document goes to everybody, unless its publisher says otherwise. */
  #modeOf({ rollout }: Wanted, kind: Kind, { current }: Prepared): RolloutMode {
    if (current === null) return 'all';
    return rollout ?? (kind.endsRollout ? 'all' : this.#ports.config.rollout);
  }

  #needsApproval({ loosening }: PublicationReport): boolean {
    const { twoPersonPublication } = this.#ports.config;
    // The first policy lets happen what nothing let happen before.
    const isLooser = loosening === null || loosening.mayLoosen;
    return twoPersonPublication === 'always' || (twoPersonPublication === 'loosening' && isLooser);
  }

  async #propose(
    { document, policyDigest, current }: Prepared,
    wanted: Wanted & { readonly rollout: RolloutMode },
    report: PublicationReport,
  ): Promise<string> {
    const { store, clock, random } = this.#ports;
    const atMs = clock.now().wallMs;
    const proposalId = makeId('prop', atMs, random.bytes(16));
    const { actor, comment, rollout } = wanted;
    const replaces = current?.policyRevision ?? null;
    const rules = document.rules.length;
    await store.proposals.add(
      {
        proposalId,
        state: 'open',
        policyDigest,
        replaces,
        rules,
        comment,
        rollout,
        proposedBy: actor,
        proposedAtMs: atMs,
        expiresAtMs: atMs + PROPOSAL_TTL_MS,
        decidedBy: null,
        decidedAtMs: null,
        reason: null,
        policyRevision: null,
        report,
      },
      document,
      {
        atMs,
        actor,
        action: 'policy.proposed',
        target: `proposal/${proposalId}`,
        detail: { policyDigest, replaces, comment, rules, rollout },
      },
    );
    return proposalId;
  }

  async #commit(
    prepared: Prepared,
    wanted: { actor: string; comment: string | null; rollout: RolloutMode | null },
    kind: Kind,
  ): Promise<PublishAnswer> {
    const { feed } = this.#ports;
    const rollout = wanted.rollout ?? this.#ports.config.rollout;
    const base = prepared.current?.policyRevision ?? null;
    const answer =
      rollout === 'staged' && base !== null
        ? await this.#commitStaged(prepared, wanted, kind, base)
        : await this.#commitToAll(prepared, wanted, kind);
    feed.wake();
    return { ...answer, rollout: base === null ? 'all' : rollout };
  }

  async #commitStaged(
    prepared: Prepared,
    { actor, comment }: { actor: string; comment: string | null },
    kind: Kind,
    baseRevision: number,
  ): Promise<PublishAnswer> {
    const { driver, publisher, clock, config } = this.#ports;
    const { policyRevision } = prepared;
    const rollout = beginRollout({
      policyRevision,
      baseRevision,
      stages: config.rolloutStages,
      by: actor,
      atMs: clock.now().wallMs,
    });
    return driver.begin(rollout, async () => {
      const revision = await publisher.commit(prepared, {
        actor,
        comment,
        action: kind.action,
        detail: { ...kind.detail, rollout: 'staged' },
        besides: () => ({
          rollout: { record: rollout, replaces: null },
          proposal: kind.proposal?.(policyRevision),
        }),
      });
      return { ...revision, outcome: 'published' };
    });
  }

  async #commitToAll(
    prepared: Prepared,
    { actor, comment }: { actor: string; comment: string | null },
    kind: Kind,
  ): Promise<PublishAnswer> {
    const { driver, publisher, clock } = this.#ports;
    const { policyRevision } = prepared;
    return driver.follow<PublishAnswer>(async (underWay) => {
      if (underWay !== null && !kind.endsRollout) driver.refuseWhileUnderWay();
      const ended =
        underWay === null ? null : rollBack(underWay, policyRevision, clock.now().wallMs);
      const revision = await publisher.commit(prepared, {
        actor,
        comment,
        action: kind.action,
        detail: kind.detail,
        besides: () => ({
          rollout: ended === null ? undefined : { record: ended, replaces: underWay },
          proposal: kind.proposal?.(policyRevision),
        }),
      });
      return { answer: { ...revision, outcome: 'published' }, ended };
    });
  }

  async #counted(work: () => Promise<PublishAnswer>): Promise<PublishAnswer> {
    const { metrics } = this.#ports;
    try {
      const answer = await work();
      metrics.add('holdfast_control_publishes_total', { outcome: answer.outcome });
      return answer;
    } catch (error) {
      const isAnswer = error instanceof HoldfastError && error.status < 500;
      const isConflict = isAnswer && (error.status === 412 || error.status === 409);
      const outcome = !isAnswer ? 'failed' : isConflict ? 'conflict' : 'invalid';
      metrics.add('holdfast_control_publishes_total', { outcome });
      throw error;
    }
  }
}
