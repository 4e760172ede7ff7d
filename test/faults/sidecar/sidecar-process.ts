/** One run of a sidecar on a given data directory, alone or under a tracer; killed and seen to end. */
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { UnreachableError } from '../../../shared/client/index.ts';
import { UndiciTransport } from '../../../shared/client/transport.ts';
import { bareEnvironment } from '../../fakes/bare-environment.ts';
import { pause } from '../pause.ts';
import type { Ended, Started, Subject } from '../subject.ts';
import { killNow, type Undo } from '../undo.ts';
import { SidecarTarget } from './sidecar-target.ts';
import type { Site } from './site.ts';

const SIDECAR = fileURLToPath(new URL('../../../dataplane/main.ts', import.meta.url));
/** It ends when this program does, even if that is killed. */
const STOP_WITH_PARENT = new URL('../../../control/cli/dev/stop-with-parent.ts', import.meta.url)
  .href;
const NOBODY = 'http://127.0.0.1:1';
const POLL_MS = 10;
const PROBE_TIMEOUT_MS = 2_000;
const CALL_TIMEOUT_MS = 10_000;
const STDERR_KEPT = 4_000;

export class SidecarProcess implements Subject {
  readonly target: SidecarTarget;
  readonly ended: Promise<Ended>;
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #transport: UndiciTransport;
  #result: Ended | null = null;

  constructor(
    site: Site,
    undo: Undo,
    options: {
      readonly dataDir: string;
      /** A program and its arguments that run the sidecar as their child and become it. */
      readonly under?: readonly string[];
      /** For a first start; without it the data is of a host that has enrolled. */
      readonly joinTokenFile?: string;
      /** None where it is not said: it would be written anew for each copy of the data. */
      readonly ballast?: string;
      readonly callTimeoutMs?: number;
      /** Where it is asked over a Unix socket: its loopback addresses are not ours. */
      readonly socketPath?: string;
      /** Over what is said here. */
      readonly env?: Readonly<Record<string, string>>;
    },
  ) {
    this.url = `http://127.0.0.1:${site.port}`;
    const timeoutMs = options.callTimeoutMs ?? CALL_TIMEOUT_MS;
    const { socketPath } = options;
    const at = { url: this.url, ...(socketPath === undefined ? {} : { socketPath }) };
    this.target = new SidecarTarget({ ...at, token: site.token, timeoutMs });
    this.#transport = new UndiciTransport(at);
    const command = [process.execPath, '--import', STOP_WITH_PARENT, SIDECAR];
    const [program = process.execPath, ...args] = [...(options.under ?? []), ...command];
    this.#child = spawn(program, args, {
      env: {
        ...bareEnvironment(),
        HOLDFAST_DATA_DIR: options.dataDir,
        HOLDFAST_LISTEN: `127.0.0.1:${site.port}`,
        HOLDFAST_CONTROL_URL: NOBODY,
        HOLDFAST_HOST_NAME: 'dev',
        HOLDFAST_APPS_FILE: site.appsFile,
        HOLDFAST_LOG_LEVEL: 'error',
        HOLDFAST_BALLAST: options.ballast ?? '0B',
        ...(options.joinTokenFile === undefined
          ? {}
          : { HOLDFAST_JOIN_TOKEN_FILE: options.joinTokenFile }),
        ...(socketPath === undefined ? {} : { HOLDFAST_SOCKET_PATH: socketPath }),
        ...options.env,
      },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    const gone = undo.add(`sidecar ${this.#child.pid}`, () => killNow(this.#child));
    this.#child.stdin?.on('error', () => undefined);
    let said = '';
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        said = `${said}${text}`.slice(-STDERR_KEPT);
      });
    }
    const { promise, resolve } = Promise.withResolvers<Ended>();
    this.ended = promise;
    this.#child.once('close', (code, signal) => {
      this.#result = { code, signal, said: said.trim() };
      gone();
      resolve(this.#result);
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get hasEnded(): boolean {
    return this.#result !== null;
  }

  /** Resolves as soon as it is ready or has ended; otherwise, after `boundMs`, with its checks. */
  async started(boundMs = 30_000): Promise<Started> {
    const startedMs = performance.now();
    let checks = 'no answer';
    for (;;) {
      if (this.#result !== null) return { kind: 'ended', ended: this.#result };
      const answer = await this.probe('/readyz?verbose=true');
      if (answer?.status === 200) return { kind: 'ready' };
      checks = answer?.body ?? checks;
      if (checks.includes('quarantined') || performance.now() - startedMs > boundMs)
        return { kind: 'not_ready', checks };
      await Promise.race([pause(POLL_MS), this.ended]);
    }
  }

  /** Whether it came to answer at all, or ended first. */
  async isLive(): Promise<boolean> {
    while (this.#result === null) {
      if ((await this.probe('/livez'))?.status === 200) return true;
      await Promise.race([pause(POLL_MS), this.ended]);
    }
    return false;
  }

  async probe(path: string): Promise<{ status: number; body: string; tookMs: number } | null> {
    const startedMs = performance.now();
    try {
      const answer = await this.#transport.send({
        method: 'GET',
        path,
        timeoutMs: PROBE_TIMEOUT_MS,
      });
      return { ...answer, tookMs: performance.now() - startedMs };
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error;
      return null;
    }
  }

  /** kill -9, and wait until it is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }

  /** As an operator stops it. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.ended;
  }

  /** Waits for an end that comes by itself; `null` when it does not come in time. */
  untilEnded(boundMs: number): Promise<Ended | null> {
    return Promise.race([this.ended, pause(boundMs).then(() => null)]);
  }

  /** Kills what still runs. Answers that had come by then have been read: call it last. */
  async close(): Promise<void> {
    await this.kill();
    await this.target.close();
    await this.#transport.close();
  }
}
