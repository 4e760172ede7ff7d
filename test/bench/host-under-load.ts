/** One sidecar and one control as processes of this machine, and admissions to put on the sidecar. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DaemonName } from '../../control/cli/connections.ts';
import { Supervisor } from '../../control/cli/dev/supervisor.ts';
import { SystemClock } from '../../shared/platform/clock.ts';
import { SystemRandom } from '../../shared/platform/random.ts';
import { admission } from './admit.ts';
import { benchPolicy } from './bench-policy.ts';
import { load, percentile, type LoadOptions, type LoadResult } from './http-load.ts';

type Settings = {
  /**
   * Where control keeps its data, when not beside those of the sidecar: the two are on two machines
   * where it matters, and one disk makes each wait for the other's writes.
   */
  readonly controlDir?: string;
};

export class HostUnderLoad {
  readonly supervisor: Supervisor;
  readonly #directories: readonly string[];
  #rounds = 0;

  private constructor(supervisor: Supervisor, directories: readonly string[]) {
    this.supervisor = supervisor;
    this.#directories = directories;
  }

  /** Up, with the benchmark's policy in force and its lease held. */
  static async start(say: (text: string) => void, settings: Settings = {}): Promise<HostUnderLoad> {
    const dataDir = mkdtempSync(join(tmpdir(), 'bench-host-'));
    const policyFile = join(dataDir, 'policy.json');
    writeFileSync(policyFile, JSON.stringify(benchPolicy()));
    const { controlDir } = settings;
    const away = controlDir === undefined ? null : mkdtempSync(join(controlDir, 'bench-control-'));
    if (away !== null) symlinkSync(away, join(dataDir, 'control'));
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
    });
    const host = new HostUnderLoad(supervisor, away === null ? [dataDir] : [dataDir, away]);
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

  /** What a process has had written to a disk, as the kernel counts it. */
  writtenBytes(name: DaemonName): number {
    const pid = this.supervisor.pid(name);
    if (pid === null) return 0;
    return Number(/^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1] ?? 0);
  }

  async dispose(): Promise<void> {
    await this.supervisor.down();
    for (const directory of this.#directories) rmSync(directory, { recursive: true });
  }
}

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

export function median(values: readonly number[]): number {
  return percentile(Float64Array.from(values).toSorted(), 0.5);
}

export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));
