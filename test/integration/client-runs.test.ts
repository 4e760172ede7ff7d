/** Runs, effects and workers of the client against a real sidecar, over a network that loses answers. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { RunContext } from '../../shared/client/attempt-run.ts';
import { Holdfast } from '../../shared/client/holdfast.ts';
import type { OperationHandle } from '../../shared/client/operation-handle.ts';
import {
  EffectFailedError,
  EffectUnknownError,
  OperationEndedError,
} from '../../shared/client/run-errors.ts';
import {
  UnreachableError,
  type Transport,
  type TransportRequest,
  type TransportResponse,
} from '../../shared/client/transport-port.ts';
import { holdfastTool } from '../../shared/client/tool-guard.ts';
import { PortableClock, PortableRandom } from '../../shared/platform/portable-clock.ts';
import { FakeClock } from '../fakes/fake-clock.ts';
import { APP_TOKEN, openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { CAPTURE, NOTIFY } from '../fakes/sidecar-caller.ts';

/** Each request reaches the sidecar; the answer is lost where `loses` says so. */
class LossyTransport implements Transport {
  readonly sent: string[] = [];
  loses: (request: TransportRequest, times: number) => boolean = () => false;
  readonly #times = new Map<string, number>();

  async send(request: TransportRequest): Promise<TransportResponse> {
    const what = `${request.method} ${request.path} ${request.body ?? ''}`;
    this.sent.push(what);
    const times = (this.#times.get(what) ?? 0) + 1;
    this.#times.set(what, times);
    const { statusCode, headers, body } = await sidecar.app.inject({
      method: request.method,
      url: request.path,
      headers: { host: '127.0.0.1:7490', ...request.headers },
      ...(request.body === undefined ? {} : { payload: request.body }),
    });
    if (request.signal?.aborted === true || this.loses(request, times))
      throw new UnreachableError('reset', 'the answer is lost');
    return { status: statusCode, headers: headers as Record<string, string>, body };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

let sidecar: TestSidecar;
beforeAll(async () => {
  sidecar = await openTestSidecar();
});
afterAll(() => sidecar.close());

let transport = new LossyTransport();
let clock = new FakeClock();
let keys = 0;
afterEach(() => {
  transport = new LossyTransport();
  clock = new FakeClock();
});
const open = (ticking: FakeClock | PortableClock = new PortableClock()): Holdfast =>
  new Holdfast({ token: APP_TOKEN }, { transport, clock: ticking, random: new PortableRandom() });
const admit = (holdfast: Holdfast, request: object = NOTIFY): Promise<OperationHandle> =>
  holdfast.admit(request as typeof NOTIFY, { idempotencyKey: `key-${(keys += 1)}` });

describe('a run', () => {
  test('I1, I9: does each step once though the first answer to each is lost', async () => {
    transport.loses = (_request, times) => times === 1;
    const operation = await admit(open());
    let sent = 0;
    const result = await operation.run(async (ctx) => {
      await ctx.checkpoint({ page: 3 });
      return ctx.effect('send', { idempotent: true }, () => ({ count: (sent += 1) }));
    });
    expect([result, sent]).toEqual([{ count: 1 }, 1]);
    expect(await operation.get()).toMatchObject({
      state: 'succeeded',
      attempt: 1,
      checkpoint: { page: 3 },
      effects: [{ name: 'send', state: 'succeeded', result: { count: 1 } }],
      outcome: { result: { count: 1 } },
    });
  });

  test('I9: an effect that throws is unknown, and is not run again', async () => {
    const operation = await admit(open());
    const lost = operation.run((ctx) =>
      ctx.effect('log', { idempotent: false }, () => Promise.reject(new Error('no answer'))),
    );
    await expect(lost).rejects.toBeInstanceOf(EffectUnknownError);
    expect(await operation.get()).toMatchObject({
      state: 'unknown',
      effects: [{ state: 'unknown' }],
    });
    await expect(operation.run(() => expect.unreachable())).rejects.toBeInstanceOf(
      OperationEndedError,
    );
  });

  test('an effect that says that nothing was done may be tried again', async () => {
    const operation = await admit(open());
    const result = await operation.run(async (ctx) => {
      const refused = ctx.effect('log', {}, () => Promise.reject(new EffectFailedError('busy')));
      await expect(refused).rejects.toThrow('busy');
      return ctx.effect('log', {}, () => 'done');
    });
    expect(result).toBe('done');
  });

  test('that fails is recorded as failed, with why', async () => {
    const operation = await admit(open());
    await expect(operation.run(() => Promise.reject(new RangeError('of no use')))).rejects.toThrow(
      RangeError,
    );
    expect(await operation.get()).toMatchObject({
      state: 'failed',
      reason: 'RangeError: of no use',
    });
  });

  test('does not begin an effect that app and policy see differently, or twice at once', async () => {
    const operation = await admit(open());
    await operation.run(async (ctx) => {
      await expect(ctx.effect('send', { idempotent: false }, () => 1)).rejects.toThrow(
        'make them one',
      );
      const slow = ctx.effect('send', {}, () => new Promise((resolve) => setImmediate(resolve)));
      await expect(ctx.effect('send', {}, () => 1)).rejects.toThrow('under way');
      await slow;
    });
    expect((await operation.get()).effects).toHaveLength(1);
  });
});

describe('the signal of a run', () => {
  async function stopped(request: object, meanwhile: (ctx: RunContext) => Promise<void>) {
    const operation = await admit(open(clock), request);
    return operation
      .run(async (ctx) => {
        await meanwhile(ctx);
        ctx.signal.throwIfAborted();
      })
      .catch((error: unknown) => error);
  }

  test('is aborted when the operation was cancelled', async () => {
    const error = await stopped(NOTIFY, async ({ operation, signal }) => {
      await (await open().operation(operation.operationId)).cancel('not wanted');
      await beats(signal);
    });
    expect(error).toMatchObject({ name: 'RunStoppedError', code: 'operation_settled' });
  });

  test('I6: is aborted when the lease of the attempt is lost', async () => {
    sidecar.authority.hold('orders/3', 5, sidecar.clock.now());
    const error = await stopped(CAPTURE, async ({ fencingToken, signal }) => {
      expect(fencingToken).toEqual({ resource: 'orders/3', epoch: 5 });
      sidecar.authority.held.clear();
      await beats(signal);
    });
    expect(error).toMatchObject({ code: 'lease_lost' });
  });

  test('is aborted at the deadline', async () => {
    const request = { ...NOTIFY, deadlineMs: 9_000 };
    const error = await stopped(request, () => clock.advance(9_000));
    expect(error).toMatchObject({ code: 'deadline_passed' });
  });

  async function beats(signal: AbortSignal): Promise<void> {
    const aborted = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await clock.advance(10_000);
    await aborted;
  }
});

describe('a worker', () => {
  test('that is closed ends what runs and takes nothing new', async () => {
    const holdfast = open();
    const action = 'notifications.drained';
    const begun = Promise.withResolvers<void>();
    const mayEnd = Promise.withResolvers<void>();
    const worker = holdfast.worker({
      actions: [action],
      handler: async () => {
        begun.resolve();
        await mayEnd.promise;
      },
    });
    const first = await admit(holdfast, { ...NOTIFY, action });
    await begun.promise;
    const second = await admit(holdfast, { ...NOTIFY, action });
    const closed = worker.close();
    mayEnd.resolve();
    await closed;
    expect([(await first.get()).state, (await second.get()).state]).toEqual([
      'succeeded',
      'accepted',
    ]);
    await second.cancel();
  });

  test('I9: runs what a claim has taken whose answer was lost, also when it is being closed', async () => {
    const holdfast = open();
    const action = 'notifications.lost';
    const first = await admit(holdfast, { ...NOTIFY, action });
    const second = await admit(holdfast, { ...NOTIFY, action });
    const lost = Promise.withResolvers<void>();
    let claims = 0;
    transport.loses = ({ path }) => {
      if (!path.startsWith('/v1/operations:claim')) return false;
      claims += 1;
      if (claims === 2) lost.resolve();
      return claims <= 2;
    };
    let runs = 0;
    const worker = holdfast.worker({
      actions: [action],
      concurrency: 2,
      handler: () => (runs += 1),
    });
    await lost.promise;
    await worker.close();
    expect([(await first.get()).state, (await second.get()).state, runs]).toEqual([
      'succeeded',
      'succeeded',
      2,
    ]);
  });
});

test('a guarded tool: a refusal, a doubt and a success are told, and none is run twice', async () => {
  let calls = 0;
  const tool = holdfastTool(open(), {
    principal: 'agent:billing',
    action: 'notifications.tool',
    effect: 'log',
    execute: ({ to }: { to: string }) => {
      calls += 1;
      if (to === 'nowhere') throw new Error('no answer');
      return to;
    },
  });
  const scope = 'conversation-1';
  for (const replayed of [false, true])
    expect(await tool({ to: 'a' }, { scope })).toMatchObject({
      status: 'succeeded',
      result: 'a',
      replayed,
    });
  expect(await tool({ to: 'a' }, { scope: 'conversation-2' })).toMatchObject({ replayed: false });
  for (let turn = 0; turn < 2; turn += 1)
    expect(await tool({ to: 'nowhere' }, { scope })).toMatchObject({ status: 'unknown' });
  expect(calls).toBe(3);
  const foreign = holdfastTool(open(), {
    principal: 'agent:billing',
    action: 'nothing.here',
    effect: 'log',
    execute: () => expect.unreachable(),
  });
  expect(await foreign({}, { scope })).toMatchObject({ status: 'refused', code: 'no_rule' });
});
