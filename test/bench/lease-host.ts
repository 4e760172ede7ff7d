/** One sidecar as control sees it: a key, a connection of its own, and syncs that it signs. */
import { UndiciTransport } from '../../shared/client/transport.ts';
import { sha256Hex } from '../../shared/platform/digest.ts';
import {
  generateSigningKey,
  openSigner,
  publicPart,
  type Signer,
} from '../../shared/platform/signatures.ts';
import {
  STATEMENT_TYPES,
  type Enrolment,
  type SyncAnswer,
  type SyncRequest,
} from '../../shared/wire/statements.ts';
import { FIRST_PREVIOUS_HASH } from '../../shared/wire/operation.ts';

const TIMEOUT_MS = 30_000;
const TOKEN_S = 60;

export class LeaseHost {
  readonly held: { resource: string; epoch: number }[] = [];
  readonly #signer: Signer;
  readonly #enrolment: Enrolment;
  readonly #transport: UndiciTransport;
  #nonces = 0;
  #highestEpoch = 0;

  private constructor(url: string, signer: Signer, enrolment: Enrolment) {
    this.#transport = new UndiciTransport({ url }, { connections: 1 });
    this.#signer = signer;
    this.#enrolment = enrolment;
  }

  static async enrol(
    url: string,
    { joinToken, hostName }: { readonly joinToken: string; readonly hostName: string },
    shared: UndiciTransport,
  ): Promise<LeaseHost> {
    const key = await generateSigningKey();
    const { kty, crv, x } = publicPart(key);
    const body = {
      joinToken,
      hostName,
      publicKey: { kty, crv, x },
      nonce: `${key.kid.slice(0, 16)}-enrol`,
    };
    const answer = await shared.send({
      method: 'POST',
      path: '/v1/hosts:enrol',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      timeoutMs: TIMEOUT_MS,
    });
    if (answer.status !== 201) throw new Error(answer.body);
    return new LeaseHost(url, await openSigner(key), payloadOf(answer.body) as Enrolment);
  }

  /** Renews all that it holds, and asks for `acquire`; ms until the answer was there. */
  async sync(acquire: readonly string[] = []): Promise<number> {
    const request: SyncRequest = {
      sidecarVersion: 'bench',
      policyRevision: null,
      policyRejected: null,
      highWater: { policyRevision: 0, epoch: this.#highestEpoch },
      leases: { renew: [...this.held], acquire: [...acquire], release: [] },
      journal: { seq: 0, hash: FIRST_PREVIOUS_HASH, operations: {} },
    };
    const text = JSON.stringify(request);
    const token = await this.#sign(text);
    const startedMs = performance.now();
    const answer = await this.#transport.send({
      method: 'POST',
      path: '/v1/sync',
      headers: { 'content-type': 'application/json', authorization: `Holdfast-Host ${token}` },
      body: text,
      timeoutMs: TIMEOUT_MS,
    });
    const tookMs = performance.now() - startedMs;
    if (answer.status !== 200) throw new Error(`${answer.status} ${answer.body}`);
    if (acquire.length > 0) this.#take(payloadOf(answer.body) as SyncAnswer);
    return tookMs;
  }

  close(): Promise<void> {
    return this.#transport.close();
  }

  #take({ leases }: SyncAnswer): void {
    for (const { resource, epoch } of leases) {
      if (!this.held.some((lease) => lease.resource === resource))
        this.held.push({ resource, epoch });
      this.#highestEpoch = Math.max(this.#highestEpoch, epoch);
    }
  }

  #sign(text: string): Promise<string> {
    const { hostId, controlId, hostEpoch } = this.#enrolment;
    const iat = Math.floor(Date.now() / 1_000);
    this.#nonces += 1;
    return this.#signer.sign(STATEMENT_TYPES.hostRequest, {
      iss: hostId,
      aud: controlId,
      hostEpoch,
      iat,
      exp: iat + TOKEN_S,
      method: 'POST',
      path: '/v1/sync',
      bodySha256: sha256Hex(text),
      nonce: `${this.#signer.kid.slice(0, 12)}-${String(this.#nonces).padStart(12, '0')}`,
    });
  }
}

function payloadOf(statement: string): unknown {
  return JSON.parse(Buffer.from(statement.split('.')[1] ?? '', 'base64url').toString());
}
