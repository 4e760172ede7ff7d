import type { InjectOptions, LightMyRequestResponse } from 'fastify';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Outage } from '../../shared/wire/operation.ts';
import {
  APP_TOKEN,
  OPERATOR_TOKEN,
  openTestSidecar,
  type TestSidecar,
} from '../fakes/sidecar-app.ts';

let sidecar: TestSidecar;
beforeEach(async () => {
  sidecar = await openTestSidecar();
});
afterEach(() => sidecar.close());

const HEADERS = {
  host: '127.0.0.1:7490',
  'holdfast-request': '1',
  authorization: `Bearer ${APP_TOKEN}`,
};
const NOTIFY = {
  principal: 'agent:billing',
  action: 'notifications.send',
  attributes: { to: 'a' },
};
const CAPTURE = {
  principal: 'agent:billing',
  action: 'payments.capture',
  resource: { id: 'o-1', attributes: { shard: 3 } },
  attributes: { amount: 20 },
};
const REPORT = { principal: 'agent:billing', action: 'reports.build' };
const OUTAGE: Outage = {
  outageId: 'out_1',
  fromMs: 1,
  toMs: null,
  cause: 'refused',
  detail: 'ECONNREFUSED',
  policyRevision: 1,
  stalenessMs: 10,
};

function call(
  method: InjectOptions['method'],
  url: string,
  options: { body?: unknown; headers?: Record<string, string | undefined>; raw?: string } = {},
): Promise<LightMyRequestResponse> {
  const headers = Object.fromEntries(
    Object.entries({ ...HEADERS, ...options.headers }).filter(([, value]) => value !== undefined),
  ) as Record<string, string>;
  const payload =
    options.raw ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
  return sidecar.app.inject({
    method: method ?? 'GET',
    url,
    headers: payload === undefined ? headers : { 'content-type': 'application/json', ...headers },
    ...(payload === undefined ? {} : { payload }),
  });
}

const admit = (
  body: unknown,
  key: string | undefined,
  headers: Record<string, string> = {},
): Promise<LightMyRequestResponse> =>
  call('POST', '/v1/operations', {
    body,
    headers: { ...(key === undefined ? {} : { 'idempotency-key': key }), ...headers },
  });
const asOperator = { authorization: `Bearer ${OPERATOR_TOKEN}` };

describe('admission', () => {
  test('201 with the whole basis, then 200 with the same record', async () => {
    const first = await admit(NOTIFY, 'k-1');
    expect(first.statusCode).toBe(201);
    expect(first.json()).toMatchObject({
      state: 'accepted',
      policyRevision: 1,
      rule: 'notify',
      basis: 'cached',
      stalenessMs: 1_000,
      leaseEpoch: null,
      app: 'demo',
    });
    expect(first.json()).not.toHaveProperty('deadlineBoot');
    const second = await admit(NOTIFY, '"k-1"');
    expect(second.statusCode).toBe(200);
    expect(second.headers['idempotency-replayed']).toBe('true');
    expect(second.json()).toEqual(first.json());
  });

  test('I2: another payload under the key is 422', async () => {
    await admit(NOTIFY, 'k-1');
    const other = await admit({ ...NOTIFY, attributes: { to: 'b' } }, 'k-1');
    expect(other.statusCode).toBe(422);
    expect(other.json()).toMatchObject({ code: 'idempotency_key_reused', retryable: false });
    expect(other.headers['content-type']).toContain('application/problem+json');
  });

  test('I2: fifty parallel requests with one key admit once', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => admit(NOTIFY, 'same')));
    expect(answers.filter(({ statusCode }) => statusCode === 201)).toHaveLength(1);
    expect(answers.filter(({ statusCode }) => statusCode === 200)).toHaveLength(49);
    expect(
      new Set(answers.map((answer) => answer.json<{ operationId: string }>().operationId)).size,
    ).toBe(1);
  });

  test('I3: a refusal is recorded, names rule and reason, and leaves the key free', async () => {
    sidecar.authority.hold('orders/3', 5, sidecar.clock.now());
    const refused = await admit({ ...CAPTURE, attributes: { amount: 900 } }, 'k-1');
    expect(refused.statusCode).toBe(403);
    expect(refused.json()).toMatchObject({
      code: 'denied',
      detail: 'at most 500',
      rule: 'capture',
      policyRevision: 1,
      basis: 'cached',
    });
    const { items } = (await call('GET', '/v1/refusals', { headers: asOperator })).json<{
      items: unknown[];
    }>();
    expect(items).toMatchObject([
      { refusalId: refused.json<{ refusalId: string }>().refusalId, reason: 'denied' },
    ]);
    expect((await admit(CAPTURE, 'k-1')).statusCode).toBe(201);
  });

  test('I4: without control a fresh operation is refused with control_unreachable, and bounded ones go on', async () => {
    sidecar.authority.outage = OUTAGE;
    const fresh = await admit(
      { principal: 'agent:billing', action: 'payments.refund', attributes: { amount: 5 } },
      'r-1',
    );
    expect(fresh.statusCode).toBe(503);
    expect(fresh.json()).toMatchObject({
      code: 'control_unreachable',
      retryable: true,
      rule: 'refund',
      outageId: 'out_1',
    });
    expect(fresh.headers['retry-after']).toBe('1');
    expect((await admit(NOTIFY, 'n-1')).json()).toMatchObject({
      outageId: 'out_1',
      basis: 'cached',
    });
  });

  test('a missing lease is refused as retryable and asked for', async () => {
    const refused = await admit(CAPTURE, 'k-1');
    expect(refused.json()).toMatchObject({ code: 'lease_absent', retryable: true });
    expect(sidecar.authority.wanted).toEqual(['orders/3']);
  });

  test('an app speaks for its own principals only', async () => {
    expect((await admit({ ...NOTIFY, principal: 'user:root' }, 'k-1')).json()).toMatchObject({
      code: 'principal_not_allowed',
    });
  });
});

