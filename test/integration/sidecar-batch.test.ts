import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BATCH_ITEMS_MAX, type BatchVerdict } from '../../shared/wire/sidecar-api.ts';
import { openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { CAPTURE, NOTIFY, callerOf } from '../fakes/sidecar-caller.ts';

let sidecar: TestSidecar;
beforeEach(async () => {
  sidecar = await openTestSidecar();
});
afterEach(() => sidecar.close());
const { call, admit } = callerOf(() => sidecar);

const PATH = '/v1/operations:batch';
const item = (idempotencyKey: string, over: Record<string, unknown> = {}) => ({
  idempotencyKey,
  ...NOTIFY,
  ...over,
});

async function verdictsOf(items: readonly unknown[]): Promise<readonly BatchVerdict[]> {
  const answer = await call('POST', PATH, { body: items });
  expect(answer.statusCode).toBe(200);
  return answer.json<{ items: BatchVerdict[] }>().items;
}

function ndjson(lines: readonly string[]) {
  const headers = { 'content-type': 'application/x-ndjson' };
  return call('POST', PATH, { headers, raw: `${lines.join('\n')}\n` });
}

describe('a batch of admissions', () => {
  test('I1, I3: each accepted item is a record with its whole basis, in the order of the batch', async () => {
    const verdicts = await verdictsOf(Array.from({ length: 300 }, (_, at) => item(`k-${at}`)));
    expect(verdicts.map(({ index }) => index)).toEqual(verdicts.map((_, at) => at));
    expect(new Set(verdicts.map(({ status }) => status))).toEqual(new Set([201]));
    expect(verdicts[7]).toMatchObject({
      idempotencyKey: 'k-7',
      replayed: false,
      state: 'accepted',
      rule: 'notify',
      basis: 'cached',
      policyRevision: 1,
    });
    const single = await admit(NOTIFY, 'k-7');
    expect(single.statusCode).toBe(200);
    expect(single.json()).toMatchObject({ operationId: verdicts[7]?.operationId });
  });

  test('I2: the batch again replays it, and a key that it has twice is admitted once', async () => {
    const items = [item('a'), item('b'), item('a'), item('b', { attributes: { to: 'other' } })];
    const first = await verdictsOf(items);
    expect(first.map(({ status }) => status)).toEqual([201, 201, 200, 422]);
    expect(first[2]?.operationId).toBe(first[0]?.operationId);
    expect(first[3]).toMatchObject({
      operationId: first[1]?.operationId,
      problem: { code: 'idempotency_key_reused' },
    });
    const again = await verdictsOf(items);
    expect(again.map(({ status }) => status)).toEqual([200, 200, 200, 422]);
    expect(again.map(({ operationId }) => operationId)).toEqual(
      first.map(({ operationId }) => operationId),
    );
  });

  test('what is wrong with one item is its own verdict, with its place and code', async () => {
    const verdicts = await verdictsOf([
      item('good'),
      'no object',
      { ...NOTIFY },
      item('with space'),
      item('unknown', { colour: 'red' }),
      item('large', { attributes: { text: 'x'.repeat(65 * 1024) } }),
      { idempotencyKey: 'refused', ...CAPTURE, attributes: { amount: 900 } },
      item('foreign', { principal: 'agent:somebody-else' }),
    ]);
    expect(verdicts.map(({ status, problem }) => [status, problem?.code])).toEqual([
      [201, undefined],
      [400, 'invalid_request'],
      [400, 'invalid_request'],
      [400, 'invalid_request'],
      [400, 'invalid_request'],
      [413, 'body_too_large'],
      [403, expect.any(String)],
      [403, expect.any(String)],
    ]);
    expect(verdicts[3]?.problem?.errors?.[0]?.path).toBe('/idempotencyKey');
    expect(verdicts[6]).toMatchObject({ idempotencyKey: 'refused', operationId: null });
  });

  test('NDJSON: a line that is no JSON costs only itself, and the answer is lines', async () => {
    const answer = await ndjson([
      JSON.stringify(item('a')),
      '{"idempotencyKey": "b",',
      '{"__proto__": {"x": 1}}',
      '',
      `{"x": ${'['.repeat(100)}${']'.repeat(100)}}`,
      JSON.stringify(item('large', { attributes: { text: 'x'.repeat(65 * 1024) } })),
      JSON.stringify(item('c')),
    ]);
    expect(answer.statusCode).toBe(200);
    expect(answer.headers['content-type']).toContain('application/x-ndjson');
    const verdicts = answer.body
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as BatchVerdict);
    expect(verdicts.map(({ status, problem }) => [status, problem?.code])).toEqual([
      [201, undefined],
      [400, 'invalid_json'],
      [400, 'invalid_json'],
      [400, 'invalid_json'],
      [413, 'body_too_large'],
      [201, undefined],
    ]);
  });

  test('none, too many, and what is no list are refused whole', async () => {
    const many = Array.from({ length: BATCH_ITEMS_MAX + 1 }, (_, at) => item(`k-${at}`));
    for (const body of [[], many, { items: [] }])
      expect((await call('POST', PATH, { body })).json()).toMatchObject({
        code: 'invalid_request',
      });
    expect((await ndjson(many.map((one) => JSON.stringify(one)))).json()).toMatchObject({
      code: 'invalid_request',
      detail: expect.stringContaining('1001') as string,
    });
    expect(sidecar.journal.operationCounts()).toEqual({});
    const largest = await verdictsOf(many.slice(1));
    expect(new Set(largest.map(({ status }) => status))).toEqual(new Set([201]));
  });

  test('one admission by itself is sent as JSON only', async () => {
    const headers = { 'content-type': 'application/x-ndjson', 'idempotency-key': 'k' };
    const answer = await call('POST', '/v1/operations', { headers, raw: JSON.stringify(NOTIFY) });
    expect(answer.json()).toMatchObject({ code: 'unsupported_media_type' });
  });
});
