/** `POST /v1/operations:claim` over a real journal: who gets what, in which order, and once. */
import type { LightMyRequestResponse } from 'fastify';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ClaimAnswer } from '../../shared/wire/claim-api.ts';
import { FakeClock } from '../fakes/fake-clock.ts';
import { fc } from '../fakes/properties.ts';
import { openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { CAPTURE, NOTIFY, REPORT, callerOf } from '../fakes/sidecar-caller.ts';

let sidecar: TestSidecar;
let clock: FakeClock;
beforeEach(async () => {
  // Beyond the real clock that the writer looks at: authority does not end while this one stands.
  clock = new FakeClock({ bootMs: 1_000_000_000_000 });
  sidecar = await openTestSidecar({ clock });
});
afterEach(() => sidecar.close());
const { call, admit } = callerOf(() => sidecar);

type ClaimBody = { actions?: readonly string[]; limit?: number };
let keys = 0;
function ask(
  body: ClaimBody = {},
  { key = `claim-${(keys += 1)}`, wait = '0ms' }: { key?: string; wait?: string } = {},
): Promise<LightMyRequestResponse> {
  return call('POST', `/v1/operations:claim?wait=${wait}`, {
    body: { actions: ['*'], ...body },
    headers: { 'idempotency-key': key },
  });
}
async function admitted(body: unknown, key: string): Promise<string> {
  const answer = await admit(body, key);
  expect(answer.json()).toMatchObject({ state: 'accepted' });
  return answer.json<{ operationId: string }>().operationId;
}
const taken = (answer: LightMyRequestResponse): string[] =>
  answer.json<ClaimAnswer>().items.map(({ operation }) => operation.operationId);
const notify = (what: string, deadlineMs?: number): object => ({
  ...NOTIFY,
  action: `notifications.${what}`,
  ...(deadlineMs === undefined ? {} : { deadlineMs }),
});

describe('what is claimed', () => {
  test('the oldest first, with its attempt begun, the payload, and the heartbeat that is asked for', async () => {
    const first = await admitted(notify('send'), 'a');
    const second = await admitted(notify('send'), 'b');
    const answer = await ask({ actions: ['notifications.send'], limit: 1 });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toMatchObject({
      items: [
        {
          operation: { operationId: first, state: 'executing', attributes: { to: 'a' } },
          attempt: { attempt: 1, heartbeatTimeoutMs: 30_000, heartbeatIntervalMs: 10_000 },
        },
      ],
    });
    expect(taken(await ask({ limit: 5 }))).toEqual([second]);
    expect(taken(await ask({ limit: 5 }))).toEqual([]);
  });

  test('what comes to its deadline first goes before what is older', async () => {
    const slow = await admitted(notify('send', 600_000), 'a');
    const urgent = await admitted(notify('send', 5_000), 'b');
    const other = await admitted(notify('mail', 60_000), 'c');
    expect(taken(await ask({ limit: 5 }))).toEqual([urgent, other, slow]);
  });

  test('actions by name and by pattern, and no others', async () => {
    const send = await admitted(notify('send'), 'a');
    const deep = await admitted(notify('mail.bulk'), 'b');
    const report = await admitted(REPORT, 'c');
    expect(taken(await ask({ actions: ['notification.*', 'notifications'], limit: 9 }))).toEqual(
      [],
    );
    expect(taken(await ask({ actions: ['notifications.mail.*'], limit: 9 }))).toEqual([deep]);
    expect(taken(await ask({ actions: ['reports.build', 'notifications.*'], limit: 9 }))).toEqual([
      send,
      report,
    ]);
  });

  test('neither what is paused, nor what has ended, nor what is past its deadline, nor of another app', async () => {
    await admitted(REPORT, 'a');
    sidecar.authority.outOfReach = 60_000;
    await sidecar.custodian.round();
    const cancelled = await admitted(notify('send'), 'b');
    await call('POST', `/v1/operations/${cancelled}/cancel`, { body: {} });
    await admitted(notify('send', 1_000), 'c');
    await clock.advance(1_001);
    const mine = await admitted(notify('send'), 'd');
    expect(taken(await ask({ limit: 9 }))).toEqual([mine]);
    const elsewhere = await call('POST', '/v1/operations:claim', {
      body: { actions: ['*'] },
      headers: { 'idempotency-key': 'ops-1', authorization: 'Bearer operator-token-0123456789' },
    });
    expect(taken(elsewhere)).toEqual([]);
  });

  test('I6, I7: what needs a lease waits for it, behind it others go, and the attempt has its epoch', async () => {
    sidecar.authority.hold('orders/3', 5, clock.now());
    const guarded = await admitted(CAPTURE, 'a');
    const free = await admitted(notify('send'), 'b');
    sidecar.authority.held.clear();
    expect(taken(await ask({ limit: 9 }))).toEqual([free]);
    expect(sidecar.authority.wanted).toContain('orders/3');
    sidecar.authority.hold('orders/3', 6, clock.now());
    expect((await ask()).json()).toMatchObject({
      items: [{ operation: { operationId: guarded }, attempt: { leaseEpoch: 6 } }],
    });
  });
});

describe('a worker that vanishes', () => {
  test('I8: misses its heartbeats, and its rule lets the next worker have the work', async () => {
    const id = await admitted(notify('send'), 'a');
    expect(taken(await ask())).toEqual([id]);
    await clock.advance(29_000);
    await sidecar.custodian.round();
    expect(taken(await ask())).toEqual([]);
    await clock.advance(2_000);
    await sidecar.custodian.round();
    expect((await ask()).json()).toMatchObject({
      items: [{ operation: { operationId: id }, attempt: { attempt: 2 } }],
    });
    // The first one comes back from the dead.
    const late = await call('PUT', `/v1/operations/${id}/attempts/1/outcome`, {
      body: { outcome: 'succeeded' },
    });
    expect(late.json()).toMatchObject({ code: 'attempt_stale' });
  });

  test('I9: its work becomes unknown where the rule does not say that it may be tried again', async () => {
    const id = await admitted(REPORT, 'a');
    await ask();
    await clock.advance(31_000);
    await sidecar.custodian.round();
    expect((await call('GET', `/v1/operations/${id}`)).json()).toMatchObject({
      state: 'unknown',
      reason: 'worker_lost',
    });
    expect(taken(await ask())).toEqual([]);
  });
});

describe('the key of a claim', () => {
  test('I1: brings back what it has taken, nothing else, and nothing that is over', async () => {
    const first = await admitted(notify('send'), 'a');
    const second = await admitted(notify('send'), 'b');
    await admitted(notify('send'), 'c');
    expect(taken(await ask({ limit: 2 }, { key: 'k' }))).toEqual([first, second]);
    const again = await ask({ limit: 2 }, { key: 'k', wait: '20s' });
    expect(again.headers['idempotency-replayed']).toBe('true');
    expect(taken(again)).toEqual([first, second]);
    await call('PUT', `/v1/operations/${first}/attempts/1/outcome`, {
      body: { outcome: 'succeeded' },
    });
    expect(taken(await ask({ limit: 2 }, { key: 'k' }))).toEqual([second]);
    await call('POST', `/v1/operations/${second}/cancel`, { body: {} });
    expect(taken(await ask({ limit: 2 }, { key: 'k', wait: '20s' }))).toEqual([]);
  });

  test('is required, and is refused with other actions', async () => {
    const without = await call('POST', '/v1/operations:claim', { body: { actions: ['*'] } });
    expect(without.json()).toMatchObject({ code: 'idempotency_key_missing' });
    await admitted(notify('send'), 'a');
    await ask({}, { key: 'k' });
    expect((await ask({ actions: ['reports.*'] }, { key: 'k' })).json()).toMatchObject({
      code: 'idempotency_key_reused',
      status: 422,
    });
  });

  test('a limit of 0 ends it: a request with it that comes late takes nothing', async () => {
    await admitted(notify('send'), 'a');
    expect(taken(await ask({ limit: 0 }, { key: 'k' }))).toEqual([]);
    expect(taken(await ask({ limit: 1 }, { key: 'k' }))).toEqual([]);
    expect(taken(await ask())).toHaveLength(1);
  });

  test('a second request with it takes the place of one that waits', async () => {
    const waiting = ask({}, { key: 'k', wait: '20s' });
    await until(() => sidecar.claims.waiting === 1);
    const instead = ask({}, { key: 'k', wait: '20s' });
    expect(taken(await waiting)).toEqual([]);
    const id = await admitted(notify('send'), 'a');
    expect(taken(await instead)).toEqual([id]);
  });
});

describe('waiting', () => {
  test('is ended by work of its action alone, in the order in which the workers came', async () => {
    const reports = ask({ actions: ['reports.*'] }, { wait: '20s' });
    const first = ask({ actions: ['notifications.*'] }, { wait: '20s' });
    await until(() => sidecar.claims.waiting === 2);
    const second = ask({}, { wait: '20s' });
    await until(() => sidecar.claims.waiting === 3);
    const one = await admitted(notify('send'), 'a');
    expect(taken(await first)).toEqual([one]);
    expect(sidecar.claims.waiting).toBe(2);
    const two = await admitted(notify('mail'), 'b');
    expect(taken(await second)).toEqual([two]);
    await clock.advance(20_000);
    expect(taken(await reports)).toEqual([]);
  });

  test('is ended by work that comes back from a pause', async () => {
    const id = await admitted(REPORT, 'a');
    sidecar.authority.outOfReach = 60_000;
    await sidecar.custodian.round();
    const waiting = ask({}, { wait: '20s' });
    await until(() => sidecar.claims.waiting === 1);
    sidecar.authority.outOfReach = null;
    sidecar.authority.staleness = 0;
    await sidecar.custodian.round();
    expect(taken(await waiting)).toEqual([id]);
  });

  test('is bounded in number and in time, and ends with the sidecar', async () => {
    expect((await ask({}, { wait: '31s' })).json()).toMatchObject({ code: 'invalid_request' });
    const waiting = Array.from({ length: 256 }, () => ask({}, { wait: '20s' }));
    await until(() => sidecar.claims.waiting === 256);
    expect((await ask({}, { wait: '20s' })).json()).toMatchObject({
      code: 'overloaded',
      retryable: true,
    });
    sidecar.claims.close();
    for (const answer of await Promise.all(waiting)) expect(taken(answer)).toEqual([]);
  });
});

test('I9: whoever claims, at once and again with the same keys, each operation is taken once', async () => {
  let round = 0;
  const claimers = fc.array(
    fc.record({
      limit: fc.integer({ min: 1, max: 7 }),
      actions: fc.constantFrom(['*'], ['notifications.*'], ['notifications.a', 'notifications.c']),
      repeats: fc.integer({ min: 1, max: 2 }),
    }),
    { minLength: 2, maxLength: 8 },
  );
  const work = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 15 });
  await fc.assert(
    fc.asyncProperty(claimers, work, work, async (workers, before, during) => {
      round += 1;
      const give = (items: readonly string[], name: string): Promise<string[]> =>
        Promise.all(items.map((to, at) => admitted(notify(to), `${round}-${name}-${at}`)));
      const ids = await give(before, 'before');
      const asked = workers.flatMap(({ repeats, ...body }, at) =>
        Array.from({ length: repeats }, async () => {
          const key = `${round}-w-${at}`;
          return { key, got: taken(await ask(body, { key })) };
        }),
      );
      ids.push(...(await give(during, 'during')));
      const byKey = new Map<string, Set<string>>();
      for (const { key, got } of await Promise.all(asked))
        byKey.set(key, new Set([...(byKey.get(key) ?? []), ...got]));
      const given = [...byKey.values()].flatMap((each) => [...each]);
      expect(new Set(given).size).toBe(given.length);
      // What is left is claimed by the next, and then nothing is.
      const rest: string[] = [];
      for (let more = ['']; more.length > 0; rest.push(...more))
        more = taken(await ask({ limit: 100 }));
      expect([...given, ...rest].toSorted()).toEqual(ids.toSorted());
      for (const id of ids) {
        const { attempt } = (await call('GET', `/v1/operations/${id}`)).json<{ attempt: number }>();
        expect(attempt).toBe(1);
      }
    }),
    { numRuns: 25 },
  );
});

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}
