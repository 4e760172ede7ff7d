import { describe, expect, test } from 'vitest';
import { checkAdmissible, planAdmission } from '../../../dataplane/core/admission.ts';
import { AllotmentBook } from '../../../dataplane/core/allotment-book.ts';
import {
  absentBudget,
  hostBudget,
  judgeLimits,
  limitSubject,
} from '../../../dataplane/core/limits.ts';
import {
  ACTION_LABELS_MAX,
  OTHER_ACTIONS,
  actionBudgets,
  configBudgets,
  labelledBudgets,
  type BudgetAt,
  type BudgetEnd,
  type HeldPart,
} from '../../../dataplane/core/outage-budget.ts';
import type { HeldLease } from '../../../shared/core/lease.ts';
import type { Instant } from '../../../shared/core/time.ts';
import type { PolicyDocument } from '../../../shared/wire/policy-document.ts';
import { activePolicy } from '../../fakes/fake-authority.ts';
import { fc } from '../../fakes/properties.ts';

const NOW: Instant = { wallMs: 2_000_000, bootMs: 500_000, bootId: 'boot-1' };
const after = (ms: number): Instant => ({
  ...NOW,
  wallMs: NOW.wallMs + ms,
  bootMs: NOW.bootMs + ms,
});

const permit = [{ expression: 'true' }];
const DOCUMENT: PolicyDocument = {
  apiVersion: 'holdfast/v1',
  kind: 'Policy',
  defaults: { maxStaleness: '15m' },
  principals: { 'agent:billing': { roles: ['agent'] } },
  rules: [
    { name: 'plain', actions: ['jobs.run'], permit, maxStaleness: '5m' },
    {
      name: 'owned',
      actions: ['jobs.own'],
      permit,
      ownership: { lease: 'jobs/{resource.attributes.shard}', mode: 'strict' },
    },
    {
      name: 'graced',
      actions: ['jobs.grace'],
      permit,
      effects: { send: { fencing: 'enforced' } },
      ownership: { lease: 'jobs/{resource.attributes.shard}', mode: 'fenced', grace: '2m' },
      onControlLoss: 'pause',
    },
    {
      name: 'shared',
      actions: ['jobs.share'],
      permit,
      limits: { concurrency: 10, scope: 'fleet' },
    },
    { name: 'asked', actions: ['jobs.ask'], permit, freshness: 'fresh' },
    { name: 'vip', actions: ['mail.*'], match: permit, permit, maxStaleness: '1m' },
    { name: 'mail', actions: ['mail.*', 'mail.bulk'], permit, recheck: 'commit' },
    { name: 'rest', actions: ['*'], permit, maxStaleness: '30s' },
  ],
  config: { banner: { value: 1, maxStaleness: '2m', onExpiry: 'error' } },
};
const POLICY = activePolicy(DOCUMENT);

/** What this host holds when control is lost. */
type Held = {
  readonly stalenessMs: number | null;
  readonly leases: readonly HeldLease[];
  readonly shareEndsBootMs: number | null;
  readonly isRevoked: boolean;
};
const NOTHING: Held = { stalenessMs: 0, leases: [], shareEndsBootMs: null, isRevoked: false };

function budgetAt(held: Held): BudgetAt {
  const ends = held.shareEndsBootMs;
  const parts: HeldPart[] =
    ends === null || ends <= NOW.bootMs ? [] : [{ key: '', kind: 'concurrency', endsBootMs: ends }];
  return {
    now: NOW,
    held: held.leases,
    stalenessMs: held.stalenessMs,
    isRevoked: held.isRevoked,
    parts: () => parts,
    controlLossAfterMs: 10_000,
  };
}

const budgetsOf = (held: Held) => actionBudgets(POLICY.compiled, budgetAt(held));

