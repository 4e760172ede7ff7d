/** A lease that is being handed over, as apps see it: over a real journal. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Drains } from '../../dataplane/operations/drains.ts';
import { createLogger } from '../../shared/platform/logger.ts';
import { APP_TOKEN, openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';

const LEASE = 'orders/7';

let sidecar: TestSidecar;
let drains: Drains;
beforeEach(async () => {
  sidecar = await openTestSidecar();
  const { journal, authority, clock } = sidecar;
  const logger = createLogger({ name: 'test', level: 'silent' });
  drains = new Drains({ journal, leases: authority.leases, clock, logger });
  authority.hold(LEASE, 5, clock.now());
});
afterEach(() => sidecar.close());

const call = async (method: 'POST' | 'PUT', url: string, body: object = {}, key?: string) => {
  const answer = await sidecar.app.inject({
    method,
    url,
    payload: body,
    headers: {
      host: '127.0.0.1',
      'holdfast-request': '1',
      authorization: `Bearer ${APP_TOKEN}`,
      ...(key === undefined ? {} : { 'idempotency-key': key }),
    },
  });
  return { status: answer.statusCode, json: answer.json<Record<string, unknown>>() };
};
const admit = (key: string) =>
  call(
    'POST',
    '/v1/operations',
    {
      principal: 'agent:billing',
      action: 'payments.capture',
      resource: { id: 'order-1', attributes: { shard: '7' } },
      attributes: { amount: 20 },
    },
    key,
  );

function drain(): void {
  const lease = sidecar.authority.held.get(LEASE);
  if (lease === undefined) throw new Error('it is not held');
  const drainEndsBootMs = sidecar.clock.now().bootMs + 60_000;
  sidecar.authority.held.set(LEASE, { ...lease, drainEndsBootMs });
}

test('nothing new is admitted under it, and what was accepted is carried to its end before it is given up', async () => {
  const accepted = await admit('a');
  expect(accepted.status).toBe(201);
  const path = `/v1/operations/${String(accepted.json['operationId'])}`;
  drain();

  expect(await admit('b')).toMatchObject({
    status: 503,
    json: { code: 'lease_draining', retryable: true, rule: 'capture' },
  });
  // A key that is known gets its record all the same.
  expect((await admit('a')).status).toBe(200);

  await drains.round();
  expect(sidecar.authority.held.has(LEASE)).toBe(true);
  expect(sidecar.authority.unfinished).toEqual(new Map([[LEASE, 1]]));
  expect((await call('POST', `${path}/attempts`)).status).toBe(201);
  expect(await call('POST', `${path}/attempts/1/heartbeat`)).toMatchObject({
    status: 200,
    json: { leaseDraining: true, leaseDrainRemainingMs: expect.any(Number) as number },
  });
  await drains.round();
  expect(sidecar.authority.held.has(LEASE)).toBe(true);

  expect((await call('PUT', `${path}/attempts/1/outcome`, { outcome: 'succeeded' })).status).toBe(
    200,
  );
  await drains.round();
  expect(sidecar.authority.held.has(LEASE)).toBe(false);
});

test('what was on its way into the journal when it was marked is waited for', async () => {
  const onItsWay = admit('a');
  // The admission is decided in this turn; it is not on disk yet.
  await new Promise((resolve) => setImmediate(resolve));
  drain();
  await drains.round();
  const { status } = await onItsWay;
  expect([status, sidecar.authority.held.has(LEASE)]).toSatisfy(
    ([was, isHeld]) => was === 503 || isHeld === true,
  );
});

test('a lease that is not to be drained says so, and stays', async () => {
  const path = `/v1/operations/${String((await admit('a')).json['operationId'])}`;
  await call('POST', `${path}/attempts`);
  expect((await call('POST', `${path}/attempts/1/heartbeat`)).json).toMatchObject({
    leaseDraining: false,
    leaseDrainRemainingMs: null,
  });
  await drains.round();
  expect(sidecar.authority.held.has(LEASE)).toBe(true);
});
