import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Outage } from '../../shared/wire/operation.ts';
import type { FleetOutage, FleetOutageDetail } from '../../shared/wire/fleet-outages.ts';
import { ControlWorld } from '../fakes/control-world.ts';
import { reportedRefusal } from '../fakes/reported-operations.ts';
import type { SigningHost } from '../fakes/signing-host.ts';

let world: ControlWorld;
let host: SigningHost;
beforeEach(async () => {
  world = await ControlWorld.create();
  host = await world.enrolHost();
});
afterEach(() => world.dispose());

const list = async (query = ''): Promise<FleetOutage[]> =>
  (await world.get(`/v1/outages${query}`)).json['items'] as FleetOutage[];
const detail = async (outageId: string): Promise<FleetOutageDetail> =>
  (await world.get(`/v1/outages/${outageId}`)).json as unknown as FleetOutageDetail;
const LATE_MS = 15_000;
/** Looks come every five seconds. */
const passed = async (ms: number): Promise<void> => {
  for (let at = 0; at < ms; at += 1_000) await world.clock.advance(1_000);
};

function outage(fromMs: number, toMs: number | null): Outage {
  return {
    outageId: 'out_reported',
    fromMs,
    toMs,
    cause: 'refused',
    detail: 'ECONNREFUSED',
    policyRevision: 4,
    stalenessMs: 12,
  };
}

describe('I12: outages in control', () => {
  test('as a host reports them: opened, closed, with what it did meanwhile', async () => {
    const fromMs = world.clock.now().wallMs;
    host.record('outage_opened', { outage: outage(fromMs, null) });
    const refusal = reportedRefusal({ outageId: 'out_reported', count: 3 });
    host.record('refused', { refusal }, null, 'out_reported');
    await host.reported(host.journal());
    expect(await list('?open=true')).toMatchObject([
      {
        outageId: 'out_reported',
        seenBy: 'host',
        hostName: host.name,
        toMs: null,
        cause: 'refused',
      },
    ]);
    host.record('refused', { refusal: { ...refusal, refusalId: 'ref_2' } }, null, 'out_reported');
    host.record('outage_closed', { outage: outage(fromMs, fromMs + 50) }, null, 'out_reported');
    await host.reported(host.journal());
    // Sent again it is counted once.
    await host.reported(host.journal());
    const closed = await detail('out_reported');
    expect(closed).toMatchObject({ toMs: fromMs + 50, policyRevision: 4, stalenessMs: 12 });
    expect(closed.tally).toMatchObject({ refused: 6, admitted: 0 });
    expect(closed.unreported).toBe(0);
    expect(await list('?open=true')).toEqual([]);
    expect(await list(`?host=${host.id}&open=false`)).toHaveLength(1);
    expect(await list('?host=host_other')).toEqual([]);
    expect((await world.get('/v1/outages/out_none')).status).toBe(404);
  });

  test('a host that is not heard is silent until it syncs, and no longer', async () => {
    await host.sync();
    const lastSyncAtMs = world.clock.now().wallMs;
    await passed(LATE_MS + 10_000);
    expect(await list('?seenBy=control')).toMatchObject([
      { cause: 'not_heard', hostId: host.id, fromMs: lastSyncAtMs, toMs: null },
    ]);
    await host.sync();
    const heardAtMs = world.clock.now().wallMs;
    await passed(10_000);
    const [silence] = await list('?seenBy=control');
    expect(silence).toMatchObject({ cause: 'not_heard', fromMs: lastSyncAtMs, toMs: heardAtMs });
    expect(await list('?seenBy=control')).toHaveLength(1);
  });

  test('control that was down says so; a host that comes back with it was not silent', async () => {
    await host.sync();
    await passed(7_000);
    await world.stop();
    const stoppedAtMs = world.clock.now().wallMs;
    await world.clock.advance(60_000);
    await world.start();
    const startedAtMs = world.clock.now().wallMs;
    await host.sync();
    await passed(LATE_MS);
    await host.sync();
    const own = await list('?seenBy=control');
    expect(own).toMatchObject([
      { cause: 'control_down', hostId: null, fromMs: stoppedAtMs, toMs: startedAtMs },
    ]);
    expect(own[0]?.detail).toMatch(/was stopped/);
    host.record('outage_opened', { outage: outage(stoppedAtMs + 1_000, null) });
    host.record('outage_closed', { outage: outage(stoppedAtMs + 1_000, startedAtMs) });
    await host.reported(host.journal());
    const { overlaps } = await detail('out_reported');
    expect(overlaps.map(({ cause }) => cause)).toEqual(['control_down']);
  });

  test('control that was killed was down from when it was last known to go on; silences stay open', async () => {
    const other = await world.enrolHost('host-2');
    await other.sync();
    const lastSyncAtMs = world.clock.now().wallMs;
    await passed(LATE_MS + 10_000);
    await host.sync();
    const knownAtMs = world.clock.now().wallMs;
    // As after a kill: it does not say that it ends.
    world.store.outages.noteAlive = () => Promise.resolve('ok');
    await world.stop();
    await world.clock.advance(60_000);
    await world.start();
    const [down, silence, ...more] = (await list('?seenBy=control')).toSorted(
      (a, b) => b.fromMs - a.fromMs,
    );
    expect(down).toMatchObject({ cause: 'control_down', fromMs: knownAtMs });
    expect(down?.detail).toMatch(/without a word/);
    expect(silence).toMatchObject({ hostId: other.id, fromMs: lastSyncAtMs, toMs: null });
    expect(more).toEqual([]);
    await other.sync();
    await passed(1_000);
    expect(await list(`?host=${other.id}&open=true`)).toEqual([]);
  });

  test('are listed newest first, both kinds in one order, in pages', async () => {
    await host.sync();
    await passed(LATE_MS + 10_000);
    await host.sync();
    for (let at = 1; at <= 3; at += 1)
      host.record('outage_opened', { outage: { ...outage(at, null), outageId: `out_${at}` } });
    await host.reported(host.journal());
    const all = (await list()).map(({ outageId }) => outageId);
    expect(all).toHaveLength(4);
    expect(all).toEqual(all.toSorted().toReversed());
    const first = (await world.get('/v1/outages?limit=3')).json;
    const rest = await list(`?limit=3&cursor=${String(first['nextCursor'])}`);
    expect(rest.map(({ outageId }) => outageId)).toEqual(all.slice(3));
  });
});
