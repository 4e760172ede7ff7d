/**
 * Load over keep-alive connections from one process, cheap enough to leave the machine to the
 * server: requests are written as bytes, of answers only status and length are read.
 */
import { connect, type Socket } from 'node:net';

export type LoadOptions = {
  readonly port: number;
  readonly connections: number;
  readonly requests: number;
  /** The bytes of request number `index`. */
  readonly request: (index: number) => Buffer;
  /** Called with each answer's status and, where it is not the expected one, its text. */
  readonly expectedStatus: number;
  /** So many, evenly, whatever the answers take: latency is then from when one was due. */
  readonly perSecond?: number;
  /** Ends the load before all requests are sent. */
  readonly isOver?: () => boolean;
};

export type LoadResult = {
  readonly requests: number;
  readonly seconds: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Answers with another status than expected, by status. */
  readonly unexpected: Readonly<Record<string, number>>;
};

export async function load(options: LoadOptions): Promise<LoadResult> {
  const latencies: number[] = [];
  const unexpected: Record<string, number> = {};
  const { isOver = () => false, perSecond } = options;
  let next = 0;
  const startedMs = performance.now();
  const connections = Array.from({ length: options.connections }, async () => {
    const connection = await Connection.open(options.port);
    for (let index = next++; index < options.requests && !isOver(); index = next++) {
      let sentMs = performance.now();
      if (perSecond !== undefined) {
        const dueMs = startedMs + (index * 1_000) / perSecond;
        if (dueMs > sentMs) await new Promise((resolve) => setTimeout(resolve, dueMs - sentMs));
        sentMs = dueMs;
      }
      const status = await connection.exchange(options.request(index));
      latencies.push(performance.now() - sentMs);
      if (status !== options.expectedStatus) unexpected[status] = (unexpected[status] ?? 0) + 1;
    }
    connection.close();
  });
  await Promise.all(connections);
  const seconds = (performance.now() - startedMs) / 1_000;
  const latenciesMs = Float64Array.from(latencies).toSorted();
  return {
    requests: latencies.length,
    seconds,
    perSecond: latencies.length / seconds,
    p50Ms: percentile(latenciesMs, 0.5),
    p99Ms: percentile(latenciesMs, 0.99),
    unexpected,
  };
}

/** `sorted` is in rising order. */
export function percentile(sorted: Float64Array, part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

const HEAD_END = Buffer.from('\r\n\r\n');

class Connection {
  readonly #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #resolve: ((status: number) => void) | null = null;
  #reject: ((error: Error) => void) | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (data: Buffer) => this.#take(data));
    socket.on('error', (error) => this.#reject?.(error));
    socket.on('close', () => this.#reject?.(new Error('the connection was closed')));
  }

  static open(port: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => resolve(new Connection(socket)));
      socket.once('error', reject);
    });
  }

  exchange(request: Buffer): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#socket.write(request);
    });
  }

  close(): void {
    this.#reject = null;
    this.#socket.end();
  }

  #take(data: Buffer): void {
    this.#received = this.#received.length === 0 ? data : Buffer.concat([this.#received, data]);
    const headEnd = this.#received.indexOf(HEAD_END);
    if (headEnd < 0) return;
    const head = this.#received.toString('latin1', 0, headEnd);
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
    const end = headEnd + HEAD_END.length + length;
    if (this.#received.length < end) return;
    this.#received = this.#received.subarray(end);
    this.#resolve?.(Number(head.slice(9, 12)));
  }
}
