/**
 * Three kinds of number that must not be mixed.
 *
 * `WallMs` is for people, and for what must outlive a reboot; it may only shorten a right.
 * `BootMs` never goes back and counts suspended time; leases, staleness and heartbeats use it.
 * It means something only together with the boot id under which it was read.
 */
export type WallMs = number & { readonly brand?: 'wall' };
export type BootMs = number & { readonly brand?: 'boot' };

export const SECOND_MS = 1_000;
export const MINUTE_MS = 60 * SECOND_MS;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** Both clocks read at one moment. What is stored is always an instant, never one clock alone. */
export type Instant = {
  readonly wallMs: WallMs;
  readonly bootMs: BootMs;
  readonly bootId: string;
};

/**
 * Milliseconds from `earlier` to `now`, or `null` when that cannot be known: after a reboot the
 * wall clock is used, and a wall clock that went back behind what was recorded proves nothing
 * (DESIGN 6). Within one boot the boot clock alone is trusted.
 */
export function elapsedMs(earlier: Instant, now: Instant): number | null {
  if (earlier.bootId === now.bootId) {
    return now.bootMs >= earlier.bootMs ? now.bootMs - earlier.bootMs : null;
  }
  return now.wallMs >= earlier.wallMs ? now.wallMs - earlier.wallMs : null;
}

/**
 * How far the two clocks have moved apart between two readings of one boot: a step, or a suspend.
 */
export function clockDivergenceMs(earlier: Instant, now: Instant): number {
  if (earlier.bootId !== now.bootId) return 0;
  return now.wallMs - earlier.wallMs - (now.bootMs - earlier.bootMs);
}

const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: SECOND_MS,
  m: MINUTE_MS,
  h: HOUR_MS,
  d: DAY_MS,
};

/** `250ms`, `5s`, `15m`, `1h30m`, `2d`. Durations in policy are always text with a unit. */
export const DURATION_PATTERN = '^([0-9]{1,9}(ms|s|m|h|d)){1,4}$';

/**
 * A hundred years: an instant and a few of these are still whole numbers that JSON and SQLite give back as
 * they were. What is written longer lasts as long.
 */
export const DURATION_MS_MAX = 36_500 * DAY_MS;

/** Milliseconds of a duration text, or `null` where it is not one. */
export function parseDurationMs(text: string): number | null {
  if (!new RegExp(DURATION_PATTERN).test(text)) return null;
  let totalMs = 0;
  for (const [, digits, unit] of text.matchAll(/([0-9]+)(ms|s|m|h|d)/g)) {
    totalMs += Number(digits) * (UNITS[unit ?? ''] ?? 0);
  }
  return Math.min(totalMs, DURATION_MS_MAX);
}

/** The shortest text that `parseDurationMs` reads back: 90000 -> `1m30s`. */
export function formatDurationMs(durationMs: number): string {
  let restMs = Math.max(0, Math.round(durationMs));
  if (restMs < SECOND_MS) return `${restMs}ms`;
  let text = '';
  for (const [unit, sizeMs] of [
    ['d', DAY_MS],
    ['h', HOUR_MS],
    ['m', MINUTE_MS],
    ['s', SECOND_MS],
  ] as const) {
    const count = Math.floor(restMs / sizeMs);
    restMs -= count * sizeMs;
    if (count > 0) text += `${count}${unit}`;
  }
  return text;
}
