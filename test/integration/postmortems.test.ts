/**
 * Outages that others have had and written about, played against a sidecar: what reached every machine
 * at once there is refused here, and accepted work goes on (I8, I10, I11).
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { POLICY_BYTES_MAX, type PolicyDocument } from '../../shared/wire/policy-document.ts';
import type { Operation } from '../../shared/wire/operation.ts';
import { FakeClock } from '../fakes/fake-clock.ts';
import { openTestSidecar, type Granted, type TestSidecar } from '../fakes/sidecar-app.ts';
import { callerOf } from '../fakes/sidecar-caller.ts';
import { UpstreamWorld } from '../fakes/upstream-world.ts';

const GOOD: PolicyDocument = {
  apiVersion: 'holdfast/v1',
  kind: 'Policy',
  defaults: { maxStaleness: '24h' },
  principals: { 'agent:billing': { roles: ['agent'] } },
  rules: [
    {
      name: 'charge',
      actions: ['orders.charge'],
      permit: [{ expression: 'attributes.amount <= 500' }],
      effects: { card: {} },
    },
  ],
};
const CHARGE = { principal: 'agent:billing', action: 'orders.charge', attributes: { amount: 20 } };

let world: UpstreamWorld;
let sidecar: TestSidecar;
let accepted: string;
const { call, admit } = callerOf(() => sidecar);

beforeEach(async () => {
  // Ahead of the real clock that the writer's thread compares with.
  world = await UpstreamWorld.create(new FakeClock({ bootMs: 10 ** 12 }));
  await world.startWithPolicy(GOOD);
  sidecar = await openTestSidecar({ clock: world.clock, upstream: granted() });
  accepted = (await admit(CHARGE, 'before')).json<Operation>().operationId;
});
afterEach(async () => {
  await sidecar.close();
  await world.dispose();
});

/** Of the upstream parts as they are now: a restart makes new ones. */
function granted(): Granted {
  const now = () => world.upstream;
  return {
    policy: {
      activePolicy: () => now().policy.activePolicy(),
      rejectedPolicy: () => now().policy.rejectedPolicy(),
      stalenessMs: (at) => now().policy.stalenessMs(at),
      revoked: () => now().policy.revoked(),
      onChange: (listener) => now().policy.onChange(listener),
    },
    revisions: { find: (revision) => now().revisions.find(revision) },
    leases: world.upstream.leases,
    fresh: { decide: (input) => now().fresh.decide(input) },
    outages: {
      current: () => now().outages.current(),
      outageId: () => now().outages.outageId(),
      outOfReachMs: (at) => now().outages.outOfReachMs(at),
    },
  };
}

/** What was accepted before is carried to its end, and new work is taken under that revision. */
async function expectServing(policyRevision: number): Promise<void> {
  const attempts = `/v1/operations/${accepted}/attempts`;
  expect((await call('POST', attempts, { body: {} })).statusCode).toBe(201);
  expect((await call('POST', `${attempts}/1/effects/card`)).statusCode).toBe(201);
  const settled = { body: { outcome: 'succeeded' } };
  expect((await call('PUT', `${attempts}/1/effects/card`, settled)).statusCode).toBe(200);
  const ended = await call('PUT', `${attempts}/1/outcome`, settled);
  expect(ended.json()).toMatchObject({ state: 'succeeded' });
  expect((await admit(CHARGE, 'after')).json()).toMatchObject({
    state: 'accepted',
    policyRevision,
  });
}

/** Control signs it and gives it to this host, whatever it is; the host refuses it and says why. */
async function offered(policyRevision: number, document: unknown): Promise<string> {
  world.control.place(policyRevision, await world.control.bundle(policyRevision, document));
  const rejected = () => world.upstream.policy.rejectedPolicy();
  const isRefused = () => rejected()?.policyRevision === policyRevision;
  await world.passUntil(isRefused, `revision ${policyRevision} refused`);
  const isTold = () => world.control.lastSync?.policyRejected?.policyRevision === policyRevision;
  await world.passUntil(isTold, 'control is told');
  return rejected()?.reason ?? '';
}

const authority = (name: string): string => join(world.dataDir, 'authority', name);

