/**
 * The figures of the model. One step of time is 800 ms of a true clock; a clock of the model goes
 * at half of that or at one and a half times, which is the whole of its declared drift. A lease is
 * two and a half steps long: holder and grantor are then exactly one step apart, and whoever is one
 * step late or early is found out.
 */
export const STEP_MS = 800;
export const DRIFT = 0.5;
export const TTL_MS = 2_000;
export const RESOURCE = 'shard';

export type Rate = 'slow' | 'fast';

export function stepMs(rate: Rate): number {
  return STEP_MS * (rate === 'slow' ? 1 - DRIFT : 1 + DRIFT);
}
