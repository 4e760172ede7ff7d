/**
 * Publication of policy: check, decide, sign once, store in one transaction, wake the hosts.
 *
 * I11  is kept here and in `core/publication.ts`: nothing that has not passed every gate gets a
 *     number, the
 * number is above any that was ever seen, and what hosts download are the bytes signed at
 * publication.
 */
import type { Logger } from '../../shared/platform/logger.ts';
import type { CompiledPolicy } from '../../shared/core/policy.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import { digestOf } from '../../shared/platform/digest.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import {
  checkPolicy,
  checkPolicyValue,
  type PolicyFormat,
} from '../../shared/platform/policy-gate.ts';
import type { Signer } from '../../shared/platform/signatures.ts';
import type { PublishAnswer } from '../../shared/wire/control-api.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { STATEMENT_TYPES, type Bundle, type PublicKey } from '../../shared/wire/statements.ts';
import { decidePublication, type Precondition } from '../core/publication.ts';
import type { FloorKeeper } from '../leases/floor-keeper.ts';
import type { Lessor } from '../leases/lessor.ts';
import type { ControlMetrics } from '../metrics.ts';
import type { ControlStore, StoredRevision } from '../store/control-store.ts';
import type { BundleFeed } from './bundle-feed.ts';

export type Publishing = {
  readonly bytes: Uint8Array;
  readonly format: PolicyFormat;
  readonly precondition: Precondition;
  readonly isDryRun: boolean;
  readonly comment: string | null;
  readonly actor: string;
};

export type SignedRevision = {
  readonly policyRevision: number;
  readonly policyDigest: string;
  readonly bytes: string;
};

export type CurrentPolicy = { readonly policyRevision: number; readonly compiled: CompiledPolicy };

type Ports = {
  readonly store: ControlStore;
  readonly clock: Clock;
  readonly signer: Signer;
  readonly trustKeys: readonly PublicKey[];
  readonly controlId: string;
  readonly floors: FloorKeeper;
  readonly lessor: Pick<Lessor, 'publicationWaitMs'>;
  readonly feed: BundleFeed;
  readonly metrics: Metrics<ControlMetrics>;
  readonly logger: Logger;
};

export class PolicyPublisher {
  readonly #ports: Ports;
  #compiled: CurrentPolicy | null = null;
  #bundle: SignedRevision | null = null;

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  /**
   * `policy_invalid`, `invalid_yaml`, `invalid_json`, `body_too_large`, `revision_conflict`, or
   * `recovering`.
   */
  async publish(publishing: Publishing): Promise<PublishAnswer> {
    const { metrics } = this.#ports;
    try {
      const answer = await this.#publish(publishing);
      metrics.add('holdfast_control_publishes_total', { outcome: answer.outcome });
      return answer;
    } catch (error) {
      const isAnswer = error instanceof HoldfastError && error.status < 500;
      const outcome = !isAnswer ? 'failed' : error.status === 412 ? 'conflict' : 'invalid';
      metrics.add('holdfast_control_publishes_total', { outcome });
      throw error;
    }
  }

  async #publish(publishing: Publishing): Promise<PublishAnswer> {
    const { store, clock, floors } = this.#ports;
    const { precondition, isDryRun, comment, actor } = publishing;
    const check = checkPolicy(publishing.bytes, publishing.format);
    if (!check.ok) throw refusal(check.code, check.problems);
    const policyDigest = digestOf(check.document);

    const current = await store.policy.current();
    const highestSeen = Math.max(
      floors.policyRevision,
      await store.hosts.highestReportedRevision(),
    );
    const decision = decidePublication(current, { policyDigest, precondition }, highestSeen);
    if (decision.outcome === 'conflict') throw conflict(precondition, decision.current);
    if (decision.outcome === 'unchanged' && current !== null) {
      return { ...summaryOf(current), outcome: 'unchanged' };
    }
    const revision = {
      policyRevision: decision.policyRevision,
      policyDigest,
      publishedAtMs: clock.now().wallMs,
      publishedBy: actor,
      comment,
      rules: check.document.rules.length,
    };
    if (isDryRun) return { ...revision, outcome: 'valid' };

