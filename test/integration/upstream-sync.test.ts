import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../shared/core/time.ts';
import { OUTAGE_CAUSES, type Outage } from '../../shared/wire/operation.ts';
import type { Behaviour } from '../fakes/fake-control.ts';
import {
  REQUEST_TIMEOUT_MS,
  SYNC_INTERVAL_MS,
  UpstreamWorld,
  policyDocument,
} from '../fakes/upstream-world.ts';

/** A step of the test's clock may pass while a request is being signed. */
const STEP_MS = 251;

let world: UpstreamWorld;
beforeEach(async () => {
  world = await UpstreamWorld.create();
});
afterEach(() => world.dispose());

const state = (): string => world.upstream.status().state;
const outage = (): Outage | null => world.upstream.outages.current();
const outages = (kind: 'outage_opened' | 'outage_closed'): Outage[] =>
  world.feed.events
    .filter((event) => event.kind === kind)
    .map(({ body }) => body['outage'] as Outage);
const syncTimesMs: number[] = [];

/** The moments of the syncs of the next `durationMs`. */
async function watchSyncs(durationMs: number): Promise<readonly number[]> {
  syncTimesMs.length = 0;
  const send = world.control.send.bind(world.control);
  world.control.send = (request) => {
    if (request.path === '/v1/sync') syncTimesMs.push(world.clock.now().bootMs);
    return send(request);
  };
  await world.pass(durationMs);
  world.control.send = send;
  return syncTimesMs;
}

const gapsOf = (times: readonly number[]): number[] =>
  times.slice(1).map((at, index) => at - (times[index] ?? 0));

async function loseControl(
  behaviour: Behaviour = { kind: 'unreachable', cause: 'refused' },
): Promise<Outage> {
  world.control.behave('*', behaviour);
  await world.passUntil(() => outage() !== null, 'an outage');
  return outage() as Outage;
}

describe('the pace of syncs', () => {
  test('the first comes at once, the next ones at the interval with jitter', async () => {
    await world.startWithPolicy();
    await world.pass(SYNC_INTERVAL_MS);
    const gaps = gapsOf(await watchSyncs(5 * MINUTE_MS));
    expect(gaps.length).toBeGreaterThan(45);
    for (const gap of gaps) {
      expect(gap).toBeGreaterThanOrEqual(0.8 * SYNC_INTERVAL_MS);
      expect(gap).toBeLessThanOrEqual(1.2 * SYNC_INTERVAL_MS + STEP_MS);
    }
    expect(new Set(gaps).size).toBeGreaterThan(4);
  });

  test('O-04: while control is away they come ever more seldom, and no two hosts in step', async () => {
    await world.startWithPolicy();
    await loseControl();
    const gaps = gapsOf(await watchSyncs(20 * MINUTE_MS));
    expect(gaps.length).toBeLessThan(160);
    expect(Math.max(...gaps)).toBeGreaterThan(15 * SECOND_MS);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(30 * SECOND_MS + STEP_MS);
  });

  test('control that asks for a pause gets it, and one that asks for silence does not', async () => {
    await world.startWithPolicy();
    await loseControl({ kind: 'refuse', code: 'journal_busy', retryAfterMs: 20_000 });
    for (const gap of gapsOf(await watchSyncs(10 * MINUTE_MS)))
      expect(gap).toBeGreaterThanOrEqual(20_000);
    world.control.behave('*', { kind: 'refuse', code: 'journal_busy', retryAfterMs: 24 * HOUR_MS });
    expect((await watchSyncs(10 * MINUTE_MS)).length).toBeGreaterThan(3);
  });

  test('O-04: while control is away nobody else knocks', async () => {
    await world.startWithPolicy();
    await loseControl();
    world.feed.commit(3);
    await world.pass(MINUTE_MS);
    const [bundles, reports] = [world.control.count('bundle'), world.control.count('reports')];
    await world.pass(10 * MINUTE_MS);
    expect([world.control.count('bundle'), world.control.count('reports')]).toEqual([
      bundles,
      reports,
    ]);
  });

  test('a thousand kicks make one sync, soon', async () => {
    await world.startWithPolicy();
    await world.pass(2 * SECOND_MS);
    const before = world.control.count('sync');
    for (let kick = 0; kick < 1_000; kick += 1) world.upstream.leases.want(`orders/${kick}`);
    await world.pass(SECOND_MS);
    expect(world.control.count('sync') - before).toBe(1);
    expect(world.control.leases.size).toBe(1_000);
  });

  test('a kick is no way past a back-off', async () => {
    await world.startWithPolicy();
    await loseControl({ kind: 'refuse', code: 'journal_busy', retryAfterMs: 30_000 });
    const before = world.control.count('sync');
    world.upstream.leases.want('orders/7');
    await world.pass(25 * SECOND_MS);
    expect(world.control.count('sync')).toBe(before);
  });
});

