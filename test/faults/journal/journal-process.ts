/** The journal in a process of its own, as something to be loaded and killed. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { UnreachableError } from '../../../shared/client/index.ts';
import { HoldfastError, type ErrorCode } from '../../../shared/wire/problem.ts';
import type { CallAnswer, CallRequest } from '../history/history.ts';
import type { WorkTarget } from '../history/work-target.ts';
import type { Ended, Started, Subject } from '../subject.ts';
import { killNow, type Undo } from '../undo.ts';

const CHILD = fileURLToPath(new URL('./journal-child.ts', import.meta.url));

export type ToChild = {
  readonly id: number;
  readonly request: CallRequest;
  readonly known: { readonly operationId: string; readonly attempt: number };
};
export type FromChild =
  | { readonly type: 'ready' }
  | { readonly type: 'ok'; readonly id: number; readonly answer: CallAnswer }
  | {
      readonly type: 'error';
      readonly id: number;
      readonly code: ErrorCode;
      readonly detail: string;
    };

type Waiter = {
  readonly resolve: (answer: CallAnswer) => void;
  readonly reject: (error: Error) => void;
};

export class JournalProcess implements Subject {
  readonly target: WorkTarget;
  readonly #child: ChildProcess;
  readonly #ended: Promise<Ended>;
  readonly #ready = Promise.withResolvers<void>();
  readonly #waiters = new Map<number, Waiter>();
  #lastId = 0;

  constructor(directory: string, undo: Undo) {
    this.#child = spawn(process.execPath, [CHILD, directory], { stdio: ['pipe', 'pipe', 'pipe'] });
    const { pid, stdin, stdout, stderr } = this.#child;
    const gone = undo.add(`journal ${pid}`, () => killNow(this.#child));
    stdin?.on('error', () => undefined);
    let said = '';
    stderr?.setEncoding('utf8').on('data', (text: string) => (said += text));
    if (stdout !== null) createInterface({ input: stdout }).on('line', (line) => this.#take(line));
    const { promise, resolve } = Promise.withResolvers<Ended>();
    this.#ended = promise;
    this.#child.once('close', (code, signal) => {
      gone();
      for (const { reject } of this.#waiters.values())
        reject(new UnreachableError('reset', 'the journal was killed'));
      this.#waiters.clear();
      resolve({ code, signal, said: said.trim() });
    });
    this.target = { perform: (request, known) => this.#perform(request, known) };
  }

  started(): Promise<Started> {
    return Promise.race([
      this.#ready.promise.then((): Started => ({ kind: 'ready' })),
      this.#ended.then((ended): Started => ({ kind: 'ended', ended })),
    ]);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  close(): Promise<void> {
    return this.kill();
  }

  #perform(request: CallRequest, known: ToChild['known']): Promise<CallAnswer> {
    const { operationId, attempt } = known;
    this.#lastId += 1;
    const line: ToChild = { id: this.#lastId, request, known: { operationId, attempt } };
    return new Promise((resolve, reject) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        reject(new UnreachableError('refused', 'the journal has ended'));
        return;
      }
      this.#waiters.set(line.id, { resolve, reject });
      this.#child.stdin?.write(`${JSON.stringify(line)}\n`);
    });
  }

  #take(text: string): void {
    const line = parseLine(text);
    if (line === null) return;
    if (line.type === 'ready') {
      this.#ready.resolve();
      return;
    }
    const waiter = this.#waiters.get(line.id);
    this.#waiters.delete(line.id);
    if (line.type === 'ok') waiter?.resolve(line.answer);
    else waiter?.reject(new HoldfastError(line.code, line.detail));
  }
}

/** The last line of a process that was killed may be half of one. */
function parseLine(text: string): FromChild | null {
  try {
    return JSON.parse(text) as FromChild;
  } catch {
    return null;
  }
}
