/**
 * What both clients share: JSON over a transport, a bearer token, and answers told apart from
 * silence.
 */
import { errorOfAnswer } from './problem-error.ts';
import {
  UnreachableError,
  type Target,
  type Transport,
  type TransportRequest,
} from './transport-port.ts';

export type JsonCall = {
  readonly method: TransportRequest['method'];
  /** Without its query. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Encoded as JSON; use `text` for a body that is encoded already. */
  readonly body?: unknown;
  readonly text?: { readonly contentType: string; readonly data: string };
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
};

export type JsonAnswer<T> = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: T;
};

export type JsonCallerOptions = {
  readonly transport: Transport;
  /** Read before each request, so that a rotated token is picked up; `null` sends none. */
  readonly token: () => string | null;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
};

export class JsonCaller {
  readonly #options: JsonCallerOptions;

  constructor(options: JsonCallerOptions) {
    this.#options = options;
  }

  /**
   * Bodies are trusted to have their documented shape: a newer daemon may add fields, never drop
   * them.
   */
  async call<T>(call: JsonCall): Promise<JsonAnswer<T>> {
    const { transport, token, headers, timeoutMs } = this.#options;
    const bearer = token();
    const encoded = encode(call);
    const response = await transport.send({
      method: call.method,
      path: withQuery(call.path, call.query ?? {}),
      headers: {
        accept: 'application/json',
        ...headers,
        ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
        ...(encoded === null ? {} : { 'content-type': encoded.contentType }),
        ...call.headers,
      },
      ...(encoded === null ? {} : { body: encoded.data }),
      timeoutMs: call.timeoutMs ?? timeoutMs,
      ...(call.signal === undefined ? {} : { signal: call.signal }),
    });
    const what = `${call.method} ${call.path}`;
    // Asked for by an If-None-Match, and without a body.
    const isUnchanged = response.status === 304;
    if (!isUnchanged && (response.status < 200 || response.status > 299))
      throw errorOfAnswer(response, what);
    return {
      status: response.status,
      headers: response.headers,
      body: parse<T>(response.body, what),
    };
  }

  async body<T>(call: JsonCall): Promise<T> {
    return (await this.call<T>(call)).body;
  }

  async close(): Promise<void> {
    await this.#options.transport.close();
  }
}

function encode(call: JsonCall): { contentType: string; data: string } | null {
  if (call.text !== undefined) return { ...call.text };
  if (call.body === undefined) return null;
  return { contentType: 'application/json', data: JSON.stringify(call.body) };
}

function parse<T>(text: string, what: string): T {
  if (text === '') return undefined as T;
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new UnreachableError(
      'bad_answer',
      `${what} was answered with something that is not JSON`,
      error,
    );
  }
}

function withQuery(
  path: string,
  query: Readonly<Record<string, string | number | undefined>>,
): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  return parameters.size === 0 ? path : `${path}?${parameters.toString()}`;
}

/** `http://127.0.0.1:7490`, or `unix:/run/holdfast/sidecar.sock`; `null` where it is neither. */
export function parseEndpoint(text: string): Target | null {
  if (text.startsWith('unix:')) {
    const socketPath = text.slice('unix:'.length).replace(/^\/\/(?=\/)/, '');
    return socketPath === '' ? null : { url: 'http://localhost', socketPath };
  }
  if (!URL.canParse(text)) return null;
  const { protocol, origin } = new URL(text);
  return protocol === 'http:' || protocol === 'https:' ? { url: origin } : null;
}
