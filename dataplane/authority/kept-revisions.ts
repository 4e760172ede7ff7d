/**
 * Earlier revisions, as long as their bundles are kept: what decided an operation can be asked again.
 * They are verified as if they had just arrived, and put in force by nobody.
 */
import type { CompiledPolicy } from '../../shared/core/policy.ts';
import { runInSlices, type Pause } from '../../shared/platform/slices.ts';
import type { PolicyAuthority, RevisionArchive } from './authority-view.ts';
import { inspectPolicy, verifyBundle, type PolicyChecker } from './bundle-inspection.ts';
import { BundleShelf } from './bundle-shelf.ts';
import type { HostIdentity } from './identity.ts';

export type KeptRevisionsOptions = {
  readonly directory: string;
  readonly identity: HostIdentity;
  readonly policy: Pick<PolicyAuthority, 'activePolicy'>;
  readonly checkPolicy: PolicyChecker;
  readonly pause: Pause;
};

export class KeptRevisions implements RevisionArchive {
  readonly #options: KeptRevisionsOptions;
  readonly #shelf: BundleShelf;
  /** The latest that was asked for: whoever explains one operation explains the next. */
  #latest: { readonly policyRevision: number; readonly compiled: CompiledPolicy } | null = null;

  constructor(options: KeptRevisionsOptions) {
    this.#options = options;
    this.#shelf = new BundleShelf(options.directory);
  }

  async find(policyRevision: number): Promise<CompiledPolicy | null> {
    const active = this.#options.policy.activePolicy();
    if (active?.policyRevision === policyRevision) return active.compiled;
    if (this.#latest?.policyRevision === policyRevision) return this.#latest.compiled;
    const compiled = await this.#load(policyRevision);
    if (compiled !== null) this.#latest = { policyRevision, compiled };
    return compiled;
  }

  async #load(policyRevision: number): Promise<CompiledPolicy | null> {
    const { identity, checkPolicy, pause } = this.#options;
    const statement = this.#shelf.statement(policyRevision);
    if (statement === null) return null;
    const verified = await verifyBundle(statement, identity.diskVerifier);
    if (!verified.ok) return null;
    const bundle = verified.payload;
    if (bundle.policyRevision !== policyRevision) return null;
    if (bundle.controlId !== identity.enrolled?.controlId) return null;
    const inspected = await runInSlices(inspectPolicy(bundle, checkPolicy), pause);
    return inspected.ok ? inspected.compiled : null;
  }
}
