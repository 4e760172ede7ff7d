import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import {
  openSidecar,
  ProblemError,
  SidecarClient,
  UnreachableError,
  type Transport,
  type TransportRequest,
  type TransportResponse,
} from '../../../shared/client/index.ts';
import { FakeClock } from '../../fakes/fake-clock.ts';
import { openStandIn, problem, type Answer, type StandIn } from '../../fakes/http-stand-in.ts';

const REQUEST = { principal: 'agent:notify', action: 'notifications.send' };
const OPERATION = { operationId: 'op_1', state: 'accepted' };

let standIn: StandIn | undefined;
let client: SidecarClient | undefined;

afterEach(async () => {
  await client?.close();
  await standIn?.close();
  client = undefined;
  standIn = undefined;
});

async function clientFor(answer: Answer, timeoutMs = 5_000): Promise<SidecarClient> {
  standIn = await openStandIn(() => answer);
  client = openSidecar({ endpoint: standIn.url, token: 'secret', timeoutMs });
  return client;
}

/** Gives the scripted answers one after the other, the last one for ever. */
class ScriptedTransport implements Transport {
  readonly sent: TransportRequest[] = [];
  readonly #answers: (TransportResponse | Error)[];

  constructor(answers: (TransportResponse | Error)[]) {
    this.#answers = answers;
  }