describe('what is sent', () => {
  test('the state vector says what is in force, held, journaled', async () => {
    await world.startWithPolicy();
    world.upstream.leases.want('orders/7');
    await world.passUntil(() => world.control.lastSync?.leases.renew.length === 1, 'a renewal');
    expect(world.control.lastSync).toMatchObject({
      policyRevision: 1,
      policyRejected: null,
      highWater: { policyRevision: 1, epoch: 1 },
      leases: { renew: [{ resource: 'orders/7', epoch: 1 }], acquire: [], release: [] },
      journal: { ...world.feed.head(), operations: { accepted: 1 } },
    });
  });

  test('each request has a token of its own', async () => {
    await world.startWithPolicy();
    await world.pass(MINUTE_MS);
    const tokens = world.control.seen.flatMap(
      ({ request }) => request.headers?.['authorization'] ?? [],
    );
    expect(new Set(tokens).size).toBe(tokens.length);
  });
});

describe('I10, I12: outages', () => {
  test.each(OUTAGE_CAUSES)('one opens with its cause: %s', async (cause) => {
    await world.startWithPolicy();
    const behaviour: Behaviour =
      cause === 'bad_answer'
        ? { kind: 'foreign_key' }
        : cause === 'server_error'
          ? { kind: 'refuse', code: 'internal' }
          : { kind: 'unreachable', cause };
    expect(await loseControl(behaviour)).toMatchObject({ cause, toMs: null, policyRevision: 1 });
    expect(state()).toBe('disconnected');
    expect(world.upstream.status().lastError).toContain(cause);
    expect(world.revision()).toBe(1);
  });

  test('control that takes a request and never answers is an outage within the time-out', async () => {
    await world.startWithPolicy();
    world.control.behave('sync', { kind: 'hang' });
    await world.passUntil(
      () => outage() !== null,
      'an outage',
      1.2 * SYNC_INTERVAL_MS + REQUEST_TIMEOUT_MS + 200,
    );
    expect(outage()).toMatchObject({ cause: 'timeout' });
  });

  test('it opens once, closes once, and says under what authority it began', async () => {
    await world.startWithPolicy();
    const changes: string[] = [];
    world.upstream.outages.onChange(({ kind, outage: each }) =>
      changes.push(`${kind} ${each.outageId}`),
    );
    const { outageId, stalenessMs } = await loseControl();
    expect(stalenessMs).toBeGreaterThan(0);
    await world.pass(10 * MINUTE_MS);
    expect(outages('outage_opened')).toHaveLength(1);
    world.control.up();
    await world.passUntil(() => outage() === null, 'the end of the outage');
    await world.pass(MINUTE_MS);
    expect(outages('outage_closed')).toMatchObject([
      { outageId, toMs: expect.any(Number) as number },
    ]);
    expect(changes).toEqual([`opened ${outageId}`, `closed ${outageId}`]);
    expect(world.metrics.value('holdfast_outages_total', { cause: 'refused' })).toBe(1);
    expect(world.metrics.value('holdfast_outage_open')).toBe(0);
  });

  test('control that takes back only so many at a time opens none, until it has said so for a minute', async () => {
    await world.startWithPolicy();
    world.control.behave('sync', { kind: 'refuse', code: 'overloaded', retryAfterMs: 9_000 });
    const times = await watchSyncs(50 * SECOND_MS);
    // As it was told, and a fifth more at most.
    for (const gap of gapsOf(times)) {
      expect(gap).toBeGreaterThanOrEqual(9_000);
      expect(gap).toBeLessThanOrEqual(11 * SECOND_MS);
    }
    expect(times.length).toBeGreaterThanOrEqual(4);
    expect(state()).toBe('connected');
    expect(outages('outage_opened')).toEqual([]);
    const outcomes = { outcome: 'overloaded' };
    expect(world.metrics.value('holdfast_sync_attempts_total', outcomes)).toBe(times.length);
    // I10, I5: nobody signs it, and what rests on it is bounded.
    await world.passUntil(() => outage() !== null, 'an outage', 40 * SECOND_MS);
    expect(outage()).toMatchObject({ cause: 'server_error' });
    expect(world.staleness()).toBeGreaterThan(60_000);
  });

  test('one that is open is not closed by it, and closes with the sync that succeeds', async () => {
    await world.startWithPolicy();
    const opened = await loseControl();
    world.control.up();
    world.control.behave('sync', { kind: 'refuse', code: 'overloaded', retryAfterMs: 4_000 });
    await world.pass(30 * SECOND_MS);
    expect(outage()?.outageId).toBe(opened.outageId);
    expect(state()).toBe('disconnected');
    world.control.up();
    await world.passUntil(() => outage() === null, 'the end of the outage');
    expect(outages('outage_opened')).toHaveLength(1);
  });

  test('time out of reach counts on the boot clock', async () => {
    await world.startWithPolicy();
    expect(world.upstream.outages.outOfReachMs(world.clock.now())).toBeNull();
    await loseControl();
    world.clock.stepWall(-HOUR_MS);
    const before = world.upstream.outages.outOfReachMs(world.clock.now()) ?? -1;
    world.clock.jump(7 * MINUTE_MS);
    expect(world.upstream.outages.outOfReachMs(world.clock.now())).toBe(before + 7 * MINUTE_MS);
  });

  test('after a restart it goes on under its id, and closes once', async () => {
    await world.startWithPolicy();
    const { outageId } = await loseControl();
    await world.restart();
    expect(outage()).toMatchObject({ outageId });
    await world.pass(MINUTE_MS);
    expect(outages('outage_opened')).toHaveLength(1);
    world.control.up();
    await world.passUntil(() => outage() === null, 'the end of the outage');
    expect(outages('outage_closed').map((each) => each.outageId)).toEqual([outageId]);
  });

  test('it is in force though the journal could not take it, and is journaled later', async () => {
    await world.startWithPolicy();
    world.feed.failure = new Error('disk full');
    const { outageId } = await loseControl();
    expect(outages('outage_opened')).toHaveLength(0);
    world.feed.failure = null;
    await world.passUntil(() => outages('outage_opened').length === 1, 'journaled');
    expect(outages('outage_opened')[0]).toMatchObject({ outageId });
  });

  test('by the time its end is told, the answer that ended it is in force', async () => {
    await world.startWithPolicy();
    await loseControl();
    await world.pass(20 * MINUTE_MS);
    const seen: (number | null)[] = [];
    world.upstream.outages.onChange(() => seen.push(world.staleness()));
    world.control.up();
    await world.passUntil(() => outage() === null, 'the end of the outage');
    expect(seen[0]).toBeLessThan(REQUEST_TIMEOUT_MS);
  });
});

