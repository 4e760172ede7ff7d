/** The transport of the published client where there is `fetch` and no Node. No Unix sockets. */
import type { Clock } from '../platform/clock.ts';
import {
  unreachable,
  type Target,
  type Transport,
  type TransportRequest,
  type TransportResponse,
} from './transport-port.ts';

export type Fetch = (
  url: string,
  init: {
    readonly method: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly body?: string;
    readonly signal: AbortSignal;
  },
) => Promise<{
  readonly status: number;
  readonly headers: { forEach(each: (value: string, name: string) => void): void };
  text(): Promise<string>;
}>;

export class FetchTransport implements Transport {
  readonly #target: Target;
  readonly #clock: Clock;
  readonly #fetch: Fetch;

  constructor(target: Target, clock: Clock, fetch: Fetch) {
    this.#target = target;
    this.#clock = clock;
    this.#fetch = fetch;
  }

  async send(request: TransportRequest): Promise<TransportResponse> {
    const timeout = new AbortController();
    const timer = this.#clock.startTimer(request.timeoutMs, () => timeout.abort());
    const signals = [timeout.signal, ...(request.signal === undefined ? [] : [request.signal])];
    try {
      const response = await this.#fetch(`${this.#target.url}${request.path}`, {
        method: request.method,
        headers: request.headers ?? {},
        ...(request.body === undefined ? {} : { body: request.body }),
        signal: AbortSignal.any(signals),
      });
      const headers: Record<string, string> = {};
      response.headers.forEach((value, name) => {
        headers[name] = value;
      });
      return { status: response.status, headers, body: await response.text() };
    } catch (error) {
      const timedOut = timeout.signal.aborted;
      throw unreachable(error, { request, url: this.#target.url, timedOut });
    } finally {
      timer.cancel();
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
