/** `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers): of one limit. */
import type { LimitState } from '../../wire/limits.ts';

export function rateLimitFields(limit: LimitState): Record<string, string> {
  const { rule, kind, windowMs, remaining, resetsMs } = limit;
  const name = `"${rule}-${kind}"`;
  const window = windowMs === null ? ';qu="concurrent-requests"' : `;w=${seconds(windowMs)}`;
  const resets = resetsMs === null ? '' : `;t=${seconds(resetsMs)}`;
  return {
    'ratelimit-policy': `${name};q=${limit.limit}${window}`,
    ratelimit: `${name};r=${remaining}${resets}`,
  };
}

/** Whole ones, and not too early. */
function seconds(durationMs: number): number {
  return Math.max(1, Math.ceil(durationMs / 1_000));
}
