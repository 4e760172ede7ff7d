import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { wallEpoch } from '../../control/core/floors.ts';
import { ControlWorld, TERM_MS } from '../fakes/control-world.ts';
import { SigningHost } from '../fakes/signing-host.ts';

let world: ControlWorld;
let one: SigningHost;
let two: SigningHost;
beforeEach(async () => {
  world = await ControlWorld.create();
  one = await world.enrolHost('host-1');
  two = await world.enrolHost('host-2');
});
afterEach(() => world.dispose());

const RESOURCE = 'orders/7';
const lease = async (resource = RESOURCE) => {
  const { items } = (await world.get('/v1/leases')).json as { items: { resource: string }[] };
  return items.find((item) => item.resource === resource);
};

describe('leases by sync', () => {
  test('a free resource is granted, with a duration and never a time', async () => {
    const answer = await one.sync({ acquire: [RESOURCE] });
    expect(answer).toMatchObject({
      leases: [{ resource: RESOURCE, ttlMs: 30_000 }],
      lost: [],
      pending: [],
      drift: 0.01,
    });
    expect(await lease()).toMatchObject({
      state: 'held',
      holderName: 'host-1',
      remainingMs: TERM_MS,
      transitions: 0,
    });
  });

  test("I7: another host waits for the grantor's end, and gets a higher epoch then", async () => {
    const epoch = await one.acquire(RESOURCE);
    await world.clock.advance(TERM_MS - 1);
    expect((await two.sync({ acquire: [RESOURCE] })).pending).toEqual([
      { resource: RESOURCE, reason: 'held', holder: one.id, retryAfterMs: 1 },
    ]);
    await world.clock.advance(1);
    expect(await two.acquire(RESOURCE)).toBeGreaterThan(epoch);
    expect((await one.sync({ renew: [{ resource: RESOURCE, epoch }] })).lost).toEqual([
      { resource: RESOURCE, epoch, reason: 'superseded' },
    ]);
    expect(await lease()).toMatchObject({ holderName: 'host-2', transitions: 1 });
  });

  test('a renewal keeps the epoch and counts from itself', async () => {
    const epoch = await one.acquire(RESOURCE);
    await world.clock.advance(20_000);
    expect((await one.sync({ renew: [{ resource: RESOURCE, epoch }] })).leases).toEqual([
      { resource: RESOURCE, epoch, ttlMs: 30_000 },
    ]);
    await world.clock.advance(TERM_MS - 1);
    expect((await two.sync({ acquire: [RESOURCE] })).pending).toHaveLength(1);
  });

  test('an expired lease that nobody took is renewed under the same epoch', async () => {
    const epoch = await one.acquire(RESOURCE);
    await world.clock.advance(10 * TERM_MS);
    expect(await lease()).toMatchObject({ state: 'expired', holder: null, remainingMs: 0 });
    expect((await one.sync({ renew: [{ resource: RESOURCE, epoch }] })).leases).toMatchObject([
      { epoch },
    ]);
  });

  test('a released one is free at once, and a late release frees nothing', async () => {
    const epoch = await one.acquire(RESOURCE);
    await one.sync({ release: [{ resource: RESOURCE, epoch }] });
    const next = await two.acquire(RESOURCE);
    expect(next).toBeGreaterThan(epoch);
    await one.sync({
      release: [
        { resource: RESOURCE, epoch },
        { resource: RESOURCE, epoch: next },
      ],
    });
    expect(await lease()).toMatchObject({ state: 'held', holderName: 'host-2' });
  });

  test('the holder that lost its memory gets it again at once, under a higher epoch', async () => {
    const epoch = await one.acquire(RESOURCE);
    expect(await one.acquire(RESOURCE)).toBeGreaterThan(epoch);
  });

  test('what was never granted, or to somebody else, is not renewed', async () => {
    const epoch = await one.acquire(RESOURCE);
    const claims = [
      { resource: 'a', epoch: 1 },
      { resource: RESOURCE, epoch },
      { resource: RESOURCE, epoch: epoch + 5 },
    ];
    expect((await two.sync({ renew: claims })).lost.map(({ reason }) => reason)).toEqual([
      'unknown',
      'unknown',
      'unknown',
    ]);
  });

  test('a machine enrolled anew does not inherit what the one before may still hold', async () => {
    const epoch = await one.acquire(RESOURCE);
    const successor = await SigningHost.create(world, 'host-1');
    await successor.enrol(await world.joinToken('host-1'));
    expect((await successor.sync({ renew: [{ resource: RESOURCE, epoch }] })).lost).toMatchObject([
      { reason: 'unknown' },
    ]);
    expect((await successor.sync({ acquire: [RESOURCE] })).pending).toMatchObject([
      { reason: 'held' },
    ]);
    await world.clock.advance(TERM_MS);
    expect(await successor.acquire(RESOURCE)).toBeGreaterThan(epoch);
  });

  test('no host holds more than its limit', async () => {
    await world.dispose();
    world = await ControlWorld.create({ leasesPerHostMax: 2 });
    one = await world.enrolHost('host-1');
    const answer = await one.sync({ acquire: ['a', 'b', 'c'] });
    expect(answer.leases).toHaveLength(2);
    expect(answer.pending).toMatchObject([{ resource: 'c', reason: 'limit' }]);
    const epoch = answer.leases[0]?.epoch ?? 0;
    expect(
      (await one.sync({ release: [{ resource: 'a', epoch }], acquire: ['c'] })).leases,
    ).toHaveLength(1);
  });

  test('an expired lease does not count against the limit; renewed or released it is counted right', async () => {
    await world.dispose();
    world = await ControlWorld.create({ leasesPerHostMax: 2 });
    one = await world.enrolHost('host-1');
    const { leases } = await one.sync({ acquire: ['a', 'b'] });
    const [a, b] = leases.map(({ resource, epoch }) => ({ resource, epoch }));
    await world.clock.advance(TERM_MS);
    // Renewed it is held again, so that only one more fits.
    const answer = await one.sync({ renew: [a!], acquire: ['c', 'd'] });
    expect(answer.leases.map(({ resource }) => resource)).toEqual(['a', 'c']);
    expect(answer.pending).toMatchObject([{ resource: 'd', reason: 'limit' }]);
    // The release of an expired one makes no room.
    const after = await one.sync({ release: [b!], acquire: ['d'] });
    expect(after.pending).toMatchObject([{ resource: 'd', reason: 'limit' }]);
    await world.restart();
    await world.clock.advance(TERM_MS);
    expect((await one.sync({ acquire: ['d', 'e'] })).leases).toHaveLength(2);
  });

  test('after an end without release others wait for the lock delay besides', async () => {
    await world.dispose();
    world = await ControlWorld.create({ lockDelay: '10s' });
    [one, two] = [await world.enrolHost('host-1'), await world.enrolHost('host-2')];
    const epoch = await one.acquire(RESOURCE);
    await world.clock.advance(TERM_MS);
    expect((await two.sync({ acquire: [RESOURCE] })).pending).toMatchObject([
      { reason: 'lock_delay', retryAfterMs: 10_000 },
    ]);
    await world.clock.advance(10_000);
    const next = await two.acquire(RESOURCE);
    expect(next).toBeGreaterThan(epoch);
    await two.sync({ release: [{ resource: RESOURCE, epoch: next }] });
    await one.acquire(RESOURCE);
  });

  test('many hosts that ask at once for one resource: one gets it', async () => {
    const hosts = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((name) => world.enrolHost(name)));
    const answers = await Promise.all(hosts.map((host) => host.sync({ acquire: [RESOURCE] })));
    expect(answers.filter(({ leases }) => leases.length === 1)).toHaveLength(1);
    expect(answers.filter(({ pending }) => pending[0]?.reason === 'held')).toHaveLength(4);
  });

  test('grants and releases are in the audit trail with what they replace; renewals are not', async () => {
    const epoch = await one.acquire(RESOURCE);
    await one.sync({ renew: [{ resource: RESOURCE, epoch }] });
    await one.sync({ release: [{ resource: RESOURCE, epoch }] });
    const { items } = (await world.get('/v1/audit')).json as { items: Record<string, unknown>[] };
    const entries = items.filter(({ target }) => target === RESOURCE);
    expect(entries.map(({ action }) => action)).toEqual(['lease.released', 'lease.granted']);
    expect(entries[1]).toMatchObject({
      actor: `host:${one.id}`,
      detail: { epoch, replaces: null },
    });
  });
});

