/**
 * One request to control and its answer, signed on both ways.
 *
 * T1  Every request carries a short-lived token of this host over its method, path and exact bytes,
 *     with a fresh nonce; an answer or a refusal counts only when control signed it for that nonce,
 *     this host, and it is this host's control.
 * T2  `sentAt` is read before anything is done for the request: whatever the answer grants counts
 *     from there.
 * T3  A call ends within its time-out by the clock, whatever the network does.
 * T4  It never retries, and what it says is one of three kinds: answer, unreachable, refused.
 */
import { NOTICES_HEADER, NOTICES_STATEMENT_HEADER } from '../../shared/wire/notices.ts';
import Type, { type Static, type TSchema } from 'typebox';
import type { Instant } from '../../shared/core/time.ts';
import {
  UnreachableError,
  type Transport,
  type TransportRequest,
  type TransportResponse,
} from '../../shared/client/transport.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import { sha256Hex } from '../../shared/platform/digest.ts';
import { randomText, type Random } from '../../shared/platform/random.ts';
import type { EnrolRequest } from '../../shared/wire/control-api.ts';
import type { DecisionInput } from '../../shared/wire/policy-document.ts';
import type { ErrorCode } from '../../shared/wire/problem.ts';
import { LEASE_ENDS_HEADER } from '../../shared/wire/reconnect.ts';
import {
  REPORT_LINES_TYPE,
  writeReportJson,
  writeReportLines,
  type Report,
} from '../../shared/wire/report-lines.ts';
import {
  EnrolmentSchema,
  FreshDecisionSchema,
  HOST_AUTH_SCHEME,
  ReportAnswerSchema,
  STATEMENT_TYPES,
  SYNC_NOW_HEADER,
  SyncAnswerSchema,
  type Enrolment,
  type FreshDecision,
  type HostRequest,
  type ReportAnswer,
  type StatementType,
  type SyncAnswer,
  type SyncRequest,
} from '../../shared/wire/statements.ts';
import type { EnrolledHost, HostIdentity } from '../authority/identity.ts';
import { openPinnedVerifier } from './join-token.ts';
import {
  HOST_REFUSALS,
  fromFailure,
  unreachable,
  type LinkResult,
  type Refused,
  type Unreachable,
} from './link-result.ts';
import { confirmRefusal } from './signed-refusal.ts';

export const HOST_PATHS = {
  enrol: '/v1/hosts:enrol',
  sync: '/v1/sync',
  bundle: '/v1/bundle',
  decide: '/v1/decisions',
  report: '/v1/reports',
} as const;

/** Long enough for a slow network, short enough that a recorded request is soon worth nothing. */
const TOKEN_TTL_SECONDS = 60;
const NONCE_BYTES = 18;

export type BundleAnswer =
  | {
      readonly kind: 'not_modified';
      readonly noticeSequence: number;
      /** As control pushed it, unverified. */
      readonly noticesStatement: string | null;
      readonly asksSync: boolean;
    }
  /** Control has published nothing for this host yet. */
  | { readonly kind: 'none' }
  | { readonly kind: 'bundle'; readonly statement: string; readonly etag: string | null };

type Call = {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly query?: string;
  readonly body?: unknown;
  /** Instead of a body: as it is sent. */
  readonly text?: string;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Codes by which control refuses this request, beside those about the host itself. */
  readonly refusals?: readonly ErrorCode[];
  /** Codes that nothing is withdrawn by, believed without a signature as a 304 is. */
  readonly notices?: readonly ErrorCode[];
};

type Raw = {
  readonly kind: 'raw';
  readonly response: TransportResponse;
  readonly nonce: string;
  readonly host: EnrolledHost;
  readonly sentAt: Instant;
};

export type ControlLinkOptions = {
  readonly transport: Transport;
  readonly identity: HostIdentity;
  readonly clock: Clock;
  readonly random: Random;
  readonly requestTimeoutMs: number;
};

