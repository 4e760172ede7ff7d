/** The transport of the published client under Node: `node:http`, so that it depends on no package. */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Clock } from '../platform/clock.ts';
import {
  RESPONSE_BYTES_MAX,
  UnreachableError,
  unreachable,
  type Target,
  type Transport,
  type TransportRequest,
  type TransportResponse,
} from './transport-port.ts';

const CONNECTIONS_MAX = 64;

export class NodeTransport implements Transport {
  readonly #target: Target;
  readonly #clock: Clock;
  readonly #agent: HttpAgent | HttpsAgent;

  constructor(target: Target, clock: Clock) {
    this.#target = target;
    this.#clock = clock;
    const options = { keepAlive: true, maxSockets: CONNECTIONS_MAX };
    this.#agent = target.url.startsWith('https:')
      ? new HttpsAgent(options)
      : new HttpAgent(options);
  }

  async send(request: TransportRequest): Promise<TransportResponse> {
    const timeout = new AbortController();
    const timer = this.#clock.startTimer(request.timeoutMs, () => timeout.abort());
    const signals = [timeout.signal, ...(request.signal === undefined ? [] : [request.signal])];
    try {
      return await this.#exchange(request, AbortSignal.any(signals));
    } catch (error) {
      if (error instanceof UnreachableError) throw error;
      const timedOut = timeout.signal.aborted;
      throw unreachable(error, { request, url: this.#target.url, timedOut });
    } finally {
      timer.cancel();
    }
  }

  close(): Promise<void> {
    this.#agent.destroy();
    return Promise.resolve();
  }

  #exchange(request: TransportRequest, signal: AbortSignal): Promise<TransportResponse> {
    const { socketPath, url } = this.#target;
    const send = url.startsWith('https:') ? httpsRequest : httpRequest;
    const body = request.body === undefined ? null : new TextEncoder().encode(request.body);
    return new Promise((resolve, reject) => {
      const sent = send(
        new URL(request.path, url),
        {
          agent: this.#agent,
          method: request.method,
          headers: {
            ...request.headers,
            ...(body === null ? {} : { 'content-length': String(body.byteLength) }),
          },
          signal,
          ...(socketPath === undefined ? {} : { socketPath }),
        },
        (response) => void readAnswer(response).then(resolve, reject),
      );
      sent.once('error', reject);
      sent.end(body ?? undefined);
    });
  }
}

async function readAnswer(response: IncomingMessage): Promise<TransportResponse> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > RESPONSE_BYTES_MAX) {
      response.destroy();
      throw new UnreachableError('bad_answer', `the answer is over ${RESPONSE_BYTES_MAX} bytes`);
    }
    chunks.push(chunk);
  }
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(response.headers))
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value;
  const body = Buffer.concat(chunks).toString('utf8');
  return { status: response.statusCode ?? 0, headers, body };
}
