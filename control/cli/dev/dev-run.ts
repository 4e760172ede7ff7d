/**
 * One run of `holdfast dev`, from the first port to the last process.
 *
 * D1  Whatever happens, what was started is stopped before this returns.
 * D2  One SIGINT, SIGTERM or SIGHUP stops both in order; another one later kills both at once. What
 *     comes together counts once: under npx a Ctrl-C arrives from the terminal and again from npm.
 * D3  A daemon that ends by itself is reported, and the other goes on: that is what one wants to
 *     see here.
 */
import { SystemClock, type Clock } from '../../../shared/platform/clock.ts';
import { randomText, SystemRandom } from '../../../shared/platform/random.ts';
import type { DaemonName } from '../connections.ts';
import { inert } from '../output.ts';
import { CommandError, EXIT } from '../failures.ts';
import { readInput } from '../read-input.ts';
import type { Surroundings } from '../surroundings.ts';
import { endingText, type Ending, type OutputStream } from './daemon-process.ts';
import { devFiles, listDirectory, makeDataDir, removeData } from './dev-files.ts';
import { writeDevState, type DevState } from './dev-state.ts';
import { firstSteps } from './first-steps.ts';
import { isProbeLine, logLine } from './log-lines.ts';
import { Supervisor } from './supervisor.ts';
import { isSupervised, openSwitchboard, type DevAction } from './switchboard.ts';

export type DevOptions = {
  /** Absolute. */
  readonly dataDir: string;
  readonly controlPort: number;
  readonly sidecarPort: number;
  readonly policyFile?: string;
  readonly isFresh: boolean;
  readonly logs: 'short' | 'json' | 'none';
  readonly logLevel: string;
};

const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const SAME_STOP_MS = 1_000;

const WHAT_GOES_ON: Readonly<Record<DaemonName, string>> = {
  control: 'the sidecar goes on under the authority that it holds',
  sidecar: 'control goes on; its journal keeps what was accepted',
};

export async function runDev(
  options: DevOptions,
  { env, cwd, stdout, stderr }: Surroundings,
): Promise<void> {
  const files = devFiles(options.dataDir);
  if (options.policyFile !== undefined) readInput('', options.policyFile);
  listDirectory(options.dataDir);
  if (await isSupervised(options.dataDir)) {
    throw new CommandError(
      'already_running',
      `holdfast dev is already running on ${options.dataDir}`,
      {
        exitCode: EXIT.conflict,
        hint: 'stop it with Ctrl-C there, or choose another directory with --data-dir',
      },
    );
  }
  if (options.isFresh) removeData(files);
  makeDataDir(files);

  const say = (text: string): void => void stderr.write(`${text}\n`);
  let isUp = false;
  const onLine = (daemon: DaemonName, stream: OutputStream, line: string): void => {
    if (stream === 'stderr') {
      // Before that it is part of the failure, if it comes to one.
      if (isUp) stderr.write(`${daemon}: ${inert(line)}\n`);
    } else if (options.logs === 'json') stdout.write(`${line}\n`);
    else if (options.logs === 'short' && !isProbeLine(line)) {
      stdout.write(`${logLine(daemon, line)}\n`);
    }
  };
  const onEnd = (daemon: DaemonName, ending: Ending): void => {
    // While both are being set up, the end of one is the failure of the whole, and is reported as
    // that.
    if (ending.isExpected || !isUp) return;
    say(`${daemon} ended unexpectedly, ${endingText(ending)}: ${WHAT_GOES_ON[daemon]}`);
    say(`start it again with: npx holdfast dev start ${daemon}`);
  };
  const clock = new SystemClock();
  const random = new SystemRandom();
  const supervisor = await Supervisor.open({
    ...options,
    environment: env,
    clock,
    random,
    onLine,
    onEnd,
  });
  const stop = stopRequested(clock, () => supervisor.abandon(), say);
  const token = randomText(random, 24);
  const switchboard = await openSwitchboard({
    token,
    act: (daemon, action) => act(supervisor, daemon, action, say),
  });
  const state: DevState = {
    controlUrl: supervisor.url('control'),
    controlTokenFile: files.adminTokenFile,
    sidecarUrl: supervisor.url('sidecar'),
    sidecarTokenFile: files.appTokenFile,
    supervisor: { pid: process.pid, url: switchboard.url, token },
  };
  try {
    writeDevState(options.dataDir, state);
    await supervisor.up(stop.signal);
    isUp = true;
    const block = firstSteps(supervisor, cwd);
    // The block is for people: with raw logs standard output carries nothing but those.
    if (options.logs === 'json') say(block);
    else stdout.write(`${block}\n`);
    await stop.requested;
  } catch (error) {
    // Given up while starting: that is a stop like any other.
    if (!stop.signal.aborted) throw error;
  } finally {
    await supervisor.down();
    await switchboard.close();
    writeDevState(options.dataDir, { ...state, supervisor: null });
    stop.forget();
  }
  if (stop.isForced())
    throw new CommandError(
      'killed',
      'both daemons were killed; the next start recovers their data',
    );
  say('both daemons have stopped; their data stays: start again with npx holdfast dev');
}

type Stop = {
  readonly signal: AbortSignal;
  readonly requested: Promise<void>;
  isForced(): boolean;
  forget(): void;
};

/** D2. */
function stopRequested(clock: Clock, force: () => void, say: (text: string) => void): Stop {
  const controller = new AbortController();
  const { promise, resolve } = Promise.withResolvers<void>();
  let isForced = false;
  let askedAtMs = 0;
  const onSignal = (): void => {
    if (controller.signal.aborted) {
      if (clock.now().bootMs - askedAtMs < SAME_STOP_MS) return;
      isForced = true;
      force();
      return;
    }
    askedAtMs = clock.now().bootMs;
    say('stopping both daemons; once more kills them');
    controller.abort();
    resolve();
  };
  for (const signal of STOP_SIGNALS) process.on(signal, onSignal);
  return {
    signal: controller.signal,
    requested: promise,
    isForced: () => isForced,
    forget: () => {
      for (const signal of STOP_SIGNALS) process.off(signal, onSignal);
    },
  };
}

async function act(
  supervisor: Supervisor,
  daemon: DaemonName,
  action: DevAction,
  say: (text: string) => void,
): Promise<string> {
  if (action === 'kill') {
    if (!supervisor.isRunning(daemon)) return `${daemon} is not running`;
    await supervisor.kill(daemon);
    say(`${daemon} was killed from another terminal: ${WHAT_GOES_ON[daemon]}`);
    return `${daemon} killed (SIGKILL): ${WHAT_GOES_ON[daemon]}`;
  }
  if (supervisor.isRunning(daemon)) return `${daemon} is running already`;
  say(`starting ${daemon}, as asked from another terminal`);
  await supervisor.start(daemon);
  say(`${daemon} is ready again at ${supervisor.url(daemon)}`);
  return `${daemon} is ready at ${supervisor.url(daemon)}`;
}
