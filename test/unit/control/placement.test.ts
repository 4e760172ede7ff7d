import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import {
  movesDue,
  planGroup,
  resourceOf,
  scoreOf,
  type Owner,
  type PlacementHost,
  type ShardPlan,
} from '../../../control/core/placement.ts';
import { lanesOf, unitOf } from '../../../control/core/rendezvous-hash.ts';
import type { PlacementGroupSpec } from '../../../shared/wire/placement-api.ts';

const spec = (over: Partial<PlacementGroupSpec> = {}): PlacementGroupSpec => ({
  shards: 64,
  resource: 'orders/{shard}',
  ...over,
});
const host = (name: string, over: Partial<PlacementHost> = {}): PlacementHost => ({
  hostId: `id-${name}`,
  hostName: name,
  labels: {},
  state: 'live',
  ...over,
});
const hosts = (...names: string[]): PlacementHost[] => names.map((name) => host(name));

type Owners = ReadonlyMap<number, Owner>;
const NOBODY: Owners = new Map();

function plan(group: PlacementGroupSpec, at: readonly PlacementHost[], owners: Owners = NOBODY) {
  return planGroup({ spec: group, hosts: at, owners, holdsNew: false });
}

/** As it is when the plan was carried out. */
const ownersAfter = (plans: readonly ShardPlan[]): Owners =>
  new Map(
    plans.flatMap(({ shard, hostId }) =>
      hostId === null ? [] : [[shard, { hostId, isInFlight: false }] as const],
    ),
  );

const changed = (plans: readonly ShardPlan[]) => plans.filter(({ action }) => action !== 'keep');

function loads(plans: readonly ShardPlan[]): Map<string | null, number> {
  const counts = new Map<string | null, number>();
  for (const { hostId } of plans) counts.set(hostId, (counts.get(hostId) ?? 0) + 1);
  return counts;
}

const shardsOf = (plans: readonly ShardPlan[], hostId: string): number[] =>
  plans.filter((one) => one.hostId === hostId).map(({ shard }) => shard);

/** The first choice of each shard, by the definition of weighted rendezvous hashing. */
function firstChoice(group: PlacementGroupSpec, shard: number, among: readonly PlacementHost[]) {
  const lanes = lanesOf(resourceOf(group, shard));
  const score = ({ hostId }: PlacementHost): number => scoreOf(lanes, lanesOf(hostId), 1);
  return among.toSorted((a, b) => score(b) - score(a))[0]?.hostId;
}

const names = (least: number, most: number) =>
  fc.uniqueArray(fc.stringMatching(/^[a-z][a-z0-9-]{2,12}$/), {
    minLength: least,
    maxLength: most,
    size: 'max',
  });

describe('balance', () => {
  test.each([64, 1_024])(
    'with %i shards each host has its weight of them, within 4.5 standard deviations of chance',
    (shards) => {
      const weights = fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 8, maxLength: 8 });
      fc.assert(
        fc.property(names(2, 8), weights, (hostNames, weighed) => {
          const at = hostNames.map((name, index) =>
            host(name, { labels: { cores: String(weighed[index]) } }),
          );
          const counts = loads(plan(spec({ shards, weight: { label: 'cores' } }), at));
          const total = at.reduce((sum, { labels }) => sum + Number(labels['cores']), 0);
          for (const { hostId, labels } of at) {
            const share = Number(labels['cores']) / total;
            const deviation = Math.sqrt(shards * share * (1 - share));
            const off = Math.abs((counts.get(hostId) ?? 0) - shards * share);
            expect(off).toBeLessThanOrEqual(4.5 * deviation + 1);
          }
        }),
        { numRuns: 200, seed: 7 },
      );
    },
  );

  test('1024 shards on four hosts of equal weight: each within 15 % of a quarter', () => {
    const counts = loads(plan(spec({ shards: 1_024 }), hosts('a', 'b', 'c', 'd')));
    for (const count of counts.values()) expect(Math.abs(count - 256)).toBeLessThan(0.15 * 256);
  });

  test('the hash fills (0, 1) evenly', () => {
    const tenths = Array.from({ length: 10 }, () => 0);
    const left = lanesOf('orders/1');
    for (let at = 0; at < 10_000; at += 1) {
      const unit = unitOf(left, lanesOf(`host_${at}`));
      expect(unit).toBeGreaterThan(0);
      expect(unit).toBeLessThan(1);
      const tenth = Math.floor(unit * 10);
      tenths[tenth] = (tenths[tenth] ?? 0) + 1;
    }
    for (const count of tenths) expect(Math.abs(count - 1_000)).toBeLessThan(150);
  });
});

