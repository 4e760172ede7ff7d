/**
 * How long, from now, each action keeps being admitted and finished if control is lost this instant,
 * and what ends it first. Of what is admitted at the moment, the first part to be refused counts: an
 * action whose lease of one shard ends first has the budget of that shard.
 *
 * B1  Only what the loss of control ends is counted. How much is admitted meanwhile is for the limits:
 *     a rate, a concurrency and a quota of this host go on without control.
 * B2  What is refused now whatever control does (a lease that has ended, a lease that is handed over,
 *     a part of a fleet's budget that is used up) shortens nothing; where all of it is, the budget is 0.
 * B3  Of two ends at the same moment the one that takes longest to mend is named, in the order of the
 *     admission itself.
 */
import type { HeldLease } from '../../shared/core/lease.ts';
import type { CompiledPolicy, CompiledRule } from '../../shared/core/policy.ts';
import type { Instant } from '../../shared/core/time.ts';
import type { OutageBudget } from '../../shared/wire/sidecar-api.ts';
import { configEntries } from './config-value.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';

type BudgetItem = OutageBudget['items'][number];
export type ActionBudget = OutageBudget['actions'][number];
type ConfigBudget = OutageBudget['config'][number];
export type BudgetEnd = BudgetItem['limitedBy'];

/** A part of a budget of the fleet that this host holds for one key. */
export type HeldPart = {
  readonly key: string;
  /** Of its kinds the first that ends. */
  readonly endsBootMs: number;
  readonly kind: 'rate' | 'concurrency' | 'quota';
};

export type BudgetAt = {
  readonly now: Instant;
  readonly held: readonly HeldLease[];
  /** `null`: not known, or never confirmed. */
  readonly stalenessMs: number | null;
  readonly isRevoked: boolean;
  /** With which something would be admitted now, of a rule whose limits are the fleet's. */
  readonly parts: (rule: CompiledRule) => readonly HeldPart[];
  readonly controlLossAfterMs: number;
};

type End = { readonly leftMs: number; readonly by: BudgetEnd; readonly detail: string };

export function ruleBudgets(policy: CompiledPolicy, at: BudgetAt): BudgetItem[] {
  return policy.rules.map((rule) => {
    const end = admissionEnd(rule, at);
    return {
      rule: rule.name,
      actions: [...rule.actions],
      admissionMs: end.leftMs,
      limitedBy: end.by,
      onControlLoss: rule.terms.onControlLoss,
    };
  });
}

/** Every action, or pattern of actions, that the policy names, in the order of the document. */
export function actionBudgets(policy: CompiledPolicy, at: BudgetAt): ActionBudget[] {
  const actions = new Set(policy.rules.flatMap((rule) => rule.actions));
  return [...actions].flatMap((action) => {
    const rules = decidingRules(policy, action);
    const ends = rules.map((rule) => ({ rule, end: admissionEnd(rule, at) }));
    // B2: what nobody gets now ends nothing, unless nobody gets anything.
    const admitting = ends.filter(({ end }) => end.leftMs > 0);
    const [chosen] = (admitting.length > 0 ? admitting : ends).toSorted(
      (a, b) => a.end.leftMs - b.end.leftMs,
    );
    if (chosen === undefined) return [];
    return [
      {
        action,
        rule: chosen.rule.name,
        admissionMs: chosen.end.leftMs,
        endedBy: chosen.end.by,
        detail: chosen.end.detail,
        onControlLoss: chosen.rule.terms.onControlLoss,
        ...finishEnd(chosen.rule, at),
      },
    ];
  });
}

/** How long each config value is served as good. */
export function configBudgets(document: PolicyDocument, at: BudgetAt): ConfigBudget[] {
  return configEntries(document.config).map(({ key, maxStalenessMs, onExpiry }) => ({
    key,
    servedMs: at.isRevoked ? 0 : stalenessLeftMs(maxStalenessMs, at),
    onExpiry,
  }));
}

/**
 * Those that can decide a request of that action: the first without a condition leaves nothing to
 * those after it. A request whose own action is named elsewhere has a line of its own.
 */
function decidingRules(policy: CompiledPolicy, action: string): CompiledRule[] {
  const deciding: CompiledRule[] = [];
  for (const rule of policy.rules) {
    if (!rule.actions.some((pattern) => covers(pattern, action))) continue;
    deciding.push(rule);
    if (rule.match.length === 0) break;
  }
  return deciding;
}

function covers(pattern: string, action: string): boolean {
  if (pattern === '*' || pattern === action) return true;
  return pattern.endsWith('.*') && action.startsWith(pattern.slice(0, -1));
}

