/**
 * One connection to a daemon, by hand: bytes out, whatever they are, and answers in as they come, in
 * the order of the requests. An HTTP library would put right what is to be wrong.
 */
import { connect, type Socket } from 'node:net';

export type WireAnswer = {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
};

/** What became of one request. */
export type WireEnd =
  | { readonly kind: 'answer'; readonly answer: WireAnswer }
  /** The connection ended without an answer to it. */
  | { readonly kind: 'closed' }
  | { readonly kind: 'silence'; readonly afterMs: number }
  | { readonly kind: 'garbage'; readonly detail: string };

const HEAD_END = '\r\n\r\n';
const HEAD_MAX = 128 * 1024;

type Waiting = { readonly isHead: boolean; readonly resolve: (end: WireEnd) => void };

export class WireClient {
  readonly #socket: Socket;
  readonly #waiting: Waiting[] = [];
  #buffer: Buffer = Buffer.alloc(0);
  #isClosed = false;

  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1', allowHalfOpen: false });
    this.#socket.setNoDelay(true);
    this.#socket.on('data', (bytes: Buffer) => this.#take(bytes));
    this.#socket.on('error', () => undefined);
    this.#socket.once('close', () => this.#closed());
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Resolves with its answer, or when it is known that none comes. */
  send(bytes: Buffer, options: { isHead: boolean; boundMs: number }): Promise<WireEnd> {
    const { promise, resolve } = Promise.withResolvers<WireEnd>();
    if (this.#isClosed) {
      resolve({ kind: 'closed' });
      return promise;
    }
    const timer = setTimeout(() => {
      resolve({ kind: 'silence', afterMs: options.boundMs });
      this.close();
    }, options.boundMs);
    this.#waiting.push({
      isHead: options.isHead,
      resolve: (end) => {
        clearTimeout(timer);
        resolve(end);
      },
    });
    this.#socket.write(bytes);
    return promise;
  }

  /** Says that nothing more comes, and goes on listening. */
  halfClose(): void {
    this.#socket.end();
  }

  close(): void {
    this.#socket.destroy();
  }

  #closed(): void {
    this.#isClosed = true;
    // A body without a length ends with its connection.
    const left = this.#buffer.toString('latin1');
    const first = this.#waiting[0];
    if (
      first !== undefined &&
      left.includes(HEAD_END) &&
      !/^content-length:|^transfer-encoding:/im.test(left)
    ) {
      const [head, body] = [
        left.slice(0, left.indexOf(HEAD_END)),
        left.slice(left.indexOf(HEAD_END) + 4),
      ];
      const parsed = parseHead(head);
      if (parsed !== null) {
        this.#waiting.shift();
        first.resolve({ kind: 'answer', answer: { ...parsed, body } });
      }
    }
    for (const { resolve } of this.#waiting.splice(0)) resolve({ kind: 'closed' });
  }

  #take(bytes: Buffer): void {
    this.#buffer = this.#buffer.length === 0 ? bytes : Buffer.concat([this.#buffer, bytes]);
    for (;;) {
      const waiting = this.#waiting[0];
      if (waiting === undefined) {
        if (this.#buffer.length > 0) this.close();
        return;
      }
      const taken = takeAnswer(this.#buffer, waiting.isHead);
      if (taken === 'more') return;
      if ('garbage' in taken) {
        this.#waiting.shift();
        waiting.resolve({ kind: 'garbage', detail: taken.garbage });
        this.close();
        return;
      }
      this.#buffer = this.#buffer.subarray(taken.length);
      // `100 Continue` and its like come before the answer proper.
      if (taken.answer.status < 200) continue;
      this.#waiting.shift();
      waiting.resolve({ kind: 'answer', answer: taken.answer });
    }
  }
}

type Taken = { readonly answer: WireAnswer; readonly length: number };
/** `garbage`: what came is no answer. */
type Take = Taken | 'more' | { readonly garbage: string };

function takeAnswer(buffer: Buffer, isHead: boolean): Take {
  const headEnd = buffer.indexOf(HEAD_END);
  if (headEnd === -1)
    return buffer.length > HEAD_MAX ? { garbage: 'a head without an end' } : 'more';
  const parsed = parseHead(buffer.toString('latin1', 0, headEnd));
  if (parsed === null) return { garbage: buffer.toString('latin1', 0, Math.min(headEnd, 120)) };
  const { status, headers } = parsed;
  const start = headEnd + HEAD_END.length;
  if (isHead || status < 200 || status === 204 || status === 304)
    return { answer: { ...parsed, body: '' }, length: start };
  if (headers.get('transfer-encoding') === 'chunked') return takeChunks(buffer, start, parsed);
  const said = headers.get('content-length');
  if (said === undefined) return 'more';
  const length = Number(said);
  if (buffer.length < start + length) return 'more';
  return {
    answer: { ...parsed, body: buffer.toString('utf8', start, start + length) },
    length: start + length,
  };
}

function takeChunks(buffer: Buffer, start: number, head: Omit<WireAnswer, 'body'>): Take {
  const parts: Buffer[] = [];
  for (let at = start; ;) {
    const lineEnd = buffer.indexOf('\r\n', at);
    if (lineEnd === -1) return 'more';
    const size = Number.parseInt(buffer.toString('latin1', at, lineEnd), 16);
    if (!Number.isSafeInteger(size)) return { garbage: 'a chunk without a size' };
    const chunkStart = lineEnd + 2;
    if (buffer.length < chunkStart + size + 2) return 'more';
    if (size === 0) {
      const body = Buffer.concat(parts).toString();
      return { answer: { ...head, body }, length: chunkStart + 2 };
    }
    parts.push(buffer.subarray(chunkStart, chunkStart + size));
    at = chunkStart + size + 2;
  }
}

function parseHead(head: string): Omit<WireAnswer, 'body'> | null {
  const [first = '', ...lines] = head.split('\r\n');
  const status = /^HTTP\/1\.1 (\d{3}) /.exec(`${first} `)?.[1];
  if (status === undefined) return null;
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon < 1) return null;
    headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  return { status: Number(status), headers };
}
