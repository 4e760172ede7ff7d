import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../../shared/platform/digest.ts';
import { openVerifier } from '../../shared/platform/signatures.ts';
import { POLICY_BYTES_MAX } from '../../shared/wire/policy-document.ts';
import { BundleSchema, STATEMENT_TYPES } from '../../shared/wire/statements.ts';
import { ControlWorld, policyDocument } from '../fakes/control-world.ts';

let world: ControlWorld;
beforeEach(async () => {
  world = await ControlWorld.create();
});
afterEach(() => world.dispose());

const put = (body: unknown, headers: Record<string, string>, query = '') =>
  world.call('PUT', `/v1/policy${query}`, { body, headers });

describe('publishing', () => {
  test('the first revision is 1, and is read back with its ETag', async () => {
    expect((await world.get('/v1/policy')).status).toBe(404);
    const published = await put(policyDocument(), {
      'if-none-match': '*',
      'holdfast-comment': 'begin',
    });
    expect(published.status).toBe(201);
    expect(published.json).toMatchObject({
      policyRevision: 1,
      outcome: 'published',
      comment: 'begin',
      rules: 1,
    });
    const read = await world.get('/v1/policy');
    expect(read.headers.get('etag')).toBe('"1"');
    expect(read.json).toMatchObject({
      policyRevision: 1,
      policy: policyDocument(),
      publishedBy: 'operator:admin',
    });
    expect(read.json).not.toHaveProperty('bundle');
  });

  test('a comment is kept as it was written, encoded or not', async () => {
    const published = async (comment: string) => {
      const headers = { 'if-none-match': '*', 'holdfast-comment': comment };
      return (await put(policyDocument(), headers, '?dryRun=true')).json;
    };
    const encoded = (text: string) => `UTF-8''${encodeURIComponent(text)}`;
    expect(await published('100%25')).toMatchObject({ comment: '100%25' });
    expect(await published(encoded('Москва'))).toMatchObject({ comment: 'Москва' });
    expect(await published(encoded('м'.repeat(500)))).toMatchObject({ outcome: 'valid' });
    for (const wrong of ["UTF-8''%E2%", encoded('м'.repeat(501)), 'x'.repeat(501)]) {
      expect(await published(wrong)).toMatchObject({ code: 'invalid_request' });
    }
  });

  test('without a precondition it is refused with 428, and so is a tag that is none', async () => {
    for (const headers of [
      {},
      { 'if-match': '*' },
      { 'if-match': 'W/"1"' },
      { 'if-none-match': '"1"' },
    ] as Record<string, string>[]) {
      const answer = await put(policyDocument(), headers);
      expect([answer.status, answer.json['code']]).toEqual([428, 'precondition_required']);
    }
  });

  test('nobody overwrites a revision that they have not read: 412', async () => {
    await world.publish();
    const second = policyDocument({ description: 'second' });
    expect((await put(second, { 'if-none-match': '*' })).json['code']).toBe('revision_conflict');
    const answer = await put(second, { 'if-match': '"7"' });
    expect([answer.status, answer.json['policyRevision']]).toEqual([412, 1]);
    expect((await put(second, { 'if-match': '"1"' })).json).toMatchObject({ policyRevision: 2 });
  });

  test('of two publishers at once one wins', async () => {
    await world.publish();
    const answers = await Promise.all(
      ['a', 'b', 'c'].map((description) =>
        put(policyDocument({ description }), { 'if-match': '"1"' }),
      ),
    );
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 412, 412]);
  });

  test('the same document again is no new revision', async () => {
    await world.publish();
    const again = await world.publish();
    expect([again.status, again.json['outcome'], again.json['policyRevision']]).toEqual([
      200,
      'unchanged',
      1,
    ]);
  });

  test('a dry run checks everything and publishes nothing', async () => {
    const answer = await put(policyDocument(), { 'if-none-match': '*' }, '?dryRun=true');
    expect(answer.json).toMatchObject({ outcome: 'valid', policyRevision: 1 });
    expect((await world.get('/v1/policy')).status).toBe(404);
    const bad = await put(policyDocument({ rules: [] }), { 'if-none-match': '*' }, '?dryRun=true');
    expect(bad.status).toBe(422);
  });

  test('revisions are listed newest first, in pages', async () => {
    for (const description of ['1', '2', '3']) await world.publish(policyDocument({ description }));
    const first = await world.get('/v1/policy/revisions?limit=2');
    const numbers = (answer: typeof first) =>
      (answer.json['items'] as { policyRevision: number }[]).map(
        ({ policyRevision }) => policyRevision,
      );
    expect(numbers(first)).toEqual([3, 2]);
    const rest = await world.get(
      `/v1/policy/revisions?limit=2&cursor=${String(first.json['nextCursor'])}`,
    );
    expect([numbers(rest), rest.json['nextCursor']]).toEqual([[1], null]);
    expect((await world.get('/v1/policy/revisions/2')).json).toMatchObject({
      policy: { description: '2' },
    });
    expect((await world.get('/v1/policy/revisions/9')).status).toBe(404);
    expect((await world.get('/v1/policy/revisions?cursor=%00')).status).toBe(400);
  });
});

