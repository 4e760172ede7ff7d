/** One host at work over a while in which nothing is wrong, and the ways to write a lie into it. */
import { expect } from 'vitest';
import { sha256Hex } from '../../../shared/platform/digest.ts';
import type { Outage, Refusal } from '../../../shared/wire/operation.ts';
import type { PolicyDocument } from '../../../shared/wire/policy-document.ts';
import type { Checker, History, HistoryEvent } from '../../simulation/history.ts';
import { SmallHistory, START_WALL_MS } from './small-history.ts';

export const POLICY: PolicyDocument = {
  apiVersion: 'holdfast/v1',
  kind: 'Policy',
  principals: { 'agent:a': { roles: ['agent'] }, 'operator:o': { roles: ['operator'] } },
  rules: [
    {
      name: 'place',
      actions: ['orders.place'],
      permit: [{ expression: '"agent" in principal.roles && attributes.amount <= 500' }],
      maxStaleness: '20s',
      deadline: '1m',
      ownership: { lease: 'orders/{resource.attributes.shard}', mode: 'strict' },
      limits: { concurrency: 2, quota: '3/1m' },
      effects: { charge: { idempotent: false, fencing: 'enforced' } },
      onWorkerLoss: 'retry',
    },
    {
      name: 'delete',
      actions: ['tenants.delete'],
      permit: [{ expression: '"operator" in principal.roles' }],
      freshness: 'fresh',
      recheck: 'commit',
      onUnknown: { strategy: 'probe', attempts: 2, probe: { url: 'http://apps.test/' } },
      effects: { purge: { idempotent: true, fencing: 'none' } },
    },
    {
      name: 'refund',
      actions: ['orders.refund'],
      permit: [{ expression: 'true' }],
      approval: { required: 2, from: 'role:security', ttl: '5m' },
      onControlLoss: 'pause',
    },
  ],
  config: {
    'checkout.banner': { value: 'sale', maxStaleness: '1m', onExpiry: 'default', default: '' },
  },
};

export const PLACE = {
  principal: 'agent:a',
  action: 'orders.place',
  resource: { id: 'orders/1', attributes: { shard: '7' } },
  attributes: { amount: 20 },
};

const RESOURCE = 'orders/7';
const ok = (body: unknown, status = 200) => ({ kind: 'ok', status, body }) as const;

/** Something of everything, so that each checker has something to look at. */
export function lawfulStory(): SmallHistory {
  const story = new SmallHistory();
  story.say({ kind: 'phase', phase: 'safety' });
  story.started('control', 1, 1);
  story.started('host-1', 1);
  story.publish(1, POLICY);
  story.entry('host-1', 'policy_activated', { policyRevision: 1 });
  story.exchange('host-1', 'sync');
  story.granted('host-1', RESOURCE, 5);
  story.exchange('host-1', 'sync');
  story.believes('host-1', RESOURCE, 5, 29_500);
  story.state('host-1', 1, 20);
  workUnderLease(story);
  askControl(story);
  waitForApproval(story);
  guard(story);
  story.pass(1_000);
  story.exchange('host-1', 'report');
  story.state('host-1', 1, 1_420);
  return story;
}

function workUnderLease(story: SmallHistory): void {
  const { operationId } = story.admit('host-1', 'key-1', PLACE, {
    revision: 1,
    stalenessMs: 20,
    leaseEpoch: 5,
  });
  const ends = story.now('host-1').bootMs + 20_000;
  const ownership = { owned: true, epoch: 5, inGrace: false, endsBootMs: ends } as const;
  story.apply('host-1', operationId, {
    kind: 'start_attempt',
    supersede: false,
    key: 'a',
    ownership,
  });
  const start = { kind: 'start_attempt', operationId, key: 'a', supersede: false } as const;
  story.call('host-1', start, ok({ operationId, attempt: 1, leaseEpoch: 5 }, 201));
  const begin = { operationId, attempt: 1, effect: 'charge', key: 'b' } as const;
  const begun = story.apply('host-1', operationId, {
    kind: 'begin_effect',
    attempt: 1,
    name: 'charge',
    key: 'b',
    ownership,
    recheck: null,
  });
  const answer = { effect: begun.effects[0], replayed: false, leaseEpoch: 5 };
  story.call('host-1', { kind: 'begin_effect', ...begin }, ok(answer, 201));
  story.say({
    kind: 'effect_arrived',
    target: 'payments',
    host: 'host-1',
    operationId,
    attempt: 1,
    effect: 'charge',
    idempotencyKey: `${operationId}:charge`,
    resource: RESOURCE,
    epoch: 5,
    isIdempotent: false,
    fencing: 'enforced',
    verdict: 'taken',
    highestEpochBefore: null,
  });
  const settled = { outcome: 'succeeded', result: { paid: 20 } } as const;
  const after = story.apply('host-1', operationId, {
    kind: 'settle_effect',
    attempt: 1,
    name: 'charge',
    ...settled,
  });
  const settle = { operationId, attempt: 1, effect: 'charge', ...settled } as const;
  story.call(
    'host-1',
    { kind: 'settle_effect', ...settle },
    ok({ effect: after.effects[0], replayed: false }),
  );
  story.call(
    'host-1',
    { kind: 'begin_effect', ...begin },
    ok({ ...answer, effect: after.effects[0], replayed: true }),
  );
  const report = { attempt: 1, outcome: 'succeeded', result: null } as const;
  const done = story.apply('host-1', operationId, {
    kind: 'report_outcome',
    ...report,
    reason: null,
    ownership,
  });
  story.call('host-1', { kind: 'report_outcome', operationId, ...report }, ok(done));
}

