/**
 * Signed bundles at a sidecar: damaged after they were signed, or signed by control and not what a
 * bundle is.
 *
 * B1  What was damaged after it was signed is refused, and changes nothing.
 * B2  What control signed is refused with a reason, or it is in force as it stands; never with an
 *     exception.
 * B3  The revision in force never goes down, over restarts as well.
 */
import { canonicalJson } from '../../shared/core/canonical-json.ts';
import type { PolicyKeeper } from '../../dataplane/authority/policy-keeper.ts';
import { policyDocument, type UpstreamWorld } from '../fakes/upstream-world.ts';
import { fuzzCases, type Case } from './cases.ts';
import type { Draw } from './draw.ts';
import { Tally, type Fuzzer, type FuzzOptions, type FuzzReport } from './fuzzer.ts';
import { damageStatement, decode } from './statement-damage.ts';
import { asReceived, breakValue } from './values/broken-value.ts';
import type { Json } from './values/from-schema.ts';
import { Worlds } from './worlds.ts';

/** A world in which the numbers went up so far is begun anew: there must be some left. */
const REVISION_MAX = 1_000_000;
const RESTART_SHARE = 0.02;
const OFFER_BOUND_MS = 10_000;

export const bundle: Fuzzer = {
  name: 'bundle',
  about: 'signed policy bundles at a sidecar, damaged after and before they are signed',
  casesAtFirst: 5_000,
  run: async (options) => new BundleRun(options).run(),
};

class BundleRun {
  readonly #options: FuzzOptions;
  readonly #tally = new Tally();
  readonly #worlds: Worlds;
  /** In force, or refused: both are behind it. */
  #newest = 1;

  constructor(options: FuzzOptions) {
    this.#options = options;
    this.#worlds = new Worlds(options.undo, this.#tally, () => {
      this.#newest = 1;
    });
  }

  async run(): Promise<FuzzReport> {
    const kind = { name: 'bundle', counted: 'bundles offered', tally: this.#tally };
    const report = await fuzzCases(this.#options, kind, (its) => this.#case(its));
    await this.#worlds.close();
    return report;
  }

  async #case({ draw, find: findIn }: Case): Promise<void> {
    const world = await this.#worlds.open();
    const before = world.revision() ?? 0;
    const isSigned = draw.chance(0.5);
    const offered = await this.#drawStatement(world, draw, isSigned);
    const find = (detail: string): void => findIn(detail, { isSigned, statement: offered });
    const startedMs = performance.now();
    try {
      const offer = await (world.upstream.policy as PolicyKeeper).offer({
        statement: offered,
        etag: null,
      });
      const after = world.revision() ?? 0;
      const reason = offer.outcome === 'refused' ? offer.reason : offer.outcome;
      this.#tally.add(`${isSigned ? 'signed' : 'damaged'}: ${reason}`);
      if (performance.now() - startedMs > OFFER_BOUND_MS) find('it took too long');
      if (after < before) find(`B3: revision ${after} after ${before}`);
      if (!isSigned && (offer.outcome === 'activated' || after !== before))
        find('B1: it was believed');
      if (offer.outcome === 'refused' && (offer.reason === '' || offer.detail === ''))
        find('B2: refused without a reason');
      if (offer.outcome === 'activated') this.#checkInForce(world, offered, find);
      this.#newest = Math.max(
        this.#newest,
        after,
        world.upstream.policy.rejectedPolicy()?.policyRevision ?? 0,
      );
      if (draw.chance(RESTART_SHARE)) {
        await world.restart();
        this.#tally.add('restarts');
        if ((world.revision() ?? 0) < after)
          find(
            `B3: revision ${world.revision()} after a restart, ${after} before: ${JSON.stringify(world.logged.filter(({ msg }) => msg.startsWith('stored')).slice(-3))}`,
          );
      }
    } catch (error) {
      find(`B2: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
      await this.#worlds.leave();
    }
    if (this.#newest > REVISION_MAX) await this.#worlds.leave();
  }

  #checkInForce(world: UpstreamWorld, statement: string, find: (detail: string) => void): void {
    const said = decode(statement.split('.')[1] ?? '');
    const active = world.upstream.policy.activePolicy();
    if (active?.policyRevision !== said['policyRevision']) find('B2: another revision is in force');
    else if (canonicalJson(active?.document) !== canonicalJson(said['policy']))
      find('B2: in force is another document');
  }

  /** Signed by control's key, whatever it says; or good, and then damaged. */
  async #drawStatement(world: UpstreamWorld, draw: Draw, isSigned: boolean): Promise<string> {
    const next = this.#newest + 1;
    const document = policyDocument(draw.below(500));
    if (!isSigned) {
      if (draw.chance(0.15)) return world.control.foreignBundle(next, document);
      return damageStatement(await world.control.bundle(next, document), draw);
    }
    const isOfDocument = draw.chance(0.5);
    const policy = isOfDocument
      ? asReceived(breakValue(document as unknown as Json, draw))
      : document;
    const revision = draw.one([next, next, next, this.#newest, 1]);
    if (!isOfDocument)
      return world.control.bundle(revision, document, (made) =>
        asReceived(breakValue(made as unknown as Json, draw)),
      );
    try {
      return await world.control.bundle(revision, policy);
    } catch (error) {
      if (!(error instanceof RangeError || error instanceof TypeError)) throw error;
      // Too deep for a digest, or with a number that has no form: the sidecar is to find that out.
      return world.control.bundle(revision, document, (made) => ({ ...made, policy }));
    }
  }
}