export class ControlLink {
  readonly #options: ControlLinkOptions;

  constructor(options: ControlLinkOptions) {
    this.#options = options;
  }

  /**
   * The only request without a host's token; its answer is signed by the key that the join token
   * pins.
   */
  async enrol(
    join: { token: string; keyThumbprint: string; hostName: string },
    signal: AbortSignal,
  ): Promise<LinkResult<Enrolment>> {
    const { clock, identity, random, requestTimeoutMs } = this.#options;
    const sentAt = clock.now();
    const nonce = randomText(random, NONCE_BYTES);
    const { token: joinToken, hostName } = join;
    const body: EnrolRequest = { joinToken, hostName, publicKey: identity.publicKey, nonce };
    return this.#within({ timeoutMs: requestTimeoutMs, signal }, async (bounded, onConnected) => {
      const response = await this.#options.transport.send({
        method: 'POST',
        path: HOST_PATHS.enrol,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        timeoutMs: requestTimeoutMs,
        signal: bounded,
        onConnected,
      });
      // Not signed: the join token may name a key that control has no more. It withdraws nothing; an
      // operator acts on it.
      if (response.status !== 200 && response.status !== 201)
        return fromFailure(response, ENROL_REFUSALS);
      const verifier = await openPinnedVerifier(response.body, join.keyThumbprint);
      if (verifier === null) {
        return unreachable(
          'bad_answer',
          `the enrolment is not signed by the key that the join token names (${join.keyThumbprint})`,
        );
      }
      const expected = { type: STATEMENT_TYPES.enrolment, schema: EnrolmentSchema };
      const verified = await verifier.verify(response.body, expected);
      if (!verified.ok)
        return unreachable('bad_answer', `enrolment: ${verified.reason}: ${verified.detail}`);
      const { payload } = verified;
      if (payload.nonce !== nonce)
        return unreachable('bad_answer', 'enrolment: it answers another request');
      return { kind: 'answer', payload, sentAt };
    });
  }

  /** `leaseEndsMs`: until the first lease that it renews ends; control lets such a host in first. */
  sync(
    request: SyncRequest,
    { leaseEndsMs, signal }: { leaseEndsMs: number | null; signal?: AbortSignal },
  ): Promise<LinkResult<SyncAnswer>> {
    const headers =
      leaseEndsMs === null ? {} : { [LEASE_ENDS_HEADER]: `${Math.floor(leaseEndsMs)}` };
    return this.#ask(
      {
        method: 'POST',
        path: HOST_PATHS.sync,
        body: request,
        headers,
        timeoutMs: this.#options.requestTimeoutMs,
        ...(signal && { signal }),
      },
      { type: STATEMENT_TYPES.sync, schema: SyncAnswerSchema },
    );
  }

  /**
   * Nothing but the bytes: whether they are to be believed is for the policy keeper to say.
   * `underKnownKey`: control is asked to sign them by a key that this host knows.
   */
  async bundle(
    poll: { waitMs: number; etag: string | null; underKnownKey: boolean },
    signal: AbortSignal,
  ): Promise<LinkResult<BundleAnswer>> {
    const timeoutMs = poll.waitMs + this.#options.requestTimeoutMs;
    const headers = poll.etag === null ? {} : { 'if-none-match': poll.etag };
    const kids = this.#options.identity.controlKids;
    const trusted = poll.underKnownKey ? `&trusted=${kids.join(',')}` : '';
    const call: Call = {
      method: 'GET',
      path: HOST_PATHS.bundle,
      query: `wait=${poll.waitMs}ms${trusted}`,
      headers,
      timeoutMs,
      signal,
      notices: NO_BUNDLE,
    };
    return this.#within(
      { timeoutMs, signal },
      async (bounded, onConnected): Promise<LinkResult<BundleAnswer>> => {
        const raw = await this.#exchange(call, bounded, onConnected);
        if (raw.kind === 'refused' && NO_BUNDLE.includes(raw.code))
          return { kind: 'answer', payload: { kind: 'none' }, sentAt: this.#options.clock.now() };
        if (raw.kind !== 'raw') return raw;
        const { response, sentAt } = raw;
        if (response.status === 304)
          return {
            kind: 'answer',
            payload: { kind: 'not_modified', ...newsIn(response) },
            sentAt,
          };
        if (response.status === 204) return { kind: 'answer', payload: { kind: 'none' }, sentAt };
        const payload = {
          kind: 'bundle',
          statement: response.body,
          etag: response.headers['etag'] ?? null,
        } as const;
        return { kind: 'answer', payload, sentAt };
      },
    );
  }

  decide(input: DecisionInput, timeoutMs: number): Promise<LinkResult<FreshDecision>> {
    return this.#ask(
      { method: 'POST', path: HOST_PATHS.decide, body: input, timeoutMs },
      { type: STATEMENT_TYPES.decision, schema: FreshDecisionSchema },
    );
  }

  report(
    report: Report,
    form: ReportForm,
    signal?: AbortSignal,
  ): Promise<LinkResult<ReportAnswer>> {
    return this.#ask(
      {
        method: 'POST',
        path: HOST_PATHS.report,
        ...(form === 'lines'
          ? { text: writeReportLines(report), contentType: REPORT_LINES_TYPE }
          : { text: writeReportJson(report) }),
        timeoutMs: this.#options.requestTimeoutMs,
        refusals: REPORT_REFUSALS,
        ...(signal && { signal }),
      },
      { type: STATEMENT_TYPES.report, schema: ReportAnswerSchema },
    );
  }

  #ask<T extends TSchema>(
    call: Call,
    expected: { type: StatementType; schema: T },
  ): Promise<LinkResult<Static<T>>> {
    return this.#within(call, async (bounded, onConnected) => {
      const raw = await this.#exchange(call, bounded, onConnected);
      if (raw.kind !== 'raw') return raw;
      const { verifier } = this.#options.identity;
      const verified = await verifier.verify(raw.response.body, expected);
      if (!verified.ok) {
        const doubt = `${call.path}: ${verified.reason}: ${verified.detail}`;
        const failure = unreachable('bad_answer', doubt);
        return verified.reason === 'key_unknown' ? { ...failure, isForeignKey: true } : failure;
      }
      const mismatch = bindingMismatch(verified.payload, raw);
      if (mismatch !== null) return unreachable('bad_answer', `${call.path}: ${mismatch}`);
      return { kind: 'answer', payload: verified.payload, sentAt: raw.sentAt };
    });
  }

  async #exchange(
    call: Call,
    signal: AbortSignal,
    onConnected: () => void,
  ): Promise<Raw | Unreachable | Refused> {
    const { clock, identity, random, transport } = this.#options;
    const sentAt = clock.now();
    const host = identity.enrolled;
    if (host === null) return unreachable('bad_answer', 'this host is not enrolled yet');
    const nonce = randomText(random, NONCE_BYTES);
    const body = call.text ?? (call.body === undefined ? '' : JSON.stringify(call.body));
    const iat = Math.floor(sentAt.wallMs / 1_000);
    const claims: HostRequest = {
      iss: host.hostId,
      aud: host.controlId,
      hostEpoch: host.hostEpoch,
      iat,
      exp: iat + TOKEN_TTL_SECONDS,
      method: call.method,
      path: call.path,
      bodySha256: sha256Hex(body),
      nonce,
    };
    const token = await identity.signer.sign(STATEMENT_TYPES.hostRequest, claims);
    const request: TransportRequest = {
      method: call.method,
      path: call.query === undefined ? call.path : `${call.path}?${call.query}`,
      headers: {
        ...call.headers,
        authorization: `${HOST_AUTH_SCHEME} ${token}`,
        ...(body === '' ? {} : { 'content-type': call.contentType ?? 'application/json' }),
      },
      ...(body === '' ? {} : { body }),
      timeoutMs: call.timeoutMs,
      signal,
      onConnected,
    };
    const response = await transport.send(request);
    const isAnswer = (response.status >= 200 && response.status < 300) || response.status === 304;
    if (isAnswer) return { kind: 'raw', response, nonce, host, sentAt };
    const { refusals = [], notices = [] } = call;
    const failure = fromFailure(response, [...HOST_REFUSALS, ...refusals, ...notices]);
    if (failure.kind === 'unreachable' || notices.includes(failure.code)) return failure;
    const sent = { nonce, hostId: host.hostId, tokenSha256: sha256Hex(token) };
    return confirmRefusal(failure, response, { verifier: identity.verifier, sent });
  }

  /** T3. */
  async #within<T>(
    bound: { readonly timeoutMs: number; readonly signal?: AbortSignal },
    work: (signal: AbortSignal, onConnected: () => void) => Promise<LinkResult<T>>,
  ): Promise<LinkResult<T>> {
    const timeout = new AbortController();
    const signal = bound.signal ? AbortSignal.any([bound.signal, timeout.signal]) : timeout.signal;
    const timer = this.#options.clock.startTimer(bound.timeoutMs, () => timeout.abort());
    let isConnected = false;
    const noteConnected = (): void => {
      isConnected = true;
    };
    const working = work(signal, noteConnected).catch((error: unknown) => {
      if (error instanceof UnreachableError) return unreachable(error.kind, error.message);
      throw error;
    });
    const ended = new Promise<Unreachable>((resolve) => {
      const end = (): void => {
        if (!timeout.signal.aborted)
          return resolve(unreachable('timeout', 'given up because the daemon stops'));
        const within = `no answer within ${bound.timeoutMs} ms`;
        return resolve(
          isConnected
            ? unreachable('half_open', `${within}, though the connection was taken`)
            : unreachable('timeout', within),
        );
      };
      if (signal.aborted) end();
      else signal.addEventListener('abort', end, { once: true });
    });
    try {
      return await Promise.race([working, ended]);
    } finally {
      timer.cancel();
    }
  }
}

