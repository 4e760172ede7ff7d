/** What happens to accepted work when nobody does anything: time passes, workers vanish (I8). */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { FakeClock } from '../fakes/fake-clock.ts';
import { openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { NOTIFY, callerOf } from '../fakes/sidecar-caller.ts';

const HEARTBEAT_TIMEOUT_MS = 30_000;
const DEADLINE_MS = 600_000;

let clock: FakeClock;
let sidecar: TestSidecar;
beforeEach(async () => {
  // Ahead of the real clock that the writer's thread compares with when it admits.
  clock = new FakeClock({ bootMs: 10 ** 12 });
  sidecar = await openTestSidecar({ clock });
});
afterEach(() => sidecar.close());
const { call, admit } = callerOf(() => sidecar);

type Seen = { operationId: string; state: string; reason: string | null; attempt: number };

async function executing(): Promise<string> {
  const { operationId } = (await admit(NOTIFY, 'k-1')).json<Seen>();
  await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} });
  return operationId;
}

async function see(operationId: string): Promise<Seen> {
  await sidecar.custodian.round();
  return (await call('GET', `/v1/operations/${operationId}`)).json<Seen>();
}

test('I8: a worker that misses its heartbeats is noticed, and its rule says what then', async () => {
  const operationId = await executing();
  await clock.advance(HEARTBEAT_TIMEOUT_MS);
  expect(await see(operationId)).toMatchObject({ state: 'executing' });
  await clock.advance(1);
  expect(await see(operationId)).toMatchObject({ state: 'accepted', reason: 'worker_lost' });
  const late = await call('POST', `/v1/operations/${operationId}/attempts/1/effects/send`);
  expect(late.json()).toMatchObject({ code: 'operation_not_executing' });
});

test('a heartbeat keeps an attempt alive, and the attempt that took over makes the old one stale', async () => {
  const operationId = await executing();
  await clock.advance(HEARTBEAT_TIMEOUT_MS);
  const beat = await call('POST', `/v1/operations/${operationId}/attempts/1/heartbeat`, {
    body: {},
  });
  expect(beat.statusCode).toBe(200);
  await clock.advance(HEARTBEAT_TIMEOUT_MS);
  expect(await see(operationId)).toMatchObject({ state: 'executing', attempt: 1 });
  await clock.advance(1);
  await see(operationId);
  await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} });
  const stale = await call('POST', `/v1/operations/${operationId}/attempts/1/heartbeat`, {
    body: {},
  });
  expect(stale.json()).toMatchObject({ code: 'attempt_stale', status: 409 });
});

test('I8, I9: a worker that vanishes inside an effect leaves an unknown outcome, never a second run', async () => {
  const operationId = await executing();
  await call('POST', `/v1/operations/${operationId}/attempts/1/effects/log`);
  await clock.advance(HEARTBEAT_TIMEOUT_MS + 1);
  expect(await see(operationId)).toMatchObject({
    state: 'unknown',
    reason: 'worker_lost_in_effect_log',
  });
  const again = await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} });
  expect(again.json()).toMatchObject({ code: 'operation_settled' });
});

test('I8: a deadline that passes ends what nobody took up, also when the wall clock was set back', async () => {
  const { operationId } = (await admit(NOTIFY, 'k-1')).json<Seen>();
  clock.stepWall(-3_600_000);
  await clock.advance(DEADLINE_MS - 1);
  expect(await see(operationId)).toMatchObject({ state: 'accepted' });
  await clock.advance(1);
  expect(await see(operationId)).toMatchObject({ state: 'expired', reason: 'deadline_passed' });
  const start = await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} });
  expect(start.json()).toMatchObject({ code: 'operation_settled' });
});

test('a full queue costs the custodian one round, a broken journal ends it', async () => {
  await admit(NOTIFY, 'k-1');
  await clock.advance(DEADLINE_MS);
  const submit = sidecar.journal.submit.bind(sidecar.journal);
  sidecar.journal.submit = () => Promise.reject(new HoldfastError('journal_busy', 'full'));
  await expect(sidecar.custodian.round()).resolves.toBeUndefined();
  sidecar.journal.submit = () => Promise.reject(new HoldfastError('outcome_unknown', 'EIO'));
  await expect(sidecar.custodian.round()).rejects.toThrow('EIO');
  sidecar.journal.submit = submit;
  await sidecar.custodian.round();
  expect(sidecar.journal.operationCounts()).toMatchObject({ accepted: 0, expired: 1 });
});
