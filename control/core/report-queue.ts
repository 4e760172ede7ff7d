/**
 * How many reports are taken in at once, and when the others are to come (DESIGN 4: recovery must not
 * be the second outage).
 *
 * Q1  More than `AT_ONCE_MAX` are turned away before their bodies are read: what waits costs memory,
 *     and syncs of other hosts wait with it.
 * Q2  Who is turned away is told a time of its own: that at which those who were told before have been
 *     served, at the pace of late. A thousand hosts that return at once come one after the other.
 */

export type ReportQueue = {
  readonly inHand: number;
  /** On the boot clock: when all that was promised is done. */
  readonly promisedBootMs: number;
  /** What one takes, of late. */
  readonly usualMs: number;
};

export const AT_ONCE_MAX = 8;
const USUAL_MS_AT_START = 50;
const USUAL_MS_MIN = 5;
/** Of the newest in the usual time. */
const WEIGHT = 0.1;
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 30_000;

export const EMPTY_QUEUE: ReportQueue = {
  inHand: 0,
  promisedBootMs: 0,
  usualMs: USUAL_MS_AT_START,
};

export type Entry =
  | { readonly kind: 'enters'; readonly queue: ReportQueue }
  | { readonly kind: 'later'; readonly queue: ReportQueue; readonly retryAfterMs: number };

export function enter(queue: ReportQueue, nowBootMs: number): Entry {
  if (queue.inHand < AT_ONCE_MAX)
    return { kind: 'enters', queue: { ...queue, inHand: queue.inHand + 1 } };
  const begunMs = nowBootMs + queue.inHand * queue.usualMs;
  const turnMs = Math.max(queue.promisedBootMs, begunMs) + queue.usualMs;
  // One that would be told longer is told the longest, and asks again then.
  const promisedBootMs = Math.min(turnMs, nowBootMs + RETRY_MS_MAX);
  const retryAfterMs = Math.max(RETRY_MS_MIN, Math.round(promisedBootMs - nowBootMs));
  return { kind: 'later', queue: { ...queue, promisedBootMs }, retryAfterMs };
}

/** `tookMs` of the thread, as far as is known: from its entry, shared with those beside it. */
export function leave(queue: ReportQueue, tookMs: number): ReportQueue {
  const ownMs = Math.max(USUAL_MS_MIN, tookMs / Math.max(1, queue.inHand));
  return {
    ...queue,
    inHand: queue.inHand - 1,
    usualMs: queue.usualMs + (ownMs - queue.usualMs) * WEIGHT,
  };
}
