/**
 * The terms of one rule in two documents: which of them got looser. The order of strictness of each
 * setting is said here, once (M2 of `policy-comparison.ts`).
 */
import type { PolicyDocument, PolicyRule } from '../wire/policy-document.ts';
import { compareOnUnknown } from './on-unknown-comparison.ts';
import { ruleTerms, type ApprovalTerms, type LimitTerms, type RuleTerms } from './policy.ts';
import type { ChangeKind, PolicyChange } from './policy-comparison.ts';
import { SECOND_MS, formatDurationMs } from './time.ts';
import type { Rate } from './rate.ts';

type Compared = {
  readonly was: { readonly rule: PolicyRule; readonly defaults: PolicyDocument['defaults'] };
  readonly is: { readonly rule: PolicyRule; readonly defaults: PolicyDocument['defaults'] };
  readonly path: string;
};

type Add = (field: string, kind: ChangeKind, said: Said) => void;
type Said = {
  readonly before: string | null;
  readonly after: string | null;
  readonly effect: string;
};

export function compareTerms({ was, is, path }: Compared): PolicyChange[] {
  const [held, given] = [ruleTerms(was.rule, was.defaults), ruleTerms(is.rule, is.defaults)];
  const changes: PolicyChange[] = [];
  const add: Add = (field, kind, { before, after, effect }) => {
    const step = `${before ?? 'none'} -> ${after ?? 'none'}`;
    const sentence = `rule ${is.rule.name}: ${field.replaceAll('/', '.')} ${step}: ${effect}`;
    changes.push({ path: `${path}/${field}`, kind, before, after, sentence });
  };
  compareTimes(held, given, add);
  compareWords(held, given, add);
  compareOnUnknown(held.onUnknown, given.onUnknown, add);
  compareOwnership(held.ownership, given.ownership, add);
  compareLimits(held.limits, given.limits, add);
  compareApproval(held.approval, given.approval, add);
  compareEffects(held.effects, given.effects, add);
  return changes;
}

function compareTimes(held: RuleTerms, given: RuleTerms, add: Add): void {
  const longer = (field: string, wasMs: number, isMs: number, what: string): void => {
    if (wasMs === isMs) return;
    const isLooser = isMs > wasMs;
    add(field, isLooser ? 'looser' : 'tighter', {
      before: formatDurationMs(wasMs),
      after: formatDurationMs(isMs),
      effect: `${what} for ${isLooser ? 'longer' : 'less'}`,
    });
  };
  // A fresh rule rests on no cached authority: its staleness says nothing.
  if (held.freshness === 'bounded' && given.freshness === 'bounded') {
    longer('maxStaleness', held.maxStalenessMs, given.maxStalenessMs, 'cached authority is good');
  }
  longer('deadline', held.deadlineMs, given.deadlineMs, 'work may take its time');
  longer('maxDeadline', held.maxDeadlineMs, given.maxDeadlineMs, 'work may be asked for');
  if (held.heartbeatTimeoutMs !== given.heartbeatTimeoutMs) {
    add('heartbeatTimeout', 'changed', {
      before: formatDurationMs(held.heartbeatTimeoutMs),
      after: formatDurationMs(given.heartbeatTimeoutMs),
      effect: 'a silent worker is given up after another time',
    });
  }
}

/** From the strictest to the loosest. */
const ORDERS = {
  freshness: ['fresh', 'bounded'],
  onControlLoss: ['abort', 'pause', 'finish'],
  onRevoke: ['abort', 'pause', 'finish'],
} as const;
const EFFECTS_OF_WORDS = {
  freshness: 'whether control is asked for each decision',
  onControlLoss: 'what accepted work does without control',
  onRevoke: 'what accepted work does when its authority is taken away',
} as const;

function compareWords(held: RuleTerms, given: RuleTerms, add: Add): void {
  for (const field of ['freshness', 'onControlLoss', 'onRevoke'] as const) {
    const [before, after] = [held[field], given[field]];
    if (before === after) continue;
    const order: readonly string[] = ORDERS[field];
    const kind = order.indexOf(after) > order.indexOf(before) ? 'looser' : 'tighter';
    add(field, kind, { before, after, effect: EFFECTS_OF_WORDS[field] });
  }
  if (held.recheck !== given.recheck) {
    add('recheck', given.recheck === null ? 'looser' : 'tighter', {
      before: held.recheck,
      after: given.recheck,
      effect:
        given.recheck === null
          ? 'control is no longer asked before an effect begins'
          : 'control is asked again before each effect begins',
    });
  }
  if (held.onWorkerLoss !== given.onWorkerLoss) {
    const effect = 'what becomes of work whose worker vanished';
    add('onWorkerLoss', 'changed', {
      before: held.onWorkerLoss,
      after: given.onWorkerLoss,
      effect,
    });
  }
}

