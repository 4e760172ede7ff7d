/** Placement in a real control with hosts that sign: a fake clock, a real store. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PlacementGroupSpec, PlacementPlan } from '../../shared/wire/placement-api.ts';
import type { SyncAnswer } from '../../shared/wire/statements.ts';
import { ControlWorld, TERM_MS, type Answer } from '../fakes/control-world.ts';
import type { SigningHost } from '../fakes/signing-host.ts';

const SHARDS = 12;
const SPEC: PlacementGroupSpec = { shards: SHARDS, resource: 'orders/{shard}' };

/** A host that renews what it holds, drains what it is told to, and takes what it is given. */
class Member {
  readonly host: SigningHost;
  readonly held = new Map<string, number>();

  constructor(host: SigningHost) {
    this.host = host;
  }

  async sync(): Promise<SyncAnswer> {
    const renew = Array.from(this.held, ([resource, epoch]) => ({ resource, epoch }));
    const answer = await this.host.sync({ renew });
    for (const { resource, epoch } of answer.leases) this.held.set(resource, epoch);
    for (const { resource } of answer.lost) this.held.delete(resource);
    return answer;
  }

  /** Gives up what it was told to drain. */
  async release(drain: SyncAnswer['drain']): Promise<void> {
    const release = (drain ?? []).map(({ resource, epoch }) => ({ resource, epoch }));
    for (const { resource } of release) this.held.delete(resource);
    await this.host.sync({
      release,
      renew: Array.from(this.held, ([resource, epoch]) => ({ resource, epoch })),
    });
  }
}

let world: ControlWorld;
let members: Member[];
beforeEach(async () => {
  world = await ControlWorld.create();
  members = [];
  for (const name of ['host-1', 'host-2', 'host-3']) await join(name);
});
afterEach(() => world.dispose());

async function join(name: string): Promise<Member> {
  const member = new Member(await world.enrolHost(name));
  await member.sync();
  members.push(member);
  return member;
}

const put = (spec: PlacementGroupSpec, headers: Record<string, string>): Promise<Answer> =>
  world.call('PUT', '/v1/placement/groups/orders', { body: spec, headers });
const create = (over: Partial<PlacementGroupSpec> = {}) =>
  put({ ...SPEC, ...over }, { 'if-none-match': '*' });
const plan = async (): Promise<PlacementPlan> =>
  (await world.get('/v1/placement/plan?group=orders')).json as unknown as PlacementPlan;
const syncAll = async (among: readonly Member[] = members): Promise<void> => {
  for (const member of among) await member.sync();
};
/** Every second a round of placement, every five a sync. */
async function pass(durationMs: number, among: readonly Member[] = members): Promise<void> {
  for (let passedMs = 0; passedMs < durationMs; passedMs += 5_000) {
    await world.clock.advance(Math.min(5_000, durationMs - passedMs));
    await syncAll(among);
  }
}
const total = (): number => members.reduce((sum, { held }) => sum + held.size, 0);
const actions = async (): Promise<string[]> => {
  const { items } = (await world.get('/v1/audit?limit=500')).json as {
    items: Record<string, string>[];
  };
  return items.map(({ action }) => action ?? '');
};

describe('a placement group', () => {
  test('its shards are granted with the next syncs, unasked; whoever else asks is told where they are', async () => {
    const created = await create();
    expect([created.status, created.headers.get('etag')]).toEqual([201, '"1"']);
    await syncAll();
    expect(total()).toBe(SHARDS);
    const [one, two] = members as [Member, Member, Member];
    const [resource = ''] = one.held.keys();
    const asked = await two.host.sync({ acquire: [resource] });
    expect(asked.pending).toMatchObject([{ resource, reason: 'placed', holder: one.host.id }]);
    expect(await plan()).toMatchObject({ counts: { keep: SHARDS, move: 0 }, items: [] });
  });

  test('nobody changes what they have not read', async () => {
    await create();
    expect((await create()).json).toMatchObject({ code: 'group_conflict' });
    expect((await put(SPEC, {})).json).toMatchObject({ code: 'precondition_required' });
    expect((await put(SPEC, { 'if-match': '"7"' })).json).toMatchObject({ code: 'group_conflict' });
    expect((await put(SPEC, { 'if-match': '"1"' })).headers.get('etag')).toBe('"2"');
    const headers = { 'if-match': '"2"' };
    expect((await world.call('DELETE', '/v1/placement/groups/orders', { headers })).status).toBe(
      204,
    );
    expect((await world.get('/v1/placement/groups/orders')).status).toBe(404);
    // A tag of before it was deleted fits nothing later.
    expect((await create()).headers.get('etag')).toBe('"4"');
  });

  test.each([
    [{ resource: 'orders' }, '/resource'],
    [{ resource: '/{shard}' }, '/resource'],
    [{ pins: { 12: 'host-1' } }, '/pins/12'],
  ])('%j is refused', async (over, path) => {
    expect((await create(over)).json).toMatchObject({
      code: 'invalid_request',
      errors: [{ path }],
    });
  });

  test('no resource is placed by two groups', async () => {
    await create();
    const other = { ...SPEC, resource: 'orders/1{shard}' };
    const headers = { 'if-none-match': '*' };
    expect(
      (await world.call('PUT', '/v1/placement/groups/other', { body: other, headers })).json,
    ).toMatchObject({ code: 'group_overlap' });
  });
});