function askControl(story: SmallHistory): void {
  const body = { principal: 'operator:o', action: 'tenants.delete' };
  const { operationId } = story.admit('host-1', 'key-2', body, {
    revision: 1,
    basis: 'fresh',
    stalenessMs: 20,
  });
  story.apply('host-1', operationId, {
    kind: 'start_attempt',
    supersede: false,
    key: null,
    ownership: null,
  });
  const start = { kind: 'start_attempt', operationId, key: null, supersede: false } as const;
  story.call('host-1', start, ok({ operationId, attempt: 1, leaseEpoch: null }, 201));
  const request = {
    kind: 'begin_effect',
    operationId,
    attempt: 1,
    effect: 'purge',
    key: null,
  } as const;
  const callId = 9_000;
  story.say({ kind: 'call_sent', callId, client: 'app', to: 'host-1', request, repeats: null });
  story.exchange('host-1', 'decision');
  const recheck = {
    policyRevision: 1,
    stalenessMs: 20,
    endsBootMs: story.now('host-1').bootMs + 5_000,
  };
  const begun = story.apply('host-1', operationId, {
    kind: 'begin_effect',
    attempt: 1,
    name: 'purge',
    key: null,
    ownership: null,
    recheck,
  });
  const answer = { effect: begun.effects[0], replayed: false, leaseEpoch: null };
  story.say({ kind: 'call_ended', callId, clock: story.now('host-1'), end: ok(answer, 201) });
  story.apply('host-1', operationId, { kind: 'lose_worker', attempt: 1 });
  refuseWithoutControl(story);
}

function refuseWithoutControl(story: SmallHistory): void {
  const outage: Outage = {
    outageId: 'out-1',
    fromMs: story.now('host-1').wallMs,
    toMs: null,
    cause: 'timeout',
    detail: 'no answer',
    policyRevision: 1,
    stalenessMs: 100,
  };
  story.outage('host-1', outage);
  story.pass(6_000);
  const refusal: Refusal = {
    refusalId: 'ref-1',
    app: 'app',
    idempotencyKey: 'key-3',
    principal: 'operator:o',
    action: 'tenants.delete',
    resourceId: '',
    reason: 'control_unreachable',
    message: 'rule delete needs fresh authority',
    policyRevision: 1,
    rule: 'delete',
    basis: null,
    stalenessMs: 6_100,
    leaseEpoch: null,
    outageId: 'out-1',
    atMs: story.now('host-1').wallMs,
  };
  story.refuse('host-1', refusal);
  const problem = { refusalId: 'ref-1', retryable: true };
  const said = {
    kind: 'refused',
    status: 503,
    code: 'control_unreachable',
    detail: '',
    problem,
  } as const;
  const body = { principal: 'operator:o', action: 'tenants.delete' };
  story.call('host-1', { kind: 'admit', key: 'key-3', body }, said, { tookMs: 2_000 });
  story.exchange('host-1', 'sync');
  story.outage('host-1', { ...outage, toMs: story.now('host-1').wallMs });
}

const VOTES = ['operator:s', 'operator:t'].map((by) => ({
  by,
  verdict: 'approve' as const,
  reason: 'looked at it',
  atMs: START_WALL_MS,
}));

