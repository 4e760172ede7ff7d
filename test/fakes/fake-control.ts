/**
 * A control of its own kind, for the sidecar's side of the contract: a transport that signs with
 * real keys and checks what it is sent, and that can be told to be down, slow, silent, or to lie in
 * each way that it might.
 */
import { makeId } from '../../shared/core/ids.ts';
import { MINUTE_MS } from '../../shared/core/time.ts';
import {
  UnreachableError,
  type Transport,
  type TransportRequest,
  type TransportResponse,
} from '../../shared/client/transport.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import { digestOf, sha256Hex } from '../../shared/platform/digest.ts';
import {
  generateSigningKey,
  openSigner,
  openVerifier,
  publicPart,
  type Signer,
  type SigningKey,
} from '../../shared/platform/signatures.ts';
import type { EnrolRequest } from '../../shared/wire/control-api.ts';
import type { JournalEvent, OutageCause } from '../../shared/wire/operation.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import {
  HoldfastError,
  PROBLEM_CONTENT_TYPE,
  toProblem,
  type ErrorCode,
  type Problem,
} from '../../shared/wire/problem.ts';
import { REPORT_LINES_TYPE } from '../../shared/wire/report-lines.ts';
import {
  HostRequestSchema,
  REFUSAL_HEADER,
  STATEMENT_CONTENT_TYPE,
  STATEMENT_TYPES,
  SYNC_NOW_HEADER,
  type Bundle,
  type HostRefusal,
  type HostRequest,
  type PublicKey,
  type StatementType,
  type SyncAnswer,
  type SyncRequest,
} from '../../shared/wire/statements.ts';
import { reportedIn } from './reported-entries.ts';

export type Route = 'enrol' | 'sync' | 'bundle' | 'decisions' | 'reports';

/** How one route, or all of them, misbehaves. */
export type Behaviour =
  | { readonly kind: 'unreachable'; readonly cause: OutageCause }
  /** Takes the request and never answers. */
  | { readonly kind: 'hang' }
  /** Answers rightly, after a while. */
  | { readonly kind: 'late'; readonly delayMs: number }
  | { readonly kind: 'respond'; readonly response: TransportResponse }
  | {
      readonly kind: 'refuse';
      readonly code: ErrorCode;
      readonly retryAfterMs?: number;
      /** Default: signed by control, about this request. */
      readonly signed?:
        | 'not'
        | 'by_foreign_key'
        | { readonly alter: (said: HostRefusal) => unknown };
    }
  /** Signs what is not so. */
  | { readonly kind: 'alter'; readonly alter: (payload: Record<string, unknown>) => unknown }
  | { readonly kind: 'foreign_key' }
  /** Answers rightly, and the network makes something else of it. */
  | { readonly kind: 'damage'; readonly damage: (body: string) => string }
  /** The body of an earlier answer of this route, again. */
  | { readonly kind: 'replay' };

export type Seen = { readonly route: Route; readonly request: TransportRequest };

type LeaseGrant = { epoch: number; ttlMs: number; holder: 'us' | 'rival' | null };

const JOIN_SECRET = 'c2VjcmV0';

export class FakeControl implements Transport {
  readonly controlId: string;
  readonly seen: Seen[] = [];
  readonly reported: JournalEvent[] = [];
  /** An older one takes reports in JSON alone. */
  takesLines = true;
  /** A report that has this entry is refused for its form. */
  refusesEntry: number | null = null;
  readonly leases = new Map<string, LeaseGrant>();
  readonly joinTokens = new Set<string>();
  ackedSeq = 0;
  hostEpoch = 1;
  drift = 0.01;
  ttlMs = 30_000;
  /** What a question is answered with. */
  decision: unknown = null;
  decisionRevision = 1;
  lastSync: SyncRequest | null = null;
  newestRevision: number | null = null;
  readonly #clock: Clock;
  readonly #behaviours = new Map<Route | '*', Behaviour>();
  readonly #bundles = new Map<number, string>();
  #isCalled = false;
  readonly #answers = new Map<Route, TransportResponse>();
  readonly #publication = new Set<() => void>();
  readonly #waiting = new Set<() => void>();
  #keys: readonly SigningKey[];
  #signer: Signer;
  #foreign: Signer;
  #host: { hostId: string; publicKey: PublicKey } | null = null;

  private constructor(
    clock: Clock,
    keys: { own: SigningKey; foreign: SigningKey },
    signers: { own: Signer; foreign: Signer },
  ) {
    this.#clock = clock;
    this.controlId = makeId('ctl', 1, new Uint8Array(16));
    this.#keys = [keys.own];
    this.#signer = signers.own;
    this.#foreign = signers.foreign;
  }

