/** What a notice does to a sidecar: to what is asked for, and to what runs. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TEST_POLICY, activePolicy } from '../fakes/fake-authority.ts';
import { FakeClock } from '../fakes/fake-clock.ts';
import { openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { NOTIFY, callerOf } from '../fakes/sidecar-caller.ts';

let clock: FakeClock;
let sidecar: TestSidecar;
beforeEach(async () => {
  clock = new FakeClock({ bootMs: 10 ** 12 });
  sidecar = await openTestSidecar({ clock });
});
afterEach(() => sidecar.close());
const { call, admit } = callerOf(() => sidecar);

type Seen = { operationId: string; state: string; reason: string | null };

async function executing(): Promise<string> {
  const { operationId } = (await admit(NOTIFY, 'k-1')).json<Seen>();
  await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} });
  return operationId;
}

test('I3, I10: a notice refuses at once, with its own reason, until it is lifted', async () => {
  expect((await admit(NOTIFY, 'k-1')).statusCode).toBe(201);
  sidecar.authority.notices.give('revoke_principal', NOTIFY.principal);
  const refused = await admit(NOTIFY, 'k-2');
  expect(refused.statusCode).toBe(403);
  expect(refused.json()).toMatchObject({
    code: 'principal_revoked',
    refusalId: expect.any(String),
  });
  // What was admitted before is answered with its record.
  expect((await admit(NOTIFY, 'k-1')).statusCode).toBe(200);
  sidecar.authority.notices.give('revoke_principal', NOTIFY.principal, false);
  expect((await admit(NOTIFY, 'k-2')).statusCode).toBe(201);
});

test('work of a stopped action ends at its next effect, as onRevoke says', async () => {
  const operationId = await executing();
  sidecar.authority.notices.give('kill_action', NOTIFY.action);
  const effect = await call('POST', `/v1/operations/${operationId}/attempts/1/effects/send`);
  expect(effect.json()).toMatchObject({ code: 'action_killed', operationId });
  const seen = (await call('GET', `/v1/operations/${operationId}`)).json<Seen>();
  expect(seen).toMatchObject({ state: 'cancelled', reason: 'action_killed' });
});

function everyRuleSays(onRevoke: 'pause' | 'finish'): void {
  const rules = TEST_POLICY.rules.map((rule) => ({ ...rule, onRevoke }));
  sidecar.authority.active = activePolicy({ ...TEST_POLICY, rules });
}
const stateOf = async (operationId: string): Promise<string> =>
  (await call('GET', `/v1/operations/${operationId}`)).json<Seen>().state;
const beginEffect = (operationId: string) =>
  call('POST', `/v1/operations/${operationId}/attempts/1/effects/send`);

test('I8: work whose rule says finish goes on under a notice', async () => {
  everyRuleSays('finish');
  const operationId = await executing();
  sidecar.authority.notices.give('kill_action', NOTIFY.action);
  await sidecar.custodian.round();
  expect((await beginEffect(operationId)).statusCode).toBeLessThan(300);
  expect(await stateOf(operationId)).toBe('executing');
});

test('I8: work whose rule says pause stands still under a notice until it is lifted', async () => {
  everyRuleSays('pause');
  const operationId = await executing();
  sidecar.authority.notices.give('kill_action', NOTIFY.action);
  await sidecar.custodian.round();
  expect(await stateOf(operationId)).toBe('paused');
  await clock.advance(60_000);
  expect((await beginEffect(operationId)).statusCode).toBeGreaterThanOrEqual(400);
  await sidecar.custodian.round();
  expect(await stateOf(operationId)).toBe('paused');
  sidecar.authority.notices.give('kill_action', NOTIFY.action, false);
  // What was found held is looked at again after a while.
  await clock.advance(60_000);
  await sidecar.custodian.round();
  await sidecar.custodian.round();
  expect(await stateOf(operationId)).toBe('accepted');
});

test('the custodian ends work that asks for nothing (I8)', async () => {
  const operationId = await executing();
  sidecar.authority.notices.give('revoke_principal', NOTIFY.principal);
  await sidecar.custodian.round();
  const seen = (await call('GET', `/v1/operations/${operationId}`)).json<Seen>();
  expect(seen).toMatchObject({ state: 'cancelled', reason: 'principal_revoked' });
});