describe('hosts that go and come', () => {
  test('I6, I7: a lost host loses its shards and no other host does; they are owned again under higher epochs', async () => {
    await create();
    await syncAll();
    const [gone, ...rest] = members as [Member, ...Member[]];
    const lost = new Map(gone.held);
    const kept = new Map(rest.flatMap(({ held }) => [...held]));
    await pass(25_000, rest);
    expect(rest.reduce((sum, { held }) => sum + held.size, 0)).toBe(kept.size);
    await pass(15_000, rest);
    const now = new Map(rest.flatMap(({ held }) => [...held]));
    expect(now.size).toBe(SHARDS);
    for (const [resource, epoch] of lost) expect(now.get(resource)).toBeGreaterThan(epoch);
    for (const [resource, epoch] of kept) expect(now.get(resource)).toBe(epoch);
  });

  test('one that comes gets what ranks it first, no more in a minute than the group says, by drained hand-overs', async () => {
    await create({ maxMovesPerMinute: 2 });
    await syncAll();
    const fourth = await join('host-4');
    await world.clock.advance(2_000);
    const drained: SyncAnswer['drain'] = [];
    for (const member of members) drained.push(...((await member.sync()).drain ?? []));
    expect(drained).toHaveLength(2);
    expect(fourth.held.size).toBe(0);
    for (const member of members)
      await member.release(drained.filter(({ resource }) => member.held.has(resource)));
    await fourth.sync();
    expect(fourth.held.size).toBe(2);
    expect(total()).toBe(SHARDS);
    expect((await actions()).filter((action) => action === 'lease.transfer_ordered')).toHaveLength(
      2,
    );
  });

  test('a drained host is emptied, and gets its shards back when it is undrained', async () => {
    await create();
    await syncAll();
    const [one, ...rest] = members as [Member, ...Member[]];
    const before = one.held.size;
    const drained = await world.call('POST', '/v1/hosts/host-1:drain', {
      body: { reason: 'kernel' },
    });
    expect(drained.json).toMatchObject({ drain: { by: 'operator:admin', reason: 'kernel' } });
    expect(
      (await plan()).items.every(({ why, isInFlight }) => why === 'host_drained' || isInFlight),
    ).toBe(true);
    await one.release((await one.sync()).drain);
    await syncAll(rest);
    expect([one.held.size, total()]).toEqual([0, SHARDS]);
    await world.call('POST', '/v1/hosts/host-1:undrain');
    const planned = await plan();
    // Those that come back have been ordered with it.
    expect(planned.hosts.find(({ hostName }) => hostName === 'host-1')).toMatchObject({
      state: 'live',
      shardsThen: before,
    });
  });
});

describe('control doubts itself', () => {
  test('most hosts silent at once: nothing is placed anew, health says so, and an operator may overrule', async () => {
    await create();
    await syncAll();
    const [one] = members as [Member, Member, Member];
    const mine = one.held.size;
    await pass(TERM_MS + 15_000, [one]);
    expect(one.held.size).toBe(mine);
    expect(await world.metric('holdfast_control_placement_brake')).toBe(1);
    const brake = { reason: 'mass_loss', silent: 2, of: 3 };
    expect((await world.get('/v1/placement/brake')).json).toMatchObject({ brake });
    expect((await world.get('/v1/health')).json).toMatchObject({
      controlPlane: { verdict: 'impaired', parts: { placement: { state: 'degraded' } } },
    });
    const released = await world.call('POST', '/v1/placement/brake:release');
    expect(released.json).toEqual({ brake: null });
    await pass(5_000, [one]);
    expect(one.held.size).toBe(SHARDS);
    expect(await actions()).toEqual(
      expect.arrayContaining(['placement.brake_engaged', 'placement.brake_overridden']),
    );
  });

  test('after a restart nothing moves before the hosts have been heard; owners are as they were', async () => {
    await create();
    await syncAll();
    const before = members.map(({ held }) => new Map(held));
    await world.restart();
    expect((await plan()).brake).toMatchObject({ reason: 'started' });
    await syncAll();
    await world.clock.advance(2_000);
    await syncAll();
    expect(members.map(({ held }) => held)).toEqual(before);
    expect((await plan()).brake).toBeNull();
  });
});

describe('before and after', () => {
  test('a plan for a changed group does nothing, and says what would move and why', async () => {
    await create();
    await syncAll();
    const body = {
      name: 'orders',
      spec: { ...SPEC, pins: { 0: 'host-2', 1: 'host-2', 2: 'host-2' } },
    };
    const dry = (await world.call('POST', '/v1/placement/plan', { body }))
      .json as unknown as PlacementPlan;
    expect(dry.items.length).toBeGreaterThan(0);
    expect(dry.items.every(({ why, hostName }) => why === 'pinned' && hostName === 'host-2')).toBe(
      true,
    );
    expect((await plan()).items).toEqual([]);
  });

  test('each assignment is explained: every host with its score, or why it is excluded', async () => {
    const zone = { zone: 'a' };
    await world.call('PUT', '/v1/hosts/host-2/labels', { body: zone });
    await create({ selector: zone });
    await syncAll();
    const { json } = await world.get('/v1/placement/assignments/orders%2F3');
    expect(json).toMatchObject({
      entry: { shard: 3, hostName: 'host-2', action: 'keep' },
      candidates: expect.arrayContaining([
        expect.objectContaining({ hostName: 'host-1', excluded: 'labels' }),
        expect.objectContaining({ hostName: 'host-2', excluded: null, shards: SHARDS }),
      ]) as unknown,
    });
    expect((await world.get('/v1/placement/assignments/orders%2F99')).status).toBe(404);
    const listed = (await world.get('/v1/placement/assignments?group=orders')).json['items'];
    expect(listed).toHaveLength(SHARDS);
  });
});
