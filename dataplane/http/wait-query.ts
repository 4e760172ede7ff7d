import { formatDurationMs, parseDurationMs } from '../../shared/core/time.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';

/** `?wait=30s`, within its bound. */
export function readWaitMs(
  text: string | undefined,
  bounds: { readonly standardMs: number; readonly maxMs: number },
): number {
  if (text === undefined) return bounds.standardMs;
  const waitMs = parseDurationMs(text);
  if (waitMs !== null && waitMs <= bounds.maxMs) return waitMs;
  const max = formatDurationMs(bounds.maxMs);
  throw new HoldfastError(
    'invalid_request',
    `wait=${text} is not a duration up to ${max}: write it as 500ms or 5s`,
    { errors: [{ path: 'query:wait', message: `must be a duration up to ${max}` }] },
  );
}
