/**
 * How many paused operations may be released now: a bucket that holds what comes in a quarter of a
 * second, so that a pause of the custodian, or of an operator, is not made up for all at once.
 */
export type ResumePace = { readonly tokens: number; readonly atBootMs: number };

const BURST_MS = 250;

export function fullPace(ratePerSecond: number, bootMs: number): ResumePace {
  return { tokens: burstOf(ratePerSecond), atBootMs: bootMs };
}

export function paceAt(pace: ResumePace, ratePerSecond: number, bootMs: number): ResumePace {
  const gained = (Math.max(0, bootMs - pace.atBootMs) * ratePerSecond) / 1_000;
  return { tokens: Math.min(burstOf(ratePerSecond), pace.tokens + gained), atBootMs: bootMs };
}

function burstOf(ratePerSecond: number): number {
  return Math.max(1, (ratePerSecond * BURST_MS) / 1_000);
}