describe('bad input gets a code, the place, and the way out', () => {
  const cases: [string, () => Promise<LightMyRequestResponse>, number, string, string][] = [
    [
      'no key',
      () => admit(NOTIFY, undefined),
      400,
      'idempotency_key_missing',
      'header:idempotency-key',
    ],
    [
      'a malformed key',
      () => admit(NOTIFY, 'two words'),
      400,
      'idempotency_key_invalid',
      'header:idempotency-key',
    ],
    [
      'an overlong key',
      () => admit(NOTIFY, 'k'.repeat(201)),
      400,
      'idempotency_key_invalid',
      'header:idempotency-key',
    ],
    [
      'an unknown field',
      () => admit({ ...NOTIFY, amont: 3 }, 'k'),
      400,
      'invalid_request',
      '/amont',
    ],
    [
      'a wrong type',
      () => admit({ ...NOTIFY, deadlineMs: 'soon' }, 'k'),
      400,
      'invalid_request',
      '/deadlineMs',
    ],
    [
      'a missing field',
      () => admit({ principal: 'agent:billing' }, 'k'),
      400,
      'invalid_request',
      '/action',
    ],
    [
      'an unknown state',
      () => call('GET', '/v1/operations?state=done'),
      400,
      'invalid_request',
      'query:state',
    ],
    [
      'a foreign cursor',
      () => call('GET', '/v1/operations?cursor=abc'),
      400,
      'invalid_request',
      'query:cursor',
    ],
  ];
  test.each(cases)('%s', async (_title, request, status, code, path) => {
    const answer = await request();
    expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([status, code]);
    expect(
      answer.json<{ errors: { path: string }[] }>().errors.map((error) => error.path),
    ).toContain(path);
  });

  test('bodies that are no JSON, not JSON by type, or too large', async () => {
    const headers = { 'idempotency-key': 'k' };
    expect(
      (await call('POST', '/v1/operations', { raw: '{"principal":', headers })).json(),
    ).toMatchObject({ code: 'invalid_json', status: 400 });
    expect(
      (await call('POST', '/v1/operations', { raw: '{"__proto__":{"a":1}}', headers })).json(),
    ).toMatchObject({ status: 400 });
    for (const type of [
      'text/plain',
      'application/json\t x',
      'application/jsonx',
      'application/x-www-form-urlencoded',
    ]) {
      expect(
        (
          await call('POST', '/v1/operations', {
            raw: JSON.stringify(NOTIFY),
            headers: { ...headers, 'content-type': type },
          })
        ).statusCode,
        type,
      ).toBe(415);
    }
    const large = await call('POST', '/v1/operations', {
      body: { ...NOTIFY, attributes: { text: 'x'.repeat(70_000) } },
      headers,
    });
    expect(large.json()).toMatchObject({ code: 'body_too_large', status: 413 });
  });

  test('unknown operations, paths and methods', async () => {
    expect((await call('GET', '/v1/operations/op_nope')).json()).toMatchObject({
      code: 'operation_not_found',
      status: 404,
    });
    expect((await call('GET', '/v1/nothing')).json()).toMatchObject({
      code: 'not_found',
      status: 404,
    });
    expect((await call('DELETE', '/v1/operations')).json()).toMatchObject({
      code: 'method_not_allowed',
      status: 405,
      detail: expect.stringContaining('GET, POST'),
    });
  });
});

