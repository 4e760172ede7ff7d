/** A revocation that a sidecar cannot hear of, because the network between it and control is cut. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ControlWorld, policyDocument } from '../fakes/control-world.ts';
import { WholeHost } from '../fakes/whole-host.ts';

const REQUEST = {
  principal: 'agent:billing',
  action: 'payments.capture',
  attributes: { amount: 1 },
};

let control: ControlWorld;
let host: WholeHost;
beforeAll(async () => {
  control = await ControlWorld.create();
  await control.publish(policyDocument({ defaults: { maxStaleness: '2s' } }));
  host = await WholeHost.start(control);
}, 60_000);
afterAll(async () => {
  await host.dispose();
  await control.dispose();
});

let keys = 0;
const admit = async (): Promise<{ atMs: number } | { code: string }> =>
  host.client.admit(REQUEST, { idempotencyKey: `k-${(keys += 1)}` }).then(
    ({ operation }) => ({ atMs: operation.admittedAtMs }),
    (error: { code: string }) => ({ code: error.code }),
  );

test('I5, I10: a disconnected host stops by its bound; control says until when, and is right', async () => {
  await host.until(async () => 'atMs' in (await admit()));
  const api = host.openControl();
  host.cut = 'refused';
  await host.until(async () => (await host.client.status()).control.outage !== null);
  const given = await api.notices.record({
    kind: 'revoke_principal',
    subject: REQUEST.principal,
    reason: 'stolen',
  });
  expect(given.hosts).toMatchObject([{ hostName: 'host-1', state: 'may_act' }]);
  const admitsUntilMs = given.admitsUntilMs ?? 0;
  const admitted: number[] = [];
  let refusal = '';
  await host.until(async () => {
    const answer = await admit();
    if ('atMs' in answer) admitted.push(answer.atMs);
    else refusal = answer.code;
    return refusal !== '';
  });
  expect(refusal).toBe('policy_expired');
  expect(admitted.length).toBeGreaterThan(0);
  expect(Math.max(...admitted)).toBeLessThanOrEqual(admitsUntilMs);
  await api.close();
});

test('I10: back in reach it obeys before anything else, and then control shows it as confirmed', async () => {
  const api = host.openControl();
  host.cut = null;
  const codes = new Set<string>();
  await host.until(async () => {
    const answer = await admit();
    codes.add('code' in answer ? answer.code : 'admitted');
    return codes.has('principal_revoked');
  });
  expect(codes).not.toContain('admitted');
  const [notice] = (await api.notices.list({})).items;
  await host.until(async () => (await api.notices.fetch(notice?.noticeId ?? '')).confirmed === 1);
  await api.close();
});

test('I5: one that stays away counts as able to act until the last deadline, and not longer', async () => {
  const api = host.openControl();
  host.cut = 'refused';
  const subject = 'payments.capture';
  const given = await api.notices.record({ kind: 'kill_action', subject, reason: 'ticket 4711' });
  const stateAt = async (wallMs: number): Promise<string | undefined> => {
    await control.clock.advance(wallMs - control.clock.now().wallMs);
    return (await api.notices.fetch(given.noticeId)).hosts[0]?.state;
  };
  expect(await stateAt(given.actsUntilMs ?? 0)).toBe('may_act');
  expect(await stateAt((given.actsUntilMs ?? 0) + 1)).toBe('bound_passed');
  await api.close();
});