/** B3. */
function admissionEnd(rule: CompiledRule, at: BudgetAt): End {
  const { terms } = rule;
  if (at.isRevoked)
    return { leftMs: 0, by: 'revoked', detail: 'control has withdrawn the authority of this host' };
  if (terms.freshness === 'fresh')
    return { leftMs: 0, by: 'freshness', detail: 'control is asked about each request' };
  if (terms.approval !== null)
    return {
      leftMs: 0,
      by: 'approval',
      detail: 'each request waits for an approval, which only control gives',
    };
  const ends = [stalenessEnd(rule, at), partEnd(rule, at), leaseEnd(rule, at)];
  return ends.reduce((first, end) => (end.leftMs < first.leftMs ? end : first));
}

const NEVER: End = { leftMs: Number.MAX_SAFE_INTEGER, by: 'max_staleness', detail: '' };

function stalenessEnd({ terms: { maxStalenessMs } }: CompiledRule, at: BudgetAt): End {
  const detail = 'cached authority is then older than the rule allows';
  return { leftMs: stalenessLeftMs(maxStalenessMs, at), by: 'max_staleness', detail };
}

function stalenessLeftMs(maxStalenessMs: number, { stalenessMs }: BudgetAt): number {
  return stalenessMs === null ? 0 : Math.max(0, maxStalenessMs - stalenessMs);
}

function leaseEnd({ terms: { ownership } }: CompiledRule, at: BudgetAt): End {
  if (ownership === null) return NEVER;
  const { now, held } = at;
  const fits = templatePattern(ownership.lease);
  const graceMs = ownership.mode === 'fenced' ? ownership.graceMs : 0;
  const live = held
    .filter(({ bootId, resource }) => bootId === now.bootId && fits.test(resource))
    .map((lease) => ({ ...lease, leftMs: lease.endsBootMs + graceMs - now.bootMs }))
    .filter(({ leftMs }) => leftMs > 0);
  const taking = live.filter(({ drainEndsBootMs }) => drainEndsBootMs === undefined);
  const [first, ...others] = taking;
  if (first === undefined) {
    const why = live.length > 0 ? 'every lease is being handed over' : 'no lease is held';
    return { leftMs: 0, by: 'lease', detail: `${why} that fits ${ownership.lease}` };
  }
  const { leftMs, resource } = others.reduce((a, b) => (b.leftMs < a.leftMs ? b : a), first);
  const grace = graceMs > 0 ? ', with its grace,' : '';
  return { leftMs, by: 'lease', detail: `the lease of ${resource}${grace} ends` };
}

function partEnd(rule: CompiledRule, at: BudgetAt): End {
  if (rule.terms.limits?.scope !== 'fleet') return NEVER;
  const [first, ...others] = at.parts(rule);
  if (first === undefined)
    return { leftMs: 0, by: 'allotment', detail: 'no part of the fleet’s budget is held' };
  const { endsBootMs, kind, key } = others.reduce(
    (a, b) => (b.endsBootMs < a.endsBootMs ? b : a),
    first,
  );
  const leftMs = Math.max(0, endsBootMs - at.now.bootMs);
  const whose = key === '' ? '' : ` of ${key}`;
  return kind === 'quota'
    ? { leftMs, by: 'quota_window', detail: `the window of the fleet’s quota${whose} ends` }
    : { leftMs, by: 'allotment', detail: `this host’s part of the fleet’s ${kind}${whose} ends` };
}

/** What is accepted by then; `null`: nothing but its own deadline. */
function finishEnd(
  rule: CompiledRule,
  at: BudgetAt,
): Pick<ActionBudget, 'finishMs' | 'finishEndedBy'> {
  const { onControlLoss, recheck, ownership } = rule.terms;
  if (recheck !== null) return { finishMs: 0, finishEndedBy: 'recheck' };
  const lostMs = onControlLoss === 'finish' ? Number.MAX_SAFE_INTEGER : at.controlLossAfterMs;
  const lease = leaseEnd(rule, at).leftMs;
  if (ownership !== null && lease < lostMs) return { finishMs: lease, finishEndedBy: 'lease' };
  if (onControlLoss === 'finish') return { finishMs: null, finishEndedBy: 'deadline' };
  return { finishMs: at.controlLossAfterMs, finishEndedBy: 'on_control_loss' };
}

/** `orders/{resource.attributes.shard}` fits `orders/7`. */
function templatePattern(template: string): RegExp {
  const parts = template
    .split(/\{[^}]*\}/)
    .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`));
  return new RegExp(`^${parts.join('[A-Za-z0-9._-]+')}$`);
}

export const ACTION_LABELS_MAX = 100;
export const OTHER_ACTIONS = '(others)';

/** For metrics: as many labels as that, the rest under one, with the shortest of them. */
export function labelledBudgets(
  actions: readonly ActionBudget[],
): readonly { readonly action: string; readonly admissionMs: number }[] {
  const others = actions.slice(ACTION_LABELS_MAX).map(({ admissionMs }) => admissionMs);
  if (others.length === 0) return actions;
  const shortest = others.reduce((a, b) => Math.min(a, b));
  return [...actions.slice(0, ACTION_LABELS_MAX), { action: OTHER_ACTIONS, admissionMs: shortest }];
}