function compareOwnership(
  held: RuleTerms['ownership'],
  given: RuleTerms['ownership'],
  add: Add,
): void {
  if (held === null || given === null) {
    if (held === given) return;
    const text = (ownership: RuleTerms['ownership']): string | null =>
      ownership === null ? null : `${ownership.mode} ${ownership.lease}`;
    add('ownership', given === null ? 'looser' : 'tighter', {
      before: text(held),
      after: text(given),
      effect: given === null ? 'any host may do this work' : 'only the owner may do this work',
    });
    return;
  }
  if (held.lease !== given.lease) {
    const effect = 'another resource is owned';
    add('ownership/lease', 'changed', { before: held.lease, after: given.lease, effect });
  }
  if (held.mode !== given.mode) {
    add('ownership/mode', given.mode === 'fenced' ? 'looser' : 'tighter', {
      before: held.mode,
      after: given.mode,
      effect:
        given.mode === 'fenced'
          ? 'work goes on past the end of the lease'
          : 'work stops with the lease',
    });
  }
  if (held.graceMs !== given.graceMs && given.mode === 'fenced' && held.mode === 'fenced') {
    const isLooser = given.graceMs > held.graceMs;
    add('ownership/grace', isLooser ? 'looser' : 'tighter', {
      before: formatDurationMs(held.graceMs),
      after: formatDurationMs(given.graceMs),
      effect: `work goes on for ${isLooser ? 'longer' : 'less'} past the end of the lease`,
    });
  }
}

const PER_SECOND = (rate: Rate): number => (rate.count * SECOND_MS) / rate.windowMs;
const rateText = (rate: Rate | null): string | null =>
  rate === null ? null : `${rate.count}/${formatDurationMs(rate.windowMs)}`;

/** What each limit allows at once after a quiet time. */
function burstOf({ rate, burst }: LimitTerms): number | null {
  if (rate === null) return null;
  return burst ?? Math.max(1, Math.ceil(PER_SECOND(rate)));
}

function compareLimits(held: LimitTerms | null, given: LimitTerms | null, add: Add): void {
  if (held === null || given === null) {
    if (held === given) return;
    add('limits', given === null ? 'looser' : 'tighter', {
      before: limitText(held),
      after: limitText(given),
      effect: given === null ? 'nothing limits how much' : 'how much is limited',
    });
    return;
  }
  const bound = (field: string, was: number | null, is: number | null, texts: Said): void => {
    if (was === is) return;
    const isLooser = was !== null && (is === null || is > was);
    add(`limits/${field}`, isLooser ? 'looser' : 'tighter', texts);
  };
  for (const field of ['rate', 'quota'] as const) {
    const [was, is] = [held[field], given[field]];
    const texts = {
      before: rateText(was),
      after: rateText(is),
      effect: `how much is admitted over time`,
    };
    const [wasPer, isPer] = [was, is].map((rate) => (rate === null ? null : PER_SECOND(rate))) as [
      number | null,
      number | null,
    ];
    if (wasPer === isPer && was?.windowMs !== is?.windowMs) {
      add(`limits/${field}`, 'changed', { ...texts, effect: 'the same rate over another time' });
    } else bound(field, wasPer, isPer, texts);
  }
  const numbers = (was: number | null, is: number | null, effect: string): Said => ({
    before: was === null ? null : String(was),
    after: is === null ? null : String(is),
    effect,
  });
  if (held.rate !== null && given.rate !== null && held.burst !== given.burst) {
    const [was, is] = [burstOf(held), burstOf(given)];
    bound('burst', was, is, numbers(was, is, 'how much comes at once'));
  }
  const { concurrency } = held;
  const concurrent = numbers(concurrency, given.concurrency, 'how much runs at a time');
  bound('concurrency', concurrency, given.concurrency, concurrent);
  if (held.per !== given.per) {
    // One budget for all is the narrowest; of the others none is inside another.
    const kind = held.per === 'rule' ? 'looser' : given.per === 'rule' ? 'tighter' : 'changed';
    add('limits/per', kind, {
      before: held.per,
      after: given.per,
      effect: 'what has a budget of its own',
    });
  }
  if (held.scope !== given.scope) {
    add('limits/scope', given.scope === 'host' ? 'looser' : 'tighter', {
      before: held.scope,
      after: given.scope,
      effect:
        given.scope === 'host' ? 'each host has the whole budget' : 'all hosts share one budget',
    });
  }
}