describe('minimal movement', () => {
  test('where a host is lost exactly its shards go elsewhere; where one comes, exactly those that rank it first', () => {
    fc.assert(
      fc.property(names(3, 9), fc.integer({ min: 1, max: 128 }), (hostNames, shards) => {
        const group = spec({ shards });
        const all = hostNames.map((name) => host(name));
        const [gone, ...rest] = all as [PlacementHost, ...PlacementHost[]];
        const before = plan(group, all);
        for (const { shard, hostId } of before) expect(hostId).toBe(firstChoice(group, shard, all));

        const lost = plan(group, [{ ...gone, state: 'lost' }, ...rest], ownersAfter(before));
        expect(changed(lost).map(({ shard }) => shard)).toEqual(shardsOf(before, gone.hostId));

        const back = plan(group, all, ownersAfter(lost));
        const preferring = [...before.keys()].filter(
          (shard) => firstChoice(group, shard, all) === gone.hostId,
        );
        expect(changed(back).map(({ shard }) => shard)).toEqual(preferring);
        expect(changed(back).every(({ hostId }) => hostId === gone.hostId)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  test('also where capacity binds a loss moves the shards of the lost host and no others', () => {
    fc.assert(
      fc.property(names(3, 8), fc.integer({ min: 1, max: 96 }), (hostNames, shards) => {
        const capacity = { default: Math.ceil(shards / (hostNames.length - 1)) };
        const group = spec({ shards, capacity });
        const all = hostNames.map((name) => host(name));
        const [gone, ...rest] = all as [PlacementHost, ...PlacementHost[]];
        const before = plan(group, all);
        for (const count of loads(before).values())
          expect(count).toBeLessThanOrEqual(capacity.default);
        const lost = plan(group, [{ ...gone, state: 'lost' }, ...rest], ownersAfter(before));
        expect(changed(lost).map(({ shard }) => shard)).toEqual(shardsOf(before, gone.hostId));
        expect(shardsOf(lost, gone.hostId)).toEqual([]);
        for (const count of loads(lost).values())
          expect(count).toBeLessThanOrEqual(capacity.default);
      }),
      { numRuns: 200 },
    );
  });

  test('the same input gives the same plan, whatever the order of hosts; carried out, it plans nothing more', () => {
    const anyHost = fc.record({
      state: fc.constantFrom(
        'live' as const,
        'draining' as const,
        'doubted' as const,
        'lost' as const,
      ),
      cores: fc.integer({ min: 0, max: 4 }),
      zone: fc.constantFrom('a', 'b'),
    });
    fc.assert(
      fc.property(
        names(2, 6),
        fc.array(anyHost, { minLength: 6, maxLength: 6 }),
        fc.array(fc.option(fc.nat(5), { nil: null }), { minLength: 40, maxLength: 40 }),
        fc.integer({ min: 3, max: 40 }),
        fc.boolean(),
        (hostNames, kinds, owned, capacity, isSelective) => {
          const at = hostNames.map((name, index) => {
            const { state, cores, zone } = kinds[index]!;
            return host(name, { state, labels: { cores: String(cores), zone } });
          });
          const owners: Owners = new Map(
            owned.flatMap((index, shard) => {
              const owner = index === null ? undefined : at[index];
              return owner === undefined
                ? []
                : [[shard, { hostId: owner.hostId, isInFlight: false }] as const];
            }),
          );
          const group = spec({
            shards: 40,
            weight: { label: 'cores' },
            capacity: { default: capacity },
            ...(isSelective ? { selector: { zone: 'a' } } : {}),
            pins: { 3: hostNames[0]! },
          });
          const first = plan(group, at, owners);
          expect(plan(group, at.toReversed(), owners)).toEqual(first);
          expect(first.map(({ shard }) => shard)).toEqual([...first.keys()]);
          const again = plan(group, at, ownersAfter(first));
          expect(again.filter(({ action }) => action === 'move')).toEqual([]);
          const live = new Set(
            at.filter(({ state }) => state === 'live').map(({ hostId }) => hostId),
          );
          const targets = changed(first).flatMap(({ hostId }) => (hostId === null ? [] : [hostId]));
          expect(targets.filter((hostId) => !live.has(hostId))).toEqual([]);
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('what may be where', () => {
  const all = hosts('a', 'b', 'c');
  const before = ownersAfter(plan(spec(), all));
  const [a, b, c] = all as [PlacementHost, PlacementHost, PlacementHost];
  const mineOfA = [...before].filter(([, { hostId }]) => hostId === 'id-a').map(([shard]) => shard);

  test('a host that is drained is emptied by moves, as long as there is somewhere to go', () => {
    const drained = plan(spec(), [{ ...a, state: 'draining' }, b, c], before);
    expect(changed(drained).map(({ shard }) => shard)).toEqual(mineOfA);
    expect(
      changed(drained).every(({ action, why }) => action === 'move' && why === 'host_drained'),
    ).toBe(true);
    const everywhere = all.map((one) => ({ ...one, state: 'draining' as const }));
    const stuck = plan(spec(), everywhere, before);
    expect(changed(stuck)).toEqual([]);
    expect(stuck[0]).toMatchObject({ action: 'keep', why: 'nowhere_to_go' });
  });

  test('a host that is doubted keeps what it owns and gets nothing', () => {
    const doubted = plan(spec(), [{ ...a, state: 'doubted' }, b, c], before);
    expect(changed(doubted)).toEqual([]);
    expect(shardsOf(plan(spec(), [{ ...a, state: 'doubted' }, b, c]), 'id-a')).toEqual([]);
  });

  test('labels select; a host whose labels change is emptied', () => {
    const labelled = [host('a', { labels: { zone: 'x' } }), b, c];
    const selective = spec({ selector: { zone: 'x' } });
    expect(loads(plan(selective, labelled))).toEqual(new Map([['id-a', 64]]));
    const moved = plan(selective, labelled, before);
    expect(changed(moved).every(({ why }) => why === 'labels')).toBe(true);
    expect(loads(moved)).toEqual(new Map([['id-a', 64]]));
  });

  test('a pin wins over labels and capacity while its host is there, and leaves no shard without an owner', () => {
    const pinned = spec({ capacity: { default: 0 }, pins: { 5: 'b' }, selector: { zone: 'x' } });
    expect(plan(pinned, all, new Map())[5]).toMatchObject({ hostId: 'id-b', action: 'assign' });
    const owner = { hostId: 'id-a', isInFlight: false };
    expect(plan(spec({ pins: { 5: 'b' } }), all, new Map([[5, owner]]))[5]).toMatchObject({
      hostId: 'id-b',
      action: 'move',
      why: 'pinned',
    });
    const gone = plan(spec({ pins: { 5: 'b' } }), [a, { ...b, state: 'lost' }, c]);
    expect(gone[5]?.hostId).not.toBeNull();
  });

  test('over a capacity that was lowered, those leave that rank their host lowest', () => {
    const lowered = plan(spec({ capacity: { default: 22 } }), all, before);
    for (const count of loads(lowered).values()) expect(count).toBeLessThanOrEqual(22);
    const left = changed(lowered).filter(({ why }) => why === 'over_capacity');
    const excess = [...loads(plan(spec(), all)).values()].map((count) => Math.max(0, count - 22));
    expect(left).toHaveLength(excess.reduce((sum, count) => sum + count, 0));
  });

  test('beyond all capacity a shard that nobody has gets no place, and one that has an owner keeps it', () => {
    const tight = spec({ capacity: { default: 20 } });
    expect(plan(tight, all).filter(({ hostId }) => hostId === null)).toHaveLength(4);
    const kept = plan(tight, all, before);
    expect(kept.filter(({ hostId }) => hostId === null)).toEqual([]);
    expect(kept.filter(({ why }) => why === 'nowhere_to_go')).toHaveLength(4);
  });

  test('what is being handed over stays with its target', () => {
    const owners = new Map(before).set(mineOfA[0]!, { hostId: 'id-b', isInFlight: true });
    expect(plan(spec(), all, owners)[mineOfA[0]!]).toMatchObject({
      action: 'keep',
      why: 'in_flight',
      hostId: 'id-b',
    });
  });

  test('a label that is no number weighs nothing', () => {
    const heavy = [host('a', { labels: { cores: 'many' } }), b];
    expect(shardsOf(plan(spec({ weight: { label: 'cores' } }), heavy), 'id-a')).toEqual([]);
  });

  test('while control does not know who is there, nobody gets what nobody had', () => {
    const held = planGroup({ spec: spec(), hosts: all, owners: NOBODY, holdsNew: true });
    expect(loads(held)).toEqual(new Map([[null, 64]]));
    expect(held[0]).toMatchObject({ action: 'assign', why: 'held' });
  });
});

describe('the pace of moves', () => {
  const before = ownersAfter(plan(spec(), hosts('a', 'b')));
  const plans = plan(spec({ pins: { 0: 'c' } }), hosts('a', 'b', 'c'), before);

  test('no more begin in a minute than the group says, the urgent ones first', () => {
    const due = movesDue(plans, { begunAtMs: [], nowMs: 0, perMinute: 3 });
    expect(due).toHaveLength(3);
    expect(due[0]).toMatchObject({ shard: 0, why: 'pinned' });
    expect(movesDue(plans, { begunAtMs: [0, 0, 0], nowMs: 59_999, perMinute: 3 })).toEqual([]);
    expect(movesDue(plans, { begunAtMs: [0, 1, 1], nowMs: 60_000, perMinute: 3 })).toHaveLength(1);
  });
});
