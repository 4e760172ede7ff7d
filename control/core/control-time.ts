/**
 * Control's own time: one line of milliseconds on which everything that it decided has a place.
 *
 * T1  It never goes back: not over a restart, a reboot, or a wall clock that is set.
 * T2  Within one boot of the machine it runs with the boot clock, over any number of starts. Each boot
 *     is a scale of its own, which begins where the wall clock is, or just after all that is known.
 * T3  Between two scales only the order is known. How long control's machine was down is not.
 */
import type { Instant } from '../../shared/core/time.ts';

export type TimeScale = {
  /** Its beginning, on the line. */
  readonly fromMs: number;
  readonly bootId: string;
  /** Of the boot clock, there. */
  readonly bootMs: number;
  /** The last that is known of the scale before: the machine went down at some moment after it. */
  readonly lastBeforeMs: number;
};

/** The scale of now: the newest one goes on within a boot, else a new one begins. */
export function scaleAt(
  newest: TimeScale | null,
  lastKnownMs: number,
  { bootId, bootMs, wallMs }: Instant,
): TimeScale {
  if (newest !== null && newest.bootId === bootId && bootMs >= newest.bootMs) return newest;
  return { fromMs: Math.max(wallMs, lastKnownMs + 1), bootId, bootMs, lastBeforeMs: lastKnownMs };
}

export function onScale({ fromMs, bootMs }: TimeScale, now: Instant): number {
  return fromMs + (now.bootMs - bootMs);
}
