/**
 * Exponential back-off with full jitter: any delay from zero to the ceiling is as likely as
 * another.
 */
export type BackoffPolicy = {
  readonly baseMs: number;
  readonly maxMs: number;
};

/** Delay before try number `failures` (1 is the first failure). `unitRandom` is in [0, 1). */
export function backoffDelayMs(
  failures: number,
  policy: BackoffPolicy,
  unitRandom: number,
): number {
  const ceilingMs = Math.min(
    policy.maxMs,
    policy.baseMs * 2 ** Math.min(30, Math.max(0, failures - 1)),
  );
  return Math.floor(ceilingMs * unitRandom);
}

/** An interval or up to `spread` of it less, evenly, so that hosts do not sync in step. */
export function jitteredMs(intervalMs: number, spread: number, unitRandom: number): number {
  return Math.round(intervalMs * (1 - spread + spread * unitRandom));
}