describe('I10: control that lies', () => {
  const lies: [string, Behaviour][] = [
    [
      'answers another request',
      { kind: 'alter', alter: (said) => ({ ...said, nonce: 'another-nonce-123' }) },
    ],
    [
      'answers another host',
      { kind: 'alter', alter: (said) => ({ ...said, hostId: 'host_another' }) },
    ],
    [
      'is another control',
      { kind: 'alter', alter: (said) => ({ ...said, controlId: 'ctl_another' }) },
    ],
    ['signs with a foreign key', { kind: 'foreign_key' }],
    ['plays an earlier answer again', { kind: 'replay' }],
    ['says what has no form', { kind: 'alter', alter: () => ({ hello: 'world' }) }],
  ];
  test.each(lies)(
    'I10: a sync that %s confirms nothing and grants nothing',
    async (_, behaviour) => {
      await world.startWithPolicy();
      world.upstream.leases.want('orders/7');
      world.control.behave('sync', behaviour);
      await world.passUntil(() => outage() !== null, 'an outage');
      await world.pass(MINUTE_MS);
      expect(outage()).toMatchObject({ cause: 'bad_answer' });
      expect(world.staleness()).toBeGreaterThanOrEqual(MINUTE_MS);
      expect(world.upstream.leases.lease('orders/7')).toBeUndefined();
      expect(world.revision()).toBe(1);
    },
  );

  const strangers: [string, number, string][] = [
    ['a captive portal', 401, '<html>log in</html>'],
    ['a proxy with JSON of its own', 403, '{"code":"forbidden"}'],
    ['a web server', 404, 'not here'],
    ['a conflict of somebody else', 409, '{}'],
    ['something gone', 410, ''],
    ['a redirect', 302, ''],
    ['a page instead of an answer', 200, '<html>hello</html>'],
  ];
  test.each(strangers)("I10: a stranger's answer is not obeyed: %s", async (_, status, body) => {
    await world.startWithPolicy();
    world.control.behave('*', {
      kind: 'respond',
      response: { status, headers: { 'content-type': 'text/html' }, body },
    });
    await world.passUntil(() => outage() !== null, 'an outage');
    expect(outage()).toMatchObject({ cause: 'bad_answer' });
    expect(world.upstream.policy.revoked()).toBeNull();
    expect(state()).toBe('disconnected');
  });

  test.each([
    ['a type that is not ours', { type: 'about:blank' }],
    ['a status that is not its own', { status: 404 }],
    [
      'another code than the one that was signed',
      { code: 'host_epoch_stale', type: 'urn:holdfast:problem:host_epoch_stale' },
    ],
  ])('I10: a problem document with %s is not obeyed', async (_, change) => {
    await world.startWithPolicy();
    const send = world.control.send.bind(world.control);
    world.control.behave('*', { kind: 'refuse', code: 'host_unknown' });
    world.control.send = async (request) => {
      const genuine = await send(request);
      const body = JSON.stringify({ ...(JSON.parse(genuine.body) as object), ...change });
      return { ...genuine, body };
    };
    await world.passUntil(() => outage() !== null, 'an outage');
    expect(outage()).toMatchObject({ cause: 'bad_answer' });
    expect(world.upstream.policy.revoked()).toBeNull();
  });

  test('I10: a code that control does not give here is not obeyed, though it is signed', async () => {
    await world.startWithPolicy();
    expect(await loseControl({ kind: 'refuse', code: 'denied' })).toMatchObject({
      cause: 'bad_answer',
    });
    expect(world.upstream.policy.revoked()).toBeNull();
  });

  type Signed = Extract<Behaviour, { kind: 'refuse' }>['signed'];
  const forged: [string, Signed][] = [
    ['that nobody signed', 'not'],
    ['signed by a foreign key', 'by_foreign_key'],
    ['of another request', { alter: (said) => ({ ...said, nonce: 'another-nonce-123' }) }],
    ['of a token of another key', { alter: (said) => ({ ...said, tokenSha256: '0'.repeat(64) }) }],
    ['of another host', { alter: (said) => ({ ...said, hostId: 'host_another' }) }],
    ['of another code', { alter: (said) => ({ ...said, code: 'host_epoch_stale' }) }],
    ['of another status', { alter: (said) => ({ ...said, status: 409 }) }],
    ['without a form', { alter: () => ({ hello: 'world' }) }],
  ];
  test.each(forged)('I10: a refusal %s withdraws nothing and is an outage', async (_, signed) => {
    await world.startWithPolicy();
    const isOwned = (): boolean =>
      (world.upstream.leases.lease('orders/7')?.endsBootMs ?? 0) > world.clock.now().bootMs;
    world.upstream.leases.want('orders/7');
    await world.passUntil(isOwned, 'owned');
    const behaviour = { kind: 'refuse', code: 'host_unknown', ...(signed && { signed }) } as const;
    expect(await loseControl(behaviour)).toMatchObject({ cause: 'bad_answer' });
    expect(outage()?.detail).toContain('host_unknown');
    expect(isOwned()).toBe(true);
    expect(state()).toBe('disconnected');
    expect(world.upstream.policy.revoked()).toBeNull();
    world.control.down();
    await world.restart();
    expect(world.upstream.policy.revoked()).toBeNull();
    expect(world.revision()).toBe(1);
  });
});

