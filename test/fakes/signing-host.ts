/**
 * A host as control sees it: a key, an enrolment, and requests signed as
 * `shared/wire/statements.ts` says.
 */
import type { Static, TSchema } from 'typebox';
import { sha256Hex } from '../../shared/platform/digest.ts';
import { eventHash } from '../../shared/platform/entry-hash.ts';
import {
  generateSigningKey,
  openSigner,
  openVerifier,
  publicPart,
  type SigningKey,
  type Verifier,
} from '../../shared/platform/signatures.ts';
import { FIRST_PREVIOUS_HASH, type JournalEvent } from '../../shared/wire/operation.ts';
import { REPORT_LINES_TYPE } from '../../shared/wire/report-lines.ts';
import {
  EnrolmentSchema,
  ReportAnswerSchema,
  STATEMENT_TYPES,
  SyncAnswerSchema,
  type Enrolment,
  type HostRequest,
  type ReportAnswer,
  type StatementType,
  type SyncAnswer,
  type SyncRequest,
} from '../../shared/wire/statements.ts';
import type { Answer, ControlWorld } from './control-world.ts';

export type SyncParts = {
  readonly renew?: SyncRequest['leases']['renew'];
  readonly acquire?: string[];
  readonly release?: SyncRequest['leases']['release'];
  readonly draining?: SyncRequest['leases']['draining'];
  readonly highWater?: Partial<SyncRequest['highWater']>;
  readonly policyRevision?: number | null;
  /** What it says of itself, and whatever else is not as usual. */
  readonly over?: Partial<SyncRequest>;
};

type Tampering = {
  readonly claims?: Partial<HostRequest>;
  readonly type?: StatementType;
  readonly key?: SigningKey;
  readonly token?: (token: string) => string;
  /** The whole body, where it is no JSON. */
  readonly body?: string;
  /** What is sent instead of what was signed. */
  readonly text?: string;
  readonly signal?: AbortSignal;
  readonly headers?: Record<string, string>;
};

export class SigningHost {
  readonly name: string;
  key: SigningKey;
  enrolment: Enrolment | null = null;
  lastToken = '';
  readonly #world: ControlWorld;
  #nonces = 0;
  #runId: string | undefined;
  #journal: JournalEvent[] = [];

  private constructor(world: ControlWorld, name: string, key: SigningKey) {
    this.#world = world;
    this.name = name;
    this.key = key;
  }

  static async create(world: ControlWorld, name: string): Promise<SigningHost> {
    return new SigningHost(world, name, await generateSigningKey());
  }

  get id(): string {
    return this.enrolment?.hostId ?? '';
  }

  async tryEnrol(joinToken: string, over: Record<string, unknown> = {}): Promise<Answer> {
    const { kty, crv, x } = publicPart(this.key);
    const body = {
      joinToken,
      hostName: this.name,
      publicKey: { kty, crv, x },
      nonce: this.#nonce(),
      ...over,
    };
    return this.#world.call('POST', '/v1/hosts:enrol', { token: null, body });
  }

  async enrol(joinToken: string): Promise<Enrolment> {
    const answer = await this.tryEnrol(joinToken);
    if (answer.status !== 201) throw new Error(answer.text);
    const claimed = JSON.parse(
      Buffer.from(answer.text.split('.')[1] ?? '', 'base64url').toString(),
    ) as Enrolment;
    const verifier = await openVerifier(claimed.trust.keys);
    const verified = await verifier.verify(answer.text, {
      type: STATEMENT_TYPES.enrolment,
      schema: EnrolmentSchema,
    });
    if (!verified.ok) throw new Error(verified.detail);
    this.enrolment = verified.payload;
    return verified.payload;
  }

