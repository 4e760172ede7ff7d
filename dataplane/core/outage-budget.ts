/**
 * How long, from now, each rule keeps admitting if control is lost this instant, and what ends it
 * first.
 */
import type { HeldLease } from '../../shared/core/lease.ts';
import type { CompiledPolicy, CompiledRule } from '../../shared/core/policy.ts';
import type { Instant } from '../../shared/core/time.ts';
import type { OutageBudget } from '../../shared/wire/sidecar-api.ts';

type BudgetItem = OutageBudget['items'][number];

export function outageBudget(
  policy: CompiledPolicy,
  held: readonly HeldLease[],
  stalenessMs: number | null,
  now: Instant,
): BudgetItem[] {
  return policy.rules.map((rule) => ({
    rule: rule.name,
    actions: [...rule.actions],
    onControlLoss: rule.terms.onControlLoss,
    ...ruleBudget(rule, held, stalenessMs, now),
  }));
}

function ruleBudget(
  rule: CompiledRule,
  held: readonly HeldLease[],
  stalenessMs: number | null,
  now: Instant,
): Pick<BudgetItem, 'admissionMs' | 'limitedBy'> {
  const { freshness, maxStalenessMs, ownership } = rule.terms;
  if (freshness === 'fresh') return { admissionMs: 0, limitedBy: 'freshness' };
  const staleMs = stalenessMs === null ? 0 : Math.max(0, maxStalenessMs - stalenessMs);
  if (ownership === null) return { admissionMs: staleMs, limitedBy: 'max_staleness' };
  const fits = templatePattern(ownership.lease);
  const graceMs = ownership.mode === 'fenced' ? ownership.graceMs : 0;
  const lastingMs = held
    .filter((lease) => lease.bootId === now.bootId && fits.test(lease.resource))
    .map((lease) => Math.max(0, lease.endsBootMs + graceMs - now.bootMs));
  // The first of its leases to end: from then on a part of the action is refused.
  const leaseMs = lastingMs.length === 0 ? 0 : Math.min(...lastingMs);
  return leaseMs < staleMs
    ? { admissionMs: leaseMs, limitedBy: 'lease' }
    : { admissionMs: staleMs, limitedBy: 'max_staleness' };
}

/** `orders/{resource.attributes.shard}` fits `orders/7`. */
function templatePattern(template: string): RegExp {
  const parts = template
    .split(/\{[^}]*\}/)
    .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`));
  return new RegExp(`^${parts.join('[A-Za-z0-9._-]+')}$`);
}