function bookOf(shareEndsBootMs: number | null): AllotmentBook {
  const book = new AllotmentBook();
  if (shareEndsBootMs === null) return book;
  const share = {
    rule: 'shared',
    per: 'rule' as const,
    key: '',
    kind: 'concurrency' as const,
    units: 5,
    burst: 1,
    windowMs: 0,
    window: null,
    deadlineMsMax: 3_600_000,
    bootId: NOW.bootId,
    endsBootMs: shareEndsBootMs,
    sinceBootMs: 0,
  };
  book.load({ applied: null, shares: [share] }, NOW);
  return book;
}

/** The admission itself, in its order, with what was held and no control: `null` where admitted. */
function refusalAt(held: Held, action: string, shard: number, ms: number): string | null {
  const now = after(ms);
  const { stalenessMs, isRevoked } = held;
  const request = {
    principal: 'agent:billing',
    action,
    resource: { id: 'r', attributes: { shard } },
  };
  const plan = planAdmission(
    {
      policy: POLICY,
      revoked: isRevoked ? { reason: 'test' } : null,
      stalenessMs: stalenessMs === null ? null : stalenessMs + ms,
      now,
    },
    request,
  );
  if (plan.kind === 'ask_control') return 'control_unreachable';
  if (plan.kind === 'refused') return plan.code;
  const { limits } = plan.terms;
  if (limits !== null) {
    const subject = limitSubject(plan.decision.rule ?? '', limits, request);
    const isHeld = bookOf(held.shareEndsBootMs).share(subject, 'concurrency', now) !== null;
    const use = { bucket: null, window: null, inUse: 0, sinceBootMs: 0 };
    const budget = isHeld ? hostBudget(limits) : absentBudget(limits, '');
    const verdict = judgeLimits(subject, budget, use, now);
    if (!verdict.ok) return verdict.code;
  }
  const lease = held.leases.find(({ resource }) => resource === plan.decision.leaseResource);
  const verdict = checkAdmissible(plan, request, lease, now);
  return verdict.kind === 'refused' ? verdict.code : null;
}

const CODES: Readonly<Record<BudgetEnd, readonly string[]>> = {
  revoked: ['control_rejected'],
  freshness: ['control_unreachable'],
  approval: ['approval_required'],
  max_staleness: ['policy_expired'],
  allotment: ['allotment_absent'],
  quota_window: ['allotment_absent'],
  lease: ['lease_absent', 'lease_expired', 'lease_draining'],
  policy_absent: ['policy_absent'],
};
const SHARDS = [1, 2, 3];
const allAt = (held: Held, action: string, ms: number) =>
  SHARDS.map((shard) => refusalAt(held, action, shard, ms));
const EXACT = ['jobs.run', 'jobs.own', 'jobs.grace', 'jobs.share', 'jobs.ask'];

test('I5, I10: admission without control ends when the budget says, and for the reason it says', () => {
  const lease = fc.record({
    shard: fc.constantFrom(...SHARDS),
    lastsMs: fc.integer({ min: -60_000, max: 1_200_000 }),
    isDrained: fc.boolean(),
  });
  const anything = fc.record({
    stalenessMs: fc.option(fc.integer({ min: 0, max: 1_200_000 })),
    leases: fc.uniqueArray(lease, { maxLength: 3, selector: ({ shard }) => shard }),
    shareLastsMs: fc.option(fc.integer({ min: -1_000, max: 1_200_000 })),
    isRevoked: fc.boolean(),
  });
  const seen = new Set<string>();
  fc.assert(
    fc.property(anything, (drawn) => {
      const held: Held = {
        stalenessMs: drawn.stalenessMs,
        isRevoked: drawn.isRevoked && (drawn.stalenessMs ?? 0) % 4 === 0,
        shareEndsBootMs: drawn.shareLastsMs === null ? null : NOW.bootMs + drawn.shareLastsMs,
        leases: drawn.leases.map(({ shard, lastsMs, isDrained }) => ({
          resource: `jobs/${shard}`,
          epoch: 1,
          bootId: NOW.bootId,
          endsBootMs: NOW.bootMs + lastsMs,
          ...(isDrained ? { drainEndsBootMs: NOW.bootMs + 1_000_000 } : {}),
        })),
      };
      for (const action of EXACT) {
        const budget = budgetsOf(held).find((one) => one.action === action);
        if (budget === undefined) throw new Error(`${action} has no budget`);
        const { admissionMs, endedBy } = budget;
        const admitted = SHARDS.filter((shard) => refusalAt(held, action, shard, 0) === null);
        seen.add(`${endedBy} ${admissionMs > 0 ? 'later' : 'now'}`);
        const at = (ms: number) => admitted.map((shard) => refusalAt(held, action, shard, ms));
        // All of it until then; where there is nothing, nothing is left by the next moment.
        const before = admissionMs > 0 ? at(admissionMs - 1) : [];
        expect(before.every((code) => code === null)).toBe(true);
        const beyond = admissionMs > 0 ? at(admissionMs + 1) : allAt(held, action, 1);
        const codes = beyond.filter((code) => code !== null);
        expect(codes.length).toBeGreaterThanOrEqual(admissionMs > 0 ? 1 : SHARDS.length);
        expect(codes.some((code) => CODES[endedBy].includes(code))).toBe(true);
      }
    }),
    { numRuns: 400 },
  );
  // The property has met each end.
  expect([...seen].toSorted()).toEqual([
    'allotment later',
    'allotment now',
    'freshness now',
    'lease later',
    'lease now',
    'max_staleness later',
    'max_staleness now',
    'revoked now',
  ]);
});

