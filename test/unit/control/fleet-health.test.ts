/** Health of all hosts together: what is counted, who is named, and what silence means. */
import { describe, expect, test } from 'vitest';
import { judgeFleet, type FleetFacts, type FleetHost } from '../../../control/core/fleet-health.ts';
import { FLEET_HOSTS_SHOWN, healthPart } from '../../../shared/core/plane-health.ts';
import type { HostHealth } from '../../../shared/wire/fleet-health.ts';

const NOW_MS = 10_000_000;
const none = { count: 0, oldestMs: null };
const QUIET: HostHealth = {
  executing: none,
  paused: none,
  stuck: none,
  unknown: none,
  reconciling: none,
  staleRules: { count: 0, of: 2 },
  expiredConfig: { count: 0, of: 1 },
};

function host(
  hostId: string,
  over: Partial<FleetHost> = {},
  said?: Partial<HostHealth>,
): FleetHost {
  return {
    hostId,
    hostName: `name-of-${hostId}`,
    state: 'connected',
    lastSyncAtMs: NOW_MS - 1_000,
    said: { atMs: NOW_MS - 1_000, health: { ...QUIET, ...said } },
    policyRevision: 7,
    targetRevision: 7,
    isRejecting: false,
    offeredAtMs: null,
    unended: 0,
    ...over,
  };
}

function fleetOf(hosts: readonly FleetHost[], over: Partial<FleetFacts> = {}) {
  return judgeFleet({
    nowMs: NOW_MS,
    hosts,
    newestRevision: 7,
    rollout: healthPart('ok', 'no roll-out'),
    placement: null,
    leases: healthPart('ok', '0 held'),
    proposalsOpen: 0,
    unplacedShards: 0,
    handovers: [],
    ...over,
  });
}

describe('the data plane of the fleet', () => {
  test('is ok when every host is heard and needs nobody', () => {
    const fleet = fleetOf([host('a'), host('b', {}, { executing: { count: 3, oldestMs: 9_000 } })]);
    expect(fleet.dataPlane.verdict).toBe('ok');
    expect(fleet.controlPlane.verdict).toBe('ok');
    expect(fleet.dataPlane.parts['executing']).toMatchObject({
      state: 'ok',
      count: 3,
      // As old when it was said, one second ago.
      oldestAtMs: NOW_MS - 10_000,
      hosts: [{ hostId: 'b', hostName: 'name-of-b', count: 3, oldestAtMs: NOW_MS - 10_000 }],
      hostsOmitted: 0,
    });
  });

  test.each(['stuck', 'unknown', 'paused'] as const)('%s work needs somebody', (kind) => {
    const fleet = fleetOf([host('a', {}, { [kind]: { count: 1, oldestMs: 5 } })]);
    expect(fleet.dataPlane.verdict).toBe('impaired');
    expect(fleet.dataPlane.parts[kind]).toMatchObject({ state: 'degraded', count: 1 });
    expect(fleet.controlPlane.verdict).toBe('ok');
  });

  test('what hosts say together is no more than an answer can carry', () => {
    const most = { count: Number.MAX_SAFE_INTEGER, oldestMs: 1 };
    const fleet = fleetOf([host('a', {}, { unknown: most }), host('b', {}, { unknown: most })]);
    expect(fleet.dataPlane.parts['unknown']?.count).toBe(Number.MAX_SAFE_INTEGER);
  });

  test('stale rules need somebody', () => {
    const { parts } = fleetOf([host('a', {}, { staleRules: { count: 2, of: 2 } })]).dataPlane;
    expect(parts['stale']).toMatchObject({ state: 'degraded', count: 2, hosts: [{ hostId: 'a' }] });
  });

  test.each([
    ['lost', host('b', { state: 'lost', unended: 4, lastSyncAtMs: 1 })],
    ['late', host('b', { state: 'late', unended: 4, lastSyncAtMs: 1 })],
    ['that has not said how it is', host('b', { said: null, unended: 4, lastSyncAtMs: 1 })],
  ])('F1: a host %s is unknown, and no part is ok then', (_, away) => {
    const fleet = fleetOf([host('a'), away]);
    expect(fleet.hosts).toEqual({ enrolled: 0, heard: 1, unheard: 1 });
    expect(fleet.dataPlane.verdict).toBe('unknown');
    for (const { state } of Object.values(fleet.dataPlane.parts)) expect(state).toBe('unknown');
    expect(fleet.dataPlane.parts['outOfSight']).toMatchObject({
      count: 1,
      oldestAtMs: 1,
      hosts: [{ hostId: 'b', count: 4, oldestAtMs: 1 }],
    });
    expect(fleet.controlPlane.parts['publication']?.state).toBe('unknown');
  });

  test('F1: what an unheard host said before is not counted as if it were so now', () => {
    const said = { unknown: { count: 9, oldestMs: 1 } };
    const { parts } = fleetOf([host('a', { state: 'lost' }, said)]).dataPlane;
    expect(parts['unknown']).toMatchObject({ state: 'unknown', count: 0, hosts: [] });
  });

  test('F2: a host that never synced is counted, and makes nothing unknown', () => {
    const fleet = fleetOf([host('a'), host('b', { state: 'enrolled', said: null })]);
    expect(fleet.hosts).toEqual({ enrolled: 1, heard: 1, unheard: 0 });
    expect(fleet.dataPlane.verdict).toBe('ok');
  });

  test('F3: trouble is not hidden by a host that is away', () => {
    const { verdict, parts } = fleetOf([
      host('a', {}, { unknown: { count: 1, oldestMs: 5 } }),
      host('b', { state: 'lost' }),
    ]).dataPlane;
    expect(verdict).toBe('impaired');
    expect(parts['unknown']).toMatchObject({
      state: 'degraded',
      detail: expect.stringMatching(/^1 operations .*; 1 hosts are not heard$/),
    });
  });

  test('F4: names those with most, and counts the others', () => {
    const hosts = Array.from({ length: FLEET_HOSTS_SHOWN + 5 }, (_, at) =>
      host(`h${at}`, {}, { stuck: { count: at + 1, oldestMs: at } }),
    );
    const part = fleetOf(hosts).dataPlane.parts['stuck'];
    expect(part?.hosts.map(({ count }) => count)).toEqual([15, 14, 13, 12, 11, 10, 9, 8, 7, 6]);
    expect(part).toMatchObject({ count: 120, hostsOmitted: 5, oldestAtMs: NOW_MS - 1_000 - 14 });
  });
});

