import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlWorld, TERM_MS, type Answer } from '../fakes/control-world.ts';
import type { SigningHost } from '../fakes/signing-host.ts';

const RESOURCE = 'orders/7';

let world: ControlWorld;
let [one, two]: [SigningHost, SigningHost] = [] as never;
let claim: { resource: string; epoch: number };
beforeEach(async () => {
  world = await ControlWorld.create();
  [one, two] = [await world.enrolHost('host-1'), await world.enrolHost('host-2')];
  claim = { resource: RESOURCE, epoch: await one.acquire(RESOURCE) };
  await two.sync();
});
afterEach(() => world.dispose());

const order = (what: string, body: object = {}): Promise<Answer> =>
  world.call('POST', `/v1/leases/orders%2F7:${what}`, { body });
const lease = async () => (await world.get('/v1/leases/orders%2F7')).json;
const audited = async (): Promise<string[]> => {
  const { items } = (await world.get('/v1/audit')).json as { items: Record<string, string>[] };
  return items
    .filter(({ target }) => target === RESOURCE)
    .map(({ action }) => action ?? '')
    .toReversed();
};

describe('a lease that is handed over', () => {
  test('I6: its holder drains, releases, and the target has it with its next sync, unasked', async () => {
    const ordered = await order('transfer', {
      to: 'host-2',
      drainTimeout: '1m',
      reason: 'upgrade',
    });
    expect(ordered.status).toBe(202);
    expect(ordered.json).toMatchObject({
      state: 'held',
      holderName: 'host-1',
      handover: {
        mode: 'drain',
        toHostName: 'host-2',
        by: 'operator:admin',
        reason: 'upgrade',
        remainingMs: 60_000,
        onTimeout: 'give_up',
      },
    });
    await world.clock.advance(5_000);
    const told = await one.sync({ renew: [claim] });
    expect(told).toMatchObject({ leases: [claim], drain: [{ ...claim, remainingMs: 55_000 }] });
    expect((await two.sync()).leases).toEqual([]);
    await one.sync({ renew: [claim], draining: [{ ...claim, unfinished: 3 }] });
    expect(await lease()).toMatchObject({ handover: { unfinished: 3 } });

    await one.sync({ release: [claim] });
    expect(await lease()).toMatchObject({ state: 'released', handover: { mode: 'reserved' } });
    // Of a restart it is remembered.
    await world.restart();
    await one.sync();
    const { leases } = await two.sync();
    expect(leases).toMatchObject([{ resource: RESOURCE }]);
    expect(leases[0]?.epoch).toBeGreaterThan(claim.epoch);
    expect(await lease()).toMatchObject({ holderName: 'host-2', handover: null, transitions: 1 });
    expect(await audited()).toEqual([
      'lease.granted',
      'lease.transfer_ordered',
      'lease.released',
      'lease.granted',
    ]);
  });

  test('a drain that takes too long is given up, and called off it is as before', async () => {
    await order('transfer', { to: two.id, drainTimeout: '10s' });
    await world.clock.advance(10_000);
    expect(await one.sync({ renew: [claim] })).toMatchObject({ leases: [claim] });
    expect(await lease()).toMatchObject({ holderName: 'host-1', handover: null });
    expect(await audited()).toContain('lease.transfer_given_up');

    await order('transfer', { to: 'host-2' });
    expect((await order('cancel-transfer')).json).toMatchObject({ handover: null });
    expect((await one.sync({ renew: [claim] })).drain).toBeUndefined();
    expect((await order('cancel-transfer')).json).toMatchObject({ code: 'handover_absent' });
  });

  test.each([
    ['to nobody', { to: 'host-9' }, 404, 'not_found'],
    ['to its holder', { to: 'host-1' }, 400, 'invalid_request'],
    ['for no time', { to: 'host-2', drainTimeout: 'soon' }, 400, 'invalid_request'],
  ])('%s is refused', async (_what, body, status, code) => {
    expect(await order('transfer', body)).toMatchObject({ status, json: { code } });
  });

  test('to a host that is not in contact it is refused, and a viewer may not order it', async () => {
    await world.clock.advance(60_000);
    await one.sync({ renew: [claim] });
    expect((await order('transfer', { to: 'host-2' })).json).toMatchObject({
      code: 'host_unavailable',
    });
    const added = await world.call('POST', '/v1/operators', {
      body: { name: 'eve', roles: ['viewer'] },
    });
    const token = String(added.json['token']);
    const path = '/v1/leases/orders%2F7:revoke';
    expect((await world.call('POST', path, { token, body: {} })).status).toBe(403);
  });
});

describe('a lease that is revoked', () => {
  test('I7: its holder is told with its next sync; free when it says that it has stopped', async () => {
    expect((await order('revoke', { reason: 'misbehaves' })).json).toMatchObject({
      handover: { mode: 'stop', remainingMs: null },
    });
    expect((await two.sync({ acquire: [RESOURCE] })).pending).toMatchObject([{ reason: 'held' }]);
    expect((await one.sync({ renew: [claim] })).lost).toEqual([{ ...claim, reason: 'revoked' }]);
    await one.sync({ release: [claim] });
    expect(await two.acquire(RESOURCE)).toBeGreaterThan(claim.epoch);
    expect(await audited()).toEqual([
      'lease.granted',
      'lease.revoke_ordered',
      'lease.revoked',
      'lease.released',
      'lease.granted',
    ]);
  });

  test('I7: without its word nobody gets it before its term has run out, over a restart too', async () => {
    await order('revoke', { to: 'host-2' });
    await world.restart();
    await one.sync({ renew: [claim] });
    await world.clock.advance(TERM_MS - 1);
    expect((await two.sync()).leases).toEqual([]);
    await world.clock.advance(1);
    expect((await two.sync()).leases).toMatchObject([{ resource: RESOURCE }]);
    expect((await order('revoke')).status).toBe(202);
    await world.clock.advance(TERM_MS);
    expect((await order('revoke')).json).toMatchObject({ code: 'handover_absent' });
  });
});
