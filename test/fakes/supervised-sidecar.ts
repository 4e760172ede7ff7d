/**
 * A real sidecar as an init system runs it: started again whenever a signal has ended it, always in
 * the same way, until it is stopped.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { bareEnvironment } from './bare-environment.ts';
import { openSidecar, type ControlClient, type SidecarClient } from '../../shared/client/index.ts';

const SIDECAR = join(import.meta.dirname, '../../dataplane/main.ts');
const FAILPOINTS = new URL('../faults/campaigns/failpoints-preload.ts', import.meta.url).href;

export type SupervisedSidecarOptions = {
  readonly directory: string;
  readonly name: string;
  readonly controlUrl: string;
  /** As the environment of the daemon, besides what every one needs. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Armed in every run. */
  readonly failpoints?: string;
  /** What the supervisor waits for before it starts it again. */
  readonly beforeRestart?: () => Promise<unknown>;
};

type Line = Readonly<Record<string, unknown>>;

export class SupervisedSidecar {
  readonly name: string;
  readonly client: SidecarClient;
  /** What each run logged. */
  readonly runs: Line[][] = [];
  /** How each run before this one ended. */
  readonly ends: string[] = [];
  readonly #options: SupervisedSidecarOptions;
  readonly #running: Promise<void>;
  #child: ChildProcess | null = null;
  #isStopped = false;

  /** A host that `control` has made a join token for. */
  static async enrol(
    control: ControlClient,
    options: SupervisedSidecarOptions,
  ): Promise<SupervisedSidecar> {
    const { joinToken } = await control.createJoinToken({ hostName: options.name });
    const { directory, name } = options;
    writeFileSync(join(directory, `${name}.token`), joinToken, { mode: 0o600 });
    return new SupervisedSidecar(options);
  }

  private constructor(options: SupervisedSidecarOptions) {
    this.#options = options;
    this.name = options.name;
    this.client = openSidecar({ endpoint: `unix:${this.#file('sock')}`, token: 'any' });
    this.#running = this.#keepRunning();
  }

  /** Each policy that it put in force or rejected, over all runs. */
  policies(): string[] {
    return this.runs.flat().flatMap(({ msg, policyRevision }) => {
      const said = /^policy revision (in force, from disk|in force|rejected)/.exec(String(msg));
      return said === null ? [] : [`${String(policyRevision)} ${said[1]}`];
    });
  }

  get isArmed(): boolean {
    return this.#options.failpoints !== undefined;
  }

  /** As a crash does: it is started again. */
  kill(): void {
    this.#child?.kill('SIGKILL');
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.kill();
    await this.#running;
    await this.client.close();
  }

  async #keepRunning(): Promise<void> {
    while (!this.#isStopped) {
      const end = await this.#run();
      if (this.#isStopped) return;
      this.ends.push(end);
      // One that gives up by itself says why, and would again.
      if (!end.startsWith('SIG')) return;
      await this.#options.beforeRestart?.();
    }
  }

  #run(): Promise<string> {
    const { controlUrl, name, settings = {}, failpoints } = this.#options;
    const preload = failpoints === undefined ? [] : ['--import', FAILPOINTS];
    const child = spawn(process.execPath, [...preload, SIDECAR], {
      env: {
        ...bareEnvironment(),
        HOLDFAST_DATA_DIR: this.#file('data'),
        HOLDFAST_LISTEN: 'off',
        HOLDFAST_SOCKET_PATH: this.#file('sock'),
        HOLDFAST_APP_AUTH: 'off',
        HOLDFAST_CONTROL_URL: controlUrl,
        HOLDFAST_HOST_NAME: name,
        HOLDFAST_JOIN_TOKEN_FILE: this.#file('token'),
        HOLDFAST_BALLAST: '0B',
        ...settings,
        ...(failpoints === undefined ? {} : { HOLDFAST_FAILPOINTS: failpoints }),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    const lines: Line[] = [];
    this.runs.push(lines);
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.startsWith('{')) lines.push(JSON.parse(line) as Line);
    });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const { promise, resolve } = Promise.withResolvers<string>();
    child.once('close', (code, signal) => resolve(signal ?? `code ${code}: ${said}`));
    return promise;
  }

  #file(kind: string): string {
    return join(this.#options.directory, `${this.name}.${kind}`);
  }
}
