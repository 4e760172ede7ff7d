import type { LightMyRequestResponse } from 'fastify';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { CAPTURE, NOTIFY, OUTAGE, asOperator, callerOf } from '../fakes/sidecar-caller.ts';

let sidecar: TestSidecar;
beforeEach(async () => {
  sidecar = await openTestSidecar();
});
afterEach(() => sidecar.close());
const { call, admit } = callerOf(() => sidecar);

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
    const deep = `{"principal":"agent:billing","action":"notifications.send","attributes":{"a":${'['.repeat(30_000)}${']'.repeat(30_000)}}}`;
    expect((await call('POST', '/v1/operations', { raw: deep, headers })).json()).toMatchObject({
      code: 'invalid_json',
      detail: expect.stringContaining('nested deeper'),
    });
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
    const misused: ['DELETE' | 'GET', string, string][] = [
      ['DELETE', '/v1/operations', 'GET, POST'],
      ['DELETE', '/v1/operations/op_1', 'GET'],
      ['GET', '/v1/operations/op_1/attempts/1/outcome', 'PUT'],
      ['GET', '/v1/fences/orders%2F7:check', 'POST'],
    ];
    for (const [method, url, allowed] of misused) {
      const answer = await call(method, url);
      expect(answer.json()).toMatchObject({ code: 'method_not_allowed', status: 405 });
      expect(answer.headers['allow']).toBe(allowed);
    }
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
