import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  APP_TOKEN,
  OPERATOR_TOKEN,
  openTestSidecar,
  type TestSidecar,
} from '../fakes/sidecar-app.ts';

const KEY = '/v1/registers/orders%2F7%2Fcheckpoint';
const NEW = { 'if-none-match': '*' };
const at = (version: unknown) => ({ 'if-match': `"${String(version)}"` });
const token = (epoch: number, resource = 'orders/7') => ({
  'holdfast-fencing-token': `${resource}:${epoch}`,
});

let sidecar: TestSidecar;
beforeEach(async () => {
  sidecar = await openTestSidecar();
  await sidecar.journal.submit({ type: 'check_fence', resource: 'orders/7', epoch: 5 });
});
afterEach(() => sidecar.close());

async function call(
  method: 'GET' | 'PUT' | 'DELETE',
  url: string,
  headers: Record<string, string> = {},
  value?: unknown,
) {
  const answer = await sidecar.app.inject({
    method,
    url,
    headers: {
      host: '127.0.0.1:7490',
      'holdfast-request': '1',
      authorization: `Bearer ${APP_TOKEN}`,
      ...headers,
    },
    ...(method === 'PUT' ? { payload: { value } } : {}),
  });
  const body = answer.body === '' ? {} : (JSON.parse(answer.body) as Record<string, unknown>);
  return { status: answer.statusCode, etag: answer.headers['etag'], body };
}

test('made, read, replaced and deleted, each by the version that was read', async () => {
  const made = await call('PUT', KEY, { ...NEW, ...token(5) }, { step: 1 });
  expect(made).toMatchObject({ status: 201, body: { epoch: 5, value: { step: 1 } } });
  const { version } = made.body;
  expect(made.etag).toBe(`"${String(version)}"`);
  expect(await call('GET', KEY)).toMatchObject({ status: 200, etag: made.etag, body: made.body });
  const replaced = await call('PUT', KEY, { ...at(version), ...token(5) }, { step: 2 });
  expect(replaced).toMatchObject({ status: 200, body: { value: { step: 2 } } });
  const { items } = (await call('GET', '/v1/registers')).body as { items: object[] };
  expect(items).toMatchObject([{ key: 'orders/7/checkpoint', valueBytes: 10 }]);
  const deleted = await call('DELETE', KEY, { ...at(replaced.body['version']), ...token(5) });
  expect(deleted.status).toBe(204);
  expect((await call('GET', KEY)).body).toMatchObject({ code: 'register_not_found' });
});

describe('I6: each way to be refused has its own code, and changes nothing', () => {
  test.each([
    ['no precondition', token(5), 428, 'precondition_required'],
    ['no token', NEW, 428, 'fencing_token_required'],
    ['a token that is none', { ...NEW, ...token(0) }, 400, 'invalid_request'],
    ['two preconditions', { ...NEW, ...at(1), ...token(5) }, 400, 'invalid_request'],
    ['a lower token', { ...NEW, ...token(4) }, 412, 'stale_owner'],
    ['a resource nobody knows', { ...NEW, ...token(5, 'orders/8') }, 422, 'resource_unknown'],
    ['one that is there', { ...NEW, ...token(5) }, 412, 'register_changed'],
    ['another version', { ...at(1), ...token(5) }, 412, 'register_changed'],
    ['another resource', { ...NEW, ...token(9, 'orders/9') }, 409, 'register_resource_fixed'],
  ])('%s', async (_, headers: Record<string, string>, status, code) => {
    await sidecar.journal.submit({ type: 'check_fence', resource: 'orders/9', epoch: 9 });
    const before = await call('PUT', KEY, { ...NEW, ...token(5) }, 'first');
    expect(await call('PUT', KEY, headers, 'second')).toMatchObject({ status, body: { code } });
    expect((await call('GET', KEY)).body).toEqual(before.body);
  });

  test('a write under a higher token raises the fence in the same transaction', async () => {
    const made = await call('PUT', KEY, { ...NEW, ...token(8) }, 1);
    expect(made.status).toBe(201);
    expect(sidecar.journal.reader.fence('orders/7')).toBe(8);
    const late = await call('PUT', KEY, { ...at(made.body['version']), ...token(7) }, 2);
    expect(late.body).toMatchObject({ code: 'stale_owner' });
  });
});

test('a value over 64 KiB, and one register more than there may be, are refused', async () => {
  const large = await call('PUT', KEY, { ...NEW, ...token(5) }, 'x'.repeat(64 * 1_024));
  expect(large).toMatchObject({ status: 413, body: { code: 'body_too_large' } });
  for (const name of ['a', 'b', 'c'])
    expect((await call('PUT', `/v1/registers/${name}`, { ...NEW, ...token(5) }, 1)).status).toBe(
      201,
    );
  const more = await call('PUT', '/v1/registers/d', { ...NEW, ...token(5) }, 1);
  expect(more).toMatchObject({ status: 507, body: { code: 'registers_full' } });
});

test('of two writers who have read the same version one succeeds', async () => {
  const { version } = (await call('PUT', KEY, { ...NEW, ...token(5) }, 0)).body;
  const both = await Promise.all(
    [1, 2].map((value) => call('PUT', KEY, { ...at(version), ...token(5) }, value)),
  );
  expect(both.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 412]);
});

test('each app has its own, and each write is an entry of the journal with a hash of the value', async () => {
  await call('PUT', KEY, { ...NEW, ...token(5) }, 'secret');
  const other = { authorization: `Bearer ${OPERATOR_TOKEN}` };
  expect((await call('GET', KEY, other)).status).toBe(404);
  const entry = sidecar.journal.eventsAfter(0, 100).at(-1);
  expect(entry).toMatchObject({ kind: 'register_written', body: { app: 'demo', epoch: 5 } });
  expect(JSON.stringify(entry)).not.toContain('secret');
});
