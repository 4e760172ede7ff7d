/** Runs seeds in a process of its own: one after another, as it is told. */
import { simulate } from './simulate.ts';
import { judge, type Judged } from './judge.ts';
import { planOf, type Pace } from './plan.ts';

export type ToWorker = { readonly seed: number; readonly minutes: number; readonly pace: Pace };
export type FromWorker =
  | { readonly kind: 'judged'; readonly judged: Judged; readonly cpuMs: number }
  /** The simulation itself did not come to its end. */
  | { readonly kind: 'broken'; readonly seed: number; readonly detail: string };

async function run({ seed, minutes, pace }: ToWorker): Promise<FromWorker> {
  const before = process.cpuUsage();
  try {
    const { history, counts } = await simulate(planOf(seed, minutes, pace));
    const { user, system } = process.cpuUsage(before);
    return { kind: 'judged', judged: judge(history, counts), cpuMs: (user + system) / 1_000 };
  } catch (error) {
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { kind: 'broken', seed, detail };
  }
}

// Of a daemon that was cut off: whoever would have waited for it is gone as well.
process.on('unhandledRejection', () => undefined);
// Ctrl-C goes to all of them: what has been begun is brought to its end, and counts.
process.on('SIGINT', () => undefined);
process.on('message', (message: ToWorker) => {
  void run(message).then((answer) => process.send?.(answer));
});
process.on('disconnect', () => process.exit(0));