describe('only programs of this host come in', () => {
  const refusals: [string, Record<string, string | undefined>, string][] = [
    ['a foreign Host', { host: 'evil.example' }, 'foreign_host'],
    ['a name that resolves here', { host: '127.0.0.1.nip.io:7490' }, 'foreign_host'],
    ['the unspecified address', { host: '0.0.0.0:7490' }, 'foreign_host'],
    ['an Origin', { origin: 'null' }, 'browser_request'],
    ['a browser fetch', { 'sec-fetch-site': 'cross-site' }, 'browser_request'],
    ['a forwarded request', { 'x-forwarded-for': '10.0.0.1' }, 'forwarded_request'],
    ['a proxied request', { via: '1.1 proxy' }, 'forwarded_request'],
    ['no request header', { 'holdfast-request': undefined }, 'request_header_missing'],
    ['no token', { authorization: undefined }, 'unauthenticated'],
    ['a wrong token', { authorization: 'Bearer nobody-knows-this' }, 'unauthenticated'],
  ];
  test.each(refusals)('%s is refused before the body is read', async (_title, headers, code) => {
    const answer = await call('POST', '/v1/operations', {
      raw: '{ not json',
      headers: { 'idempotency-key': 'k', ...headers },
    });
    expect(answer.json()).toMatchObject({ code });
    expect(sidecar.rejected).toEqual([code]);
  });

  test('probes and scrapes need no credentials, but the same Host', async () => {
    const bare = { 'holdfast-request': undefined, authorization: undefined };
    expect((await call('GET', '/readyz', { headers: bare })).statusCode).toBe(200);
    expect((await call('GET', '/readyz?verbose', { headers: bare })).json()).toMatchObject({
      checks: [{ name: 'policy' }],
    });
    expect(
      (await call('GET', '/metrics', { headers: { ...bare, host: 'evil.example' } })).statusCode,
    ).toBe(403);
  });

  test('apps see their own operations, operators see all', async () => {
    const { operationId } = (await admit({ ...NOTIFY }, 'k-1', asOperator)).json<{
      operationId: string;
    }>();
    expect((await call('GET', `/v1/operations/${operationId}`)).statusCode).toBe(404);
    expect(
      (await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} })).statusCode,
    ).toBe(404);
    expect(
      (await call('GET', `/v1/operations/${operationId}`, { headers: asOperator })).statusCode,
    ).toBe(200);
    expect((await call('GET', '/v1/recovery')).json()).toMatchObject({ code: 'forbidden' });
  });
});

