/** A host that is enrolled and signs whatever it is given: behind its token lie the routes of hosts. */
import { ControlClient } from '../../../shared/client/index.ts';
import { UndiciTransport } from '../../../shared/client/transport.ts';
import { sha256Hex } from '../../../shared/platform/digest.ts';
import {
  generateSigningKey,
  openSigner,
  publicPart,
  type Signer,
} from '../../../shared/platform/signatures.ts';
import {
  HOST_AUTH_SCHEME,
  STATEMENT_TYPES,
  type Enrolment,
  type HostRequest,
} from '../../../shared/wire/statements.ts';

export class HostCaller {
  readonly hostId: string;
  readonly #enrolment: Enrolment;
  readonly #signer: Signer;
  #nonces = 0;

  private constructor(enrolment: Enrolment, signer: Signer) {
    this.#enrolment = enrolment;
    this.hostId = enrolment.hostId;
    this.#signer = signer;
  }

  static async enrol(url: string, adminToken: string): Promise<HostCaller> {
    const control = new ControlClient({
      transport: new UndiciTransport({ url }),
      token: () => adminToken,
      timeoutMs: 10_000,
    });
    const { joinToken } = await control.createJoinToken({ hostName: 'fuzzed' });
    await control.close();
    const key = await generateSigningKey();
    const { kty, crv, x } = publicPart(key);
    const answer = await fetch(`${url}/v1/hosts:enrol`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        joinToken,
        hostName: 'fuzzed',
        publicKey: { kty, crv, x },
        nonce: nonceOf(0),
      }),
    });
    const [, payload = ''] = (await answer.text()).split('.');
    const enrolment = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Enrolment;
    return new HostCaller(enrolment, await openSigner(key));
  }

  async authorization(asked: { method: string; target: string; body: Buffer }): Promise<string> {
    const iat = Math.floor(Date.now() / 1_000);
    const { hostId, controlId, hostEpoch } = this.#enrolment;
    this.#nonces += 1;
    const claims: HostRequest = {
      iss: hostId,
      aud: controlId,
      hostEpoch,
      iat,
      exp: iat + 60,
      method: asked.method,
      path: asked.target.split('?')[0] ?? '',
      bodySha256: sha256Hex(asked.body),
      nonce: nonceOf(this.#nonces),
    };
    return `${HOST_AUTH_SCHEME} ${await this.#signer.sign(STATEMENT_TYPES.hostRequest, claims)}`;
  }
}

function nonceOf(count: number): string {
  return Buffer.from(`fuzz-nonce-${count}`.padEnd(24, '.')).toString('base64url');
}