describe('the control plane of the fleet', () => {
  const partOf = (name: string, over: Partial<FleetFacts>, hosts = [host('a')]) =>
    fleetOf(hosts, over).controlPlane.parts[name];

  test('publication: who does not run what it should, and since when', () => {
    const behind = host('a', { policyRevision: 6, offeredAtMs: NOW_MS - 1_000 });
    expect(partOf('publication', {}, [behind])).toMatchObject({
      state: 'ok',
      count: 1,
      oldestAtMs: NOW_MS - 1_000,
      hosts: [{ hostId: 'a' }],
    });
    const late = { ...behind, offeredAtMs: NOW_MS - 60_000 };
    expect(partOf('publication', {}, [late])?.state).toBe('degraded');
    expect(partOf('publication', {}, [{ ...behind, isRejecting: true }])?.state).toBe('degraded');
    expect(partOf('publication', { newestRevision: null })?.state).toBe('degraded');
    const halted = healthPart('degraded', 'revision 7 was halted');
    expect(partOf('publication', { rollout: halted })?.state).toBe('degraded');
  });

  test('ownership: hand-overs with their age and holders; a target that is away needs somebody', () => {
    const handovers = [
      { fromHostId: 'a', toHostId: 'b', sinceMs: 5 },
      { fromHostId: 'a', toHostId: null, sinceMs: 3 },
    ];
    expect(partOf('ownership', { handovers }, [host('a'), host('b')])).toMatchObject({
      state: 'ok',
      count: 2,
      oldestAtMs: 3,
      hosts: [{ hostId: 'a', count: 2, oldestAtMs: 3 }],
    });
    const away = [host('a'), host('b', { state: 'lost' })];
    expect(partOf('ownership', { handovers }, away)?.state).toBe('degraded');
  });

  test('scheduling: shards without a place, and the brake', () => {
    const placement = healthPart('ok', 'shards are placed');
    expect(partOf('scheduling', {})?.state).toBe('ok');
    expect(partOf('scheduling', { placement })?.state).toBe('ok');
    expect(partOf('scheduling', { placement, unplacedShards: 2 })).toMatchObject({
      state: 'degraded',
      count: 2,
    });
    const braked = healthPart('degraded', '3 of 4 hosts are silent');
    expect(partOf('scheduling', { placement: braked })?.detail).toBe('3 of 4 hosts are silent');
  });

  test('configuration: hosts whose values are too old', () => {
    const hosts = [host('a', {}, { expiredConfig: { count: 3, of: 4 } })];
    expect(partOf('configuration', {}, hosts)).toMatchObject({
      state: 'degraded',
      count: 3,
      hosts: [{ hostId: 'a', count: 3 }],
    });
  });
});
