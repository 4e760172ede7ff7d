/**
 * Control and one sidecar as two real processes on this machine, set up to know each other: what
 * `holdfast dev` runs, and what a program that plays outages drives.
 *
 * V1  Each daemon can be killed and started again by itself, at the same address and on the same
 *     data.
 * V2  `down` leaves no process, whatever state the two are in, and stops the sidecar first: it
 *     reports upwards what it still can.
 * V3  What was set up before is taken as it is: a second `up` on the same data publishes and enrols
 *     nothing.
 */
import { fileURLToPath } from 'node:url';
import { ControlClient, ProblemError, SidecarClient } from '../../../shared/client/index.ts';
import { UndiciTransport } from '../../../shared/client/transport.ts';
import type { Clock } from '../../../shared/platform/clock.ts';
import { writeDurableFile } from '../../../shared/platform/durable-file.ts';
import type { Random } from '../../../shared/platform/random.ts';
import type { DaemonName } from '../connections.ts';
import { CommandError, EXIT } from '../failures.ts';
import { readInput } from '../read-input.ts';
import { DaemonProcess, type Ending, type OutputStream } from './daemon-process.ts';
import {
  devFiles,
  listDirectory,
  makeDataDir,
  readSecret,
  writeAppFiles,
  type DevFiles,
} from './dev-files.ts';
import { claimPort } from './free-port.ts';

const SAMPLE_POLICY = fileURLToPath(
  new URL('../../../deploy/examples/policy.yaml', import.meta.url),
);
const HOST_NAME = 'dev';
const POLICY_BOUND_MS = 30_000;
const POLICY_POLL_MS = 50;
const REQUEST_TIMEOUT_MS = 10_000;

export type SupervisorOptions = {
  /** Absolute. */
  readonly dataDir: string;
  /** 0 takes any free port. */
  readonly controlPort: number;
  readonly sidecarPort: number;
  /** Published whatever is in force; without it the sample is, where nothing is. */
  readonly policyFile?: string;
  readonly logLevel?: string;
  /** Of this process; what concerns Holdfast itself is not handed on. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** More for one daemon, as `HOLDFAST_SYNC_INTERVAL`. */
  readonly controlSettings?: Readonly<Record<string, string>>;
  readonly sidecarSettings?: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly random: Random;
  readonly onLine: (daemon: DaemonName, stream: OutputStream, line: string) => void;
  readonly onEnd: (daemon: DaemonName, ending: Ending) => void;
};

export class Supervisor {
  readonly files: DevFiles;
  readonly #options: SupervisorOptions;
  readonly #daemons: Readonly<Record<DaemonName, DaemonProcess>>;
  #isDown = false;

  /** Fails where a port is taken, before anything is started. */
  static async open(options: SupervisorOptions): Promise<Supervisor> {
    const control = await claimPort(options.controlPort, { flag: '--control-port' });
    const sidecar = await claimPort(options.sidecarPort, { flag: '--sidecar-port' });
    if (control === sidecar) return Supervisor.open(options);
    return new Supervisor(options, { control, sidecar });
  }

