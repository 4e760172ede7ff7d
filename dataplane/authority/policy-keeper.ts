/**
 * The policy in force on this host, and how old the authority for it is.
 *
 * K1  A bundle is put in force only after its signature, audience, revision, digest, size, schema,
 *     expressions, lints and own tests have passed, in that order (I11). Otherwise the one in force
 *     stays, whole.
 * K2  Disk before memory: the bundle, then `active.json`, then the swap; the ETag is that of what
 *     is in force, so control can never be told of a revision that a crash would take away.
 * K3  What is loaded from disk is verified as if it had just arrived, under the keys that verified
 *     it then.
 * K4  A revision that could not be applied is remembered, journaled, counted, and told to control;
 *     a bundle that is not authentic is only counted, because nothing in it can be believed, not
 *     even its number.
 * K5  Staleness is never younger than the sending of the sync that proves it
 *     (`core/confirmation.ts`), and what control took away stays away over a restart (I5).
 */
import { join } from 'node:path';
import Type from 'typebox';
import { elapsedMs, type Instant } from '../../shared/core/time.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import { failpoint } from '../../shared/platform/failpoints.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import { runInSlices, type Pause } from '../../shared/platform/slices.ts';
import type { Verified } from '../../shared/platform/signatures.ts';
import {
  beginActivation,
  countDeaths,
  DEATHS_MAX,
  endActivation,
  isQuarantined,
  type ActivationMark,
} from '../core/activation-marker.ts';
import { judgeBundle, type RevisionRef } from '../core/bundle-acceptance.ts';
import { confirmedAt, noteConfirmation, type Confirmation } from '../core/confirmation.ts';
import type { JournalFeed } from '../journal/journal-feed.ts';
import type { UpstreamMetrics } from '../upstream/upstream-metrics.ts';
import type { ActivePolicy } from '../core/active-policy.ts';
import type { PolicyAuthority } from './authority-view.ts';
import {
  inspectPolicy,
  verifyBundle,
  type Inspected,
  type PolicyChecker,
  type SignedBundle,
} from './bundle-inspection.ts';
import { BundleShelf, type Generation } from './bundle-shelf.ts';
import type { HostIdentity } from './identity.ts';
import { StateFile } from './state-file.ts';

/** Bound of `policyRejected.reason` on the wire. */
const REASON_LENGTH_MAX = 1_000;

const InstantSchema = Type.Object({
  wallMs: Type.Number(),
  bootMs: Type.Number(),
  bootId: Type.String(),
});
const ConfirmedSchema = Type.Object({
  confirmations: Type.Array(Type.Object({ newestRevision: Type.Integer(), sentAt: InstantSchema })),
  revoked: Type.Union([Type.Object({ reason: Type.String() }), Type.Null()]),
});

export type Offer =
  | { readonly outcome: 'activated'; readonly policyRevision: number }
  | { readonly outcome: 'unchanged' }
  | { readonly outcome: 'refused'; readonly reason: string; readonly detail: string };

export type PolicyKeeperOptions = {
  readonly directory: string;
  readonly identity: HostIdentity;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: UpstreamMetrics;
  readonly feed: Pick<JournalFeed, 'recordPolicy'>;
  readonly checkPolicy: PolicyChecker;
  /** Of a document that was in force here before: a stricter build does not take it away (I11). */
  readonly checkKept: PolicyChecker;
  /** Between the slices of what takes long: admissions go on. */
  readonly pause: Pause;
};

export class PolicyKeeper implements PolicyAuthority {
  readonly #options: PolicyKeeperOptions;
  readonly #shelf: BundleShelf;
  readonly #confirmedFile: StateFile<typeof ConfirmedSchema>;
  #active: ActivePolicy | null = null;
  #etag: string | null = null;
  #marks: readonly ActivationMark[] = [];
  #confirmations: readonly Confirmation[] = [];
  #revoked: { readonly reason: string } | null = null;
  readonly #listeners: (() => void)[] = [];
  /** What was on disk at the start, the newest first. */
  #stored: readonly Generation[] = [];

  constructor(options: PolicyKeeperOptions) {
    this.#options = options;
    this.#shelf = new BundleShelf(options.directory);
    this.#confirmedFile = new StateFile(join(options.directory, 'confirmed.json'), ConfirmedSchema);
  }

  activePolicy(): ActivePolicy | null {
    return this.#active;
  }

  rejectedPolicy(): { readonly policyRevision: number; readonly reason: string } | null {
    const { rejected } = this.#shelf.record;
    return rejected === null
      ? null
      : { policyRevision: rejected.policyRevision, reason: rejected.reason };
  }

