/** The descriptions of both APIs are what clients are made from: what is answered is what they say. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlWorld } from '../fakes/control-world.ts';
import { OPERATOR_TOKEN, openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { Description, type OpenApi } from '../fuzz/api/description.ts';

const BATCH = JSON.stringify({
  idempotencyKey: 'a',
  operation: { principal: 'agent:billing', action: 'notifications.send' },
});

describe('the sidecar', () => {
  let sidecar: TestSidecar;
  let description: Description;
  beforeEach(async () => {
    sidecar = await openTestSidecar();
    description = new Description(sidecar.app.swagger() as unknown as OpenApi);
  });
  afterEach(() => sidecar.close());

  test.each([
    ['GET', '/v1/recovery', { accept: 'application/x-ndjson' }, undefined, 200],
    ['GET', '/v1/recovery', {}, undefined, 200],
    ['GET', '/v1/recovery:export', {}, undefined, 200],
    ['GET', '/metrics', {}, undefined, 200],
    ['POST', '/v1/operations:batch', { 'content-type': 'application/x-ndjson' }, BATCH, 200],
    ['POST', '/v1/operations:batch', { 'content-type': 'application/json' }, `[${BATCH}]`, 200],
    ['POST', '/v1/operations', { 'content-type': 'text/plain' }, 'a', 415],
    [
      'POST',
      '/v1/fences/orders:check',
      { 'content-type': 'application/json' },
      `"${'x'.repeat(70_000)}"`,
      413,
    ],
    ['GET', '/livez?verbose=1&other=2', {}, undefined, 400],
  ] as const)(
    '%s %s with %j is answered as it is described',
    async (method, url, headers, payload, status) => {
      const answer = await sidecar.app.inject({
        method,
        url,
        headers: {
          host: '127.0.0.1',
          'holdfast-request': '1',
          authorization: `Bearer ${OPERATOR_TOKEN}`,
          ...headers,
        },
        ...(payload === undefined ? {} : { payload }),
      });
      expect(answer.statusCode).toBe(status);
      const type = String(answer.headers['content-type']);
      const path = url.split('?')[0] ?? '';
      expect(description.fit({ method, path }, { status, type, body: answer.body })).toEqual({
        kind: 'fits',
      });
    },
  );

  test('what does not fit the description is seen', () => {
    const asked = { method: 'GET', path: '/v1/status' };
    const answered = { status: 200, type: 'application/json', body: '{"hostId":7}' };
    expect(description.fit(asked, answered).kind).toBe('misfit');
    expect(description.fit(asked, { ...answered, status: 299 }).kind).toBe('undescribed');
    expect(description.fit({ ...asked, path: '/v1/nothing' }, answered).kind).toBe('no route');
  });
});

test('control: its public keys are as they are described', async () => {
  const world = await ControlWorld.create();
  try {
    const { json } = await world.call('GET', '/openapi.json', { token: null });
    const description = new Description(json as unknown as OpenApi);
    const path = '/.well-known/jwks.json';
    const { status, headers, text } = await world.call('GET', path, { token: null });
    const answered = { status, type: headers.get('content-type') ?? '', body: text };
    expect(description.fit({ method: 'GET', path }, answered)).toEqual({ kind: 'fits' });
  } finally {
    await world.dispose();
  }
});
