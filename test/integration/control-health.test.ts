/** Health of the fleet over HTTP, from what hosts say with their syncs, on a fake clock. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { FleetHealth, HostHealth } from '../../shared/wire/fleet-health.ts';
import type { Health } from '../../shared/wire/health.ts';
import { ControlWorld } from '../fakes/control-world.ts';

let world: ControlWorld;
beforeEach(async () => {
  world = await ControlWorld.create();
  await world.publish();
});
afterEach(() => world.dispose());

const none = { count: 0, oldestMs: null };
const QUIET: HostHealth = {
  executing: none,
  paused: none,
  stuck: none,
  unknown: none,
  reconciling: none,
  staleRules: { count: 0, of: 1 },
  expiredConfig: { count: 0, of: 0 },
};

const fleet = async (): Promise<FleetHealth> =>
  (await world.get('/v1/health/fleet')).json as unknown as FleetHealth;
const health = async (): Promise<Health> =>
  (await world.get('/v1/health')).json as unknown as Health;

describe('the health of the fleet', () => {
  test('control asks each host how it is, and counts what it says', async () => {
    const host = await world.enrolHost('host-1');
    const answer = await host.sync({ policyRevision: 1 });
    expect(answer.asksHealth).toBe(true);
    // It has not said yet.
    expect((await fleet()).dataPlane.verdict).toBe('unknown');

    const unknown = { count: 2, oldestMs: 60_000 };
    await host.sync({ policyRevision: 1, over: { health: { ...QUIET, unknown } } });
    const told = await fleet();
    expect(told.hosts).toEqual({ enrolled: 0, heard: 1, unheard: 0 });
    expect(told.controlPlane.verdict).toBe('ok');
    expect(told.dataPlane.verdict).toBe('impaired');
    expect(told.dataPlane.parts['unknown']).toMatchObject({
      state: 'degraded',
      count: 2,
      oldestAtMs: world.clock.now().wallMs - 60_000,
      hosts: [{ hostId: host.id, hostName: 'host-1', count: 2 }],
    });
  });

  test('a host that falls silent becomes unknown, never ok, and since when is told', async () => {
    const host = await world.enrolHost('host-1');
    await host.sync({ policyRevision: 1, over: { health: QUIET } });
    expect((await fleet()).dataPlane.verdict).toBe('ok');
    // Nobody asks for a while: the looks in between date the change.
    await world.clock.advance(10_000);
    await world.clock.advance(10_000);
    await world.clock.advance(10_000);
    const { dataPlane } = await fleet();
    expect(dataPlane.verdict).toBe('unknown');
    const { executing } = dataPlane.parts;
    expect(executing?.state).toBe('unknown');
    const nowMs = world.clock.now().wallMs;
    expect(executing?.lastSuccessMs).toBe(nowMs - 20_000);
    expect(executing?.sinceMs).toBe(nowMs - 10_000);
  });

  test('control that begins anew knows nothing of what hosts said, and says so', async () => {
    const host = await world.enrolHost('host-1');
    await host.sync({ policyRevision: 1, over: { health: QUIET } });
    await world.restart();
    expect((await fleet()).dataPlane.verdict).toBe('unknown');
    await host.sync({ policyRevision: 1, over: { health: QUIET } });
    expect((await fleet()).dataPlane.verdict).toBe('ok');
  });

  test('the parts of control say since when they are as they are', async () => {
    const startMs = world.clock.now().wallMs;
    const part = async () => (await health()).controlPlane.parts['store'];
    expect(await part()).toMatchObject({ sinceMs: startMs, lastSuccessMs: startMs });
    await world.clock.advance(5_000);
    expect(await part()).toMatchObject({ sinceMs: startMs, lastSuccessMs: startMs + 5_000 });
  });
});
