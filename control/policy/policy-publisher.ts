/**
 * Publication of policy: check, decide, sign once, store in one transaction. Whether it may be
 * published, and to whom, is decided in `publication-desk.ts`.
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
import {
  checkPolicy,
  checkPublishedPolicy,
  type PolicyCheck,
  type PolicyFormat,
} from '../../shared/platform/policy-gate.ts';
import type { PolicyRevision } from '../../shared/wire/control-api.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import { formatDurationMs, SECOND_MS } from '../../shared/core/time.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { STATEMENT_TYPES, type Bundle, type PublicKey } from '../../shared/wire/statements.ts';
import { decidePublication, type Precondition } from '../core/publication.ts';
import type { FloorKeeper } from '../leases/floor-keeper.ts';
import type { Lessor } from '../leases/lessor.ts';
import type { InForceCause } from '../core/authority-timeline.ts';
import type { ControlTime } from '../reports/control-time.ts';
import type { SigningRing } from '../signing-ring.ts';
import type { ControlStore, PublicationWrites, StoredRevision } from '../store/control-store.ts';

/** A document that has passed every gate, and what publishing it would do now. */
export type Prepared = Checked & {
  readonly policyDigest: string;
  /** The revision in force. */
  readonly current: StoredRevision | null;
  readonly isUnchanged: boolean;
  /** The number it would get. */
  readonly policyRevision: number;
};

export type SignedRevision = {
  readonly policyRevision: number;
  readonly policyDigest: string;
  readonly bytes: string;
};

export type Checked = {
  readonly document: PolicyDocument;
  readonly compiled: CompiledPolicy;
  /** What works and is perhaps not meant, each with its place. */
  readonly warnings: readonly string[];
};

/** By whom, and what is written together with it. */
export type Signed = {
  readonly actor: string;
  readonly comment: string | null;
  /** In the audit trail; default `policy.published`. */
  readonly action?: string;
  readonly detail?: Readonly<Record<string, unknown>>;
  readonly besides?: (revision: PolicyRevision) => PublicationWrites;
};

export type CurrentPolicy = { readonly policyRevision: number; readonly compiled: CompiledPolicy };

type Ports = {
  readonly store: ControlStore;
  readonly clock: Clock;
  readonly signer: SigningRing;
  readonly trustKeys: readonly PublicKey[];
  readonly controlId: string;
  readonly floors: FloorKeeper;
  readonly time: ControlTime;
  readonly lessor: Pick<Lessor, 'publicationWaitMs'>;
  readonly logger: Logger;
};

export class PolicyPublisher {
  readonly #ports: Ports;
  readonly #compiled = new Map<number, CompiledPolicy>();
  readonly #bundles = new Map<number, SignedRevision>();

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  /** The gate: `policy_invalid`, `invalid_yaml`, `invalid_json` or `body_too_large`. */
  check(bytes: Uint8Array, format: PolicyFormat): Checked {
    return passed(checkPolicy(bytes, format));
  }

  /** Of what has passed the gate before: a stricter build must not keep it from coming back. */
  checkDocument(document: PolicyDocument): Checked {
    return passed(checkPublishedPolicy(document));
  }

  /** `revision_conflict` where it is not what is in force that the writer replaces. */
  async prepare(checked: Checked, precondition: Precondition): Promise<Prepared> {
    const policyDigest = digestOf(checked.document);
    const current = await this.#ports.store.policy.current();
    const highestSeen = await this.#highestSeen();
    const bringsKeys = current !== null && !this.#ports.signer.areNamedIn(current.bundle);
    const candidate = { policyDigest, precondition, bringsKeys };
    const decision = decidePublication(current, candidate, highestSeen);
    if (decision.outcome === 'conflict') throw conflict(precondition, decision.current);
    const { policyRevision } = decision;
    const isUnchanged = decision.outcome === 'unchanged';
    return { ...checked, policyDigest, current, isUnchanged, policyRevision };
  }