  private constructor(options: SupervisorOptions, ports: Readonly<Record<DaemonName, number>>) {
    this.#options = options;
    this.files = devFiles(options.dataDir);
    const { controlDir, sidecarDir, socketPath, joinTokenFile, appsFile } = this.files;
    const common = {
      ...SMALL_MEMORY,
      ...inherited(options.environment),
      HOLDFAST_LOG_LEVEL: options.logLevel ?? 'info',
    };
    const make = (name: DaemonName, settings: Readonly<Record<string, string>>): DaemonProcess =>
      new DaemonProcess({
        name,
        url: `http://127.0.0.1:${ports[name]}`,
        env: { ...common, HOLDFAST_LISTEN: `127.0.0.1:${ports[name]}`, ...settings },
        clock: options.clock,
        onLine: (stream, line) => options.onLine(name, stream, line),
        onEnd: (ending) => options.onEnd(name, ending),
      });
    this.#daemons = {
      control: make('control', { HOLDFAST_DATA_DIR: controlDir, ...options.controlSettings }),
      sidecar: make('sidecar', {
        HOLDFAST_DATA_DIR: sidecarDir,
        HOLDFAST_SOCKET_PATH: socketPath,
        HOLDFAST_CONTROL_URL: `http://127.0.0.1:${ports.control}`,
        HOLDFAST_HOST_NAME: HOST_NAME,
        HOLDFAST_JOIN_TOKEN_FILE: joinTokenFile,
        HOLDFAST_APPS_FILE: appsFile,
        ...options.sidecarSettings,
      }),
    };
  }

  url(name: DaemonName): string {
    return this.#daemons[name].url;
  }

  isRunning(name: DaemonName): boolean {
    return this.#daemons[name].isRunning;
  }

  pid(name: DaemonName): number | null {
    return this.#daemons[name].pid;
  }

  /**
   * Starts both, and returns when the sidecar admits under the policy in force. On failure call
   * `down`.
   */
  async up(signal?: AbortSignal): Promise<void> {
    makeDataDir(this.files);
    writeAppFiles(this.files, this.#options.random);
    await this.start('control', signal);
    const control = this.openControlClient();
    let policyRevision: number;
    try {
      policyRevision = await this.#publishPolicy(control);
      await this.#writeJoinToken(control);
    } finally {
      await control.close();
    }
    await this.start('sidecar', signal);
    await this.#untilActive(policyRevision, signal);
  }

  /** Starts one daemon unless it runs, and returns when it is ready. */
  async start(name: DaemonName, signal?: AbortSignal): Promise<void> {
    // V2: whoever asks from another terminal while both are being stopped comes too late.
    if (this.#isDown) throw new CommandError('shutting_down', 'both daemons are being stopped');
    this.#daemons[name].start();
    await this.#daemons[name].untilReady(signal);
  }

  /** kill -9. */
  async kill(name: DaemonName): Promise<void> {
    await this.#daemons[name].kill();
  }

  async stop(name: DaemonName): Promise<void> {
    await this.#daemons[name].stop();
  }

  async down(): Promise<void> {
    this.#isDown = true;
    await this.stop('sidecar');
    await this.stop('control');
  }

  /** Kills what still runs without waiting for it. */
  abandon(): void {
    this.#daemons.sidecar.abandon();
    this.#daemons.control.abandon();
  }

  /** As an admin. */
  openControlClient(): ControlClient {
    const token = readSecret(this.files.adminTokenFile);
    const transport = new UndiciTransport({ url: this.url('control') });
    return new ControlClient({ transport, token: () => token, timeoutMs: REQUEST_TIMEOUT_MS });
  }

  /** As the demo app, which may speak for every principal and act as an operator. */
  openSidecarClient(): SidecarClient {
    const token = readSecret(this.files.appTokenFile);
    const transport = new UndiciTransport({ url: this.url('sidecar') });
    const { clock, random } = this.#options;
    return new SidecarClient({
      transport,
      clock,
      random,
      token: () => token,
      timeoutMs: REQUEST_TIMEOUT_MS,
    });
  }

  async #publishPolicy(control: ControlClient): Promise<number> {
    const inForce = await revisionInForce(control);
    const { policyFile } = this.#options;
    if (inForce !== null && policyFile === undefined) return inForce;
    const file = policyFile ?? SAMPLE_POLICY;
    const { policyRevision } = await control.publishPolicy(readInput('', file).toString('utf8'), {
      format: file.endsWith('.json') ? 'json' : 'yaml',
      replaces: inForce,
      comment: 'published by holdfast dev',
    });
    return policyRevision;
  }

  /** V3. A host that has enrolled needs no token; one whose data was removed enrols anew. */
  async #writeJoinToken(control: ControlClient): Promise<void> {
    const hosts = await control.hosts({ limit: 500 });
    const isKnown = hosts.items.some(({ hostName }) => hostName === HOST_NAME);
    if (isKnown && listDirectory(this.files.sidecarDir).length > 0) return;
    const { joinToken } = await control.createJoinToken({ hostName: HOST_NAME });
    writeDurableFile(this.files.joinTokenFile, `${joinToken}\n`, { mode: 0o600 });
  }

  async #untilActive(policyRevision: number, signal?: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const startedMs = clock.now().bootMs;
    const sidecar = this.openSidecarClient();
    try {
      for (;;) {
        signal?.throwIfAborted();
        const { policy, control } = await sidecar.status();
        // A revision that was kept on disk is in force at once, whether or not this control gave it.
        const isActive = policy.activeRevision !== null && policy.activeRevision >= policyRevision;
        if (isActive && control.state === 'connected') return;
        // A control whose data were removed has other keys, so the sidecar cannot believe its refusal.
        const isStranger =
          control.state === 'disconnected' && control.lastError?.startsWith('bad_answer: ');
        if (control.state === 'refused' || isStranger) {
          const why = control.lastError ?? 'it did not say why';
          throw new CommandError('sidecar_refused', `control refuses the sidecar: ${why}`, {
            hint: 'their data do not belong together: `holdfast dev --fresh` begins with none',
          });
        }
        if (policy.rejected !== null && policy.rejected.policyRevision >= policyRevision) {
          throw new CommandError(
            'policy_rejected',
            `the sidecar rejects the policy: ${policy.rejected.reason}`,
          );
        }
        if (clock.now().bootMs - startedMs > POLICY_BOUND_MS) {
          const why = control.lastError ?? control.state;
          const detail = `the sidecar has not received policy revision ${policyRevision}: ${why}`;
          throw new CommandError('not_ready', detail, { exitCode: EXIT.unavailable });
        }
        await clock.sleep(POLICY_POLL_MS);
      }
    } finally {
      await sidecar.close();
    }
  }
}

async function revisionInForce(control: ControlClient): Promise<number | null> {
  try {
    return (await control.policy()).policyRevision;
  } catch (error) {
    if (error instanceof ProblemError && error.status === 404) return null;
    throw error;
  }
}

/** As the container image and the systemd unit set it: see "Memory" in dataplane/DESIGN.md. */
const SMALL_MEMORY = {
  NODE_OPTIONS: '--max-semi-space-size=8',
  MALLOC_ARENA_MAX: '2',
  MALLOC_TRIM_THRESHOLD_: '131072',
} as const;

/**
 * Settings of the user's shell are for other daemons than these two, and an unknown one would stop
 * them.
 */
function inherited(
  environment: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) {
    if (value !== undefined && !name.startsWith('HOLDFAST_')) kept[name] = value;
  }
  return kept;
}
