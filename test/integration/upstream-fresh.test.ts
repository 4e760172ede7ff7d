import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { FreshAnswer } from '../../dataplane/authority/authority-view.ts';
import { LEFT_TO_A_PERSON } from '../../shared/core/on-unknown.ts';
import { POLICY_DEFAULTS, type Decision } from '../../shared/core/policy.ts';
import { MINUTE_MS } from '../../shared/core/time.ts';
import type { DecisionInput } from '../../shared/wire/policy-document.ts';
import type { Behaviour } from '../fakes/fake-control.ts';
import { FRESH_TIMEOUT_MS, UpstreamWorld, policyDocument } from '../fakes/upstream-world.ts';

const INPUT: DecisionInput = {
  principal: 'agent:billing',
  action: 'payments.capture',
  attributes: { amount: 1 },
};
const PERMIT: Decision = {
  decision: 'permit',
  reason: 'permitted',
  rule: 'capture',
  message: '',
  warnings: [],
  terms: {
    ...POLICY_DEFAULTS,
    freshness: 'fresh',
    onUnknown: LEFT_TO_A_PERSON,
    recheck: null,
    ownership: null,
    limits: null,
    approval: null,
    effects: {},
  },
  leaseResource: null,
};

let world: UpstreamWorld;
beforeEach(async () => {
  world = await UpstreamWorld.create();
  world.control.decision = PERMIT;
  await world.startWithPolicy();
});
afterEach(() => world.dispose());

async function decide(): Promise<FreshAnswer> {
  const asked = world.upstream.fresh.decide(INPUT);
  await world.settle();
  return asked;
}

describe('I4: fresh', () => {
  test('control is asked for each request anew', async () => {
    expect(await decide()).toEqual({
      ok: true,
      decision: PERMIT,
      policyRevision: 1,
      stalenessMs: 0,
      decidedAtMs: world.clock.now().wallMs,
    });
    await decide();
    expect(world.control.count('decisions')).toBe(2);
    expect(world.metrics.value('holdfast_fresh_decisions_total', { outcome: 'permit' })).toBe(2);
  });

  test('a refusal by policy is an answer too', async () => {
    world.control.decision = { ...PERMIT, decision: 'deny', reason: 'denied', message: 'too much' };
    expect(await decide()).toMatchObject({
      ok: true,
      decision: { decision: 'deny', message: 'too much' },
    });
  });

  test('I4: with control silent it ends within its time-out, refused', async () => {
    world.control.behave('decisions', { kind: 'hang' });
    const asked = world.upstream.fresh.decide(INPUT);
    const startedMs = world.clock.now().bootMs;
    let endedMs = Number.NaN;
    void asked.then(() => (endedMs = world.clock.now().bootMs));
    await world.pass(FRESH_TIMEOUT_MS + 500);
    expect(await asked).toMatchObject({
      ok: false,
      reason: 'control_unreachable',
      detail: expect.stringContaining('timeout') as string,
    });
    expect(endedMs - startedMs).toBe(FRESH_TIMEOUT_MS);
  });

  test('I4: an answer that comes after the time-out is not used', async () => {
    world.control.behave('decisions', { kind: 'late', delayMs: FRESH_TIMEOUT_MS + 1 });
    const asked = world.upstream.fresh.decide(INPUT);
    await world.pass(2 * FRESH_TIMEOUT_MS);
    expect(await asked).toMatchObject({ ok: false, reason: 'control_unreachable' });
  });

  test('its age is the time since the question was sent', async () => {
    world.control.behave('decisions', { kind: 'late', delayMs: 750 });
    const asked = world.upstream.fresh.decide(INPUT);
    await world.pass(FRESH_TIMEOUT_MS - 1);
    expect(await asked).toMatchObject({ ok: true, stalenessMs: 750 });
  });

  const failures: [string, Behaviour][] = [
    ['control is down', { kind: 'unreachable', cause: 'refused' }],
    ['control fails', { kind: 'refuse', code: 'internal' }],
    ['a foreign key signed', { kind: 'foreign_key' }],
    ['an earlier permit is played again', { kind: 'replay' }],
    [
      'it answers another request',
      { kind: 'alter', alter: (said) => ({ ...said, nonce: 'another-nonce-123' }) },
    ],
    [
      'it is for another host',
      { kind: 'alter', alter: (said) => ({ ...said, hostId: 'host_another' }) },
    ],
    [
      'it decides another question',
      { kind: 'alter', alter: (said) => ({ ...said, inputDigest: '0'.repeat(64) }) },
    ],
    [
      'it is under a revision that has been superseded here',
      { kind: 'alter', alter: (said) => ({ ...said, policyRevision: 0 }) },
    ],
    [
      'it has no form',
      { kind: 'alter', alter: (said) => ({ ...said, decision: { decision: 'permit' } }) },
    ],
    [
      'it permits without terms',
      { kind: 'alter', alter: (said) => ({ ...said, decision: { ...PERMIT, terms: null } }) },
    ],
    [
      'it permits for no reason',
      { kind: 'alter', alter: (said) => ({ ...said, decision: { ...PERMIT, reason: 'denied' } }) },
    ],
    [
      'a stranger says yes',
      { kind: 'respond', response: { status: 200, headers: {}, body: JSON.stringify(PERMIT) } },
    ],
    ['a refusal is signed by nobody', { kind: 'refuse', code: 'host_unknown', signed: 'not' }],
    [
      "a stranger's 401",
      { kind: 'respond', response: { status: 401, headers: {}, body: 'log in' } },
    ],
  ];
  test.each(failures)('I4: fails closed when %s', async (_, behaviour) => {
    await decide();
    world.control.behave('decisions', behaviour);
    expect(await decide()).toMatchObject({ ok: false, reason: 'control_unreachable' });
    expect(
      world.metrics.value('holdfast_fresh_decisions_total', { outcome: 'control_unreachable' }),
    ).toBe(1);
  });

  test('I4: a refusal by control itself says so', async () => {
    world.control.behave('decisions', { kind: 'refuse', code: 'host_unknown' });
    expect(await decide()).toMatchObject({ ok: false, reason: 'control_rejected' });
  });

  test('I4: a cached policy that would permit does not help', async () => {
    await world.control.publish(2, policyDocument(1_000));
    await world.passUntil(() => world.revision() === 2, 'revision 2');
    world.control.down();
    expect(await decide()).toMatchObject({ ok: false, reason: 'control_unreachable' });
  });

  test('a failure makes the next sync come soon, and opens no outage by itself', async () => {
    await world.pass(2_000);
    const syncs = world.control.count('sync');
    world.control.behave('decisions', { kind: 'unreachable', cause: 'refused' });
    await decide();
    await world.pass(300);
    expect(world.control.count('sync')).toBe(syncs + 1);
    expect(world.upstream.outages.current()).toBeNull();
  });

  test('I10: while fresh hangs, cached authority is served as before', async () => {
    world.control.behave('*', { kind: 'hang' });
    const asked = world.upstream.fresh.decide(INPUT);
    expect(world.revision()).toBe(1);
    expect(world.staleness()).not.toBeNull();
    await world.pass(MINUTE_MS);
    expect(await asked).toMatchObject({ ok: false });
  });
});
