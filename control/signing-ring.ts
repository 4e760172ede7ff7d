/**
 * Which of control's keys signs.
 *
 * G1  The first key of the file signs once the revision that all hosts are to run names it: before
 *     that there are hosts that cannot know it. Until then the first one behind it signs that this
 *     revision names; where nothing was ever published, the last of the file, which is the oldest.
 * G2  Once the first key signs, it does so to the end of this run.
 * G3  A host that was away while keys changed gets the bundle under a key that it knows, as long as
 *     that one is in the file. It brings the others.
 * G4  A bundle is served under a key of the file: hosts that are enrolled later know no other.
 */
import type { Logger } from '../shared/platform/logger.ts';
import { openSigner, ownKid, ownPayload, type Signer } from '../shared/platform/signatures.ts';
import { STATEMENT_TYPES, type Bundle, type StatementType } from '../shared/wire/statements.ts';
import { isUnderWay } from './core/rollout.ts';
import { chooseSigningKey } from './core/signing-key-choice.ts';
import type { SigningKeys } from './signing-keys.ts';
import type { ControlStore } from './store/control-store.ts';

type Ports = {
  readonly keys: SigningKeys;
  readonly store: Pick<ControlStore, 'policy' | 'rollouts'>;
  readonly logger: Logger;
};

export class SigningRing implements Signer {
  readonly #ports: Ports;
  readonly #signers: readonly [Signer, ...Signer[]];
  #chosen: Signer;
  /** By which the choice was made; nothing was looked at before `open`. */
  #lookedAt: number | null | undefined;

  private constructor(ports: Ports, signers: readonly [Signer, ...Signer[]]) {
    this.#ports = ports;
    this.#signers = signers;
    this.#chosen = signers[0];
  }

  static async open(ports: Ports): Promise<SigningRing> {
    const [first, ...others] = ports.keys;
    const behind = await Promise.all(others.map(openSigner));
    const signers: readonly [Signer, ...Signer[]] = [await openSigner(first), ...behind];
    const ring = new SigningRing(ports, signers);
    await ring.#choose();
    return ring;
  }

  /** Of the key that signed last. */
  get kid(): string {
    return this.#chosen.kid;
  }

  async sign(type: StatementType, payload: unknown): Promise<string> {
    if (!this.#isSettled) await this.#choose();
    return this.#chosen.sign(type, payload);
  }

  /** Whether it brings the keys of the file, and no others. */
  areNamedIn(bundle: string): boolean {
    const named = kidsNamedIn(bundle);
    return named.size === this.#signers.length && this.#signers.every(({ kid }) => named.has(kid));
  }

  /** `null` where that key is not in the file. */
  holding(kid: string): Signer | null {
    return this.#signers.find((signer) => signer.kid === kid) ?? null;
  }

  /** G3: the same bundle for whoever trusts `kids` alone; as it is where none of them is here. */
  async under(kids: readonly string[], bundle: string): Promise<string> {
    if (kids.includes(ownKid(bundle))) return bundle;
    const known = this.#signers.find((signer) => kids.includes(signer.kid));
    return known === undefined ? bundle : known.sign(STATEMENT_TYPES.bundle, ownPayload(bundle));
  }

  /** G4: as it is; by the key that signs now, where the one that signed it is not in the file any more. */
  async served(bundle: string): Promise<string> {
    if (this.holding(ownKid(bundle)) !== null) return bundle;
    return this.sign(STATEMENT_TYPES.bundle, ownPayload(bundle));
  }

  /** G2. */
  get #isSettled(): boolean {
    return this.#lookedAt !== undefined && this.#chosen === this.#signers[0];
  }

  async #choose(): Promise<void> {
    const { store, logger } = this.#ports;
    const policyRevision = await this.#commonRevision();
    if (this.#isSettled || policyRevision === this.#lookedAt) return;
    const stored = policyRevision === null ? null : await store.policy.fetch(policyRevision);
    if (this.#isSettled) return;
    const [first, ...others] = this.#signers;
    const { kid, isKnown } = chooseSigningKey(
      [first.kid, ...others.map((signer) => signer.kid)],
      stored === null ? null : kidsNamedIn(stored.bundle),
    );
    const isFirstLook = this.#lookedAt === undefined;
    this.#lookedAt = policyRevision;
    this.#chosen = this.holding(kid) ?? first;
    const facts = { policyRevision, signs: kid, wanted: first.kid };
    if (!isKnown) {
      logger.error(
        facts,
        'none of the signing keys is known to the hosts: put the one of before behind them',
      );
    } else if (kid !== first.kid) {
      logger.warn(facts, 'the first signing key waits for a revision that brings it to all hosts');
    } else if (!isFirstLook) {
      logger.info(facts, 'the first signing key signs: all hosts are to know it');
    }
  }

  /** The newest that no roll-out holds back from anybody; `null` before the first. */
  async #commonRevision(): Promise<number | null> {
    const { policy, rollouts } = this.#ports.store;
    const [newest, rollout] = [await policy.currentNumber(), await rollouts.newest()];
    const isHeldBack = rollout !== null && isUnderWay(rollout) && rollout.policyRevision === newest;
    return isHeldBack ? rollout.baseRevision : newest;
  }
}

function kidsNamedIn(bundle: string): ReadonlySet<string> {
  const { trust } = ownPayload(bundle) as Bundle;
  return new Set(trust.keys.flatMap(({ kid }) => kid ?? []));
}