describe('after a restart of control', () => {
  test("I7: what was held is its holder's until a whole term has passed; the holder renews at once", async () => {
    const epoch = await one.acquire(RESOURCE);
    await world.clock.advance(TERM_MS - 1);
    await world.restart();
    expect((await two.sync({ acquire: [RESOURCE] })).pending).toMatchObject([
      { reason: 'recovering', holder: one.id, retryAfterMs: TERM_MS },
    ]);
    expect((await one.sync({ renew: [{ resource: RESOURCE, epoch }] })).leases).toMatchObject([
      { epoch },
    ]);
    await world.clock.advance(TERM_MS - 1);
    expect((await two.sync({ acquire: [RESOURCE] })).pending).toMatchObject([{ reason: 'held' }]);
  });

  test('after that term it goes to who asks, also over a reboot of the machine', async () => {
    const epoch = await one.acquire(RESOURCE);
    await world.stop();
    world.clock.reboot({ downMs: 1_000 });
    await world.start();
    await world.clock.advance(TERM_MS - 1);
    expect((await two.sync({ acquire: [RESOURCE] })).pending).toHaveLength(1);
    await world.clock.advance(1);
    expect(await two.acquire(RESOURCE)).toBeGreaterThan(epoch);
  });

  test('a released lease and a free one are granted at once; I6: epochs go on', async () => {
    const epoch = await one.acquire(RESOURCE);
    await one.sync({ release: [{ resource: RESOURCE, epoch }] });
    await world.restart();
    // It has been heard.
    await one.sync();
    const next = await two.acquire(RESOURCE);
    expect(next).toBeGreaterThan(epoch);
    expect(await two.acquire('orders/8')).toBeGreaterThan(next);
  });

  test('a shorter leaseTtl does not shorten what was granted before', async () => {
    await world.dispose();
    world = await ControlWorld.create({ leaseTtl: '30s' });
    [one, two] = [await world.enrolHost('host-1'), await world.enrolHost('host-2')];
    await one.acquire(RESOURCE);
    await world.restart({ leaseTtl: '2s' });
    await world.clock.advance(TERM_MS - 1);
    expect((await two.sync({ acquire: [RESOURCE] })).pending).toMatchObject([
      { reason: 'recovering' },
    ]);
  });
});

