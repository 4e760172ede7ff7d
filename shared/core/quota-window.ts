/**
 * The windows in which a quota is counted, the same on both planes. They begin at multiples of
 * their length since 1970 (UTC) as the wall clock has it, and the boot clock has the last word: a
 * wall clock may only make a window longer.
 *
 * W1  A window that is opened ends at the next multiple by the wall clock, and that end is counted
 *     from then on by the boot clock. Nothing that is done to the wall clock ends it earlier, and a
 *     wall clock that is set back opens nothing again.
 * W2  The next one opens when it is over by the boot clock, and the window that the wall clock shows
 *     then did not begin before that. Where it did, the clock was set: the open window goes on to
 *     the end of that one, so that no quota comes early. What two clocks may differ by without
 *     having been set (1 % of the window) is let pass.
 * W3  In another boot the wall clock alone can tell. Where it is behind the end, the window goes on,
 *     for one whole length at the most: a clock that was a year ahead costs no more than that.
 * W4  Numbers rise by one at least, and are the window's place since 1970 where they can be.
 * W5  A length that has changed begins another window, which has used what the open one has.
 */
import type { Instant } from './time.ts';

export type QuotaWindow = {
  readonly number: number;
  readonly lengthMs: number;
  readonly used: number;
  /** Its end on both clocks; `bootMs` counts in the boot of `bootId`. */
  readonly ends: Instant;
};

const CLOCK_RATE_BOUND = 0.01;

/** The window that is open now, given the one that was open last. */
export function windowAt(last: QuotaWindow | null, lengthMs: number, now: Instant): QuotaWindow {
  if (last === null) return opened({ after: 0, used: 0, lengthMs, now });
  const leftMs = timeLeftMs(last, now);
  if (last.lengthMs !== lengthMs) {
    const used = leftMs > 0 ? last.used : 0;
    return opened({ after: last.number, used, lengthMs, now });
  }
  if (leftMs > 0) return endingIn(last, leftMs, now);
  const sinceMs = now.wallMs % lengthMs;
  const overForMs =
    last.ends.bootId === now.bootId ? now.bootMs - last.ends.bootMs : now.wallMs - last.ends.wallMs;
  // W2.
  if (sinceMs > overForMs + lengthMs * CLOCK_RATE_BOUND)
    return endingIn(last, lengthMs - sinceMs, now);
  return opened({ after: last.number, used: 0, lengthMs, now });
}

/** W1, W3: at most 0 where it is over. */
function timeLeftMs({ ends, lengthMs }: QuotaWindow, now: Instant): number {
  if (ends.bootId === now.bootId) return ends.bootMs - now.bootMs;
  return Math.min(ends.wallMs - now.wallMs, lengthMs);
}

function opened(from: {
  readonly after: number;
  readonly used: number;
  readonly lengthMs: number;
  readonly now: Instant;
}): QuotaWindow {
  const { after, used, lengthMs, now } = from;
  const place = Math.floor(now.wallMs / lengthMs);
  const window = { number: Math.max(after + 1, place), lengthMs, used, ends: now };
  return endingIn(window, lengthMs - (now.wallMs % lengthMs), now);
}

/** Dated by the clocks as they are now, so that a wall clock that was set is known after a reboot. */
function endingIn(window: QuotaWindow, leftMs: number, now: Instant): QuotaWindow {
  const { wallMs, bootMs, bootId } = now;
  return { ...window, ends: { wallMs: wallMs + leftMs, bootMs: bootMs + leftMs, bootId } };
}
