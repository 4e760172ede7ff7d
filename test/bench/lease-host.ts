/** One sidecar as control sees it: a key, a connection of its own, and syncs that it signs. */
import { UndiciTransport, type TransportResponse } from '../../shared/client/transport.ts';
import { sha256Hex } from '../../shared/platform/digest.ts';
import {
  generateSigningKey,
  openSigner,
  openVerifier,
  publicPart,
  type Signer,
  type Verifier,
} from '../../shared/platform/signatures.ts';
import {
  STATEMENT_TYPES,
  type Enrolment,
  type SyncAnswer,
  type SyncRequest,
} from '../../shared/wire/statements.ts';
import {
  NOTICES_HEADER,
  NOTICES_STATEMENT_HEADER,
  NoticesStatementSchema,
  type NoticePosition,
} from '../../shared/wire/notices.ts';
import type { Problem } from '../../shared/wire/problem.ts';
import { LEASE_ENDS_HEADER } from '../../shared/wire/reconnect.ts';
import { FIRST_PREVIOUS_HASH } from '../../shared/wire/operation.ts';

export type SyncTry =
  | { readonly kind: 'answered'; readonly lost: number }
  | { readonly kind: 'deferred'; readonly retryAfterMs: number }
  | { readonly kind: 'failed'; readonly detail: string };

const TIMEOUT_MS = 30_000;
const WAIT_MS = 30_000;
const TOKEN_S = 60;

export class LeaseHost {
  readonly held: { resource: string; epoch: number }[] = [];
  readonly #signer: Signer;
  readonly #enrolment: Enrolment;
  readonly #transport: UndiciTransport;
  #nonces = 0;
  #highestEpoch = 0;
  #notices: NoticePosition = { sequence: 0, entryId: null };
  #etag: string | null = null;
  readonly #waiting: UndiciTransport;

  readonly #verifier: Verifier;

  private constructor(
    url: string,
    { signer, verifier }: { readonly signer: Signer; readonly verifier: Verifier },
    enrolment: Enrolment,
  ) {
    this.#verifier = verifier;
    this.#transport = new UndiciTransport({ url }, { connections: 1 });
    this.#waiting = new UndiciTransport({ url }, { connections: 1 });
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
    const enrolment = payloadOf(answer.body) as Enrolment;
    const keys = {
      signer: await openSigner(key),
      verifier: await openVerifier(enrolment.trust.keys),
    };
    return new LeaseHost(url, keys, enrolment);
  }

  /** Renews all that it holds, and asks for `acquire`; ms until the answer was there. */
  async sync(acquire: readonly string[] = []): Promise<number> {
    const { answer, tookMs } = await this.#exchange(acquire);
    if (answer.status !== 200) throw new Error(`${answer.status} ${answer.body}`);
    if (acquire.length > 0) this.#take(payloadOf(answer.body) as SyncAnswer);
    return tookMs;
  }

  /** As `sync`, for who comes back: being put off, or not reached, is an answer. */
  async trySync(acquire: readonly string[] = []): Promise<SyncTry> {
    try {
      const { answer } = await this.#exchange(acquire);
      if (answer.status === 200) {
        const said = payloadOf(answer.body) as SyncAnswer;
        this.#take(said);
        return { kind: 'answered', lost: said.lost.length };
      }
      if (answer.status !== 503) return { kind: 'failed', detail: answer.body };
      const { retry_after_ms: retryAfterMs = 1_000 } = JSON.parse(answer.body) as Problem;
      return { kind: 'deferred', retryAfterMs };
    } catch (error) {
      return { kind: 'failed', detail: String(error) };
    }
  }

  /** Takes what it lacks of notices, and says what it has. */
  async syncNotices(): Promise<void> {
    const { answer } = await this.#exchange([], { notices: this.#notices });
    if (answer.status !== 200) throw new Error(`${answer.status} ${answer.body}`);
    const { notices } = payloadOf(answer.body) as SyncAnswer;
    if (notices?.statement !== undefined) await this.#takeNotices(notices.statement);
  }