  static async start(clock: Clock): Promise<FakeControl> {
    const keys = { own: await generateSigningKey(), foreign: await generateSigningKey() };
    const signers = { own: await openSigner(keys.own), foreign: await openSigner(keys.foreign) };
    return new FakeControl(clock, keys, signers);
  }

  get hostId(): string | null {
    return this.#host?.hostId ?? null;
  }

  joinToken(id = 'join1'): string {
    const token = `hfj1.${id}.${JOIN_SECRET}.${this.#keys[0]?.kid}`;
    this.joinTokens.add(token);
    return token;
  }

  behave(route: Route | '*', behaviour: Behaviour | null): void {
    if (behaviour === null) this.#behaviours.delete(route);
    else this.#behaviours.set(route, behaviour);
  }

  down(cause: OutageCause = 'refused'): void {
    this.behave('*', { kind: 'unreachable', cause });
  }

  up(): void {
    this.#behaviours.clear();
  }

  count(route: Route): number {
    return this.seen.filter((each) => each.route === route).length;
  }

  /**
   * Another signing key; trusted by hosts once a bundle signed by the one before has brought it.
   */
  async rotate(options: { keepOld: boolean }): Promise<void> {
    const key = await generateSigningKey();
    this.#keys = options.keepOld ? [key, ...this.#keys] : [key];
  }

  async signWithNewest(): Promise<void> {
    const newest = this.#keys[0];
    if (newest !== undefined) this.#signer = await openSigner(newest);
  }

