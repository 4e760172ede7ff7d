/** A real Redis of its own, on a Unix socket in a directory that goes with it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export class RedisServer {
  readonly #program: string;
  readonly #root = mkdtempSync(join(tmpdir(), 'holdfast-redis-'));
  #process: ChildProcess | null = null;

  private constructor(program: string) {
    this.#program = program;
  }

  static async start(program: string): Promise<RedisServer> {
    const server = new RedisServer(program);
    await server.restart();
    return server;
  }

  /** On the same files. */
  async restart(): Promise<void> {
    const durable = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', ''];
    const child = spawn(
      this.#program,
      ['--port', '0', '--unixsocket', this.#socketPath(), '--dir', this.#root, ...durable],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    this.#process = child;
    const said: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      said.push(line);
      // Reads on, or a full pipe would hold the server up.
      if (line.includes('eady to accept connections')) return void child.stdout.resume();
    }
    throw new Error(said.join('\n'));
  }

  connect(): RedisClient {
    return new RedisClient(connect(this.#socketPath()));
  }

  /** What was appended to the file, one command after the other, as one text. */
  appended(): string {
    const files = globSync(join(this.#root, 'appendonlydir', '*.incr.aof')).toSorted();
    return files.map((file) => readFileSync(file, 'utf8')).join('');
  }

  /** kill -9. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child === null) return;
    this.#process = null;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#root, { recursive: true });
  }

  #socketPath(): string {
    return join(this.#root, 'redis.sock');
  }
}

type Waiting = PromiseWithResolvers<unknown>;

/** As much of RESP as the answers to `EVAL`, `GET` and `SET` need. */
export class RedisClient {
  readonly #socket: Socket;
  readonly #waiting: Waiting[] = [];
  #received = '';

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1').on('data', (text: string) => {
      this.#received += text;
      for (let read = parse(this.#received, 0); read !== null; read = parse(this.#received, 0)) {
        this.#received = this.#received.slice(read.end);
        const { value } = read;
        const waiting = this.#waiting.shift();
        if (value instanceof Error) waiting?.reject(value);
        else waiting?.resolve(value);
      }
    });
    socket.on('error', () => undefined).on('close', () => this.#giveUp());
  }

  sendCommand(args: string[]): Promise<unknown> {
    const waiting: Waiting = Promise.withResolvers();
    if (this.#socket.destroyed) return Promise.reject(new Error('the connection is closed'));
    this.#waiting.push(waiting);
    const parts = args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`);
    this.#socket.write(`*${args.length}\r\n${parts.join('')}`);
    return waiting.promise;
  }

  close(): void {
    this.#socket.destroy();
  }

  #giveUp(): void {
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('the connection is closed'));
  }
}

type Parsed = { readonly value: unknown; readonly end: number };

/** `null` until the answer has come whole. */
function parse(text: string, from: number): Parsed | null {
  const lineEnd = text.indexOf('\r\n', from);
  if (lineEnd === -1) return null;
  const line = text.slice(from + 1, lineEnd);
  const end = lineEnd + 2;
  switch (text[from]) {
    case ':':
      return { value: Number(line), end };
    case '-':
      return { value: new Error(line), end };
    case '$': {
      const length = Number(line);
      if (length === -1) return { value: null, end };
      if (text.length < end + length + 2) return null;
      return { value: text.slice(end, end + length), end: end + length + 2 };
    }
    case '*': {
      const items: unknown[] = [];
      let at = end;
      for (let count = Number(line); count > 0; count -= 1) {
        const item = parse(text, at);
        if (item === null) return null;
        items.push(item.value);
        at = item.end;
      }
      return { value: items, end: at };
    }
    default:
      return { value: line, end };
  }
}