describe('after an older copy of the database was put back', () => {
  test('I6: no epoch is given again, and I7: nothing is granted until what is unknown has ended', async () => {
    const first = await one.acquire(RESOURCE);
    const restore = await world.backUp();
    await one.sync({ release: [{ resource: RESOURCE, epoch: first }] });
    const lost = await two.acquire(RESOURCE);
    await restore();
    // Host 2 holds the lease in time; this store says host 1 does.
    expect(
      (await one.sync({ renew: [{ resource: RESOURCE, epoch: first }] })).pending,
    ).toMatchObject([{ reason: 'recovering' }]);
    expect((await one.sync({ acquire: [RESOURCE, 'orders/8'] })).pending).toHaveLength(2);
    expect((await world.get('/v1/health')).json).toMatchObject({
      controlPlane: { parts: { leases: { state: 'degraded' } } },
    });
    await world.clock.advance(TERM_MS);
    expect((await one.sync({ renew: [{ resource: RESOURCE, epoch: first }] })).lost).toMatchObject([
      { reason: 'expired' },
    ]);
    expect(await one.acquire(RESOURCE)).toBeGreaterThan(lost);
  });

  test('I6: with the floor file put back too, what hosts have seen moves the counter past it', async () => {
    const restore = await world.backUp({ all: true });
    await one.sync();
    let lost = 0;
    for (let round = 0; round < 5; round += 1) lost = await two.acquire(RESOURCE);
    await restore();
    // Far more than a block of the floor file.
    const seen = lost + 5_000;
    expect(
      (await two.sync({ highWater: { epoch: seen }, acquire: [RESOURCE] })).pending,
    ).toMatchObject([{ reason: 'recovering' }]);
    await world.clock.advance(TERM_MS);
    expect(await one.acquire(RESOURCE)).toBeGreaterThan(seen);
    expect(await world.metric('holdfast_control_rollbacks_total')).toBe(1);
  });

  test('I11: no revision number is given again', async () => {
    await world.publish();
    const restore = await world.backUp();
    for (const host of [one, two]) await host.sync();
    await world.publish({
      ...((await world.get('/v1/policy')).json['policy'] as object),
      description: 'lost',
    });
    await restore();
    expect((await world.get('/v1/policy')).json).toMatchObject({ policyRevision: 1 });
    for (const host of [one, two]) await host.sync();
    const next = await world.publish({
      ...((await world.get('/v1/policy')).json['policy'] as object),
      description: 'other',
    });
    expect(next.json).toMatchObject({ policyRevision: 3 });
  });

  test('I11: nor one that a host has seen', async () => {
    await world.publish();
    await one.sync({ highWater: { policyRevision: 41 } });
    const next = await world.publish({
      ...((await world.get('/v1/policy')).json['policy'] as object),
      description: 'x',
    });
    expect(next.json).toMatchObject({ policyRevision: 42 });
  });

  test('a number that nothing real reaches is not believed', async () => {
    await one.syncOnce({
      highWater: { epoch: Number.MAX_SAFE_INTEGER, policyRevision: Number.MAX_SAFE_INTEGER },
    });
    expect(await one.acquire(RESOURCE)).toBeLessThan(wallEpoch(world.clock.now().wallMs) + 10);
    expect((await world.publish()).json).toMatchObject({ policyRevision: 1 });
    expect(await world.metric('holdfast_control_implausible_reports_total{kind="epoch"}')).toBe(1);
  });
});
