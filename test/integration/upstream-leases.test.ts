import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ownershipAt } from '../../shared/core/lease.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../shared/core/time.ts';
import { SYNC_INTERVAL_MS, UpstreamWorld } from '../fakes/upstream-world.ts';

const RESOURCE = 'orders/7';

let world: UpstreamWorld;
beforeEach(async () => {
  world = await UpstreamWorld.create();
  await world.startWithPolicy();
});
afterEach(() => world.dispose());

const leasesFile = (): string => join(world.dataDir, 'authority', 'leases.json');
const owned = (): boolean =>
  ownershipAt(world.upstream.leases.lease(RESOURCE), {
    mode: 'strict',
    graceMs: 0,
    now: world.clock.now(),
  }).owned;
const losses = (reason: string): number =>
  world.metrics.value('holdfast_lease_losses_total', { reason });

async function acquire(): Promise<void> {
  world.upstream.leases.want(RESOURCE);
  await world.passUntil(owned, 'owned');
}

describe('acquiring', () => {
  test('what is wanted is asked for soon, granted, and known to those who wait', async () => {
    await world.pass(SECOND_MS);
    world.upstream.leases.want(RESOURCE);
    const settled = world.upstream.leases.settled(RESOURCE, 10 * SECOND_MS);
    const startedMs = world.clock.now().bootMs;
    await world.passUntil(owned, 'owned');
    expect(world.clock.now().bootMs - startedMs).toBeLessThan(SECOND_MS);
    expect(await settled).toMatchObject({ resource: RESOURCE, lease: { epoch: 1 }, reason: null });
    expect(world.metrics.value('holdfast_leases_held')).toBe(1);
  });

  test('what a rival holds is answered with the reason and the holder', async () => {
    world.control.leases.set(RESOURCE, { epoch: 4, ttlMs: 30_000, holder: 'rival' });
    world.upstream.leases.want(RESOURCE);
    const settled = world.upstream.leases.settled(RESOURCE, 30 * SECOND_MS);
    await world.pass(SYNC_INTERVAL_MS);
    expect(await settled).toEqual({
      resource: RESOURCE,
      lease: null,
      reason: 'held',
      holder: 'host_rival',
    });
    world.control.leases.set(RESOURCE, { epoch: 4, ttlMs: 30_000, holder: null });
    await world.passUntil(owned, 'owned', 2 * SYNC_INTERVAL_MS);
    expect(world.upstream.leases.lease(RESOURCE)?.epoch).toBe(5);
  });

  test('who waits is told so when the time is over, control or not', async () => {
    world.control.behave('sync', { kind: 'hang' });
    world.upstream.leases.want(RESOURCE);
    const settled = world.upstream.leases.settled(RESOURCE, 3 * SECOND_MS);
    await world.pass(3 * SECOND_MS);
    expect(await settled).toEqual({ resource: RESOURCE, lease: null, reason: null, holder: null });
    expect(world.upstream.leases.statuses()).toHaveLength(1);
  });

  test('a want that nobody repeats is forgotten', async () => {
    world.control.leases.set(RESOURCE, { epoch: 4, ttlMs: 30_000, holder: 'rival' });
    world.upstream.leases.want(RESOURCE);
    await world.pass(3 * MINUTE_MS);
    expect(world.upstream.leases.statuses()).toEqual([]);
    expect(world.control.lastSync?.leases.acquire).toEqual([]);
  });
});