function waitForApproval(story: SmallHistory): void {
  const body = { principal: 'agent:a', action: 'orders.refund' };
  const operation = story.admit('host-1', 'key-4', body, { revision: 1, stalenessMs: 30 });
  const { approval, operationId, fingerprint } = operation;
  if (approval === undefined) throw new Error('it needs no approval');
  story.pass(200);
  story.apply('host-1', operationId, {
    kind: 'settle_approval',
    word: {
      controlId: 'control',
      hostId: 'id-host-1',
      hostEpoch: 1,
      requestId: approval.requestId,
      operationId,
      sequence: 1,
      outcome: 'approved',
      payloadDigest: fingerprint,
      policyRevision: 1,
      rule: 'refund',
      ttlMs: approval.ttlMs,
      reason: 'looked at it',
      votes: VOTES,
      decidedAtMs: START_WALL_MS,
    },
    statement: 'signed',
    use: { kind: 'fits', policyRevision: 1 },
  });
  story.apply('host-1', operationId, {
    kind: 'start_attempt',
    supersede: false,
    key: 'c',
    ownership: null,
  });
  const start = { kind: 'start_attempt', operationId, key: 'c', supersede: false } as const;
  story.call('host-1', start, ok({ operationId, attempt: 1, leaseEpoch: null }, 201));
  story.apply('host-1', operationId, { kind: 'lose_worker', attempt: 1 });
}

function guard(story: SmallHistory): void {
  story.entry('host-1', 'fence_advanced', { resource: RESOURCE, epoch: 6 });
  const check = { kind: 'check_fence', resource: RESOURCE, epoch: 6 } as const;
  story.call('host-1', check, ok({ resource: RESOURCE, highestEpoch: 6, accepted: true }));
  const register = { register: 'orders/7/done', resource: RESOURCE, epoch: 6 } as const;
  const put = { kind: 'put_register', ...register, replaces: null, value: 1 } as const;
  const valueSha256 = sha256Hex('1');
  const version = story.entry('host-1', 'register_written', {
    app: 'app',
    key: register.register,
    resource: RESOURCE,
    epoch: 6,
    valueSha256,
  });
  const written = {
    key: register.register,
    resource: RESOURCE,
    epoch: 6,
    version,
    updatedAtMs: 0,
    value: 1,
  };
  story.call('host-1', put, ok(written));
  story.call('host-1', { kind: 'register', register: register.register }, ok(written));
  const staleness = { stalenessMs: 400, maxStalenessMs: 60_000, policyRevision: 1, expired: false };
  const value = {
    key: 'checkout.banner',
    value: 'sale',
    source: 'policy',
    reason: null,
    ...staleness,
  };
  story.call('host-1', { kind: 'config_value', name: 'checkout.banner' }, ok(value));
}

/** Without `readonly`, to be written into. */
export type Writable<T> = T extends number
  ? number
  : T extends readonly (infer Item)[]
    ? Writable<Item>[]
    : T extends object
      ? { -readonly [Name in keyof T]: Writable<T[Name]> }
      : T;

export type Liar = (history: Writable<History>) => void;

/** What the checker says of the story with that lie in it. */
export function lied(check: Checker, lie: Liar, story: SmallHistory = lawfulStory()): string {
  const history = structuredClone(story.end()) as Writable<History>;
  lie(history);
  const { violations } = check(history);
  return violations.map(({ detail }) => detail).join('\n');
}

export function expectLawful(check: Checker, story: SmallHistory = lawfulStory()): void {
  const { violations, checks } = check(story.end());
  expect(violations).toEqual([]);
  expect(checks).toBeGreaterThan(0);
}

export function eventAt<K extends HistoryEvent['kind']>(
  history: Writable<History>,
  kind: K,
  nth = 0,
): Writable<Extract<HistoryEvent, { kind: K }>> {
  const found = history.events.filter((event) => event.kind === kind)[nth];
  if (found === undefined) throw new Error(`no event ${kind} number ${nth}`);
  return found as Writable<Extract<HistoryEvent, { kind: K }>>;
}

export { RESOURCE };

type Record = Writable<History['final']['journals'][number]['operations'][number]>;

/** Changes the record that the key names, and what was answered of it. */
export function operationOf(
  history: Writable<History>,
  key: string,
  change: (operation: Record) => void,
): void {
  for (const journal of history.final.journals)
    for (const operation of journal.operations)
      if (operation.idempotencyKey === key) change(operation);
}