  /**
   * Gives the number, signs, stores and wakes the hosts: `recovering`, or `revision_conflict` where
   * somebody was faster.
   */
  async commit(prepared: Prepared, signed: Signed): Promise<PolicyRevision> {
    const { store, clock, floors, lessor } = this.#ports;
    const { document, policyDigest, current, policyRevision } = prepared;
    const waitMs = lessor.publicationWaitMs();
    if (waitMs > 0) {
      const latest = formatDurationMs(Math.ceil(waitMs / SECOND_MS) * SECOND_MS);
      throw new HoldfastError(
        'recovering',
        'the store may be an older copy, and hosts may hold revisions it does not know: publish again ' +
          `when all of them have been heard since control started, at the latest in ${latest}`,
        { retry_after_ms: waitMs },
      );
    }
    await this.#refuseKnown(prepared);
    const { actor, comment } = signed;
    const revision = {
      policyRevision,
      policyDigest,
      publishedAtMs: clock.now().wallMs,
      publishedBy: actor,
      comment,
      rules: document.rules.length,
    };
    // Before the commit: a number that was signed once is never signed again for another document.
    floors.reserve({ policyRevision });
    const bundle = await this.#sign(revision, document);
    const follows = current?.policyRevision ?? null;
    const audit = {
      atMs: revision.publishedAtMs,
      actor,
      action: signed.action ?? 'policy.published',
      target: `policy/${policyRevision}`,
      detail: { policyDigest, follows, comment, rules: revision.rules, ...signed.detail },
    };
    const besides = signed.besides?.(revision) ?? {};
    const isStaged = besides.rollout?.record.policyRevision === policyRevision;
    const cause = CAUSES[audit.action] ?? 'published';
    const inForce = { atMs: this.#ports.time.nowMs(), hostId: null, policyRevision, cause };
    const outcome = await store.policy.append(
      { ...revision, policy: document, bundle },
      follows,
      audit,
      isStaged ? besides : { ...besides, inForce: [inForce] },
    );
    if (outcome === 'conflict') {
      const replaced: Precondition =
        follows === null ? { kind: 'first' } : { kind: 'replaces', policyRevision: follows };
      throw conflict(replaced, await store.policy.currentNumber());
    }
    keep(this.#compiled, policyRevision, prepared.compiled);
    keep(this.#bundles, policyRevision, { policyRevision, policyDigest, bytes: bundle });
    this.#ports.logger.info(revision, 'policy published');
    return revision;
  }

  /** Of what this store, its floors and the hosts that were heard know. */
  async #highestSeen(): Promise<number> {
    const { store, floors } = this.#ports;
    return Math.max(floors.policyRevision, await store.hosts.highestReportedRevision());
  }

  /** The number was found before the last host was heard, and that one has had it. */
  async #refuseKnown({ policyRevision, current }: Prepared): Promise<void> {
    const highest = await this.#highestSeen();
    if (policyRevision > highest) return;
    // Published by somebody who was faster: what is written next finds that, and says so.
    const newest = await this.#ports.store.policy.currentNumber();
    if (newest !== (current?.policyRevision ?? null)) return;
    throw new HoldfastError(
      'recovering',
      `revision ${highest} has been given, and the store does not know it: publish again`,
      { retry_after_ms: 0 },
    );
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

  /** The signed bytes of a revision, the same for everyone; `null` where there is none. */
  async bundle(policyRevision: number | null): Promise<SignedRevision | null> {
    if (policyRevision === null) return null;
    const known = this.#bundles.get(policyRevision);
    if (known !== undefined) return known;
    const stored = await this.#ports.store.policy.fetch(policyRevision);
    if (stored === null) return null;
    const { policyDigest } = stored;
    const bytes = await this.#ports.signer.served(stored.bundle);
    return keep(this.#bundles, policyRevision, { policyRevision, policyDigest, bytes });
  }

  /** A revision to decide by. Which one that is, is asked of the store each time. */
  async compiled(policyRevision: number | null): Promise<CurrentPolicy | null> {
    if (policyRevision === null) return null;
    const known = this.#compiled.get(policyRevision);
    if (known !== undefined) return { policyRevision, compiled: known };
    const stored = await this.#ports.store.policy.fetch(policyRevision);
    if (stored === null) return null;
    const compiled = keep(this.#compiled, policyRevision, compileStored(stored));
    return { policyRevision, compiled };
  }

  /** One of any age, for a question about it: it takes no room from those in use; `null` where there is no such revision. */
  async revision(policyRevision: number): Promise<CurrentPolicy | null> {
    const known = this.#compiled.get(policyRevision);
    if (known !== undefined) return { policyRevision, compiled: known };
    const stored = await this.#ports.store.policy.fetch(policyRevision);
    return stored === null ? null : { policyRevision, compiled: compileStored(stored) };
  }
}

const CAUSES: Readonly<Record<string, InForceCause>> = {
  'policy.rolled_back': 'rolled_back',
  'policy.returned': 'returned',
};

/** The one in force, and the one that is rolled out. */
const KEPT = 2;

function keep<T>(kept: Map<number, T>, policyRevision: number, value: T): T {
  kept.set(policyRevision, value);
  for (const oldest of kept.keys()) {
    if (kept.size <= KEPT) break;
    kept.delete(oldest);
  }
  return value;
}

function passed(check: PolicyCheck): Checked {
  if (!check.ok) throw refusal(check.code, check.problems);
  const { document, compiled } = check;
  const warnings = check.warnings.map(({ path, message }) => `${path}: ${message}`);
  return { document, compiled, warnings };
}

function compileStored(stored: StoredRevision): CompiledPolicy {
  const check = checkPublishedPolicy(stored.policy);
  if (check.ok) return check.compiled;
  const first = check.problems[0];
  throw new HoldfastError(
    'internal',
    `published revision ${stored.policyRevision} does not pass the gate of this version: ` +
      `${first?.path} ${first?.message}`,
  );
}

export function summaryOf({ policy: _policy, bundle: _bundle, ...summary }: StoredRevision) {
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