  async #takeNotices(statement: string): Promise<void> {
    const verified = await this.#verifier.verify(statement, {
      type: STATEMENT_TYPES.notices,
      schema: NoticesStatementSchema,
    });
    if (!verified.ok) throw new Error(`notices: ${verified.reason}: ${verified.detail}`);
    const last = verified.payload.entries.at(-1);
    if (last !== undefined) this.#notices = { sequence: last.sequence, entryId: last.entryId };
  }

  /** Waits for the next bundle until control says that there is a notice, and takes it. */
  async awaitNotices(): Promise<void> {
    for (;;) {
      const headers = this.#etag === null ? {} : { 'if-none-match': this.#etag };
      const path = '/v1/bundle';
      const token = await this.#sign('', { method: 'GET', path });
      const answer = await this.#waiting.send({
        method: 'GET',
        path: `${path}?wait=30s`,
        headers: { ...headers, authorization: `Holdfast-Host ${token}` },
        timeoutMs: TIMEOUT_MS + WAIT_MS,
      });
      if (answer.status !== 200 && answer.status !== 304) throw new Error(answer.body);
      this.#etag = answer.headers['etag'] ?? null;
      if (!(Number(answer.headers[NOTICES_HEADER.toLowerCase()]) > this.#notices.sequence))
        continue;
      const pushed = answer.headers[NOTICES_STATEMENT_HEADER.toLowerCase()];
      return pushed === undefined ? this.syncNotices() : this.#takeNotices(pushed);
    }
  }

  async #exchange(
    acquire: readonly string[],
    over: Partial<SyncRequest> = {},
  ): Promise<{ answer: TransportResponse; tookMs: number }> {
    const request: SyncRequest = {
      sidecarVersion: 'bench',
      policyRevision: null,
      policyRejected: null,
      highWater: { policyRevision: 0, epoch: this.#highestEpoch },
      leases: { renew: [...this.held], acquire: [...acquire], release: [] },
      journal: { seq: 0, hash: FIRST_PREVIOUS_HASH, operations: {} },
      ...over,
    };
    const text = JSON.stringify(request);
    const token = await this.#sign(text);
    const startedMs = performance.now();
    const answer = await this.#transport.send({
      method: 'POST',
      path: '/v1/sync',
      headers: {
        'content-type': 'application/json',
        authorization: `Holdfast-Host ${token}`,
        // Half of the term that the benchmarks give: with time left, and to be let in first.
        ...(this.held.length === 0 ? {} : { [LEASE_ENDS_HEADER]: '30000' }),
      },
      body: text,
      timeoutMs: TIMEOUT_MS,
    });
    return { answer, tookMs: performance.now() - startedMs };
  }

  async close(): Promise<void> {
    await this.#waiting.close();
    await this.#transport.close();
  }

  #take({ leases }: SyncAnswer): void {
    for (const { resource, epoch } of leases) {
      if (!this.held.some((lease) => lease.resource === resource))
        this.held.push({ resource, epoch });
      this.#highestEpoch = Math.max(this.#highestEpoch, epoch);
    }
  }

  #sign(text: string, { method, path } = { method: 'POST', path: '/v1/sync' }): Promise<string> {
    const { hostId, controlId, hostEpoch } = this.#enrolment;
    const iat = Math.floor(Date.now() / 1_000);
    this.#nonces += 1;
    return this.#signer.sign(STATEMENT_TYPES.hostRequest, {
      iss: hostId,
      aud: controlId,
      hostEpoch,
      iat,
      exp: iat + TOKEN_S,
      method,
      path,
      bodySha256: sha256Hex(text),
      nonce: `${this.#signer.kid.slice(0, 12)}-${String(this.#nonces).padStart(12, '0')}`,
    });
  }
}

function payloadOf(statement: string): unknown {
  return JSON.parse(Buffer.from(statement.split('.')[1] ?? '', 'base64url').toString());
}