describe('I11: what does not validate never gets a revision number', () => {
  const yaml = (text: string) =>
    world.call('PUT', '/v1/policy', {
      text,
      headers: { 'content-type': 'application/yaml', 'if-none-match': '*' },
    });

  afterEach(async () => {
    expect((await world.get('/v1/policy')).status).toBe(404);
  });

  test.each([
    [
      'an unknown field',
      { ...policyDocument(), rulez: [] },
      'policy_invalid',
      '/rulez',
      /did you mean rules/,
    ],
    [
      'a principal that is no principal',
      policyDocument({ principals: { Billing: { roles: ['a'] } } }),
      'policy_invalid',
      '/principals/Billing',
      /cannot be a name/,
    ],
    [
      'an expression that does not compile',
      policyDocument({
        rules: [{ name: 'a', actions: ['a.b'], permit: [{ expression: 'attributes.' }] }],
      }),
      'policy_invalid',
      '/rules/0/permit/0/expression',
      /./,
    ],
    [
      'an expression that gives no bool',
      policyDocument({
        rules: [{ name: 'a', actions: ['a.b'], permit: [{ expression: '1 + 1' }] }],
      }),
      'policy_invalid',
      '/rules/0/permit/0/expression',
      /not a bool/,
    ],
    [
      'a test of its own that fails',
      policyDocument({
        tests: [
          {
            name: 't',
            given: {
              principal: 'agent:billing',
              action: 'payments.capture',
              attributes: { amount: 900 },
            },
            expect: { decision: 'permit' },
          },
        ],
      }),
      'policy_invalid',
      '/tests/0',
      /got deny/,
    ],
    [
      'a rule that is shadowed',
      policyDocument({
        rules: [...policyDocument().rules, { ...policyDocument().rules[0]!, name: 'b' }],
      }),
      'policy_invalid',
      '/rules/1',
      /never be reached/,
    ],
  ])('%s', async (_what, document, code, path, message) => {
    const answer = await put(document, { 'if-none-match': '*' });
    expect([answer.status, answer.json['code']]).toEqual([422, code]);
    const errors = answer.json['errors'] as { path: string; message: string }[];
    const found = errors.find((error) => error.path === path);
    expect(found?.message).toMatch(message);
  });

  test('YAML that is none says where', async () => {
    const answer = await yaml('rules:\n  - name: [a\n');
    expect([answer.status, answer.json['code']]).toEqual([400, 'invalid_yaml']);
    expect(answer.json['detail']).toMatch(/line [23], column/);
  });

  test('YAML with one key twice, and JSON too', async () => {
    expect((await yaml('kind: Policy\nkind: Policy\n')).json['code']).toBe('invalid_yaml');
    const answer = await world.call('PUT', '/v1/policy', {
      text: '{"kind":"Policy","kind":"Policy"}',
      headers: { 'if-none-match': '*' },
    });
    expect(answer.json['code']).toBe('invalid_json');
  });

  test('YAML whose aliases would fill the memory', async () => {
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
    for (let level = 1; level < 9; level += 1) {
      lines.push(
        `a${level}: &a${level} [${Array.from({ length: 10 }, () => `*a${level - 1}`).join(', ')}]`,
      );
    }
    expect((await yaml(lines.join('\n'))).json['code']).toBe('invalid_yaml');
  });

  test('a document over the bound is 413, and another content type 415', async () => {
    const big = policyDocument({ description: 'x'.repeat(POLICY_BYTES_MAX) });
    expect((await put(big, { 'if-none-match': '*' })).status).toBe(413);
    const answer = await world.call('PUT', '/v1/policy', {
      text: 'a',
      headers: { 'content-type': 'text/plain', 'if-none-match': '*' },
    });
    expect(answer.json['code']).toBe('unsupported_media_type');
  });
});

test('YAML and JSON of one document are the same revision', async () => {
  await world.publish();
  const answer = await world.call('PUT', '/v1/policy', {
    text: JSON.stringify(policyDocument()).replaceAll('"rules"', 'rules'),
    headers: { 'content-type': 'application/yaml', 'if-match': '"1"' },
  });
  expect(answer.json).toMatchObject({ outcome: 'unchanged', policyRevision: 1 });
});

/** Of the bundle: its number, and the document that it means. */
const FIRST_TAG = `"1-${digestOf(policyDocument()).slice(0, 8)}"`;

