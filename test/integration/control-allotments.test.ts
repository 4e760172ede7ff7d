/** Fleet budgets over the network: signed syncs, a real store, restarts, and copies put back. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SECOND_MS } from '../../shared/core/time.ts';
import type {
  Allotment,
  AllotmentAsk,
  AllotmentGrant,
  AllotmentRequest,
} from '../../shared/wire/allotments.ts';
import { STATEMENT_TYPES, SyncAnswerSchema } from '../../shared/wire/statements.ts';
import { ControlWorld, policyDocument } from '../fakes/control-world.ts';
import type { SigningHost } from '../fakes/signing-host.ts';

const RULE = 'capture-payment';
const ASK: AllotmentAsk = {
  rule: RULE,
  per: 'rule',
  key: '',
  kind: 'concurrency',
  units: 0,
  inUse: 0,
  wants: 10,
  window: null,
  deadlineMs: 60_000,
};

let world: ControlWorld;
beforeEach(async () => {
  world = await ControlWorld.create();
});
afterEach(() => world.dispose());

const limited = (limits: object, over: object = {}) =>
  policyDocument({
    rules: [
      {
        name: RULE,
        actions: ['payments.capture'],
        permit: [{ expression: 'true' }],
        maxStaleness: '1m',
        deadline: '1m',
        maxDeadline: '1m',
        limits: { scope: 'fleet', ...limits },
        ...over,
      },
    ],
  });

/** As a sidecar does: what it was given is what it says it holds, as of that answer. */
class Holder {
  readonly host: SigningHost;
  applied: string | null = null;
  held = 0;
  window: number | null = null;

  constructor(host: SigningHost) {
    this.host = host;
  }

  async ask(over: Partial<AllotmentAsk> = {}, isApplied = true): Promise<AllotmentGrant> {
    const item = { ...ASK, units: this.held, window: this.window, ...over };
    const allotments: AllotmentRequest = { applied: this.applied, items: [item] };
    const body = { ...this.host.syncBody(), allotments };
    const answer = await this.host.open(
      await this.host.request('POST', '/v1/sync', body),
      STATEMENT_TYPES.sync,
      SyncAnswerSchema,
    );
    const [grant] = answer.allotments ?? [];
    if (grant === undefined) throw new Error('no grant');
    if (isApplied) {
      this.applied = answer.nonce;
      this.held = grant.units;
      this.window = grant.window;
    }
    return grant;
  }
}

async function enrol(name: string): Promise<Holder> {
  return new Holder(await world.enrolHost(name));
}
async function untilFull(holder: Holder, over: Partial<AllotmentAsk> = {}): Promise<number> {
  let before = -1;
  while (holder.held > before) {
    before = holder.held;
    await holder.ask(over);
  }
  return holder.held;
}
async function listed(): Promise<Allotment[]> {
  return (await world.get('/v1/allotments')).json['items'] as Allotment[];
}

describe('dividing', () => {
  test('I3: two hosts never hold more than the budget, and the view says who holds what', async () => {
    await world.publish(limited({ concurrency: 10 }));
    const [a, b] = [await enrol('a'), await enrol('b')];
    expect(await a.ask()).toMatchObject({ units: 5, ttlMs: 60_000, deadlineMsMax: 60_000 });
    expect((await b.ask()).units).toBe(3);
    await untilFull(a);
    await untilFull(b);
    expect(a.held + b.held).toBeLessThanOrEqual(10);
    expect(await listed()).toMatchObject([
      { rule: RULE, hostName: 'a', budget: 10, units: a.held, state: 'held' },
      { rule: RULE, hostName: 'b', budget: 10, units: b.held, state: 'held' },
    ]);
    expect(await world.metric('holdfast_control_allotments_total{outcome="some"}')).toBeGreaterThan(
      1,
    );
  });

  test('what is not wanted goes back to who starves, once its holder has said so', async () => {
    await world.publish(limited({ concurrency: 10 }));
    const [a, b] = [await enrol('a'), await enrol('b')];
    expect(await untilFull(a)).toBe(10);
    expect((await b.ask()).units).toBe(0);
    // Told to hold less, and not heard since: it may still hold all of it.
    await a.ask({ wants: 2 });
    expect(a.held).toBe(2);
    expect((await b.ask()).units).toBe(0);
    await a.ask({ wants: 2 });
    expect((await b.ask()).units).toBeGreaterThan(0);
  });

  test('a smaller budget of a newer revision: nothing more is given until it fits', async () => {
    await world.publish(limited({ concurrency: 10 }));
    const a = await enrol('a');
    expect(await untilFull(a)).toBe(10);
    await world.publish(limited({ concurrency: 4 }));
    await a.ask();
    expect(a.held).toBe(4);
    await world.publish(limited({ concurrency: 4, scope: 'host' }));
    await a.ask();
    expect(a.held).toBe(0);
  });

  test('a rate is divided with its burst, in parts that can admit something', async () => {
    await world.publish(limited({ rate: '20/s', burst: 5 }));
    const [a, b] = [await enrol('a'), await enrol('b')];
    const rate = { kind: 'rate' as const, wants: 20 };
    expect(await a.ask(rate)).toMatchObject({ units: 10, burst: 2, windowMs: SECOND_MS });
    expect(await b.ask(rate)).toMatchObject({ units: 5, burst: 1 });
  });

  test('a host that says nothing of limits is answered as before there were any', async () => {
    await world.publish(limited({ concurrency: 10 }));
    const { host } = await enrol('a');
    expect(await host.sync()).not.toHaveProperty('allotments');
  });
});