  async request(
    method: string,
    target: string,
    body?: unknown,
    tampering: Tampering = {},
  ): Promise<Answer> {
    const text = tampering.body ?? (body === undefined ? '' : JSON.stringify(body));
    const iat = Math.floor(this.#world.clock.now().wallMs / 1_000);
    const claims: HostRequest = {
      iss: this.id,
      aud: this.enrolment?.controlId ?? '',
      hostEpoch: this.enrolment?.hostEpoch ?? 0,
      iat,
      exp: iat + 60,
      method,
      path: target.split('?')[0] ?? '',
      bodySha256: sha256Hex(text),
      nonce: this.#nonce(),
      ...tampering.claims,
    };
    const signer = await openSigner(tampering.key ?? this.key);
    const signed = await signer.sign(tampering.type ?? STATEMENT_TYPES.hostRequest, claims);
    this.lastToken = tampering.token?.(signed) ?? signed;
    return this.#world.call(method, target, {
      token: null,
      headers: { authorization: `Holdfast-Host ${this.lastToken}`, ...tampering.headers },
      ...(text === '' ? {} : { text: tampering.text ?? text }),
      ...(tampering.signal === undefined ? {} : { signal: tampering.signal }),
    });
  }

  syncBody(parts: SyncParts = {}): SyncRequest {
    const { renew = [], acquire = [], release = [] } = parts;
    return {
      sidecarVersion: '0.0.0-test',
      policyRevision: parts.policyRevision ?? null,
      policyRejected: null,
      ...(this.#runId === undefined ? {} : { runId: this.#runId }),
      highWater: { policyRevision: 0, epoch: 0, ...parts.highWater },
      leases: {
        renew,
        acquire,
        release,
        ...(parts.draining === undefined ? {} : { draining: parts.draining }),
      },
      journal: {
        seq: this.#journal.length,
        hash: this.#journal.at(-1)?.hash ?? FIRST_PREVIOUS_HASH,
        operations: {},
      },
      ...parts.over,
    };
  }

  /** As a sidecar: after the first answer of another start of control it asks again at once. */
  async sync(parts: SyncParts = {}): Promise<SyncAnswer> {
    const heardBefore = this.#runId;
    const answer = await this.syncOnce(parts);
    const isHeldUp = answer.pending.some(({ reason }) => reason === 'recovering');
    // One that was granted at once is not asked for again: that would be another grant.
    const isGranted = heardBefore === undefined && answer.leases.length > 0;
    const isAnswered = this.#runId === heardBefore || (isGranted && !isHeldUp);
    return isAnswered ? answer : this.syncOnce(parts);
  }

  async syncOnce(parts: SyncParts = {}): Promise<SyncAnswer> {
    const answer = await this.open(
      await this.request('POST', '/v1/sync', this.syncBody(parts)),
      STATEMENT_TYPES.sync,
      SyncAnswerSchema,
    );
    this.#runId = answer.runId;
    return answer;
  }

  /** The epoch it got; throws where it got none. */
  async acquire(resource: string): Promise<number> {
    const answer = await this.sync({ acquire: [resource] });
    const lease = answer.leases[0];
    if (lease === undefined) throw new Error(JSON.stringify(answer.pending));
    return lease.epoch;
  }

  /** Adds to the journal of this host, as its sidecar would chain it. */
  record(
    kind: string,
    body: Record<string, unknown>,
    operationId: string | null = null,
    outageId: string | null = null,
  ): JournalEvent {
    const previousHash = this.#journal.at(-1)?.hash ?? FIRST_PREVIOUS_HASH;
    const content = {
      seq: this.#journal.length + 1,
      atMs: this.#world.clock.now().wallMs,
      kind: kind as JournalEvent['kind'],
      operationId,
      outageId,
      body,
    };
    const event = { ...content, previousHash, hash: eventHash(previousHash, content) };
    this.#journal.push(event);
    return event;
  }

  journal(fromSeq = 1): JournalEvent[] {
    return this.#journal.slice(fromSeq - 1);
  }

  report(events: readonly JournalEvent[]): Promise<Answer> {
    return this.request('POST', '/v1/reports', { events });
  }

  reportLines(text: string): Promise<Answer> {
    const headers = { 'content-type': REPORT_LINES_TYPE };
    return this.request('POST', '/v1/reports', undefined, { body: text, headers });
  }

  async reported(events: readonly JournalEvent[]): Promise<ReportAnswer> {
    return this.open(await this.report(events), STATEMENT_TYPES.report, ReportAnswerSchema);
  }

  /** Verified under the keys that the enrolment gave. */
  async open<T extends TSchema>(
    answer: Answer,
    type: StatementType,
    schema: T,
  ): Promise<Static<T>> {
    if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`);
    const verifier: Verifier = await openVerifier(this.enrolment?.trust.keys ?? []);
    const verified = await verifier.verify(answer.text, { type, schema });
    if (!verified.ok) throw new Error(`${verified.reason}: ${verified.detail}`);
    return verified.payload;
  }

  #nonce(): string {
    this.#nonces += 1;
    return `${this.key.kid.slice(0, 12)}-${String(this.#nonces).padStart(12, '0')}`;
  }
}