describe('authoritative refusals', () => {
  test('I10: a signature of this host that control doubts is no outage, and withdraws nothing', async () => {
    await world.startWithPolicy();
    world.control.behave('*', { kind: 'refuse', code: 'host_signature_invalid' });
    await world.passUntil(() => state() === 'refused', 'refused');
    await world.pass(MINUTE_MS);
    expect(outage()).toBeNull();
    expect(world.upstream.policy.revoked()).toBeNull();
    expect(world.staleness()).toBeGreaterThanOrEqual(MINUTE_MS);
    world.control.up();
    await world.passUntil(() => state() === 'connected', 'connected');
    expect(world.feed.kinds().filter((kind) => kind.startsWith('outage'))).toEqual([]);
  });

  test.each(['host_unknown', 'host_epoch_stale', 'forbidden', 'unauthenticated'] as const)(
    'I10: %s, signed, withdraws authority and is no outage',
    async (code) => {
      await world.startWithPolicy();
      world.control.behave('*', { kind: 'refuse', code });
      await world.passUntil(() => state() === 'refused', 'refused');
      expect(world.upstream.policy.revoked()?.reason).toContain(code);
      expect(outage()).toBeNull();
      expect(outages('outage_opened')).toHaveLength(0);
    },
  );

  test('leases end with it, and come back with it', async () => {
    await world.startWithPolicy();
    const isOwned = (): boolean =>
      (world.upstream.leases.lease('orders/7')?.endsBootMs ?? 0) > world.clock.now().bootMs;
    world.upstream.leases.want('orders/7');
    await world.passUntil(isOwned, 'owned');
    world.control.behave('*', { kind: 'refuse', code: 'host_unknown' });
    await world.passUntil(() => state() === 'refused', 'refused');
    expect(isOwned()).toBe(false);
    world.control.up();
    await world.passUntil(isOwned, 'owned again');
    expect(world.upstream.policy.revoked()).toBeNull();
  });

  test('it holds over a restart with control away, until a sync succeeds', async () => {
    await world.startWithPolicy();
    world.control.behave('*', { kind: 'refuse', code: 'host_unknown' });
    await world.passUntil(() => state() === 'refused', 'refused');
    world.control.down();
    await world.restart();
    await world.pass(MINUTE_MS);
    expect(world.upstream.policy.revoked()?.reason).toContain('host_unknown');
    world.control.up();
    await world.passUntil(() => state() === 'connected', 'connected');
    expect(world.upstream.policy.revoked()).toBeNull();
    world.control.down();
    await world.restart();
    expect(world.upstream.policy.revoked()).toBeNull();
  });

  test('one that comes in an outage does not end it', async () => {
    await world.startWithPolicy();
    const { outageId } = await loseControl();
    world.control.behave('*', { kind: 'refuse', code: 'host_unknown' });
    await world.passUntil(() => state() === 'refused', 'refused');
    expect(outage()).toMatchObject({ outageId });
  });

  test('no policy yet is an answer, and the first one is taken as soon as it is there', async () => {
    await world.start();
    await world.passUntil(() => state() === 'connected', 'connected');
    await world.pass(2 * MINUTE_MS);
    expect(outage()).toBeNull();
    const nowMs = world.clock.now().bootMs;
    await world.control.publish(1, policyDocument());
    await world.until(() => world.revision() === 1, 'revision 1');
    expect(world.clock.now().bootMs).toBe(nowMs);
  });
});

test('a host that control calls while it waits for a bundle syncs at once, and once', async () => {
  await world.startWithPolicy();
  await world.settle();
  const [before, bundles] = [world.control.count('sync'), world.control.count('bundle')];
  world.control.call();
  await world.passUntil(() => world.control.count('sync') > before, 'a sync', 1_000);
  await world.passUntil(() => world.control.count('bundle') > bundles, 'it waits again', 1_000);
  await world.pass(1_000);
  expect(world.control.count('sync')).toBe(before + 1);
});
