/** How busy this thread is. A port, so that a test can say. */
import { performance } from 'node:perf_hooks';

/** Part of the time since it was asked last in which the thread was at work, 0 to 1. */
export type LoopUse = () => number;

export function systemLoopUse(): LoopUse {
  let last = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, last);
    last = now;
    return utilization;
  };
}