describe('execution', () => {
  const begin = (
    id: string,
    attempt: number,
    effect: string,
    headers: Record<string, string> = {},
  ): Promise<LightMyRequestResponse> =>
    call('POST', `/v1/operations/${id}/attempts/${attempt}/effects/${effect}`, { headers });
  const settle = (
    id: string,
    attempt: number,
    effect: string,
    body: unknown,
  ): Promise<LightMyRequestResponse> =>
    call('PUT', `/v1/operations/${id}/attempts/${attempt}/effects/${effect}`, { body });
  const outcome = (id: string, attempt: number, body: unknown): Promise<LightMyRequestResponse> =>
    call('PUT', `/v1/operations/${id}/attempts/${attempt}/outcome`, { body });

  test('attempt, effect with its fencing token, checkpoint, outcome, explanation', async () => {
    sidecar.authority.hold('orders/3', 5, sidecar.clock.now());
    const { operationId } = (await admit(CAPTURE, 'k-1')).json<{ operationId: string }>();
    const attempt = await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} });
    expect(attempt.statusCode).toBe(201);
    expect(attempt.json()).toMatchObject({ attempt: 1, leaseResource: 'orders/3', leaseEpoch: 5 });
    const begun = await begin(operationId, 1, 'charge');
    expect([begun.statusCode, begun.json()]).toMatchObject([
      201,
      {
        replayed: false,
        leaseEpoch: 5,
        idempotencyKey: `${operationId}.charge`,
        effect: { state: 'begun' },
      },
    ]);
    expect(
      (await settle(operationId, 1, 'charge', { outcome: 'succeeded', result: { receipt: 'r-1' } }))
        .statusCode,
    ).toBe(200);
    const again = await begin(operationId, 1, 'charge');
    expect([again.statusCode, again.json()]).toMatchObject([
      200,
      { replayed: true, effect: { result: { receipt: 'r-1' } } },
    ]);
    const beat = await call('POST', `/v1/operations/${operationId}/attempts/1/heartbeat`, {
      body: { checkpoint: { page: 3 } },
    });
    expect(beat.json()).toMatchObject({ attempt: 1 });
    const done = await outcome(operationId, 1, { outcome: 'succeeded', result: 'ok' });
    expect(done.json()).toMatchObject({
      state: 'succeeded',
      checkpoint: { page: 3 },
      outcome: { provenance: 'asserted', result: 'ok' },
    });
    expect((await outcome(operationId, 1, { outcome: 'succeeded', result: 'ok' })).statusCode).toBe(
      200,
    );
    expect((await outcome(operationId, 1, { outcome: 'failed' })).json()).toMatchObject({
      code: 'operation_settled',
    });
    const { summary, events } = (
      await call('GET', `/v1/operations/${operationId}/explanation`)
    ).json<{ summary: string[]; events: { kind: string }[] }>();
    expect(events.map(({ kind }) => kind)).toEqual([
      'admitted',
      'attempt_started',
      'effect_begun',
      'effect_settled',
      'checkpoint_saved',
      'succeeded',
    ]);
    expect(summary.join(' ')).toContain('with fencing token 5');
  });

  test('I6: an epoch below the highest seen is refused at the next step, and at the fence', async () => {
    sidecar.authority.hold('orders/3', 5, sidecar.clock.now());
    const { operationId } = (await admit(CAPTURE, 'k-1')).json<{ operationId: string }>();
    expect(
      (await call('POST', '/v1/fences/orders%2F3:check', { body: { epoch: 8 } })).json(),
    ).toEqual({ resource: 'orders/3', highestEpoch: 8, accepted: true });
    expect(
      (await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} })).json(),
    ).toMatchObject({ code: 'stale_owner', status: 412 });
    expect(
      (await call('POST', '/v1/fences/orders%2F3:check', { body: { epoch: 7 } })).json(),
    ).toMatchObject({ code: 'stale_owner', leaseEpoch: 8 });
    expect((await call('POST', '/v1/fences/orders%2F3:check', { body: {} })).json()).toMatchObject({
      code: 'precondition_required',
      status: 428,
    });
  });

  test('a lease lost while executing is told at the next effect, with its own reason', async () => {
    sidecar.authority.hold('orders/3', 5, sidecar.clock.now());
    const { operationId } = (await admit(CAPTURE, 'k-1')).json<{ operationId: string }>();
    await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} });
    sidecar.authority.held.clear();
    expect((await begin(operationId, 1, 'charge')).json()).toMatchObject({
      code: 'lease_lost',
      status: 409,
    });
    expect(
      (await outcome(operationId, 1, { outcome: 'failed', reason: 'lease lost' })).json(),
    ).toMatchObject({ state: 'failed' });
  });

  test('an undeclared effect, a result never begun, an attempt never started', async () => {
    const { operationId } = (await admit(NOTIFY, 'k-1')).json<{ operationId: string }>();
    expect((await begin(operationId, 1, 'send')).json()).toMatchObject({
      code: 'attempt_not_found',
    });
    await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} });
    expect((await begin(operationId, 1, 'charge')).json()).toMatchObject({
      code: 'effect_undeclared',
      status: 422,
    });
    expect((await settle(operationId, 1, 'send', { outcome: 'succeeded' })).json()).toMatchObject({
      code: 'effect_not_found',
    });
  });

  test('control lost: paused work says so, and comes back', async () => {
    const { operationId } = (await admit(REPORT, 'k-1')).json<{ operationId: string }>();
    sidecar.authority.outOfReach = 999;
    await sidecar.custodian.round();
    expect((await call('GET', `/v1/operations/${operationId}`)).json()).toMatchObject({
      state: 'accepted',
    });
    sidecar.authority.outOfReach = 1_000;
    await sidecar.custodian.round();
    expect(
      (await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} })).json(),
    ).toMatchObject({ code: 'operation_paused', retryable: true });
    sidecar.authority.outOfReach = null;
    await sidecar.custodian.round();
    expect(
      (await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} })).statusCode,
    ).toBe(201);
  });
});

