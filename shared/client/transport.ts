/** The transport of the daemons and the command: undici, with connections that are kept. */
import { Agent, DecoratorHandler, request as undiciRequest, type Dispatcher } from 'undici';
import { timeoutSignal } from '../platform/clock.ts';
import { currentTrace, spanned, type SpanFacts } from '../platform/tracing.ts';
import {
  RESPONSE_BYTES_MAX,
  unreachable,
  type Target,
  type Transport,
  type TransportRequest,
  type TransportResponse,
} from './transport-port.ts';

export { UnreachableError } from './transport-port.ts';
export type { Target, Transport, TransportRequest, TransportResponse } from './transport-port.ts';

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
      const timedOut = timeout.aborted;
      throw unreachable(error, { request, url: this.#target.url, timedOut, isConnected });
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
