/** Why an operation was admitted, asked later: under the revision that it was decided under. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Operation } from '../../shared/wire/operation.ts';
import type { Explanation } from '../../shared/wire/sidecar-api.ts';
import { TEST_POLICY, activePolicy } from '../fakes/fake-authority.ts';
import { FakeClock } from '../fakes/fake-clock.ts';
import { openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { NOTIFY, callerOf } from '../fakes/sidecar-caller.ts';
import { UpstreamWorld, policyDocument } from '../fakes/upstream-world.ts';

describe('over HTTP', () => {
  let sidecar: TestSidecar;
  const { call, admit } = callerOf(() => sidecar);
  beforeEach(async () => {
    sidecar = await openTestSidecar({ clock: new FakeClock({ bootMs: 10 ** 12 }) });
  });
  afterEach(() => sidecar.close());

  async function admitted(): Promise<Operation> {
    return (await admit(NOTIFY, 'k-1')).json<Operation>();
  }
  async function explanation({ operationId }: Operation): Promise<Explanation> {
    return (await call('GET', `/v1/operations/${operationId}/explanation`)).json<Explanation>();
  }

  test('I3: every rule considered, each expression, and the freshness arithmetic', async () => {
    const operation = await admitted();
    const { decision, decisionMissing, freshness, summary } = await explanation(operation);
    expect(decisionMissing).toBeNull();
    expect(decision).toMatchObject({
      agrees: true,
      trace: {
        rule: 'notify',
        rules: [
          {
            rule: 'notify',
            outcome: 'decided',
            permit: [{ expression: '"agent" in principal.roles', outcome: 'true' }],
          },
        ],
      },
    });
    expect(freshness).toEqual({
      basis: 'cached',
      stalenessMs: 1_000,
      maxStalenessMs: 15 * 60_000,
      provenBy: 'sync',
      provenAtMs: operation.admittedAtMs - 1_000,
    });
    expect(summary.join('\n')).toMatch(
      /sync that proved the authority was sent 1s before the admission, of at most 15m\./,
    );
  });

  test('I3: a later revision that says otherwise changes nothing of it', async () => {
    const operation = await admitted();
    const [before] = [sidecar.authority.active];
    if (before !== null) sidecar.authority.kept.push(before);
    const rules = [{ ...TEST_POLICY.rules[1]!, permit: [{ expression: 'false' }] }];
    sidecar.authority.active = activePolicy({ ...TEST_POLICY, rules }, 2);
    expect((await explanation(operation)).decision).toMatchObject({ agrees: true });
  });

  test('a revision that is not kept any more is said to be gone, with the way to it', async () => {
    const operation = await admitted();
    sidecar.authority.active = activePolicy(TEST_POLICY, 9);
    const { decision, decisionMissing, freshness } = await explanation(operation);
    expect(decision).toBeNull();
    expect(decisionMissing).toMatchObject({
      reason: 'policy_gone',
      detail: expect.stringContaining('--revision 1'),
    });
    expect(freshness).toMatchObject({ stalenessMs: 1_000, maxStalenessMs: null });
  });

  test('a decision that this build makes otherwise is told, not hidden', async () => {
    const operation = await admitted();
    const rules = [{ ...TEST_POLICY.rules[1]!, permit: [{ expression: 'false' }] }];
    sidecar.authority.active = activePolicy({ ...TEST_POLICY, rules }, 1);
    const { decision, summary } = await explanation(operation);
    expect(decision?.agrees).toBe(false);
    expect(summary.at(-1)).toContain('the decision is another (denied, rule notify)');
  });
});

test('kept generations are found on the disk, over a restart, and no more of them than three', async () => {
  const world = await UpstreamWorld.create();
  try {
    await world.startWithPolicy(policyDocument(1));
    for (const revision of [2, 3, 4]) {
      await world.control.publish(revision, policyDocument(revision));
      await world.passUntil(() => world.revision() === revision, `revision ${revision}`);
    }
    await world.restart();
    const found = async (revision: number): Promise<string | undefined> =>
      (await world.upstream.revisions.find(revision))?.rules[0]?.permit[0]?.expression.source;
    expect([await found(1), await found(2), await found(3), await found(4)]).toEqual([
      undefined,
      'attributes.amount <= 2',
      'attributes.amount <= 3',
      'attributes.amount <= 4',
    ]);
  } finally {
    await world.dispose();
  }
});