function limitText(limits: LimitTerms | null): string | null {
  if (limits === null) return null;
  const { concurrency } = limits;
  const parts = [rateText(limits.rate), rateText(limits.quota)].filter((part) => part !== null);
  if (concurrency !== null) parts.push(`${concurrency} at a time`);
  return `${parts.join(', ')} per ${limits.per} and ${limits.scope}`;
}

function compareApproval(held: ApprovalTerms | null, given: ApprovalTerms | null, add: Add): void {
  if (held === null || given === null) {
    if (held === given) return;
    const text = (approval: ApprovalTerms | null): string | null =>
      approval === null ? null : `${approval.required} of role:${approval.role}`;
    add('approval', given === null ? 'looser' : 'tighter', {
      before: text(held),
      after: text(given),
      effect: given === null ? 'nobody has to approve' : 'somebody has to approve',
    });
    return;
  }
  if (held.required !== given.required) {
    const isLooser = given.required < held.required;
    add('approval/required', isLooser ? 'looser' : 'tighter', {
      before: String(held.required),
      after: String(given.required),
      effect: `${isLooser ? 'fewer' : 'more'} people have to approve`,
    });
  }
  if (held.role !== given.role) {
    add('approval/from', 'changed', {
      before: `role:${held.role}`,
      after: `role:${given.role}`,
      effect: 'other people approve',
    });
  }
  if (held.ttlMs !== given.ttlMs) {
    add('approval/ttl', given.ttlMs > held.ttlMs ? 'looser' : 'tighter', {
      before: formatDurationMs(held.ttlMs),
      after: formatDurationMs(given.ttlMs),
      effect: 'how long an approval is waited for',
    });
  }
  if (held.onControlLoss !== given.onControlLoss) {
    add('approval/onControlLoss', given.onControlLoss === 'wait' ? 'looser' : 'tighter', {
      before: held.onControlLoss,
      after: given.onControlLoss,
      effect: 'what becomes of what waits while control is away',
    });
  }
  if (held.showPayload !== given.showPayload) {
    add('approval/showPayload', given.showPayload ? 'looser' : 'changed', {
      before: String(held.showPayload),
      after: String(given.showPayload),
      effect: given.showPayload ? 'approvers see the attributes' : 'approvers see a digest alone',
    });
  }
}

/** From the strongest to the weakest. */
const FENCING = ['enforced', 'dispatch', 'none'];

function compareEffects(held: RuleTerms['effects'], given: RuleTerms['effects'], add: Add): void {
  const text = (terms: RuleTerms['effects'][string]): string =>
    `fencing ${terms.fencing}${terms.idempotent ? ', idempotent' : ''}`;
  for (const [effect, is] of Object.entries(given)) {
    const was = Object.hasOwn(held, effect) ? held[effect] : undefined;
    const field = `effects/${effect}`;
    if (was === undefined) {
      const said = { before: null, after: text(is), effect: 'one more effect may begin' };
      add(field, 'looser', said);
      continue;
    }
    if (was.idempotent !== is.idempotent) {
      add(`${field}/idempotent`, is.idempotent ? 'looser' : 'tighter', {
        before: String(was.idempotent),
        after: String(is.idempotent),
        effect: is.idempotent
          ? 'it is begun again where its outcome is not known'
          : 'it is never begun again where its outcome is not known',
      });
    }
    if (was.fencing !== is.fencing) {
      const isLooser = FENCING.indexOf(is.fencing) > FENCING.indexOf(was.fencing);
      add(`${field}/fencing`, isLooser ? 'looser' : 'tighter', {
        before: was.fencing,
        after: is.fencing,
        effect: `its target is protected ${isLooser ? 'less' : 'more'} from a stale owner`,
      });
    }
  }
  for (const [effect, was] of Object.entries(held)) {
    if (Object.hasOwn(given, effect)) continue;
    const said = { before: text(was), after: null, effect: 'it may no longer begin' };
    add(`effects/${effect}`, 'tighter', said);
  }
}
