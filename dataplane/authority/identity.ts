/**
 * Who this host is: its Ed25519 key, what control called it, and the keys by which control is
 * known.
 *
 * N1  The key is on disk before it is sent anywhere: an enrolment whose answer was lost is asked
 *     for again with the same key and the same token, and is the same enrolment.
 * N2  Control's keys come from the enrolment, which the join token pins, and from then on only from
 *     bundles that those keys signed; keys of an older revision never come back.
 * N3  Keys that control has retired verify nothing that comes over the network; they are kept to
 *     verify the generations already on disk.
 */
import { join } from 'node:path';
import Type, { type Static } from 'typebox';
import { assert } from '../../shared/core/assert.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Random } from '../../shared/platform/random.ts';
import {
  generateSigningKey,
  openSigner,
  openVerifier,
  publicPart,
  thumbprint,
  type Signer,
  type Verifier,
} from '../../shared/platform/signatures.ts';
import { StartError } from '../../shared/platform/shutdown.ts';
import { PublicKeySchema, type Enrolment, type PublicKey } from '../../shared/wire/statements.ts';
import { StateFile } from './state-file.ts';

const FORMER_KEYS_MAX = 8;
const KEY_SEED_BYTES = 32;

const IdentitySchema = Type.Object({
  hostName: Type.String(),
  key: Type.Object({
    kty: Type.Literal('OKP'),
    crv: Type.Literal('Ed25519'),
    x: Type.String(),
    d: Type.String(),
    kid: Type.String(),
  }),
  enrolment: Type.Union([
    Type.Object({
      controlId: Type.String(),
      hostId: Type.String(),
      hostName: Type.String(),
      hostEpoch: Type.Integer(),
    }),
    Type.Null(),
  ]),
  trust: Type.Object({
    /** Of the bundle that brought the keys; 0 for those of the enrolment. */
    policyRevision: Type.Integer(),
    keys: Type.Array(PublicKeySchema),
    former: Type.Array(PublicKeySchema),
  }),
});
type Stored = Static<typeof IdentitySchema>;

export type EnrolledHost = NonNullable<Stored['enrolment']>;

type Keys = {
  readonly signer: Signer;
  readonly verifier: Verifier;
  readonly diskVerifier: Verifier;
  readonly controlKids: readonly string[];
};

export type HostIdentityOptions = {
  readonly dataDir: string;
  readonly hostName: string;
  readonly logger: Logger;
  readonly random: Random;
};

export class HostIdentity {
  readonly #options: HostIdentityOptions;
  readonly #file: StateFile<typeof IdentitySchema>;
  #opened: (Keys & { readonly stored: Stored }) | null = null;

  constructor(options: HostIdentityOptions) {
    this.#options = options;
    this.#file = new StateFile(join(options.dataDir, 'identity.json'), IdentitySchema);
  }

  async open(): Promise<void> {
    const { hostName, logger, random } = this.#options;
    const read = this.#file.read();
    if (read.kind === 'damaged') {
      throw new StartError(
        `the identity of this host cannot be read: ${read.detail}; restore it from a backup, or remove it ` +
          `and enrol anew with a token from: holdfast host join-token ${hostName}`,
      );
    }
    let stored = read.kind === 'read' ? read.value : null;
    if (stored === null || (stored.enrolment === null && stored.hostName !== hostName)) {
      const key = stored?.key ?? (await generateSigningKey(random.bytes(KEY_SEED_BYTES)));
      const trust = { policyRevision: 0, keys: [], former: [] };
      stored = { hostName, key, enrolment: null, trust };
      // N1.
      this.#file.writeDurably(stored);
    }
    if (stored.enrolment !== null && stored.enrolment.hostName !== hostName) {
      logger.warn(
        { configured: hostName, enrolled: stored.enrolment.hostName },
        'the configured host name is not the one this host is enrolled under; the enrolled one is used',
      );
    }
    this.#opened = { stored, ...(await openKeys(stored)) };
  }

  /** `null` until control has answered the first enrolment. */
  get enrolled(): EnrolledHost | null {
    return this.#opened?.stored.enrolment ?? null;
  }

  get signer(): Signer {
    return this.#state.signer;
  }

  get publicKey(): PublicKey {
    return publicPart(this.#state.stored.key);
  }

  /** Thumbprints of the keys by which control is known. */
  get controlKids(): readonly string[] {
    return this.#state.controlKids;
  }

  /** For what comes over the network. */
  get verifier(): Verifier {
    return this.#state.verifier;
  }

  /** N3: for bundles that were verified before and lie on this disk. */
  get diskVerifier(): Verifier {
    return this.#state.diskVerifier;
  }

  async recordEnrolment(enrolment: Enrolment): Promise<void> {
    const { controlId, hostId, hostName, hostEpoch } = enrolment;
    await this.#store({
      ...this.#state.stored,
      enrolment: { controlId, hostId, hostName, hostEpoch },
      trust: { policyRevision: 0, keys: enrolment.trust.keys, former: [] },
    });
  }

  /**
   * N2: takes over the keys that a verified bundle of control brought, unless they are older ones.
   */
  async trustFrom(bundle: { policyRevision: number; keys: readonly PublicKey[] }): Promise<void> {
    const { trust } = this.#state.stored;
    if (bundle.policyRevision <= trust.policyRevision) return;
    const former = new Map<string, PublicKey>();
    for (const key of [...trust.keys, ...trust.former]) former.set(await thumbprint(key), key);
    for (const key of bundle.keys) former.delete(await thumbprint(key));
    await this.#store({
      ...this.#state.stored,
      trust: {
        policyRevision: bundle.policyRevision,
        keys: [...bundle.keys],
        former: [...former.values()].slice(0, FORMER_KEYS_MAX),
      },
    });
  }

  get #state(): Keys & { readonly stored: Stored } {
    assert(this.#opened !== null, 'the identity is used before it is opened');
    return this.#opened;
  }

  async #store(stored: Stored): Promise<void> {
    const keys = await openKeys(stored);
    this.#file.writeDurably(stored);
    this.#opened = { stored, ...keys };
  }
}

async function openKeys(stored: Stored): Promise<Keys> {
  const { keys, former } = stored.trust;
  return {
    signer: await openSigner(stored.key),
    verifier: await openVerifier(keys),
    diskVerifier: await openVerifier([...former, ...keys]),
    controlKids: await Promise.all(keys.map(thumbprint)),
  };
}