describe('I7: holding', () => {
  test('it is renewed again and again, with the same epoch', async () => {
    await acquire();
    for (let minute = 0; minute < 5; minute += 1) {
      await world.pass(MINUTE_MS);
      expect(owned()).toBe(true);
    }
    expect(world.upstream.leases.lease(RESOURCE)?.epoch).toBe(1);
  });

  test('a lease shorter than the sync interval is renewed in time all the same', async () => {
    world.control.ttlMs = 4_000;
    await acquire();
    const seen: boolean[] = [];
    for (let step = 0; step < 120; step += 1) {
      await world.pass(500);
      seen.push(owned());
    }
    expect(seen).not.toContain(false);
  });

  test('I7: without control it ends, for its holder, before control may grant it again', async () => {
    await acquire();
    world.control.down();
    await world.passUntil(() => !owned(), 'ended', 40 * SECOND_MS);
    const lease = world.upstream.leases.lease(RESOURCE);
    const inGrace = ownershipAt(lease, {
      mode: 'fenced',
      graceMs: 2 * MINUTE_MS,
      now: world.clock.now(),
    });
    expect(inGrace).toMatchObject({ owned: true, inGrace: true, epoch: 1 });
    world.control.up();
    await world.passUntil(owned, 'renewed');
    expect(world.upstream.leases.lease(RESOURCE)?.epoch).toBe(1);
  });

  test('I7: an answer that is late by most of the time to live grants only what is left of it', async () => {
    world.control.ttlMs = 2_000;
    world.control.behave('sync', { kind: 'late', delayMs: 1_800 });
    world.upstream.leases.want(RESOURCE);
    const before = world.control.count('sync');
    await world.passUntil(() => world.control.count('sync') > before, 'a sync under way');
    const sentMs = world.clock.now().bootMs;
    await world.passUntil(() => world.upstream.leases.lease(RESOURCE) !== undefined, 'granted');
    expect(world.upstream.leases.lease(RESOURCE)?.endsBootMs).toBeLessThanOrEqual(
      sentMs + 0.99 * 2_000 - 100,
    );
    await world.passUntil(() => world.clock.now().bootMs >= sentMs + 1_880, 'the end');
    expect(owned()).toBe(false);
  });

  test('what control gave to a rival is lost, counted, and not fought over', async () => {
    await acquire();
    world.control.leases.set(RESOURCE, { epoch: 2, ttlMs: 30_000, holder: 'rival' });
    await world.passUntil(() => world.upstream.leases.lease(RESOURCE) === undefined, 'lost');
    expect(losses('superseded')).toBe(1);
    await world.pass(MINUTE_MS);
    expect(world.control.lastSync?.leases.acquire).toEqual([]);
  });
});

describe('I6: epochs', () => {
  test('I6: a grant below the highest epoch ever seen is refused, also after a restart', async () => {
    world.control.leases.set(RESOURCE, { epoch: 40, ttlMs: 30_000, holder: null });
    await acquire();
    expect(world.upstream.leases.lease(RESOURCE)?.epoch).toBe(41);
    world.upstream.leases.release(RESOURCE);
    await world.pass(SYNC_INTERVAL_MS);
    world.control.leases.set(RESOURCE, { epoch: 3, ttlMs: 30_000, holder: null });
    await world.restart();
    world.upstream.leases.want(RESOURCE);
    await world.passUntil(() => losses('epoch_regressed') > 0, 'refused');
    expect(world.upstream.leases.lease(RESOURCE)).toBeUndefined();
    expect(world.control.lastSync?.highWater.epoch).toBe(41);
  });

  test('I6: a token seen at a guarded write counts too', async () => {
    world.upstream.leases.noteEpoch({ resource: RESOURCE, epoch: 77 });
    await world.pass(SYNC_INTERVAL_MS * 1.3);
    expect(world.control.lastSync?.highWater.epoch).toBe(77);
    world.upstream.leases.want(RESOURCE);
    await world.passUntil(() => losses('epoch_regressed') > 0, 'refused');
  });

  test('I6: a grant whose epoch cannot be made durable is given up, not used', async () => {
    rmSync(join(world.dataDir, 'authority'), { recursive: true });
    world.upstream.leases.want(RESOURCE);
    await world.passUntil(
      () => (world.control.leases.get(RESOURCE)?.epoch ?? 0) > 0,
      'granted by control',
    );
    await world.settle();
    expect(world.upstream.leases.lease(RESOURCE)).toBeUndefined();
    await world.passUntil(() => world.control.leases.get(RESOURCE)?.holder === null, 'given back');
  });
});