describe('the bundle', () => {
  test('is signed, carries its trust, and is the same bytes for everyone', async () => {
    await world.publish();
    const host = await world.enrolHost();
    const [asHost, asOperator] = [
      await host.request('GET', '/v1/bundle'),
      await world.get('/v1/bundle'),
    ];
    expect(asHost.headers.get('content-type')).toBe('application/jose');
    expect(asHost.headers.get('etag')).toBe(FIRST_TAG);
    expect(asHost.text).toBe(asOperator.text);
    const verifier = await openVerifier(host.enrolment?.trust.keys ?? []);
    const verified = await verifier.verify(asHost.text, {
      type: STATEMENT_TYPES.bundle,
      schema: BundleSchema,
    });
    expect(verified).toMatchObject({
      ok: true,
      payload: { policyRevision: 1, policy: policyDocument() },
    });
    await world.restart();
    expect((await world.get('/v1/bundle')).text).toBe(asHost.text);
  });

  test('is not sent to who has it: 304', async () => {
    await world.publish();
    const answer = await world.get('/v1/bundle', { 'if-none-match': FIRST_TAG });
    expect([answer.status, answer.text, answer.headers.get('etag')]).toEqual([304, '', FIRST_TAG]);
    expect((await world.get('/v1/bundle', { 'if-none-match': '"2"' })).status).toBe(200);
  });

  test('before the first publication there is none', async () => {
    expect((await world.get('/v1/bundle')).json['code']).toBe('policy_absent');
  });

  const whenWaiting = async (count = 1): Promise<void> => {
    // The scrape is itself a round trip, so this yields to the server rather than sleeping.
    while ((await world.metric('holdfast_control_bundle_waiters')) !== count)
      await Promise.resolve();
  };

  test('a long-poll wakes on publication', async () => {
    await world.publish();
    const host = await world.enrolHost();
    const waiting = host.request('GET', '/v1/bundle?wait=30s', undefined, {
      headers: { 'if-none-match': FIRST_TAG },
    });
    await whenWaiting();
    await world.publish(policyDocument({ description: 'next' }));
    const answer = await waiting;
    expect([answer.status, answer.headers.get('etag')]).toEqual([
      200,
      expect.stringMatching(/^"2-/),
    ]);
    await whenWaiting(0);
  });

  test('a long-poll sees what is published while it reads the store', async () => {
    await world.publish();
    const { policy } = world.store;
    const currentNumber = policy.currentNumber.bind(policy);
    policy.currentNumber = async () => {
      policy.currentNumber = currentNumber;
      const read = await currentNumber();
      await world.publish(policyDocument({ description: 'in between' }));
      return read;
    };
    const answer = await world.get('/v1/bundle?wait=30s', { 'if-none-match': FIRST_TAG });
    expect([answer.status, answer.headers.get('etag')]).toEqual([
      200,
      expect.stringMatching(/^"2-/),
    ]);
  });

  test('a long-poll from before the first publication wakes on it', async () => {
    const waiting = world.get('/v1/bundle?wait=30s');
    await whenWaiting();
    await world.publish();
    expect((await waiting).headers.get('etag')).toBe(FIRST_TAG);
  });

  test('a long-poll ends at its time with 304', async () => {
    await world.publish();
    const waiting = world.get('/v1/bundle?wait=5s', { 'if-none-match': FIRST_TAG });
    await whenWaiting();
    await world.clock.advance(5_000);
    expect((await waiting).status).toBe(304);
  });

  test('who goes away while waiting is forgotten, and a stop ends all waits', async () => {
    await world.publish();
    const giveUp = new AbortController();
    const gone = world.call('GET', '/v1/bundle?wait=30s', {
      headers: { 'if-none-match': FIRST_TAG },
      signal: giveUp.signal,
    });
    await whenWaiting();
    giveUp.abort();
    await expect(gone).rejects.toThrow(/abort/i);
    await whenWaiting(0);
    const waiting = world.get('/v1/bundle?wait=30s', { 'if-none-match': FIRST_TAG });
    await whenWaiting();
    await world.stop();
    expect((await waiting).status).toBe(304);
  });

  test('only so many wait; the rest is told when to come', async () => {
    await world.dispose();
    world = await ControlWorld.create({ bundleWaitersMax: 1 });
    await world.publish();
    const waiting = world.get('/v1/bundle?wait=30s', { 'if-none-match': FIRST_TAG });
    await whenWaiting();
    const answer = await world.get('/v1/bundle?wait=30s', { 'if-none-match': FIRST_TAG });
    expect([answer.status, answer.json['code']]).toEqual([503, 'overloaded']);
    expect(answer.headers.get('retry-after')).toBe('30');
    await world.stop();
    await waiting;
  });
});