describe('each action', () => {
  const of = (action: string, held: Held = NOTHING) =>
    budgetsOf(held).find((one) => one.action === action);

  test('is listed once, with the rule that ends first of those that may decide it', () => {
    expect(budgetsOf(NOTHING).map(({ action }) => action)).toEqual([
      ...EXACT,
      'mail.*',
      'mail.bulk',
      '*',
    ]);
    // `vip` has a condition, so `mail` may decide as well; `rest` never does.
    expect(of('mail.*')).toMatchObject({ rule: 'vip', admissionMs: 60_000 });
    expect(of('mail.bulk')).toMatchObject({ rule: 'vip', finishMs: null });
    expect(of('*')).toMatchObject({ rule: 'rest', admissionMs: 30_000 });
  });

  test('says how long accepted work goes on', () => {
    const endsBootMs = NOW.bootMs + 30_000;
    const leases = [{ resource: 'jobs/1', epoch: 1, bootId: NOW.bootId, endsBootMs }];
    expect(of('jobs.run')).toMatchObject({ finishMs: null, finishEndedBy: 'deadline' });
    expect(of('jobs.own', { ...NOTHING, leases })).toMatchObject({
      finishMs: 30_000,
      finishEndedBy: 'lease',
      detail: 'the lease of jobs/1 ends',
    });
    expect(of('jobs.grace', { ...NOTHING, leases })).toMatchObject({
      admissionMs: 150_000,
      finishMs: 10_000,
      finishEndedBy: 'on_control_loss',
    });
  });

  test('config values have theirs', () => {
    const at = (held: Held) => configBudgets(DOCUMENT, budgetAt(held))[0];
    expect(at({ ...NOTHING, stalenessMs: 30_000 })).toEqual({
      key: 'banner',
      servedMs: 90_000,
      onExpiry: 'error',
    });
    expect(at({ ...NOTHING, isRevoked: true })).toMatchObject({ servedMs: 0 });
  });

  test('has a label of its own up to a bound; the rest share one, with the shortest', () => {
    const line = { ...(of('jobs.run') as NonNullable<ReturnType<typeof of>>) };
    const many = Array.from({ length: ACTION_LABELS_MAX + 3 }, (_, index) => ({
      ...line,
      action: `a.${index}`,
      admissionMs: 1_000 - index,
    }));
    const labelled = labelledBudgets(many);
    expect(labelled).toHaveLength(ACTION_LABELS_MAX + 1);
    expect(labelled.at(-1)).toEqual({ action: OTHER_ACTIONS, admissionMs: 898 });
    expect(labelledBudgets(many.slice(0, 2))).toHaveLength(2);
  });
});
