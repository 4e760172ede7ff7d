/** One request, decided by the command line from a file, by control, and by the sidecar. */
import { fc } from '../fakes/properties.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { decideOffline } from '../../control/cli/offline-decision.ts';
import { decide } from '../../shared/core/policy.ts';
import { checkPolicyValue } from '../../shared/platform/policy-gate.ts';
import type { DecisionAnswer, PolicyDecision } from '../../shared/wire/decision.ts';
import { activePolicy } from '../fakes/fake-authority.ts';
import { ControlWorld } from '../fakes/control-world.ts';
import { generatedInput, generatedPolicy } from '../fakes/generated-policies.ts';
import { openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { callerOf } from '../fakes/sidecar-caller.ts';

const RUNS = 150;
const BOUND_MS = 120_000;

let control: ControlWorld;
let sidecar: TestSidecar;
const { call } = callerOf(() => sidecar);

beforeAll(async () => {
  control = await ControlWorld.create();
  sidecar = await openTestSidecar();
  sidecar.authority.staleness = 0;
});
afterAll(async () => {
  await sidecar.close();
  await control.dispose();
});

const SAID = [
  'decision',
  'reason',
  'rule',
  'message',
  'warnings',
  'leaseResource',
  'trace',
] as const;
const said = (answer: PolicyDecision): unknown => SAID.map((name) => answer[name]);

/** 0 before the first. */
let inForce = 0;

async function publish(text: string): Promise<number> {
  const condition = inForce === 0 ? { 'if-none-match': '*' } : { 'if-match': `"${inForce}"` };
  const answer = await control.call('PUT', '/v1/policy', {
    text,
    headers: { 'content-type': 'application/json', ...condition },
  });
  expect([200, 201]).toContain(answer.status);
  inForce = Number(answer.json['policyRevision']);
  return inForce;
}

test(
  'the same request has the same decision and the same explanation in all three places',
  async () => {
    const reasons = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(generatedPolicy, generatedInput, async (document, input) => {
        // What no gate lets pass is decided nowhere.
        fc.pre(checkPolicyValue(document).ok);
        const text = JSON.stringify(document);
        const offline = decideOffline(
          { name: 'policy.json', bytes: Buffer.from(text), format: 'json' },
          input,
        );

        const policyRevision = await publish(text);
        const asked = await control.call('POST', '/v1/policy:decide?explain=true', {
          body: input,
        });
        expect(asked.status).toBe(200);
        const byControl = asked.json as unknown as PolicyDecision;

        const active = activePolicy(document, policyRevision);
        sidecar.authority.active = active;
        // A rule of class fresh is decided by control: the one and the other under this revision.
        sidecar.authority.freshAnswer = (question) =>
          Promise.resolve({
            ok: true,
            decision: decide(active.compiled, question),
            policyRevision,
            stalenessMs: 0,
          });
        const answer = await call('POST', '/v1/decisions?explain=true', { body: input });
        expect(answer.statusCode).toBe(200);
        const bySidecar = answer.json<DecisionAnswer>();

        expect(said(byControl)).toEqual(said(offline));
        expect(said(bySidecar)).toEqual(said(offline));
        expect([byControl.policyRevision, bySidecar.policyRevision]).toEqual([
          policyRevision,
          policyRevision,
        ]);
        reasons.set(offline.reason, (reasons.get(offline.reason) ?? 0) + 1);
      }),
      { numRuns: RUNS },
    );
    // Of each kind there was one, or the property says less than it seems to.
    expect([...reasons.keys()].toSorted()).toEqual([
      'denied',
      'no_rule',
      'permitted',
      'rule_error',
      'unknown_principal',
    ]);
  },
  BOUND_MS,
);

test('an older revision decides as it did, and one that never was is not found', async () => {
  const document = {
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    principals: { 'agent:billing': { roles: ['agent'] } },
    rules: [{ name: 'all', actions: ['*'], permit: [{ expression: 'true' }] }],
  };
  const body = { principal: 'agent:billing', action: 'payments.capture' };
  const before = await publish(JSON.stringify(document));
  const rules = [{ ...document.rules[0], name: 'none', permit: [{ expression: 'false' }] }];
  await publish(JSON.stringify({ ...document, rules }));
  const under = (query: string) => control.call('POST', `/v1/policy:decide${query}`, { body });
  expect((await under('')).json).toMatchObject({ decision: 'deny', rule: 'none', trace: null });
  expect((await under(`?revision=${before}`)).json).toMatchObject({
    decision: 'permit',
    rule: 'all',
    policyRevision: before,
  });
  expect((await under('?revision=999999')).json).toMatchObject({ code: 'not_found' });
  expect((await under('?revision=0')).status).toBe(400);
  const [asNobody, unknownField] = await Promise.all([
    control.call('POST', '/v1/policy:decide', { token: 'wrong', body }),
    control.call('POST', '/v1/policy:decide', { body: { ...body, x: 1 } }),
  ]);
  expect([asNobody.status, unknownField.status]).toEqual([401, 400]);
});
