/** What each demo runs on: control and a sidecar as processes, in a directory that goes when all was well. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Supervisor } from '../../control/cli/dev/supervisor.ts';
import { SystemClock } from '../../shared/platform/clock.ts';
import { SystemRandom } from '../../shared/platform/random.ts';
import type { Progress } from './orders/progress.ts';

export type DemoRun = { readonly supervisor: Supervisor; readonly dataDir: string };

/** `play` says whether all was as promised; what comes back is the exit code. */
export async function onDaemons(
  options: {
    /** Of the directory. */
    readonly name: string;
    readonly starts: string;
    readonly policyFile?: string;
    readonly syncInterval: string;
    readonly keep: boolean;
    readonly progress: Progress;
  },
  play: (run: DemoRun) => Promise<boolean>,
): Promise<number> {
  const { name, starts, policyFile, syncInterval, keep, progress } = options;
  const dataDir = mkdtempSync(join(tmpdir(), `holdfast-${name}-`));
  // Every process that is started again finds its code compiled.
  process.env['NODE_COMPILE_CACHE'] ??= join(dataDir, 'compiled');
  const supervisor = await Supervisor.open({
    dataDir,
    controlPort: 0,
    sidecarPort: 0,
    ...(policyFile === undefined ? {} : { policyFile }),
    environment: process.env,
    sidecarSettings: {
      HOLDFAST_SYNC_INTERVAL: syncInterval,
      HOLDFAST_CONTROL_LOSS_AFTER: '500ms',
    },
    clock: new SystemClock(),
    random: new SystemRandom(),
    logLevel: 'warn',
    onLine: () => undefined,
    onEnd: (daemon, { isExpected, exitCode, signal }) => {
      if (!isExpected)
        progress.say(`${daemon} ended by itself (${signal ?? exitCode}): this is a failure`);
    },
  });
  let passed = false;
  try {
    progress.say(`starting ${starts}`);
    await supervisor.up();
    passed = await play({ supervisor, dataDir });
    return passed ? 0 : 1;
  } finally {
    await supervisor.down();
    if (passed && !keep) rmSync(dataDir, { recursive: true });
    else progress.say(`the data is kept in ${dataDir}`);
  }
}

export function wholeNumber(name: string, text: string, least = 0): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new Error(`--${name} ${text} is not a whole number of at least ${least}`);
}

export async function exitWith(main: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await main();
  } catch (error) {
    process.stderr.write(
      `the demo failed: ${error instanceof Error ? error.stack : String(error)}\n`,
    );
    process.exitCode = 1;
  }
}
