/**
 * Until when a host that has not confirmed a notice could still act against it. Never understated:
 * what is not known counts as the worst it can be (I5).
 *
 * R1  A host decides from its cache for `maxStaleness` after it sent the last sync that was answered,
 *     and that was before control heard it. Its clock may be slow by the declared drift.
 * R2  It may run any revision from a few before the one it reported (it falls back to those when its
 *     disk is damaged) to the newest: the longest bound of all of them counts.
 * R3  What control decided for it lasts for as long as a host may wait for the answer and use it.
 * R4  What it admitted by then has ended by its deadline, at most `maxDeadline` later.
 * R5  A host that was not heard since control started counts as heard then.
 */
import type { CompiledPolicy } from '../../shared/core/policy.ts';

/** R3: the longest time-out of a sidecar, and how long it uses an answer. */
export const FRESH_USE_MS_MAX = 35_000;
/** R2: kept revisions of a sidecar. */
export const KEPT_REVISIONS = 3;

/** The longest that any rule allows. */
export type Allowance = { readonly maxStalenessMs: number; readonly maxDeadlineMs: number };

export const NO_ALLOWANCE: Allowance = { maxStalenessMs: 0, maxDeadlineMs: 0 };

export function allowanceOf({ rules }: Pick<CompiledPolicy, 'rules'>): Allowance {
  return rules.reduce<Allowance>(
    (most, { terms }) => ({
      maxStalenessMs: Math.max(
        most.maxStalenessMs,
        terms.freshness === 'bounded' ? terms.maxStalenessMs : 0,
      ),
      maxDeadlineMs: Math.max(most.maxDeadlineMs, terms.maxDeadlineMs),
    }),
    NO_ALLOWANCE,
  );
}

export function longestOf(allowances: readonly Allowance[]): Allowance {
  return allowances.reduce<Allowance>(
    (most, one) => ({
      maxStalenessMs: Math.max(most.maxStalenessMs, one.maxStalenessMs),
      maxDeadlineMs: Math.max(most.maxDeadlineMs, one.maxDeadlineMs),
    }),
    NO_ALLOWANCE,
  );
}

export type Reach = { readonly admitsForMs: number; readonly actsForMs: number };

/** From now on; below zero where it is over. */
export function reachOf(host: {
  /** R5. */
  readonly silentMs: number;
  /** Since control last decided for it; `null` where that was not since its start (R5). */
  readonly sinceDecisionMs: number | null;
  readonly sinceStartMs: number;
  readonly allowance: Allowance;
  readonly drift: number;
}): Reach {
  const { silentMs, sinceDecisionMs, sinceStartMs, allowance, drift } = host;
  const slow = (ms: number): number => Math.ceil(ms / (1 - drift));
  const cached = slow(allowance.maxStalenessMs) - silentMs;
  const fresh = slow(FRESH_USE_MS_MAX) - (sinceDecisionMs ?? sinceStartMs);
  const admitsForMs = Math.max(cached, fresh);
  return { admitsForMs, actsForMs: admitsForMs + slow(allowance.maxDeadlineMs) };
}