describe('releasing', () => {
  test('it ends here at once, and at control with the next sync', async () => {
    await acquire();
    world.upstream.leases.release(RESOURCE);
    expect(owned()).toBe(false);
    await world.pass(SECOND_MS);
    expect(world.control.leases.get(RESOURCE)?.holder).toBeNull();
    expect(world.control.lastSync?.leases.release).toEqual([{ resource: RESOURCE, epoch: 1 }]);
    await world.pass(2 * SYNC_INTERVAL_MS);
    expect(world.control.lastSync?.leases.release).toEqual([]);
  });

  test('a grant that was on its way when it was released does not come back', async () => {
    world.control.behave('sync', { kind: 'late', delayMs: 1_000 });
    world.upstream.leases.want(RESOURCE);
    await world.passUntil(
      () => world.control.leases.get(RESOURCE)?.holder === 'us',
      'granted by control',
    );
    world.upstream.leases.release(RESOURCE);
    await world.pass(10 * SECOND_MS);
    expect(world.upstream.leases.lease(RESOURCE)).toBeUndefined();
    expect(world.control.leases.get(RESOURCE)?.holder).toBeNull();
  });

  test('I7: wanted again at once, it is never released and acquired in one request', async () => {
    await acquire();
    world.upstream.leases.release(RESOURCE);
    world.upstream.leases.want(RESOURCE);
    await world.passUntil(owned, 'owned again');
    expect(world.upstream.leases.lease(RESOURCE)?.epoch).toBe(2);
    const both = world.control.seen.filter(({ route, request }) => {
      if (route !== 'sync') return false;
      const { leases } = JSON.parse(request.body ?? '') as {
        leases: { acquire: string[]; release: unknown[] };
      };
      return leases.release.length > 0 && leases.acquire.includes(RESOURCE);
    });
    expect(both).toEqual([]);
  });
});

describe('I7: restarts and clocks', () => {
  test('a restart within the boot keeps the lease to its end', async () => {
    await acquire();
    world.control.down();
    const { endsBootMs } = world.upstream.leases.lease(RESOURCE) ?? { endsBootMs: 0 };
    await world.restart();
    expect(owned()).toBe(true);
    expect(world.upstream.leases.lease(RESOURCE)?.endsBootMs).toBeLessThanOrEqual(endsBootMs);
    await world.pass(31 * SECOND_MS);
    expect(owned()).toBe(false);
  });

  test('I7: another boot ends it', async () => {
    await acquire();
    world.control.down();
    await world.restart(() => world.clock.reboot());
    expect(world.upstream.leases.lease(RESOURCE)).toBeUndefined();
  });

  test('a damaged file counts as no lease', async () => {
    await acquire();
    world.control.down();
    await world.restart(() =>
      writeFileSync(
        leasesFile(),
        readFileSync(leasesFile(), 'utf8').replace('"epoch":1', '"epoch":9'),
      ),
    );
    expect(world.upstream.leases.lease(RESOURCE)).toBeUndefined();
    expect(world.hasLogged('damaged')).toBe(true);
  });

  test('suspended time counts', async () => {
    await acquire();
    world.clock.jump(31 * SECOND_MS);
    expect(owned()).toBe(false);
  });

  test.each([HOUR_MS, -HOUR_MS, 2_001])(
    'a wall clock that steps by %s ms ends all leases, until control confirms them',
    async (byMs) => {
      await acquire();
      await world.pass(2 * SECOND_MS);
      const syncs = world.control.count('sync');
      world.clock.stepWall(byMs);
      expect(owned()).toBe(false);
      expect(losses('clock_divergence')).toBe(1);
      await world.passUntil(owned, 'confirmed', SECOND_MS);
      expect(world.control.count('sync')).toBe(syncs + 1);
    },
  );

  test('it is noticed by itself, on the tick', async () => {
    await acquire();
    await world.pass(2 * SECOND_MS);
    world.clock.stepWall(HOUR_MS);
    await world.passUntil(() => losses('clock_divergence') === 1, 'noticed', 1_100);
    expect(world.hasLogged('moved apart')).toBe(true);
  });

  test('a small correction of the wall clock costs nothing', async () => {
    await acquire();
    world.clock.stepWall(1_500);
    expect(owned()).toBe(true);
  });

  test('a divergence while the sidecar was down is noticed at start', async () => {
    await acquire();
    world.control.down();
    await world.restart(() => world.clock.stepWall(HOUR_MS));
    expect(owned()).toBe(false);
  });

  test('a divergence while the answer was on its way ends what it granted', async () => {
    world.control.behave('sync', { kind: 'late', delayMs: 1_000 });
    world.upstream.leases.want(RESOURCE);
    await world.passUntil(
      () => world.control.leases.get(RESOURCE)?.holder === 'us',
      'granted by control',
    );
    world.clock.stepWall(HOUR_MS);
    world.control.up();
    await world.passUntil(
      () => world.upstream.leases.lease(RESOURCE) !== undefined,
      'answered',
      1_500,
    );
    expect(owned()).toBe(false);
  });
});
