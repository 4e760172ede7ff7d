/** One sidecar and one control as processes of this machine, and admissions to put on the sidecar. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DaemonName } from '../../control/cli/connections.ts';
import { Supervisor, type SupervisorOptions } from '../../control/cli/dev/supervisor.ts';
import { SystemClock } from '../../shared/platform/clock.ts';
import { SystemRandom } from '../../shared/platform/random.ts';
import { admission } from './admit.ts';
import { benchPolicy } from './bench-policy.ts';
import { load, percentile, type LoadOptions, type LoadResult } from './http-load.ts';

type Settings = Pick<SupervisorOptions, 'controlSettings' | 'sidecarSettings'>;

export class HostUnderLoad {
  readonly supervisor: Supervisor;
  readonly #dataDir: string;
  #rounds = 0;

  private constructor(supervisor: Supervisor, dataDir: string) {
    this.supervisor = supervisor;
    this.#dataDir = dataDir;
  }

  /** Up, with the benchmark's policy in force and its lease held. */
  static async start(say: (text: string) => void, settings: Settings = {}): Promise<HostUnderLoad> {
    const dataDir = mkdtempSync(join(tmpdir(), 'bench-host-'));
    const policyFile = join(dataDir, 'policy.json');
    writeFileSync(policyFile, JSON.stringify(benchPolicy()));
    const supervisor = await Supervisor.open({
      dataDir,
      controlPort: 0,
      sidecarPort: 0,
      policyFile,
      environment: process.env,
      clock: new SystemClock(),
      random: new SystemRandom(),
      logLevel: 'error',
      onLine: (daemon, _stream, line) => say(`${daemon}: ${line}`),
      onEnd: () => undefined,
      ...settings,
    });
    const host = new HostUnderLoad(supervisor, dataDir);
    try {
      await supervisor.up();
      const sidecar = supervisor.openSidecarClient();
      await sidecar.acquireLease('bench/s0');
      await sidecar.close();
      return host;
    } catch (error) {
      await host.dispose();
      throw error;
    }
  }

  /** Every answer must be a 201: nothing else is an admission. */
  async admit(
    options: Pick<LoadOptions, 'connections' | 'requests' | 'perSecond' | 'isOver'>,
  ): Promise<LoadResult> {
    const token = readFileSync(this.supervisor.files.appTokenFile, 'utf8').trim();
    this.#rounds += 1;
    const round = this.#rounds;
    const result = await load({
      ...options,
      port: Number(new URL(this.supervisor.url('sidecar')).port),
      expectedStatus: 201,
      request: (index) => admission(token, `${process.pid}-${round}-${index}`),
    });
    const wrong = JSON.stringify(result.unexpected);
    if (wrong !== '{}') throw new Error(`admissions were answered otherwise than 201: ${wrong}`);
    return result;
  }

  /** Of a process, as the kernel counts it: in milliseconds of a core. */
  cpuMs(name: DaemonName): number {
    const pid = this.supervisor.pid(name);
    if (pid === null) return 0;
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name of the program may hold anything but ends with the last bracket.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND;
  }

  async dispose(): Promise<void> {
    await this.supervisor.down();
    rmSync(this.#dataDir, { recursive: true });
  }
}

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

export function median(values: readonly number[]): number {
  return percentile(Float64Array.from(values).toSorted(), 0.5);
}

export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));
