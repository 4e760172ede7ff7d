/** One daemon as a real child process: started, killed, stopped, and seen to its end. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { UnreachableError } from '../../../shared/client/index.ts';
import { UndiciTransport } from '../../../shared/client/transport.ts';
import type { Clock } from '../../../shared/platform/clock.ts';
import type { DaemonName } from '../connections.ts';
import { CommandError, EXIT } from '../failures.ts';

const ENTRIES: Readonly<Record<DaemonName, string>> = {
  control: fileURLToPath(new URL('../../main.ts', import.meta.url)),
  sidecar: fileURLToPath(new URL('../../../dataplane/main.ts', import.meta.url)),
};
const STOP_WITH_PARENT = new URL('./stop-with-parent.ts', import.meta.url).href;

/** A little over the bound that the daemons set themselves. */
const STOP_BOUND_MS = 17_000;
const READY_BOUND_MS = 30_000;
const READY_POLL_MS = 50;
const PROBE_TIMEOUT_MS = 2_000;

/** Of each stream, to say why a daemon ended. */
const LAST_LINES_MAX = 20;

export type OutputStream = 'stdout' | 'stderr';

export type Ending = {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The supervisor asked for it. */
  readonly isExpected: boolean;
};

export type DaemonProcessOptions = {
  readonly name: DaemonName;
  readonly url: string;
  /** The whole environment: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly onLine: (stream: OutputStream, line: string) => void;
  readonly onEnd: (ending: Ending) => void;
};

type Run = {
  readonly child: ChildProcess;
  readonly ended: Promise<Ending>;
  readonly lastLines: string[];
  ending: Ending | null;
  isStopping: boolean;
};

export class DaemonProcess {
  readonly name: DaemonName;
  readonly url: string;
  readonly #options: DaemonProcessOptions;
  #run: Run | null = null;

  constructor(options: DaemonProcessOptions) {
    this.name = options.name;
    this.url = options.url;
    this.#options = options;
  }

  get isRunning(): boolean {
    return this.#run !== null && this.#run.ending === null;
  }

  get pid(): number | null {
    return this.isRunning ? (this.#run?.child.pid ?? null) : null;
  }

  /** Starts it unless it runs; `untilReady` says when it serves. */
  start(): void {
    if (this.isRunning) return;
    const child = spawn(process.execPath, ['--import', STOP_WITH_PARENT, ENTRIES[this.name]], {
      env: { ...this.#options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
      // Out of the terminal's process group: Ctrl-C is for the supervisor, which stops them in
      // order.
      detached: true,
      windowsHide: true,
    });
    // A daemon that is gone cannot take what is written to it; nothing ever is.
    child.stdin.on('error', () => {});
    const { promise, resolve } = Promise.withResolvers<Ending>();
    const run: Run = { child, ended: promise, lastLines: [], ending: null, isStopping: false };
    this.#run = run;
    const end = (exitCode: number | null, signal: NodeJS.Signals | null): void => {
      if (run.ending !== null) return;
      run.ending = { exitCode, signal, isExpected: run.isStopping };
      resolve(run.ending);
      this.#options.onEnd(run.ending);
    };
    this.#follow(run, child.stdout, 'stdout');
    this.#follow(run, child.stderr, 'stderr');
    child.once('error', (error) => {
      run.lastLines.push(error.message);
      end(null, null);
    });
    // Not `exit`: by `close` everything it said has been read.
    child.once('close', end);
  }

  #follow(run: Run, stream: Readable, name: OutputStream): void {
    createInterface({ input: stream }).on('line', (line) => {
      if (name === 'stderr') {
        run.lastLines.push(line);
        run.lastLines.splice(0, run.lastLines.length - LAST_LINES_MAX);
      }
      this.#options.onLine(name, line);
    });
  }

  /**
   * Resolves when `/readyz` says yes; rejects when the daemon ends first, is too slow, or is given
   * up.
   */
  async untilReady(signal?: AbortSignal): Promise<void> {
    const run = this.#run;
    const { clock } = this.#options;
    if (run === null) throw new CommandError('not_running', `${this.name} is not running`);
    const transport = new UndiciTransport({ url: this.url });
    const startedMs = clock.now().bootMs;
    let answer = 'no answer yet';
    try {
      for (;;) {
        signal?.throwIfAborted();
        if (run.ending !== null) throw this.#endedEarly(run, run.ending);
        if (clock.now().bootMs - startedMs > READY_BOUND_MS) {
          const detail = `${this.name} is not ready after ${READY_BOUND_MS / 1_000} s: ${answer}`;
          throw new CommandError('not_ready', detail, { exitCode: EXIT.unavailable });
        }
        try {
          const timeoutMs = PROBE_TIMEOUT_MS;
          const { status, body } = await transport.send({
            method: 'GET',
            path: '/readyz?verbose=true',
            timeoutMs,
          });
          if (status === 200) return;
          answer = body.slice(0, 500);
        } catch (error) {
          if (!(error instanceof UnreachableError)) throw error;
          answer = error.message;
        }
        await Promise.race([clock.sleep(READY_POLL_MS), run.ended]);
      }
    } finally {
      await transport.close();
    }
  }

  #endedEarly(run: Run, ending: Ending): CommandError {
    const detail = `${this.name} ended before it was ready: ${endingText(ending)}`;
    return new CommandError('daemon_failed', detail, {
      errors: run.lastLines.map((message) => ({ path: this.name, message })),
      hint: '`holdfast dev --fresh` begins with an empty data directory',
    });
  }

  /** As a crash or a power cut ends it: at once, in the middle of whatever it does. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** As an operator ends it; after a bound, by force. */
  async stop(): Promise<void> {
    const run = this.#run;
    if (run === null) return;
    const ended = this.#end('SIGTERM');
    const forced = this.#options.clock.startTimer(
      STOP_BOUND_MS,
      () => void run.child.kill('SIGKILL'),
    );
    await ended;
    forced.cancel();
  }

  /** Ends it at once, without waiting: for a supervisor that has no time left. */
  abandon(): void {
    this.#run?.child.kill('SIGKILL');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const run = this.#run;
    if (run === null || run.ending !== null) return;
    run.isStopping = true;
    run.child.kill(signal);
    await run.ended;
  }
}

export function endingText({ exitCode, signal }: Ending): string {
  if (signal !== null) return `by signal ${signal}`;
  return exitCode === null ? 'it could not be started' : `with exit code ${exitCode}`;
}