  /** The newest revision that this process did not survive once, and is not refused for it yet. */
  activationDeaths(): { readonly policyRevision: number; readonly deaths: number } | null {
    const fatal = this.#marks.filter(({ deaths }) => deaths > 0);
    const newest = fatal.toSorted((a, b) => b.policyRevision - a.policyRevision)[0];
    if (newest === undefined) return null;
    return { policyRevision: newest.policyRevision, deaths: newest.deaths };
  }

  revoked(): { readonly reason: string } | null {
    return this.#revoked;
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  stalenessMs(now: Instant): number | null {
    const proof = this.#confirmedAt();
    return proof === null ? null : elapsedMs(proof, now);
  }

  /** Highest revision ever in force here; 0 before the first. */
  highWaterRevision(): number {
    return this.#shelf.record.highWater?.policyRevision ?? 0;
  }

  /** Of the revision in force, as control gave it. */
  etag(): string | null {
    return this.#etag;
  }

  /**
   * `false` while the newest that control has is one that was refused here: asking again changes
   * nothing.
   */
  wantsBundle(): boolean {
    const rejected = this.#shelf.record.rejected;
    const newest = this.#confirmations.at(-1)?.newestRevision;
    return rejected === null || newest === undefined || newest !== rejected.policyRevision;
  }

  /**
   * Loads what is on disk; needs nobody else. Of a host that is not enrolled nothing there can be
   * believed yet: see `enrolled`.
   */
  async open(): Promise<void> {
    const { identity, logger } = this.#options;
    const { damaged } = this.#shelf.open();
    if (damaged !== null)
      logger.error(
        { detail: damaged },
        'the record of the policy in force is damaged; the bundles beside it are tried',
      );
    this.#openConfirmations();
    this.#marks = countDeaths(this.#shelf.readMarks());
    await this.#quarantine();
    this.#stored = damaged === null ? this.#shelf.record.generations : this.#strays();
    if (identity.enrolled !== null) await this.#loadStored();
    this.#changed();
  }

  /**
   * Enrolled anew, after a loss of its journal, a host has the revisions of before. Control may have none
   * that is as new, where it was put back to a copy (B1), so that none would come from there.
   */
  async enrolled(): Promise<void> {
    if (this.#active !== null) return;
    await this.#loadStored();
    this.#changed();
  }

  async #loadStored(): Promise<void> {
    const stored = this.#stored;
    for (const generation of stored) {
      if (await this.#load(generation)) return;
    }
    if (stored.length > 0) {
      this.#options.logger.error(
        { generations: stored.length },
        'no policy on disk could be used; nothing is admitted until control gives one',
      );
    }
  }

  /** A bundle that control sent, with its ETag. */
  async offer(offered: { statement: string; etag: string | null }): Promise<Offer> {
    const { identity, metrics, logger } = this.#options;
    const verified = await verifyBundle(offered.statement, identity.verifier);
    if (!verified.ok) return this.#refuseStatement(verified);
    const bundle = verified.payload;
    const { rejected, highWater } = this.#shelf.record;
    const controlId = identity.enrolled?.controlId ?? '';
    const held = { controlId, active: this.#active, highWater, rejected };
    const judged = judgeBundle(bundle, held);
    if (judged.verdict === 'refused') {
      metrics.add('holdfast_policy_rejections_total', { reason: judged.reason });
      logger.error({ ...judged, policyRevision: bundle.policyRevision }, 'bundle refused');
      return { outcome: 'refused', reason: judged.reason, detail: judged.detail };
    }
    if (judged.verdict === 'unchanged') {
      this.#etag = offered.etag;
      return { outcome: 'unchanged' };
    }
    try {
      // Before the document is looked at: a policy that this sidecar cannot apply must not cost it
      // the keys under which control will sign from now on.
      const { policyRevision, trust } = bundle;
      await identity.trustFrom({ policyRevision, keys: trust.keys });
      return await this.#activate(bundle, offered);
    } catch (error) {
      return this.#notStored(bundle, error);
    }
  }

  /** K5: what the answer to a sync proves. */
  noteSync(answer: { newestRevision: number | null; sentAt: Instant }): void {
    const { newestRevision, sentAt } = answer;
    this.#confirmations = noteConfirmation(this.#confirmations, {
      newestRevision: newestRevision ?? 0,
      sentAt,
    });
    const wasRevoked = this.#revoked !== null;
    this.#revoked = null;
    this.#storeConfirmed({ durably: wasRevoked });
    if (wasRevoked) this.#options.logger.info('control gives this host authority again');
    this.#changed();
  }