  /** Signed as control does; `alter` makes the bundle say something else. */
  async bundle(
    policyRevision: number,
    policy: unknown,
    alter: (bundle: Bundle) => unknown = (bundle) => bundle,
  ): Promise<string> {
    const bundle: Bundle = {
      controlId: this.controlId,
      policyRevision,
      policyDigest: digestOf(policy),
      publishedAtMs: this.#clock.now().wallMs,
      publishedBy: 'operator',
      policy: policy as PolicyDocument,
      trust: { keys: this.#keys.map(publicPart) },
    };
    return this.#signer.sign(STATEMENT_TYPES.bundle, alter(bundle));
  }

  foreignBundle(policyRevision: number, policy: unknown): Promise<string> {
    const bundle = {
      controlId: this.controlId,
      policyRevision,
      policyDigest: digestOf(policy),
      publishedAtMs: 0,
      publishedBy: 'nobody',
      policy,
      trust: { keys: this.#keys.map(publicPart) },
    };
    return this.#foreign.sign(STATEMENT_TYPES.bundle, bundle);
  }

  async publish(policyRevision: number, policy: unknown): Promise<void> {
    this.place(policyRevision, await this.bundle(policyRevision, policy));
  }

  /** The next enrolment is of another host: whoever had the key before has lost it. */
  forgetHost(): void {
    this.#host = null;
  }

  /** Puts bytes in the place of a revision, whatever they are, and makes it the newest. */
  place(policyRevision: number, statement: string): void {
    this.#bundles.set(policyRevision, statement);
    this.newestRevision = policyRevision;
    for (const wake of this.#publication) wake();
  }

  async send(request: TransportRequest): Promise<TransportResponse> {
    const route = routeOf(request.path);
    this.seen.push({ route, request });
    for (const look of this.#waiting) look();
    const behaviour = this.#behaviours.get(route) ?? this.#behaviours.get('*');
    switch (behaviour?.kind) {
      case 'unreachable':
        throw new UnreachableError(behaviour.cause, `control is told to be ${behaviour.cause}`);
      case 'hang':
        return new Promise(() => undefined);
      case 'respond':
        return behaviour.response;
      case 'refuse':
        return this.#refusal(request, problem(behaviour.code, behaviour.retryAfterMs), behaviour);
      case 'late': {
        const response = await this.#answer(route, request, undefined);
        await this.#clock.sleep(behaviour.delayMs);
        return response;
      }
      case 'damage': {
        const response = await this.#answer(route, request, undefined);
        return { ...response, body: behaviour.damage(response.body) };
      }
      case 'replay':
        return this.#answers.get(route) ?? problem('internal');
      default:
        return this.#answer(route, request, behaviour);
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Resolves at the request after which `route` has been asked `count` times. */
  whenAsked(route: Route, count: number): Promise<void> {
    if (this.count(route) >= count) return Promise.resolve();
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.count(route) < count) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
    });
  }

  async #answer(
    route: Route,
    request: TransportRequest,
    behaviour: Behaviour | undefined,
  ): Promise<TransportResponse> {
    try {
      const response = await this.#rightAnswer(route, request, behaviour);
      this.#answers.set(route, response);
      return response;
    } catch (error) {
      if (error instanceof HoldfastError) return this.#refusal(request, problem(error.code));
      throw error;
    }
  }

  /** With the statement that control adds for a host. */
  async #refusal(
    request: TransportRequest,
    response: TransportResponse,
    { signed }: Pick<Extract<Behaviour, { kind: 'refuse' }>, 'signed'> = {},
  ): Promise<TransportResponse> {
    const token = request.headers?.['authorization']?.split(' ')[1];
    if (token === undefined || response.status >= 500 || signed === 'not') return response;
    const { iss, nonce } = JSON.parse(
      Buffer.from(token.split('.')[1] ?? '', 'base64url').toString(),
    ) as HostRequest;
    const { code, detail } = JSON.parse(response.body) as Problem;
    const { status } = response;
    const said = { nonce, hostId: iss, tokenSha256: sha256Hex(token), status, code, detail };
    const signer = signed === 'by_foreign_key' ? this.#foreign : this.#signer;
    const payload = typeof signed === 'object' ? signed.alter(said) : said;
    const statement = await signer.sign(STATEMENT_TYPES.refusal, payload);
    return {
      ...response,
      headers: { ...response.headers, [REFUSAL_HEADER.toLowerCase()]: statement },
    };
  }

  async #rightAnswer(
    route: Route,
    request: TransportRequest,
    behaviour: Behaviour | undefined,
  ): Promise<TransportResponse> {
    const signed = async (
      type: StatementType,
      payload: Record<string, unknown>,
    ): Promise<TransportResponse> => {
      const said = behaviour?.kind === 'alter' ? behaviour.alter(payload) : payload;
      const signer = behaviour?.kind === 'foreign_key' ? this.#foreign : this.#signer;
      return signedAnswer(await signer.sign(type, said));
    };
    const body: unknown =
      route === 'reports'
        ? { events: this.#eventsOf(request) }
        : request.body === undefined
          ? null
          : JSON.parse(request.body);
    if (route === 'enrol')
      return signed(STATEMENT_TYPES.enrolment, this.#enrol(body as EnrolRequest));
    const { nonce } = await this.#checkHost(request);
    const bound = { nonce, hostId: this.#host?.hostId };
    switch (route) {
      case 'sync':
        return signed(STATEMENT_TYPES.sync, { ...bound, ...this.#sync(body as SyncRequest) });
      case 'decisions':
        return signed(STATEMENT_TYPES.decision, {
          ...bound,
          inputDigest: digestOf(body),
          policyRevision: this.decisionRevision,
          decision: this.decision,
          decidedAtMs: this.#clock.now().wallMs,
        });
      case 'reports':
        return signed(STATEMENT_TYPES.report, {
          ...bound,
          ackedSeq: this.#report(body as { events: JournalEvent[] }),
        });
      case 'bundle':
        return this.#bundle(request);
    }
  }

  #enrol({ joinToken, hostName, publicKey, nonce }: EnrolRequest): Record<string, unknown> {
    const isRetry = this.#host?.publicKey.x === publicKey.x;
    if (!this.joinTokens.has(joinToken)) throw new HoldfastError('join_token_invalid', 'not known');
    if (this.#host !== null && !isRetry)
      throw new HoldfastError('join_token_used', 'used by another host');
    this.#host ??= { hostId: makeId('host', 2, new Uint8Array(16)), publicKey };
    const { hostId } = this.#host;
    const { controlId, hostEpoch } = this;
    return {
      nonce,
      controlId,
      hostId,
      hostName,
      hostEpoch,
      trust: { keys: this.#keys.map(publicPart) },
    };
  }

  async #checkHost({ headers, method, path, body }: TransportRequest): Promise<HostRequest> {
    const [scheme, token = ''] = (headers?.['authorization'] ?? '').split(' ');
    if (scheme !== 'Holdfast-Host' || this.#host === null)
      throw new HoldfastError('host_unknown', 'no host');
    const verifier = await openVerifier([this.#host.publicKey]);
    const verified = await verifier.verify(token, {
      type: STATEMENT_TYPES.hostRequest,
      schema: HostRequestSchema,
    });
    if (!verified.ok) throw new HoldfastError('host_signature_invalid', verified.detail);
    const claims = verified.payload;
    const nowSeconds = this.#clock.now().wallMs / 1_000;
    const isRight =
      claims.iss === this.#host.hostId &&
      claims.aud === this.controlId &&
      claims.method === method &&
      claims.path === path.split('?')[0] &&
      claims.bodySha256 === sha256Hex(body ?? '') &&
      claims.iat <= nowSeconds &&
      claims.exp > nowSeconds;
    if (!isRight)
      throw new HoldfastError('host_signature_invalid', 'the claims do not fit the request');
    if (claims.hostEpoch !== this.hostEpoch)
      throw new HoldfastError('host_epoch_stale', 'enrolled again since');
    return claims;
  }

  #sync(request: SyncRequest): Omit<SyncAnswer, 'nonce' | 'hostId'> {
    this.lastSync = request;
    const granted: SyncAnswer['leases'] = [];
    const lost: SyncAnswer['lost'] = [];
    const pending: SyncAnswer['pending'] = [];
    for (const { resource } of request.leases.release) {
      const grant = this.leases.get(resource);
      if (grant?.holder === 'us') grant.holder = null;
    }
    for (const { resource, epoch } of request.leases.renew) {
      const grant = this.leases.get(resource);
      if (grant?.holder === 'us' && grant.epoch === epoch)
        granted.push({ resource, epoch, ttlMs: grant.ttlMs });
      else lost.push({ resource, epoch, reason: grant === undefined ? 'unknown' : 'superseded' });
    }
    for (const resource of request.leases.acquire) {
      const grant = this.leases.get(resource) ?? { epoch: 0, ttlMs: this.ttlMs, holder: null };
      if (grant.holder === 'rival') {
        pending.push({ resource, reason: 'held', holder: 'host_rival', retryAfterMs: 1_000 });
        continue;
      }
      if (grant.holder === null) grant.epoch += 1;
      grant.holder = 'us';
      this.leases.set(resource, grant);
      granted.push({ resource, epoch: grant.epoch, ttlMs: grant.ttlMs });
    }
    const { controlId, newestRevision: policyRevision, drift, ackedSeq } = this;
    return { controlId, policyRevision, leases: granted, lost, pending, drift, ackedSeq };
  }

  #eventsOf(request: TransportRequest): readonly JournalEvent[] {
    const isLines = request.headers?.['content-type'] === REPORT_LINES_TYPE;
    if (isLines && !this.takesLines) throw new HoldfastError('unsupported_media_type', 'JSON only');
    const events = reportedIn(request.body ?? '');
    if (events.some(({ seq }) => seq === this.refusesEntry))
      throw new HoldfastError('invalid_request', 'an entry has no head');
    return events;
  }

  #report({ events }: { events: JournalEvent[] }): number {
    const fresh = events.filter(({ seq }) => seq > this.ackedSeq);
    if ((events[0]?.seq ?? 0) > this.ackedSeq + 1)
      throw new HoldfastError('report_gap', `expected ${this.ackedSeq + 1}`);
    for (const event of events) {
      const known = this.reported.find(({ seq }) => seq === event.seq);
      if (known !== undefined && known.hash !== event.hash)
        throw new HoldfastError('report_conflict', `entry ${event.seq} differs`);
    }
    this.reported.push(...fresh);
    this.ackedSeq = Math.max(this.ackedSeq, events.at(-1)?.seq ?? 0);
    return this.ackedSeq;
  }

  async #bundle(request: TransportRequest): Promise<TransportResponse> {
    const known = request.headers?.['if-none-match'] ?? null;
    const waitMs = Number(/wait=([0-9]+)ms/.exec(request.path)?.[1] ?? 0);
    const current = (): TransportResponse | null => {
      const text = this.#bundles.get(this.newestRevision ?? 0);
      const etag = `"${this.newestRevision}-${sha256Hex(text ?? '').slice(0, 8)}"`;
      return text === undefined || etag === known ? null : signedAnswer(text, { etag });
    };
    const now = current();
    if (now !== null) return now;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        this.#publication.delete(end);
        timer.cancel();
        resolve();
      };
      const timer = this.#clock.startTimer(Math.min(waitMs, MINUTE_MS), end);
      this.#publication.add(end);
    });
    const later = current();
    if (later !== null) return later;
    if (known === null) return problem('policy_absent');
    const headers = this.#isCalled ? { [SYNC_NOW_HEADER.toLowerCase()]: '1' } : {};
    this.#isCalled = false;
    return { status: 304, headers, body: '' };
  }

  /** Whoever waits for a bundle is to sync. */
  call(): void {
    this.#isCalled = true;
    for (const end of this.#publication) end();
  }
}

export function problem(code: ErrorCode, retryAfterMs?: number): TransportResponse {
  const extras = retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs };
  const document = toProblem(new HoldfastError(code, `the fake says ${code}`, extras));
  return {
    status: document.status,
    headers: { 'content-type': PROBLEM_CONTENT_TYPE },
    body: JSON.stringify(document),
  };
}

function signedAnswer(body: string, headers: Record<string, string> = {}): TransportResponse {
  return { status: 200, headers: { 'content-type': STATEMENT_CONTENT_TYPE, ...headers }, body };
}

function routeOf(path: string): Route {
  if (path === '/v1/hosts:enrol') return 'enrol';
  return /^\/v1\/([a-z]+)/.exec(path)?.[1] as Route;
}
