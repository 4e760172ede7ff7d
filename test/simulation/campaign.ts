/** Many seeds over several processes, and what came of them together. */
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { PROMISES, type Promised, type Violation } from './history.ts';
import type { KeptSeeds } from './kept-seeds.ts';
import type { Pace } from './plan.ts';
import type { FromWorker, ToWorker } from './worker.ts';

export type CampaignOptions = {
  readonly seeds: readonly number[];
  readonly workers: number;
  readonly minutes: number;
  readonly pace: Pace;
  readonly onProgress: (done: number, failed: readonly FailedSeed[]) => void;
  /** Seeds that are in it are not run again; what comes of the others goes into it. */
  readonly kept: KeptSeeds | null;
  /** No more seeds are begun then; what was done by then is reported. */
  readonly stop: AbortSignal;
};

export type FailedSeed = {
  readonly seed: number;
  readonly violations: readonly Violation[];
  /** Where the simulation itself broke. */
  readonly broken: string | null;
};

export type CampaignReport = {
  /** That were run, or taken over: fewer than were asked for where it was stopped. */
  readonly seeds: number;
  readonly takenOver: number;
  readonly simulatedHours: number;
  readonly cpuSeconds: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly calls: Readonly<Record<string, number>>;
  readonly operations: number;
  readonly checks: Readonly<Record<Promised, number>>;
  readonly violations: Readonly<Record<Promised, number>>;
  readonly failed: readonly FailedSeed[];
  /** By seed. */
  readonly hashes: Readonly<Record<number, string>>;
};

const HOUR_MS = 3_600_000;
const YOUNG_MB = 64;
const SEEDS_PER_WORKER = 200;

export async function runCampaign(options: CampaignOptions): Promise<CampaignReport> {
  const { seeds, workers, minutes, pace, onProgress, kept, stop } = options;
  const totals = emptyTotals();
  const waiting = seeds.filter((seed) => {
    const answer = kept?.of(seed) ?? null;
    if (answer !== null) take(totals, answer);
    return answer === null;
  });
  const takenOver = seeds.length - waiting.length;
  let done = takenOver;
  const next = (): number | undefined => (stop.aborted ? undefined : waiting.shift());
  await Promise.all(
    Array.from({ length: Math.min(workers, waiting.length) }, async () => {
      let child = startWorker();
      let ran = 0;
      for (let seed = next(); seed !== undefined; seed = next()) {
        const answer = await ask(child, { seed, minutes, pace });
        ran += 1;
        if (answer.kind === 'broken' || ran % SEEDS_PER_WORKER === 0) {
          // What a broken run left behind must not be seen by the next; and what many leave adds up.
          child.kill();
          child = startWorker();
        }
        kept?.add(answer);
        take(totals, answer);
        onProgress((done += 1), totals.failed);
      }
      child.disconnect();
    }),
  );
  return {
    ...totals,
    seeds: done,
    takenOver,
    failed: totals.failed.toSorted((a, b) => a.seed - b.seed),
  };
}

function startWorker(): ChildProcess {
  return fork(fileURLToPath(new URL('./worker.ts', import.meta.url)), {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    // What a step makes is dead with the next: a larger nursery is swept less often.
    execArgv: [...process.execArgv, `--max-semi-space-size=${YOUNG_MB}`],
  });
}

function ask(child: ChildProcess, message: ToWorker): Promise<FromWorker> {
  return new Promise((resolve) => {
    const answered = (answer: unknown): void => {
      child.off('exit', ended);
      resolve(answer as FromWorker);
    };
    const ended = (code: number | null): void => {
      child.off('message', answered);
      resolve({
        kind: 'broken',
        seed: message.seed,
        detail: `the process ended with ${String(code)}`,
      });
    };
    child.once('message', answered);
    child.once('exit', ended);
    child.send(message);
  });
}

type Totals = {
  simulatedHours: number;
  cpuSeconds: number;
  operations: number;
  readonly faults: Record<string, number>;
  readonly calls: Record<string, number>;
  readonly checks: Record<Promised, number>;
  readonly violations: Record<Promised, number>;
  readonly failed: FailedSeed[];
  readonly hashes: Record<number, string>;
};

function emptyTotals(): Totals {
  const none = (): Record<Promised, number> =>
    Object.fromEntries(PROMISES.map((promise) => [promise, 0])) as Record<Promised, number>;
  return {
    simulatedHours: 0,
    cpuSeconds: 0,
    operations: 0,
    faults: {},
    calls: {},
    checks: none(),
    violations: none(),
    failed: [],
    hashes: {},
  };
}

function take(totals: Totals, answer: FromWorker): void {
  if (answer.kind === 'broken') {
    const { seed, detail } = answer;
    totals.failed.push({ seed, violations: [], broken: detail });
    return;
  }
  const { judged, cpuMs } = answer;
  totals.simulatedHours += judged.simulatedMs / HOUR_MS;
  totals.cpuSeconds += cpuMs / 1_000;
  totals.operations += judged.operations;
  totals.hashes[judged.seed] = judged.hash;
  addAll(totals.faults, judged.faults);
  addAll(totals.calls, judged.calls);
  addAll(totals.checks, judged.checks);
  for (const { promise } of judged.violations) totals.violations[promise] += 1;
  if (judged.violations.length > 0)
    totals.failed.push({ seed: judged.seed, violations: judged.violations, broken: null });
}

function addAll(to: Record<string, number>, from: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(from)) to[name] = (to[name] ?? 0) + count;
}