    const waitMs = this.#ports.lessor.publicationWaitMs();
    if (waitMs > 0) {
      throw new HoldfastError(
        'recovering',
        'the store is an older copy, and hosts may hold revisions it does not know: publish again ' +
          'when all of them have been heard, or after the wait',
        { retry_after_ms: waitMs },
      );
    }
    // Before the commit: a number that was signed once is never signed again for another document.
    floors.reserve({ policyRevision: revision.policyRevision });
    const bundle = await this.#sign(revision, check.document);
    const follows = current?.policyRevision ?? null;
    const outcome = await store.policy.append(
      { ...revision, policy: check.document, bundle },
      follows,
      {
        atMs: revision.publishedAtMs,
        actor,
        action: 'policy.published',
        target: `policy/${revision.policyRevision}`,
        detail: { policyDigest, follows, comment, rules: revision.rules },
      },
    );
    if (outcome === 'conflict') throw conflict(precondition, await store.policy.currentNumber());
    this.#compiled = { policyRevision: revision.policyRevision, compiled: check.compiled };
    this.#bundle = { policyRevision: revision.policyRevision, policyDigest, bytes: bundle };
    this.#ports.logger.info(revision, 'policy published');
    this.#ports.feed.wake();
    return { ...revision, outcome: 'published' };
  }

  #sign(
    revision: {
      policyRevision: number;
      policyDigest: string;
      publishedAtMs: number;
      publishedBy: string;
    },
    policy: PolicyDocument,
  ): Promise<string> {
    const { signer, controlId, trustKeys } = this.#ports;
    const { policyRevision, policyDigest, publishedAtMs, publishedBy } = revision;
    const bundle: Bundle = {
      controlId,
      policyRevision,
      policyDigest,
      publishedAtMs,
      publishedBy,
      policy,
      trust: { keys: [...trustKeys] },
    };
    return signer.sign(STATEMENT_TYPES.bundle, bundle);
  }

  /** The signed bytes of the newest revision, the same for everyone; `null` before the first. */
  async bundle(): Promise<SignedRevision | null> {
    const newest = await this.#ports.store.policy.currentNumber();
    if (newest === null) return null;
    if (this.#bundle?.policyRevision !== newest) {
      const stored = await this.#ports.store.policy.fetch(newest);
      if (stored === null) return null;
      const { policyDigest, bundle: bytes } = stored;
      this.#bundle = { policyRevision: newest, policyDigest, bytes };
    }
    return this.#bundle;
  }

  /**
   * The policy in force as of this call, compiled. Which revision that is, is asked of the store
   * each time: a fresh decision must not rest on what this process remembers.
   */
  async current(): Promise<CurrentPolicy | null> {
    const newest = await this.#ports.store.policy.currentNumber();
    if (newest === null) return null;
    if (this.#compiled?.policyRevision !== newest) {
      const stored = await this.#ports.store.policy.fetch(newest);
      if (stored === null) return null;
      this.#compiled = { policyRevision: newest, compiled: compileStored(stored) };
    }
    return this.#compiled;
  }
}

function compileStored(stored: StoredRevision): CompiledPolicy {
  const check = checkPolicyValue(stored.policy);
  if (check.ok) return check.compiled;
  const first = check.problems[0];
  throw new HoldfastError(
    'internal',
    `published revision ${stored.policyRevision} does not pass the gate of this version: ` +
      `${first?.path} ${first?.message}`,
  );
}

function summaryOf({ policy: _policy, bundle: _bundle, ...summary }: StoredRevision) {
  return summary;
}

function refusal(
  code: 'body_too_large' | 'invalid_json' | 'invalid_yaml' | 'policy_invalid',
  problems: readonly { path: string; message: string }[],
): HoldfastError {
  const first = problems[0];
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  const place = first === undefined || first.path === '' ? '' : `${first.path}: `;
  return new HoldfastError(code, `${place}${first?.message ?? 'does not validate'}${more}`, {
    errors: problems.map((problem) => ({ ...problem })),
  });
}

function conflict(precondition: Precondition, current: number | null): HoldfastError {
  const expected =
    precondition.kind === 'first' ? 'no policy' : `revision ${precondition.policyRevision}`;
  const actual =
    current === null ? 'no policy was ever published' : `revision ${current} is in force`;
  return new HoldfastError(
    'revision_conflict',
    `the request expected ${expected}, and ${actual}: read it, and publish what replaces it`,
    { policyRevision: current },
  );
}
