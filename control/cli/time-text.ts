/** Times and durations as people read them in a table. */
import { formatDurationMs, SECOND_MS } from '../../shared/core/time.ts';

/** The two largest units: `12s`, `3m4s`, `5h12m`, `3d4h`. */
export function ageText(durationMs: number | null): string {
  if (durationMs === null) return '-';
  if (durationMs < SECOND_MS) return '0s';
  return (formatDurationMs(durationMs).match(/[0-9]+[a-z]+/g) ?? []).slice(0, 2).join('');
}

/** As `ageText`, but where less than a second matters: `230ms`. */
export function durationText(durationMs: number | null): string {
  if (durationMs === null) return '-';
  return durationMs < SECOND_MS ? formatDurationMs(durationMs) : ageText(durationMs);
}

/** RFC 3339 in UTC, to the second. */
export function timeText(wallMs: number | null): string {
  return wallMs === null ? '-' : new Date(wallMs).toISOString().replace(/\.[0-9]{3}Z$/, 'Z');
}
