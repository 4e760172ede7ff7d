/** What would be decided, asked of the sidecar: as an admission would, and nothing comes of it. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { decide } from '../../shared/core/policy.ts';
import { createLogger } from '../../shared/platform/logger.ts';
import type { DecisionAnswer } from '../../shared/wire/decision.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import { TEST_POLICY, activePolicy } from '../fakes/fake-authority.ts';
import { FakeClock } from '../fakes/fake-clock.ts';
import { openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { CAPTURE, NOTIFY, asOperator, callerOf } from '../fakes/sidecar-caller.ts';

const REFUND = {
  principal: 'agent:billing',
  action: 'payments.refund',
  attributes: { amount: 20 },
};
const LIMITED: PolicyDocument = {
  ...TEST_POLICY,
  rules: [
    {
      name: 'mail',
      actions: ['mail.send'],
      permit: [{ expression: 'true' }],
      limits: { rate: '5/s' },
    },
  ],
};
const MAIL = { principal: 'agent:billing', action: 'mail.send' };

let clock: FakeClock;
let sidecar: TestSidecar;
let logged: { msg: string; leftOut?: number; rule?: string }[];
const { call, admit } = callerOf(() => sidecar);

beforeEach(async () => {
  logged = [];
  clock = new FakeClock({ bootMs: 10 ** 12 });
  const destination = { write: (line: string) => void logged.push(JSON.parse(line) as never) };
  sidecar = await openTestSidecar({
    clock,
    logger: createLogger({ name: 'test', level: 'info', destination }),
  });
});
afterEach(() => sidecar.close());

const ask = (body: unknown, query = '') => call('POST', `/v1/decisions${query}`, { body });
const answer = async (body: unknown, query = ''): Promise<DecisionAnswer> => {
  const response = await ask(body, query);
  expect(response.statusCode).toBe(200);
  return response.json<DecisionAnswer>();
};

describe('what would become of an admission', () => {
  test('a permit, with basis, age, terms, and that it would be admitted', async () => {
    expect(await answer(NOTIFY)).toMatchObject({
      decision: 'permit',
      reason: 'permitted',
      rule: 'notify',
      policyRevision: 1,
      basis: 'cached',
      stalenessMs: 1_000,
      maxStalenessMs: 15 * 60_000,
      terms: { onWorkerLoss: 'retry', onRevoke: 'abort', effects: { send: { idempotent: true } } },
      lease: null,
      limits: null,
      trace: null,
      admission: { outcome: 'admitted', code: null },
    });
  });

  test('a refusal by policy is an answer, and no problem', async () => {
    expect(await answer({ ...CAPTURE, attributes: { amount: 900 } })).toMatchObject({
      decision: 'deny',
      reason: 'denied',
      message: 'at most 500',
      admission: { outcome: 'refused', code: 'denied', retryable: false },
    });
  });

  test('a permit that a missing lease would stop: both are said, and no lease is asked for', async () => {
    expect(await answer(CAPTURE)).toMatchObject({
      decision: 'permit',
      leaseResource: 'orders/3',
      lease: { resource: 'orders/3', owned: false, reason: 'lease_absent' },
      admission: { outcome: 'refused', code: 'lease_absent', retryable: true },
    });
    expect(sidecar.authority.wanted).toEqual([]);
    sidecar.authority.hold('orders/3', 9, clock.now());
    expect(await answer(CAPTURE)).toMatchObject({
      lease: { owned: true, epoch: 9, inGrace: false },
      admission: { outcome: 'admitted' },
    });
  });

  test('I5: authority too old: the decision, its age, and that it would be refused', async () => {
    sidecar.authority.staleness = 20 * 60_000;
    expect(await answer(NOTIFY)).toMatchObject({
      decision: 'permit',
      stalenessMs: 20 * 60_000,
      admission: { outcome: 'refused', code: 'policy_expired', retryable: true },
    });
  });

  test('limits are looked at, and what they would refuse is said', async () => {
    sidecar.authority.active = activePolicy(LIMITED);
    await clock.advance(1_000);
    for (let sent = 0; sent < 5; sent += 1) await admit(MAIL, `mail-${sent}`);
    const full = {
      decision: 'permit',
      limits: [{ rule: 'mail', kind: 'rate', used: 5, remaining: 0 }],
      admission: { outcome: 'refused', code: 'rate_limited', retryable: true },
    };
    expect(await answer(MAIL)).toMatchObject(full);
    expect(await answer(MAIL)).toMatchObject(full);
    await clock.advance(1_000);
    expect(await answer(MAIL)).toMatchObject({
      limits: [{ used: 0, remaining: 5 }],
      admission: { outcome: 'admitted' },
    });
  });

  test('I4: a fresh rule is decided by control, or not at all', async () => {
    expect((await ask(REFUND)).json()).toMatchObject({ status: 503, code: 'control_unreachable' });
    const { compiled } = activePolicy(TEST_POLICY);
    sidecar.authority.freshAnswer = (input) =>
      Promise.resolve({
        ok: true,
        decision: decide(compiled, input),
        policyRevision: 2,
        stalenessMs: 4,
      });
    expect(await answer(REFUND, '?explain=true')).toMatchObject({
      decision: 'permit',
      basis: 'fresh',
      policyRevision: 2,
      stalenessMs: 4,
      trace: null,
      traceMissing: expect.stringContaining('revision 2, and 1 is in force here'),
    });
  });

  test('without a policy, or with authority withdrawn, there is no decision to tell', async () => {
    sidecar.authority.revocation = { reason: 'host_unknown' };
    expect((await ask(NOTIFY)).json()).toMatchObject({ code: 'control_rejected' });
    sidecar.authority.revocation = null;
    sidecar.authority.active = null;
    expect((await ask(NOTIFY)).json()).toMatchObject({ code: 'policy_absent' });
  });

  test('an app asks only for the principals that it may speak for', async () => {
    const body = { ...NOTIFY, principal: 'user:root' };
    expect((await ask(body)).json()).toMatchObject({ code: 'principal_not_allowed' });
    const asked = await call('POST', '/v1/decisions', { body, headers: asOperator });
    expect(asked.statusCode).toBe(200);
  });
});

describe('I3: nothing is recorded but a line of the log', () => {
  test('no entry of the journal, no refusal, no key', async () => {
    const before = sidecar.journal.head();
    await answer(NOTIFY);
    await answer({ ...CAPTURE, attributes: { amount: 900 } });
    expect(sidecar.journal.head()).toEqual(before);
    const refusals = await call('GET', '/v1/refusals', { headers: asOperator });
    expect(refusals.json()).toEqual({ items: [] });
    expect((await admit(NOTIFY, 'k-1')).statusCode).toBe(201);
  });

  test('the log says who asked what and what was said, at most 20 times a second', async () => {
    for (let count = 0; count < 50; count += 1) await answer(NOTIFY);
    const lines = () => logged.filter(({ msg }) => msg === 'decision asked for');
    expect(lines()).toHaveLength(20);
    expect(lines()[0]).toMatchObject({
      app: 'demo',
      rule: 'notify',
      decision: 'permit',
      admission: 'admitted',
    });
    await clock.advance(1_000);
    await answer(NOTIFY);
    expect(lines()).toHaveLength(21);
    expect(lines()[20]).toMatchObject({ leftOut: 30 });
  });
});

test('explain gives every rule considered and what each expression gave', async () => {
  const { trace } = await answer({ ...CAPTURE, attributes: { amount: 900 } }, '?explain=true');
  expect(trace).toMatchObject({
    decision: 'deny',
    roles: ['agent'],
    rules: [
      {
        rule: 'capture',
        path: '/rules/0',
        outcome: 'decided',
        permit: [
          { expression: 'attributes.amount <= 500', outcome: 'false', message: 'at most 500' },
        ],
      },
    ],
  });
  expect(trace?.terms).toContainEqual({ term: 'maxStalenessMs', value: 300_000, source: 'rule' });
});