describe('2025-06-12: a policy with blank fields', () => {
  const [rule] = GOOD.rules;
  test.each([
    ['no rules', { ...GOOD, rules: [] }],
    ['rules that are null', { ...GOOD, rules: null }],
    ['a blank expression', { ...GOOD, rules: [{ ...rule, permit: [{ expression: '  ' }] }] }],
    ['nothing to permit', { ...GOOD, rules: [{ ...rule, permit: [] }] }],
    ['a blank name', { ...GOOD, rules: [{ ...rule, name: '' }] }],
    ['a rule that is null', { ...GOOD, rules: [null] }],
    ['no principals', { ...GOOD, principals: {} }],
    ['nothing at all', {}],
    ['a document that is null', null],
  ])('I11: %s', async (_, document) => {
    expect(await offered(2, document)).toMatch(/^policy_invalid: /);
    expect(world.revision()).toBe(1);
    await expectServing(1);
  });
});

test('2025-11-18: I11: a file that doubled past its bound', async () => {
  const rules = Array.from({ length: 9_000 }, (_, index) => ({
    ...GOOD.rules[0],
    name: `charge-${index}`,
    actions: [`orders.charge${index}`],
  }));
  const doubled = { ...GOOD, rules };
  expect(JSON.stringify(doubled).length).toBeGreaterThan(POLICY_BYTES_MAX);
  expect(await offered(2, doubled)).toMatch(/^policy_too_large: the document has \d+ bytes/);
  await expectServing(1);
});

test('2025-10-20: I10: an old plan applied over a newer one', async () => {
  const old = await world.control.bundle(1, GOOD);
  await world.control.publish(2, { ...GOOD, description: 'newer' });
  await world.passUntil(() => world.revision() === 2, 'the newer one');
  world.control.place(1, old);
  const refused = () =>
    world.metrics.value('holdfast_policy_rejections_total', { reason: 'revision_regressed' });
  await world.passUntil(() => refused() > 0, 'refused');
  expect(world.revision()).toBe(2);
  await expectServing(2);
});

describe('2025-10-29: a last-known-good overwritten by the bad one', () => {
  test('I11: a bad revision never gets into its place, and the next start has it, without control', async () => {
    const before = readFileSync(authority('active.json'), 'utf8');
    await offered(2, { ...GOOD, rules: [] });
    const after = readFileSync(authority('active.json'), 'utf8');
    const generations = (text: string) =>
      (JSON.parse(text) as { generations: unknown }).generations;
    expect(generations(after)).toEqual(generations(before));
    world.control.down();
    await world.restart();
    expect(world.revision()).toBe(1);
    await expectServing(1);
  });

  test('I11: where it is overwritten on the disk all the same, the one before it serves', async () => {
    await world.control.publish(2, { ...GOOD, description: 'good as well' });
    await world.passUntil(() => world.revision() === 2, 'revision 2');
    const bad = await world.control.bundle(2, { ...GOOD, rules: [] });
    world.control.down();
    await world.restart(() => writeFileSync(authority('bundle-2.jws'), bad));
    expect(world.revision()).toBe(1);
    await expectServing(1);
  });

  test('I11: three bad ones on top of each other take nothing away', async () => {
    for (const revision of [2, 3, 4]) await offered(revision, { ...GOOD, rules: [] });
    world.control.down();
    await world.restart();
    expect(world.revision()).toBe(1);
    await expectServing(1);
  });
});

describe('a change that passes two different builds of control', () => {
  test.each([
    ['a field of a newer build', { ...GOOD, quorum: 3 }, 'quorum'],
    [
      'an expression that this build refuses',
      {
        ...GOOD,
        rules: [{ ...GOOD.rules[0], permit: [{ expression: 'action.matches("(a+)+")' }] }],
      },
      '/rules/0/permit/0/expression',
    ],
    ['a lint of this build', { ...GOOD, rules: [GOOD.rules[0], GOOD.rules[0]] }, 'already used'],
    [
      'tests of its own that fail here',
      { ...GOOD, tests: [{ name: 'odd', given: CHARGE, expect: { decision: 'deny' } }] },
      'test "odd"',
    ],
  ])('I11: %s', async (_, document, said) => {
    // The fake control has no gate: it signs what it is given.
    const reason = await offered(2, document);
    expect(reason).toContain(said);
    await expectServing(1);
    // And authority for the one in force goes on being confirmed: one bad revision expires nothing.
    world.clock.jump(23 * 3_600_000);
    await world.pass(11_000);
    expect(world.staleness()).toBeLessThan(11_000);
    await world.control.publish(3, GOOD);
    await world.passUntil(() => world.revision() === 3, 'the next good one');
    expect(world.upstream.policy.rejectedPolicy()).toBeNull();
  });
});
