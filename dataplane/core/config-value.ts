/**
 * What an app gets for a config value (promise I5).
 *
 * V1  A value is good only under authority that control has not withdrawn and whose age is known and
 *     within its `maxStaleness`. Otherwise it is expired, and what is served is exactly what
 *     `onExpiry` says: the default, nothing, or the last value, each marked.
 * V2  Whether it is expired is found anew at each reading; no timer decides it.
 * V3  Which entries are expired follows from the authority alone: of those with another
 *     `maxStaleness` the shorter one ends first. `expiredCount` therefore names the set.
 */
import { POLICY_DEFAULTS } from '../../shared/core/policy.ts';
import { parseDurationMs, type Instant } from '../../shared/core/time.ts';
import type { ConfigExpiryReason, ConfigSource } from '../../shared/wire/config-value.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';

export type ConfigEntry = {
  readonly key: string;
  readonly value: unknown;
  readonly maxStalenessMs: number;
  readonly onExpiry: 'default' | 'error' | 'last';
  readonly fallback: unknown;
};

export type ConfigAuthority = {
  readonly stalenessMs: number | null;
  readonly isRevoked: boolean;
  readonly now: Instant;
};

export type ConfigReading = {
  readonly value: unknown;
  readonly source: ConfigSource;
  readonly expired: boolean;
  readonly reason: ConfigExpiryReason | null;
  readonly expiresInMs: number;
  readonly expiresAtMs: number | null;
};

export function configEntries(config: PolicyDocument['config']): readonly ConfigEntry[] {
  return Object.entries(config ?? {}).map(([key, entry]) => ({
    key,
    value: entry.value,
    maxStalenessMs: parseDurationMs(entry.maxStaleness) ?? POLICY_DEFAULTS.maxStalenessMs,
    onExpiry: entry.onExpiry,
    fallback: entry.default ?? null,
  }));
}

/** V1. */
export function readConfig(entry: ConfigEntry, authority: ConfigAuthority): ConfigReading {
  const reason = expiryReason(entry, authority);
  const { stalenessMs, now } = authority;
  const leftMs = stalenessMs === null ? null : entry.maxStalenessMs - stalenessMs;
  if (reason === null) {
    const expiresInMs = leftMs ?? 0;
    return {
      value: entry.value,
      source: 'policy',
      expired: false,
      reason,
      expiresInMs,
      expiresAtMs: now.wallMs + expiresInMs,
    };
  }
  const expired = {
    expired: true,
    reason,
    expiresInMs: 0,
    // Of one that was taken away before its time, that time says nothing.
    expiresAtMs: reason === 'too_old' && leftMs !== null ? Math.max(0, now.wallMs + leftMs) : null,
  };
  switch (entry.onExpiry) {
    case 'default':
      return { value: entry.fallback, source: 'default', ...expired };
    case 'last':
      return { value: entry.value, source: 'last', ...expired };
    case 'error':
      return { value: null, source: 'none', ...expired };
  }
}

function expiryReason(
  { maxStalenessMs }: ConfigEntry,
  { stalenessMs, isRevoked }: ConfigAuthority,
): ConfigExpiryReason | null {
  if (isRevoked) return 'authority_revoked';
  if (stalenessMs === null) return 'age_unknown';
  return stalenessMs > maxStalenessMs ? 'too_old' : null;
}

/** V3. */
export function expiredCount(entries: readonly ConfigEntry[], authority: ConfigAuthority): number {
  return entries.filter((entry) => expiryReason(entry, authority) !== null).length;
}

/** In how long the next of them expires; `null` where none will by the passing of time alone. */
export function nextExpiryInMs(
  entries: readonly ConfigEntry[],
  authority: ConfigAuthority,
): number | null {
  const { stalenessMs } = authority;
  if (stalenessMs === null || authority.isRevoked) return null;
  let nextMs: number | null = null;
  for (const { maxStalenessMs } of entries) {
    // At `maxStaleness` itself it still holds.
    const inMs = maxStalenessMs - stalenessMs + 1;
    if (inMs > 0 && (nextMs === null || inMs < nextMs)) nextMs = inMs;
  }
  return nextMs;
}
