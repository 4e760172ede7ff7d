/** So many in so much time: the form of rates and quotas in policy. */
import { SECOND_MS, parseDurationMs } from './time.ts';

/** `50/s`, `1000/15m`, `10000/d`. */
export const RATE_PATTERN = '^[1-9][0-9]{0,8}/([1-9][0-9]{0,5})?(s|m|h|d)$';

export type Rate = { readonly count: number; readonly windowMs: number };

/** `null` where the text is not a rate. */
export function parseRate(text: string): Rate | null {
  if (!new RegExp(RATE_PATTERN).test(text)) return null;
  const [count = '', window = ''] = text.split('/');
  const windowMs = parseDurationMs(/^[0-9]/.test(window) ? window : `1${window}`);
  return windowMs === null ? null : { count: Number(count), windowMs };
}

/** How many at once: what one second allows, where the policy does not say. */
export function burstOf({ rate, burst }: { rate: Rate | null; burst: number | null }): number {
  if (burst !== null || rate === null) return burst ?? 1;
  return Math.max(1, Math.ceil((rate.count * SECOND_MS) / rate.windowMs));
}