/** `json` is for a control that is older than the lines. */
export type ReportForm = 'lines' | 'json';

const REPORT_REFUSALS: readonly ErrorCode[] = [
  'report_gap',
  'report_conflict',
  'unsupported_media_type',
  'invalid_request',
  'invalid_json',
  'body_too_large',
];

/** Control has published nothing yet: an answer, though its status is one of failure. */
const NO_BUNDLE: readonly ErrorCode[] = ['policy_absent'];

const ENROL_REFUSALS: readonly ErrorCode[] = [
  'join_token_invalid',
  'join_token_used',
  'join_token_expired',
  'unauthenticated',
  'forbidden',
];

const BoundSchema = Type.Object({
  nonce: Type.String(),
  hostId: Type.String(),
  controlId: Type.Optional(Type.String()),
});

/** 0 where an older control says none. */
function newsIn({ headers }: TransportResponse): {
  readonly noticeSequence: number;
  readonly noticesStatement: string | null;
  readonly asksSync: boolean;
} {
  const said = Number(headers[NOTICES_HEADER.toLowerCase()] ?? 0);
  return {
    noticeSequence: Number.isSafeInteger(said) ? said : 0,
    noticesStatement: headers[NOTICES_STATEMENT_HEADER.toLowerCase()] ?? null,
    asksSync: headers[SYNC_NOW_HEADER.toLowerCase()] !== undefined,
  };
}

/** T1: an answer to another request, of another host, or by another control is none. */
function bindingMismatch(payload: unknown, { nonce, host }: Raw): string | null {
  const bound = payload as Static<typeof BoundSchema>;
  if (bound.nonce !== nonce) return 'it answers another request';
  if (bound.hostId !== host.hostId) return `it is for host ${bound.hostId}`;
  if (bound.controlId !== undefined && bound.controlId !== host.controlId)
    return `it is from control ${bound.controlId}`;
  return null;
}