describe('I3: nothing is overspent', () => {
  test('an answer that was lost counts as given', async () => {
    await world.publish(limited({ concurrency: 10 }));
    const [a, b] = [await enrol('a'), await enrol('b')];
    expect((await a.ask({}, false)).units).toBe(5);
    // It asks again, and holds nothing: the answer may still be on its way.
    await a.ask({ wants: 0 }, false);
    expect(await untilFull(b)).toBeLessThanOrEqual(5);
  });

  test('a host that is lost: its part ends with its term and the longest deadline', async () => {
    await world.publish(limited({ concurrency: 10 }));
    const [a, b] = [await enrol('a'), await enrol('b')];
    await untilFull(a);
    world.clock.jump(100 * SECOND_MS);
    expect((await b.ask()).units).toBe(0);
    expect(await listed()).toMatchObject([{ hostName: 'a', state: 'ending' }, { units: 0 }]);
    world.clock.jump(25 * SECOND_MS);
    expect((await b.ask()).units).toBeGreaterThan(0);
  });

  test('units of a quota count in their window, whoever is lost', async () => {
    await world.publish(limited({ quota: '8/10m' }));
    const [a, b] = [await enrol('a'), await enrol('b')];
    const quota = { kind: 'quota' as const, wants: 8 };
    expect((await a.ask(quota)).units).toBe(4);
    world.clock.jump(5 * 60 * SECOND_MS);
    await untilFull(b, quota);
    expect(b.held).toBe(4);
    // The next window begins, and nobody had to give anything back.
    world.clock.jump(5 * 60 * SECOND_MS);
    expect((await b.ask(quota)).units).toBeGreaterThan(0);
  });

  test('a start gives nothing new before every host was heard, and renews what is held', async () => {
    await world.publish(limited({ concurrency: 10 }));
    const [a, b] = [await enrol('a'), await enrol('b')];
    await a.ask();
    await world.restart();
    expect((await a.ask()).units).toBe(5);
    // What it said may have been sent before it got what it holds: it is heard when it speaks again.
    expect((await b.ask()).units).toBe(0);
    expect((await b.ask()).units).toBe(0);
    expect((await a.ask()).units).toBeGreaterThan(4);
    expect((await b.ask()).units).toBeGreaterThan(0);
    await world.restart();
    const held = b.held;
    expect((await b.ask()).units).toBe(held);
  });

  test('a copy of before the grants gives nothing for a term, and believes what hosts hold', async () => {
    await world.publish(limited({ concurrency: 10 }));
    const [a, b] = [await enrol('a'), await enrol('b')];
    const restore = await world.backUp();
    await Promise.all([a.host.sync(), b.host.sync()]);
    await untilFull(a);
    await restore();
    expect((await b.ask()).units).toBe(0);
    expect((await a.ask()).units).toBe(10);
    expect((await b.ask()).units).toBe(0);
    expect(await listed()).toMatchObject([
      { hostName: 'a', units: 10 },
      { hostName: 'b', units: 0 },
    ]);
  });

  test('I10: a deadline that no rule can allow moves nothing beyond what can be read', async () => {
    await world.publish(limited({ concurrency: 10 }));
    const [a, b] = [await enrol('a'), await enrol('b')];
    await a.ask({ deadlineMs: Number.MAX_SAFE_INTEGER });
    await a.ask({ deadlineMs: Number.MAX_SAFE_INTEGER, rule: 'none-of-the-policy' });
    expect((await b.ask()).units).toBeGreaterThan(0);
    const names = (await listed()).map(({ hostName }) => hostName);
    expect(names).toEqual(expect.arrayContaining(['a', 'b']));
    await world.restart();
    await a.ask({ deadlineMs: Number.MAX_SAFE_INTEGER });
    expect((await world.get('/v1/allotments')).status).toBe(200);
  });
});
