/**
 * The port to the network. A transport either brings the peer's answer, whatever its status, or
 * throws `UnreachableError`; it never retries and never decides.
 */
import { Agent, DecoratorHandler, request as undiciRequest, type Dispatcher } from 'undici';
import { timeoutSignal } from '../platform/clock.ts';
import { currentTrace, spanned, type SpanFacts } from '../platform/tracing.ts';
import type { OutageCause } from '../wire/operation.ts';

export type TransportRequest = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With its query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** From the call to the last byte of the answer. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Told when the peer has taken the connection, just before the request goes over it. */
  readonly onConnected?: () => void;
};

export type TransportResponse = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
};

export interface Transport {
  send(request: TransportRequest): Promise<TransportResponse>;
  close(): Promise<void>;
}

/** No answer came: the request may or may not have been acted upon. */
export class UnreachableError extends Error {
  override name = 'UnreachableError';
  readonly kind: OutageCause;

  constructor(kind: OutageCause, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
  }
}

const RESPONSE_BYTES_MAX = 64 * 1024 * 1024;

export type Target = { readonly url: string; readonly socketPath?: string };

export class UndiciTransport implements Transport {
  readonly #agent: Agent;
  readonly #target: Target;
  readonly #address: SpanFacts;

  constructor(target: Target, options: { connections?: number } = {}) {
    this.#target = target;
    const { hostname, port } = new URL(target.url);
    this.#address = {
      'server.address': target.socketPath ?? hostname,
      'server.port': port === '' ? null : Number(port),
    };
    this.#agent = new Agent({
      connections: options.connections ?? 64,
      pipelining: 1,
      connect: {
        timeout: 5_000,
        ...(target.socketPath === undefined ? {} : { socketPath: target.socketPath }),
      },
      maxResponseSize: RESPONSE_BYTES_MAX,
    });
  }

  send(request: TransportRequest): Promise<TransportResponse> {
    const facts = {
      'http.request.method': request.method,
      ...this.#address,
      'url.path': request.path.split('?')[0],
    };
    return spanned(request.method, { kind: 'client', facts }, async (tell) => {
      const response = await this.#send(request, withTrace(request.headers ?? {}));
      const { status } = response;
      tell({
        'http.response.status_code': status,
        ...(status >= 400 ? { 'error.type': String(status) } : {}),
      });
      return response;
    });
  }

  async #send(
    request: TransportRequest,
    headers: Readonly<Record<string, string>>,
  ): Promise<TransportResponse> {
    const timeout = timeoutSignal(request.timeoutMs);
    const signal = request.signal ? AbortSignal.any([timeout, request.signal]) : timeout;
    let isConnected = false;
    const dispatcher = this.#agent.compose(
      noticingConnection(() => {
        isConnected = true;
        request.onConnected?.();
      }),
    );
    let response: Dispatcher.ResponseData;
    let body: string;
    try {
      response = await undiciRequest(new URL(request.path, this.#target.url), {
        dispatcher,
        method: request.method,
        headers,
        body: request.body ?? null,
        signal,
        headersTimeout: 0,
        bodyTimeout: 0,
      });
      body = await response.body.text();
    } catch (error) {
      if (request.signal?.aborted)
        throw new UnreachableError('timeout', 'the call was given up', error);
      throw unreachable(error, `${request.method} ${this.#target.url}${request.path}`, {
        isConnected,
        timedOutAfterMs: timeout.aborted ? request.timeoutMs : null,
      });
    }
    const answered: Record<string, string> = {};
    for (const [name, value] of Object.entries(response.headers)) {
      if (value !== undefined) answered[name] = Array.isArray(value) ? value.join(', ') : value;
    }
    return { status: response.statusCode, headers: answered, body };
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}

/** Of one request: a connection that is used again has been taken before. */
function noticingConnection(tell: () => void): Dispatcher.DispatcherComposeInterceptor {
  return (dispatch) => (options, handler) => dispatch(options, new NoticingHandler(handler, tell));
}

class NoticingHandler extends DecoratorHandler {
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #tell: () => void;

  constructor(handler: Dispatcher.DispatchHandler, tell: () => void) {
    super(handler);
    this.#handler = handler;
    this.#tell = tell;
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    this.#tell();
    this.#handler.onRequestStart?.(controller, context);
  }
}

/** The caller's own goes before what is around the call. */
function withTrace(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return 'traceparent' in headers ? headers : { ...currentTrace(), ...headers };
}

const KINDS: Readonly<Record<string, OutageCause>> = {
  ECONNREFUSED: 'refused',
  ENOENT: 'refused',
  EACCES: 'refused',
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  UND_ERR_SOCKET: 'reset',
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  UND_ERR_HEADERS_TIMEOUT: 'timeout',
  UND_ERR_BODY_TIMEOUT: 'timeout',
  ETIMEDOUT: 'timeout',
  EHOSTUNREACH: 'timeout',
  ENETUNREACH: 'timeout',
  UND_ERR_RES_EXCEEDED_MAX_SIZE: 'bad_answer',
};

/** What OpenSSL and Node call what went wrong with a handshake or a certificate. */
const TLS_CODES =
  /CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO_|CRL_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|HOSTNAME_MISMATCH|EPROTO/;

function unreachable(
  error: unknown,
  what: string,
  { isConnected, timedOutAfterMs }: { isConnected: boolean; timedOutAfterMs: number | null },
): UnreachableError {
  const code = codeOf(error);
  if (timedOutAfterMs !== null) {
    return isConnected
      ? new UnreachableError(
          'half_open',
          `${what} took the connection and gave no answer in ${timedOutAfterMs} ms`,
          error,
        )
      : new UnreachableError('timeout', `${what} gave no answer in ${timedOutAfterMs} ms`, error);
  }
  if (TLS_CODES.test(code)) return new UnreachableError('tls', `${what}: ${code}`, error);
  const named = KINDS[code] ?? (code.startsWith('HPE_') ? 'bad_answer' : 'reset');
  const kind = named === 'timeout' && isConnected ? 'half_open' : named;
  return new UnreachableError(
    kind,
    `${what}: ${code || (error instanceof Error ? error.message : String(error))}`,
    error,
  );
}

function codeOf(error: unknown): string {
  const { code, cause, errors } = error as { code?: unknown; cause?: unknown; errors?: unknown[] };
  if (typeof code === 'string') return code;
  if (Array.isArray(errors) && errors.length > 0) return codeOf(errors[0]);
  return cause === undefined ? '' : codeOf(cause);
}