  send(request: TransportRequest): Promise<TransportResponse> {
    this.sent.push(request);
    const answer = this.#answers.length > 1 ? this.#answers.shift() : this.#answers[0];
    if (answer === undefined || answer instanceof Error)
      return Promise.reject(answer ?? new Error('no script'));
    return Promise.resolve(answer);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

const SILENCE = new UnreachableError('timeout', 'no answer');
const ACCEPTED: TransportResponse = { status: 201, headers: {}, body: JSON.stringify(OPERATION) };
const BUSY: TransportResponse = {
  status: 503,
  headers: { 'content-type': 'application/problem+json' },
  body: JSON.stringify({
    code: 'journal_busy',
    status: 503,
    detail: 'busy',
    retryable: true,
    retry_after_ms: 700,
  }),
};
const DENIED: TransportResponse = {
  status: 403,
  headers: { 'content-type': 'application/problem+json' },
  body: JSON.stringify({ code: 'denied', status: 403, detail: 'no', retryable: false }),
};

function scripted(answers: (TransportResponse | Error)[]): {
  transport: ScriptedTransport;
  clock: FakeClock;
  client: SidecarClient;
} {
  const transport = new ScriptedTransport(answers);
  const clock = new FakeClock();
  const random = { unit: () => 0.5, bytes: (size: number) => new Uint8Array(size) };
  return {
    transport,
    clock,
    client: new SidecarClient({ transport, clock, random, token: () => null, timeoutMs: 1_000 }),
  };
}

describe('admitting', () => {
  test('sends the key, the token and the header that browsers cannot send', async () => {
    const sidecar = await clientFor({ status: 201, body: OPERATION });

    const admitted = await sidecar.admit(REQUEST, { idempotencyKey: 'order-17' });

    expect(admitted).toEqual({ operation: OPERATION, replayed: false });
    expect(standIn?.asked[0]).toMatchObject({
      method: 'POST',
      path: '/v1/operations',
      headers: {
        'idempotency-key': 'order-17',
        authorization: 'Bearer secret',
        'holdfast-request': '1',
        'content-type': 'application/json',
      },
      body: JSON.stringify(REQUEST),
    });
  });

  test('says when the key was known before', async () => {
    const sidecar = await clientFor({
      status: 200,
      body: OPERATION,
      headers: { 'idempotency-replayed': 'true' },
    });

    expect((await sidecar.admit(REQUEST, { idempotencyKey: 'order-17' })).replayed).toBe(true);
  });

  test('puts the question once where no bound for retries is given', async () => {
    const { client: sidecar, transport } = scripted([SILENCE]);

    await expect(sidecar.admit(REQUEST, { idempotencyKey: 'k' })).rejects.toBe(SILENCE);
    expect(transport.sent).toHaveLength(1);
  });

  test('asks again with the same key and payload after silence and after a retryable problem', async () => {
    const { client: sidecar, transport, clock } = scripted([SILENCE, BUSY, ACCEPTED]);

    const admitted = sidecar.admit(REQUEST, { idempotencyKey: 'order-17', retryForMs: 60_000 });
    await clock.whenWaiting();
    await clock.advance(60_000);

    expect((await admitted).operation).toEqual(OPERATION);
    expect(transport.sent.map(({ headers }) => headers?.['idempotency-key'])).toEqual([
      'order-17',
      'order-17',
      'order-17',
    ]);
    expect(new Set(transport.sent.map(({ body }) => body)).size).toBe(1);
  });

  test('waits at least as long as the sidecar asks for', async () => {
    const { client: sidecar, transport, clock } = scripted([BUSY, ACCEPTED]);

    const admitted = sidecar.admit(REQUEST, { idempotencyKey: 'k', retryForMs: 60_000 });
    await clock.whenWaiting();
    await clock.advance(699);
    expect(transport.sent).toHaveLength(1);
    await clock.advance(1);

    await admitted;
    expect(transport.sent).toHaveLength(2);
  });

  test('gives up within the bound, with the last error', async () => {
    const { client: sidecar, transport, clock } = scripted([BUSY]);

    const failure = sidecar
      .admit(REQUEST, { idempotencyKey: 'k', retryForMs: 2_000 })
      .catch((error: unknown) => error);
    await clock.whenWaiting();
    await clock.advance(10_000);

    expect(await failure).toMatchObject({ code: 'journal_busy', retryAfterMs: 700 });
    expect(transport.sent).toHaveLength(3);
    expect(clock.pendingTimers).toBe(0);
  });

  test('does not ask again after an answer that will not change', async () => {
    const { client: sidecar, transport } = scripted([DENIED]);

    await expect(
      sidecar.admit(REQUEST, { idempotencyKey: 'k', retryForMs: 60_000 }),
    ).rejects.toMatchObject({ code: 'denied' });
    expect(transport.sent).toHaveLength(1);
  });

  test('stops waiting when the caller gives up', async () => {
    const { client: sidecar, transport, clock } = scripted([SILENCE]);
    const giveUp = new AbortController();

    const failure = sidecar
      .admit(REQUEST, {
        idempotencyKey: 'k',
        retryForMs: 60_000,
        signal: giveUp.signal,
      })
      .catch((error: unknown) => error);
    await clock.whenWaiting();
    giveUp.abort();

    expect(await failure).toBe(SILENCE);
    expect(transport.sent).toHaveLength(1);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('answers and silence', () => {
  test('a problem document becomes a ProblemError with its code', async () => {
    const sidecar = await clientFor(
      problem('attempt_in_progress', { retry_after_ms: 250, operationId: 'op_1' }),
    );

    const error = await sidecar.startAttempt('op_1').catch((thrown: unknown) => thrown);

    expect(error).toBeInstanceOf(ProblemError);
    expect(error).toMatchObject({
      code: 'attempt_in_progress',
      status: 409,
      retryable: true,
      retryAfterMs: 250,
    });
    expect((error as ProblemError).problem.operationId).toBe('op_1');
  });

  test('Retry-After counts where the problem itself does not say', async () => {
    const answer = problem('journal_busy');
    if (typeof answer === 'string') throw new Error('a problem is an answer');
    const sidecar = await clientFor({
      ...answer,
      headers: { ...answer.headers, 'retry-after': '3' },
    });

    await expect(sidecar.status()).rejects.toMatchObject({ retryAfterMs: 3_000 });
  });

  const strangers: [string, Answer, string][] = [
    [
      'a page of a proxy',
      { status: 502, body: '<html>', headers: { 'content-type': 'text/html' } },
      'server_error',
    ],
    [
      'a page of another program',
      { status: 404, body: '<html>', headers: { 'content-type': 'text/html' } },
      'bad_answer',
    ],
    [
      'success that is not JSON',
      { status: 200, body: '<html>', headers: { 'content-type': 'text/html' } },
      'bad_answer',
    ],
    [
      'a problem cut short',
      { status: 503, body: '{"code":', headers: { 'content-type': 'application/problem+json' } },
      'server_error',
    ],
    ['a broken connection', 'reset', 'reset'],
    ['silence', 'silence', 'half_open'],
  ];
  test.each(strangers)('%s is no answer of the sidecar', async (_title, answer, kind) => {
    const sidecar = await clientFor(answer, 300);

    await expect(sidecar.status()).rejects.toMatchObject({ name: 'UnreachableError', kind });
  });

  test('nobody listening is silence too', async () => {
    const sidecar = await clientFor({ status: 200 });
    await standIn?.close();

    await expect(sidecar.status()).rejects.toMatchObject({
      name: 'UnreachableError',
      kind: 'refused',
    });
  });
});

describe('paths', () => {
  const calls: [string, (sidecar: SidecarClient) => Promise<unknown>, string][] = [
    ['operation', (s) => s.operation('op_1'), 'GET /v1/operations/op_1'],
    [
      'operations',
      (s) => s.operations({ state: 'unknown', limit: 5, cursor: 'a b' }),
      'GET /v1/operations?state=unknown&limit=5&cursor=a+b',
    ],
    ['explain', (s) => s.explain('op_1'), 'GET /v1/operations/op_1/explanation'],
    [
      'startAttempt',
      (s) => s.startAttempt('op_1', { supersede: true }),
      'POST /v1/operations/op_1/attempts {"supersede":true}',
    ],
    [
      'heartbeat',
      (s) => s.heartbeat({ operationId: 'op_1', attempt: 2 }, { checkpoint: 7 }),
      'POST /v1/operations/op_1/attempts/2/heartbeat {"checkpoint":7}',
    ],
    [
      'beginEffect',
      (s) => s.beginEffect({ operationId: 'op_1', attempt: 2, effect: 'charge' }),
      'POST /v1/operations/op_1/attempts/2/effects/charge',
    ],
    [
      'settleEffect',
      (s) =>
        s.settleEffect(
          { operationId: 'op_1', attempt: 2, effect: 'charge' },
          { outcome: 'unknown' },
        ),
      'PUT /v1/operations/op_1/attempts/2/effects/charge {"outcome":"unknown"}',
    ],
    [
      'reportOutcome',
      (s) =>
        s.reportOutcome(
          { operationId: 'op_1', attempt: 2 },
          { outcome: 'succeeded', result: { id: 1 } },
        ),
      'PUT /v1/operations/op_1/attempts/2/outcome {"outcome":"succeeded","result":{"id":1}}',
    ],
    [
      'cancel',
      (s) => s.cancel('op_1', { reason: 'no' }),
      'POST /v1/operations/op_1/cancel {"reason":"no"}',
    ],
    [
      'resolve',
      (s) => s.resolve('op_1', { outcome: 'failed', provenance: 'verified', reason: 'asked' }),
      'POST /v1/operations/op_1/resolve {"outcome":"failed","provenance":"verified","reason":"asked"}',
    ],
    ['leases', (s) => s.leases(), 'GET /v1/leases'],
    [
      'acquireLease',
      (s) => s.acquireLease('orders/7', { waitMs: 250 }),
      'POST /v1/leases/orders%2F7:acquire?wait=250ms',
    ],
    ['releaseLease', (s) => s.releaseLease('orders/7'), 'POST /v1/leases/orders%2F7:release'],
    [
      'checkFence',
      (s) => s.checkFence('orders/7', 3),
      'POST /v1/fences/orders%2F7:check {"epoch":3}',
    ],
    ['recovery', (s) => s.recovery({ outageId: 'out_1' }), 'GET /v1/recovery?outage=out_1'],
    ['the last recovery', (s) => s.recovery(), 'GET /v1/recovery'],
    ['outages', (s) => s.outages(), 'GET /v1/outages'],
    ['outageBudget', (s) => s.outageBudget(), 'GET /v1/outage-budget'],
    ['refusals', (s) => s.refusals({ limit: 3 }), 'GET /v1/refusals?limit=3'],
    ['status', (s) => s.status(), 'GET /v1/status'],
    ['health', (s) => s.health(), 'GET /v1/health'],
  ];
  test.each(calls)('%s', async (_name, call, expected) => {
    const sidecar = await clientFor({ status: 200, body: { items: [] } });

    await call(sidecar);

    const { method, path, body } = standIn!.asked[0]!;
    expect([method, path, body].filter((part) => part !== '').join(' ')).toBe(expected);
  });
});

test('talks over a Unix socket', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-'));
  try {
    standIn = await openStandIn(() => ({ status: 200, body: { hostName: 'h' } }), {
      socketPath: join(directory, 's.sock'),
    });
    client = openSidecar({ endpoint: standIn.url, token: () => 'rotated' });

    expect(await client.status()).toEqual({ hostName: 'h' });
    expect(standIn.asked[0]?.headers.authorization).toBe('Bearer rotated');
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('refuses an address that is none', () => {
  expect(() => openSidecar({ endpoint: 'localhost:7490', token: 't' })).toThrow(
    /http:\/\/host:port or unix:\/path/,
  );
});
