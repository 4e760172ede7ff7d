/**
 * A service elsewhere behind the plugin: tokens of a real control, verified by its published keys,
 * with control away.
 */
import fastify, { type FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AUTHORITY_HEADER, guardWithFencing, memoryFences } from '../../shared/client/index.ts';
import { openSigner, generateSigningKey } from '../../shared/platform/signatures.ts';
import { STATEMENT_TYPES, SyncAnswerSchema, type PublicKey } from '../../shared/wire/statements.ts';
import { ControlWorld } from '../fakes/control-world.ts';
import type { SigningHost } from '../fakes/signing-host.ts';

const RESOURCE = 'orders/7';

let world: ControlWorld;
let service: FastifyInstance;
let written: string[];
let keysAsked: number;

beforeEach(async () => {
  world = await ControlWorld.create();
  const published = (await world.call('GET', '/.well-known/jwks.json', { token: null })).json;
  written = [];
  keysAsked = 0;
  service = fastify();
  guardWithFencing(service, {
    keys: () => {
      keysAsked += 1;
      return Promise.resolve(published['keys'] as PublicKey[]);
    },
    fences: memoryFences(),
    resourceOf: ({ method }) => (method === 'GET' ? null : RESOURCE),
  });
  service.put('/orders', async (request) => {
    written.push(String(request.body));
    return { written: written.length };
  });
  service.get('/orders', async () => written);
});
afterEach(async () => {
  await service.close();
  await world.dispose();
});

async function put(token?: string) {
  const headers = token === undefined ? {} : { [AUTHORITY_HEADER]: token };
  const answer = await service.inject({
    method: 'PUT',
    url: '/orders',
    headers: { ...headers, 'content-type': 'text/plain' },
    payload: 'x',
  });
  return { status: answer.statusCode, body: answer.json<Record<string, unknown>>() };
}

/** The token that comes with a grant, or with a renewal. */
async function tokenFor(host: SigningHost, resource = RESOURCE): Promise<string> {
  const body = host.syncBody({ acquire: [resource] });
  const asked = { ...body, leases: { ...body.leases, tokens: [resource] } };
  const answer = await host.open(
    await host.request('POST', '/v1/sync', asked),
    STATEMENT_TYPES.sync,
    SyncAnswerSchema,
  );
  const [given] = answer.tokens ?? [];
  if (given === undefined) throw new Error(JSON.stringify(answer));
  return given.token;
}

test('the keys are published for everybody, and may be kept for a while', async () => {
  const answer = await world.call('GET', '/.well-known/jwks.json', { token: null });
  expect(answer).toMatchObject({
    status: 200,
    json: { keys: [{ kty: 'OKP', crv: 'Ed25519', use: 'sig', alg: 'Ed25519' }] },
  });
  expect(JSON.stringify(answer.json)).not.toContain('"d"');
  expect(answer.headers.get('cache-control')).toBe('public, max-age=300');
});

test('I6: the newest owner writes, with control away; the one before is refused for good', async () => {
  const [a, b] = [await world.enrolHost('host-a'), await world.enrolHost('host-b')];
  const old = await tokenFor(a);
  expect(await put(old)).toMatchObject({ status: 200 });
  await world.clock.advance(60_000);
  const current = await tokenFor(b);
  await world.stop();
  expect(await put(current)).toMatchObject({ status: 200 });
  expect(await put(old)).toMatchObject({ status: 412, body: { code: 'stale_owner' } });
  expect(await put(current)).toMatchObject({ status: 200 });
  expect(written).toHaveLength(3);
  expect((await service.inject('/orders')).statusCode).toBe(200);
});

describe('who has no authority is told why, and nothing is written', () => {
  test('no token, and one for something else', async () => {
    const host = await world.enrolHost();
    expect(await put()).toMatchObject({ status: 428, body: { code: 'fencing_token_required' } });
    expect(await put(await tokenFor(host, 'orders/8'))).toMatchObject({
      status: 403,
      body: { code: 'authority_of_another' },
    });
    expect(written).toEqual([]);
  });

  test('a token of another key, one that was changed, and a statement of another kind', async () => {
    const host = await world.enrolHost();
    const token = await tokenFor(host);
    const stranger = await openSigner(await generateSigningKey());
    const payload = { controlId: 'c', hostId: 'h', resource: RESOURCE, epoch: 9, iat: 0, ttlMs: 1 };
    const forged = await stranger.sign(STATEMENT_TYPES.lease, payload);
    const [head = '', , signature = ''] = token.split('.');
    const changed = [head, Buffer.from(JSON.stringify(payload)).toString('base64url'), signature];
    for (const bad of [forged, changed.join('.'), host.lastToken, 'nonsense'])
      expect(await put(bad)).toMatchObject({ status: 401, body: { code: 'authority_invalid' } });
    expect(written).toEqual([]);
    // Ids that nobody knows do not have the keys fetched each time.
    const before = keysAsked;
    for (let count = 0; count < 20; count += 1) await put(forged);
    expect(keysAsked - before).toBeLessThan(6);
  });
});