  /** Control answered, and said that this host has no authority. */
  revoke({ reason }: { reason: string }): void {
    if (this.#revoked?.reason === reason) return;
    this.#revoked = { reason };
    this.#options.logger.error(
      { reason },
      'control has withdrawn the authority of this host; new work is refused',
    );
    this.#storeConfirmed({ durably: true });
    this.#changed();
  }

  async #activate(
    bundle: SignedBundle,
    offered: { statement: string; etag: string | null },
  ): Promise<Offer> {
    const { clock, feed, logger, metrics, pause } = this.#options;
    const { policyRevision, policyDigest } = bundle;
    this.#mark(beginActivation(this.#marks, bundle));
    await pause();
    const isKept = this.#shelf.record.generations.some(
      (generation) => generation.policyDigest === policyDigest,
    );
    const inspected = await this.#inspect(bundle, { isKept });
    if (!inspected.ok) {
      await this.#reject(bundle, inspected);
      this.#mark(endActivation(this.#marks, bundle));
      return { outcome: 'refused', reason: inspected.reason, detail: inspected.detail };
    }
    const activatedAtMs = clock.now().wallMs;
    const generation = { policyRevision, policyDigest, activatedAtMs, etag: offered.etag };
    await pause();
    this.#shelf.keep(generation, offered.statement);
    await pause();
    this.#shelf.putInForce(generation);
    failpoint('policy.before_swap', policyRevision);
    this.#swap(generation, inspected);
    this.#mark(endActivation(this.#marks, bundle));
    metrics.add('holdfast_policy_activations_total', { source: 'control' });
    logger.info({ policyRevision, policyDigest }, 'policy revision in force');
    await this.#journal(() => feed.recordPolicy('policy_activated', { policyRevision }));
    return { outcome: 'activated', policyRevision };
  }

  /** What this process did not survive twice is refused before anybody looks at it again. */
  async #quarantine(): Promise<void> {
    const fatal = this.#marks.filter((mark) => isQuarantined(this.#marks, mark));
    for (const mark of fatal) {
      const detail = `the sidecar ended ${DEATHS_MAX} times while putting it in force`;
      await this.#reject(mark, { reason: 'quarantined', detail });
    }
    this.#mark(this.#marks.filter((mark) => !fatal.includes(mark)));
  }

  /** K3. Says whether the generation is in force now. */
  async #load(generation: Generation): Promise<boolean> {
    const { identity, logger, metrics } = this.#options;
    const { policyRevision } = generation;
    if (this.rejectedPolicy()?.policyRevision === policyRevision) return false;
    const refused = (reason: string, detail: string): false => {
      metrics.add('holdfast_policy_rejections_total', { reason });
      logger.error(
        { policyRevision, reason, detail },
        'stored bundle refused; the one before it is tried',
      );
      return false;
    };
    const statement = this.#shelf.statement(policyRevision);
    if (statement === null) return refused('missing', 'its file is gone');
    const verified = await verifyBundle(statement, identity.diskVerifier);
    if (!verified.ok) return refused(verified.reason, verified.detail);
    const bundle = verified.payload;
    const { controlId } = bundle;
    if (controlId !== identity.enrolled?.controlId)
      return refused('wrong_audience', `it is of control ${controlId}`);
    // A stray has no digest on record; its own was signed.
    const known = generation.policyDigest === '' ? bundle.policyDigest : generation.policyDigest;
    if (bundle.policyRevision !== policyRevision || bundle.policyDigest !== known) {
      return refused(
        'revision_conflict',
        `the file holds revision ${bundle.policyRevision} with digest ${bundle.policyDigest}`,
      );
    }
    this.#mark(beginActivation(this.#marks, bundle));
    const inspected = await this.#inspect(bundle, { isKept: true });
    this.#mark(endActivation(this.#marks, bundle));
    if (!inspected.ok) return refused(inspected.reason, inspected.detail);
    this.#swap({ ...generation, policyDigest: bundle.policyDigest }, inspected);
    metrics.add('holdfast_policy_activations_total', { source: 'disk' });
    logger.info(
      { policyRevision, policyDigest: bundle.policyDigest },
      'policy revision in force, from disk',
    );
    return true;
  }

  #strays(): readonly Generation[] {
    return this.#shelf.strayRevisions().map((policyRevision) => ({
      policyRevision,
      policyDigest: '',
      activatedAtMs: this.#options.clock.now().wallMs,
      etag: null,
    }));
  }

  async #inspect(
    bundle: SignedBundle,
    { isKept }: { readonly isKept: boolean },
  ): Promise<Inspected> {
    const { checkPolicy, checkKept, pause } = this.#options;
    try {
      failpoint('policy.before_compile', bundle.policyRevision);
      return await runInSlices(inspectPolicy(bundle, isKept ? checkKept : checkPolicy), pause);
    } catch (error) {
      // Nothing in a document may end the process (I11): a nesting that overflows the stack ends
      // here.
      const detail = error instanceof Error ? error.message : String(error);
      return { ok: false, reason: 'policy_invalid', detail: `it could not be checked: ${detail}` };
    }
  }

  #swap(generation: Generation, { document, compiled }: Extract<Inspected, { ok: true }>): void {
    const { policyRevision, policyDigest, activatedAtMs, etag } = generation;
    this.#active = { policyRevision, policyDigest, activatedAtMs, document, compiled };
    this.#etag = etag;
    this.#changed();
  }

  #refuseStatement(failed: Extract<Verified<SignedBundle>, { ok: false }>): Offer {
    const { reason, detail } = failed;
    this.#options.metrics.add('holdfast_policy_rejections_total', { reason });
    this.#options.logger.error(
      { reason, detail },
      'bundle refused: it is not one that control signed for this host',
    );
    return { outcome: 'refused', reason, detail };
  }

  /**
   * A full or failing disk is not the revision's fault: it is tried again, and the one in force
   * stays.
   */
  #notStored(revision: RevisionRef, error: unknown): Offer {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    this.#mark(endActivation(this.#marks, revision));
    this.#options.metrics.add('holdfast_policy_rejections_total', { reason: 'not_stored' });
    this.#options.logger.error(
      { err: error, policyRevision: revision.policyRevision },
      'policy revision could not be stored; the one in force stays',
    );
    return { outcome: 'refused', reason: 'not_stored', detail: `the disk refused it: ${code}` };
  }

  /** K4. */
  async #reject(revision: RevisionRef, why: { reason: string; detail: string }): Promise<void> {
    const { feed, logger, metrics } = this.#options;
    const { policyRevision, policyDigest } = revision;
    const reason = `${why.reason}: ${why.detail}`.slice(0, REASON_LENGTH_MAX);
    this.#shelf.write({
      ...this.#shelf.record,
      rejected: { policyRevision, policyDigest, reason },
    });
    metrics.add('holdfast_policy_rejections_total', { reason: why.reason });
    logger.error(
      { policyRevision, ...why, inForce: this.#active?.policyRevision ?? null },
      'policy revision rejected; the last known good one stays',
    );
    await this.#journal(() => feed.recordPolicy('policy_rejected', { policyRevision, reason }));
    this.#changed();
  }

  /** The entry is for people; whether a policy is in force does not hang on it. */
  async #journal(record: () => Promise<void>): Promise<void> {
    try {
      await record();
    } catch (error) {
      this.#options.logger.error({ err: error }, 'a change of policy could not be journaled');
    }
  }

  /**
   * A mark that cannot be written guards nothing, but a host whose disk is full must still start.
   */
  #mark(marks: readonly ActivationMark[]): void {
    this.#marks = marks;
    try {
      this.#shelf.writeMarks(marks);
    } catch (error) {
      this.#options.logger.error({ err: error }, 'the mark of an activation could not be stored');
    }
  }

  #confirmedAt(): Instant | null {
    if (this.#active === null) return null;
    return confirmedAt(this.#confirmations, {
      activeRevision: this.#active.policyRevision,
      rejectedRevision: this.#shelf.record.rejected?.policyRevision ?? null,
    });
  }

  #openConfirmations(): void {
    const read = this.#confirmedFile.read();
    if (read.kind === 'read') {
      this.#confirmations = read.value.confirmations;
      this.#revoked = read.value.revoked;
    } else if (read.kind === 'damaged') {
      this.#options.logger.warn(
        { detail: read.detail },
        'when authority was last confirmed is not known; it counts as expired until the next sync',
      );
    }
  }

  #storeConfirmed({ durably }: { durably: boolean }): void {
    const value = { confirmations: [...this.#confirmations], revoked: this.#revoked };
    try {
      if (durably) this.#confirmedFile.writeDurably(value);
      else this.#confirmedFile.writeLazily(value);
    } catch (error) {
      // What is lost with it only makes the authority look older after a restart.
      this.#options.logger.error(
        { err: error },
        'the time of the last confirmation could not be stored',
      );
    }
  }

  #changed(): void {
    this.#showGauges();
    for (const listener of this.#listeners) listener();
  }

  #showGauges(): void {
    const { metrics } = this.#options;
    metrics.set('holdfast_policy_revision', this.#active?.policyRevision ?? 0);
    metrics.set('holdfast_authority_revoked', this.#revoked === null ? 0 : 1);
    const proof = this.#confirmedAt();
    metrics.set(
      'holdfast_policy_confirmed_timestamp_seconds',
      proof === null ? 0 : Math.floor(proof.wallMs / 1_000),
    );
  }
}
