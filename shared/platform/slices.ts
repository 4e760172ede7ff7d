/**
 * Runs a long computation in slices, so that requests are answered in between: the thread is given
 * up once a slice has had its time.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Steps } from '../core/steps.ts';

/** Lets whoever waits for the thread have it. */
export type Pause = () => Promise<void>;

export const giveWay: Pause = () => nextTurn();

const SLICE_MS = 4;

export async function runInSlices<T>(
  steps: Steps<T>,
  pause: Pause,
  readMs: () => number = () => performance.now(),
): Promise<T> {
  for (let startedMs = readMs(); ;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    if (readMs() - startedMs < SLICE_MS) continue;
    await pause();
    startedMs = readMs();
  }
}