describe('the recovery view', () => {
  test('I8, I12: four lists and a verdict that follow one outage from its start to its end', async () => {
    const view = async (): Promise<Record<string, any>> =>
      (await call('GET', '/v1/recovery', { headers: asOperator })).json();
    expect(await view()).toMatchObject({ verdict: 'no_outage', outage: null });
    await admit(NOTIFY, 'before');
    const paused = (await admit(REPORT, 'paused')).json<{ operationId: string }>();
    sidecar.authority.outage = OUTAGE;
    await sidecar.journal.recordOutage('outage_opened', OUTAGE);
    sidecar.authority.outOfReach = 60_000;
    await sidecar.custodian.round();
    const during = (await admit(NOTIFY, 'during')).json<{ operationId: string }>();
    await admit(
      { principal: 'agent:billing', action: 'payments.refund', attributes: { amount: 5 } },
      'fresh',
    );
    await call('POST', `/v1/operations/${during.operationId}/attempts`, { body: {} });
    await call('PUT', `/v1/operations/${during.operationId}/attempts/1/outcome`, {
      body: { outcome: 'unknown', reason: 'target did not answer' },
    });
    expect(await view()).toMatchObject({
      verdict: 'open',
      tally: {
        acceptedBefore: 2,
        admittedDuring: 1,
        refusedDuring: 1,
        refusedByReason: { control_unreachable: 1 },
        stoppedDuring: 1,
        needsReconciliation: 1,
      },
      stopped: { count: 1, items: [{ operationId: paused.operationId, reason: 'control_lost' }] },
      needsReconciliation: {
        items: [{ operationId: during.operationId, reason: 'target did not answer' }],
      },
    });
    const closed = { ...OUTAGE, toMs: 50_000 };
    await sidecar.journal.recordOutage('outage_closed', closed);
    sidecar.authority.outage = null;
    sidecar.authority.outOfReach = null;
    expect(await view()).toMatchObject({
      verdict: 'needs_reconciliation',
      outage: { toMs: 50_000 },
    });
    await call('POST', `/v1/operations/${during.operationId}/resolve`, {
      body: { outcome: 'failed', provenance: 'verified', reason: 'the target has no entry' },
      headers: asOperator,
    });
    await call('POST', `/v1/operations/${paused.operationId}/cancel`, { body: {} });
    expect(await view()).toMatchObject({ verdict: 'settling' });
    await sidecar.journal.acknowledge(sidecar.journal.head().seq);
    expect(await view()).toMatchObject({ verdict: 'settled', continued: { count: 1 } });
  });
});

test('the API describes itself as OpenAPI 3.1, with every route', async () => {
  const document = (await call('GET', '/openapi.json')).json<{
    openapi: string;
    paths: Record<string, unknown>;
    components: { schemas: Record<string, unknown> };
  }>();
  expect(document.openapi).toBe('3.1.0');
  expect(Object.keys(document.paths)).toEqual(
    expect.arrayContaining([
      '/v1/operations',
      '/v1/operations/{id}/attempts',
      '/v1/fences/{resource}:check',
      '/v1/recovery',
    ]),
  );
  expect(Object.keys(document.components.schemas)).toEqual(
    expect.arrayContaining(['Operation', 'Problem', 'Recovery']),
  );
});
