import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../../shared/platform/digest.ts';
import { generateSigningKey } from '../../shared/platform/signatures.ts';
import { FreshDecisionSchema, STATEMENT_TYPES } from '../../shared/wire/statements.ts';
import { ControlWorld } from '../fakes/control-world.ts';
import { SigningHost } from '../fakes/signing-host.ts';

let world: ControlWorld;
beforeEach(async () => {
  world = await ControlWorld.create();
});
afterEach(() => world.dispose());

describe('enrolment', () => {
  test('answers with a statement that the pinned key has signed', async () => {
    const token = await world.joinToken('host-1');
    const host = await SigningHost.create(world, 'host-1');
    const enrolment = await host.enrol(token);
    expect(enrolment).toMatchObject({
      hostName: 'host-1',
      hostEpoch: 1,
      controlId: world.control.controlId,
    });
    expect(token.split('.')[3]).toBe(enrolment.trust.keys[0]?.kid);
    expect((await world.get('/v1/hosts')).json['items']).toMatchObject([
      { hostId: enrolment.hostId, hostName: 'host-1', state: 'enrolled', lastSyncAtMs: null },
    ]);
  });

  test('a lost answer is asked for again with the same key, also after the end of the token', async () => {
    const token = await world.joinToken('host-1', '1m');
    const host = await SigningHost.create(world, 'host-1');
    const first = await host.enrol(token);
    await world.clock.advance(120_000);
    const again = await host.enrol(token);
    expect({ ...again, nonce: '' }).toEqual({ ...first, nonce: '' });
    expect(again.nonce).not.toBe(first.nonce);
  });

  test('a token is for one key, one name and its time; each refusal has its code', async () => {
    const token = await world.joinToken('host-1');
    await (await SigningHost.create(world, 'host-1')).enrol(token);
    const other = await SigningHost.create(world, 'host-1');
    expect((await other.tryEnrol(token)).json['code']).toBe('join_token_used');

    const expiring = await world.joinToken('host-2', '1m');
    const late = await SigningHost.create(world, 'host-2');
    await world.clock.advance(60_000);
    expect((await late.tryEnrol(expiring)).json['code']).toBe('join_token_expired');

    const named = await world.joinToken('host-3');
    const impostor = await SigningHost.create(world, 'host-4');
    expect((await impostor.tryEnrol(named)).json['code']).toBe('join_token_invalid');
    const [version, id, , pin] = named.split('.');
    for (const wrong of [
      'x',
      `${version}.${id}.wrong.${pin}`,
      `${named}x`,
      `${named}.x`,
      `hfj2.${id}.a.${pin}`,
    ]) {
      const answer = await impostor.tryEnrol(wrong, { hostName: 'host-3' });
      expect([answer.status, answer.json['code']]).toEqual([401, 'join_token_invalid']);
    }
    expect((await world.get('/v1/hosts')).json['items']).toHaveLength(1);
  });

  test('of two machines with one token one is enrolled', async () => {
    const token = await world.joinToken('host-1');
    const machines = await Promise.all([1, 2, 3].map(() => SigningHost.create(world, 'host-1')));
    const statuses = await Promise.all(
      machines.map(async (machine) => (await machine.tryEnrol(token)).status),
    );
    expect(statuses.toSorted((a, b) => a - b)).toEqual([201, 401, 401]);
  });

  test('a new token for a known name keeps the id, raises the epoch and replaces the key', async () => {
    const before = await world.enrolHost('host-1');
    const after = await SigningHost.create(world, 'host-1');
    const enrolment = await after.enrol(await world.joinToken('host-1'));
    expect(enrolment).toMatchObject({ hostId: before.id, hostEpoch: 2 });
    await after.sync();
    const refused = await before.request('POST', '/v1/sync', before.syncBody());
    expect([refused.status, refused.json['code']]).toEqual([409, 'host_epoch_stale']);
    // Its key is as little use to somebody who knows the new epoch.
    const forged = await before.request('POST', '/v1/sync', before.syncBody(), {
      claims: { hostEpoch: 2 },
    });
    expect(forged.json['code']).toBe('host_epoch_stale');
  });

  test('the key of one host cannot enrol another', async () => {
    const first = await world.enrolHost('host-1');
    const second = await SigningHost.create(world, 'host-2');
    second.key = first.key;
    expect((await second.tryEnrol(await world.joinToken('host-2'))).status).toBe(401);
    await first.sync();
  });

  test('a token lives at most a day', async () => {
    for (const ttl of ['25h', '0s', 'soon']) {
      const answer = await world.call('POST', '/v1/join-tokens', { body: { hostName: 'h', ttl } });
      expect([ttl, answer.status]).toEqual([ttl, 400]);
    }
  });

  test('neither a token nor its secret is kept', async () => {
    const token = await world.joinToken('host-1');
    const secret = token.split('.')[2] ?? '?';
    const { text } = await world.get('/v1/audit');
    expect(text).not.toContain(secret);
    expect(JSON.stringify(world.logged)).not.toContain(secret);
  });
});

describe('a request of a host is refused when', () => {
  const refusal = async (host: SigningHost, tampering: Parameters<SigningHost['request']>[3]) => {
    const { status, json } = await host.request('POST', '/v1/sync', host.syncBody(), tampering);
    return [status, json['code'], String(json['detail']).split(':')[0]];
  };

  test('its token is not what it says, each with its own reason', async () => {
    const host = await world.enrolHost();
    const stranger = await generateSigningKey();
    const now = Math.floor(world.clock.now().wallMs / 1_000);
    const flip = (token: string) => `${token.slice(0, -2)}${token.endsWith('AA') ? 'BB' : 'AA'}`;
    const alg = (name: string) => (token: string) => {
      const [head = '', ...rest] = token.split('.');
      const header = JSON.parse(Buffer.from(head, 'base64url').toString()) as object;
      return [
        Buffer.from(JSON.stringify({ ...header, alg: name })).toString('base64url'),
        ...rest,
      ].join('.');
    };
    const invalid = 'host_signature_invalid';
    expect(await refusal(host, { token: () => 'x' })).toEqual([401, invalid, 'malformed']);
    expect(await refusal(host, { token: alg('none') })).toEqual([
      401,
      invalid,
      'algorithm_not_allowed',
    ]);
    expect(await refusal(host, { token: alg('HS256') })).toEqual([
      401,
      invalid,
      'algorithm_not_allowed',
    ]);
    expect(await refusal(host, { type: STATEMENT_TYPES.sync })).toEqual([
      401,
      invalid,
      'type_mismatch',
    ]);
    expect(await refusal(host, { key: stranger })).toEqual([401, 'host_unknown', 'key_unknown']);
    expect(await refusal(host, { key: { ...stranger, kid: host.key.kid } })).toEqual([
      401,
      invalid,
      'signature_invalid',
    ]);
    expect(await refusal(host, { token: flip })).toEqual([401, invalid, 'signature_invalid']);
    expect(await refusal(host, { claims: { nonce: 'short' } })).toEqual([
      401,
      invalid,
      'payload_invalid',
    ]);
    expect(await refusal(host, { claims: { aud: 'ctl_other' } })).toEqual([
      401,
      invalid,
      'audience_mismatch',
    ]);
    expect(await refusal(host, { claims: { iss: 'host_other' } })).toEqual([
      401,
      invalid,
      'issuer_mismatch',
    ]);
    expect(await refusal(host, { claims: { hostEpoch: 9 } })).toEqual([
      409,
      'host_epoch_stale',
      'epoch_stale',
    ]);
    expect(await refusal(host, { claims: { exp: now + 601 } })).toEqual([
      401,
      invalid,
      'lifetime_too_long',
    ]);
    expect(await refusal(host, { claims: { iat: now + 301, exp: now + 360 } })).toEqual([
      401,
      invalid,
      'not_yet_valid',
    ]);
    expect(await refusal(host, { claims: { iat: now - 400, exp: now - 301 } })).toEqual([
      401,
      invalid,
      'expired',
    ]);
    expect(await refusal(host, { claims: { method: 'GET' } })).toEqual([
      401,
      invalid,
      'method_mismatch',
    ]);
    expect(await refusal(host, { claims: { path: '/v1/reports' } })).toEqual([
      401,
      invalid,
      'path_mismatch',
    ]);
    expect(await refusal(host, { text: `${JSON.stringify(host.syncBody())} ` })).toEqual([
      401,
      invalid,
      'body_mismatch',
    ]);
    expect(
      await world.metric('holdfast_control_host_requests_rejected_total{reason="body_mismatch"}'),
    ).toBe(1);
  });

  test('near-misses pass: clocks five minutes apart', async () => {
    const host = await world.enrolHost();
    const now = Math.floor(world.clock.now().wallMs / 1_000);
    for (const iat of [now - 300, now + 300]) {
      const answer = await host.request('POST', '/v1/sync', host.syncBody(), {
        claims: { iat, exp: iat + 60 },
      });
      expect(answer.status).toBe(200);
    }
  });

  test('it is played again', async () => {
    const host = await world.enrolHost();
    const nonce = 'n'.repeat(20);
    expect(
      (await host.request('POST', '/v1/sync', host.syncBody(), { claims: { nonce } })).status,
    ).toBe(200);
    expect(await refusal(host, { claims: { nonce } })).toEqual([
      401,
      'host_signature_invalid',
      'replayed',
    ]);
  });

  test('there is no token, or one of an operator', async () => {
    const host = await world.enrolHost();
    const none = await world.call('POST', '/v1/sync', { token: null, body: host.syncBody() });
    expect([none.status, none.json['code']]).toEqual([401, 'unauthenticated']);
    expect((await world.call('POST', '/v1/sync', { body: host.syncBody() })).status).toBe(401);
    const asHost = await host.request('GET', '/v1/hosts');
    expect([asHost.status, asHost.json['code']]).toEqual([401, 'unauthenticated']);
  });
});

describe('a fresh decision', () => {
  const input = {
    principal: 'agent:billing',
    action: 'payments.capture',
    attributes: { amount: 20 },
  };

  test('is made under the newest revision, bound to the input and to the request', async () => {
    await world.publish();
    const host = await world.enrolHost();
    const nonce = 'decision-nonce-000001';
    const ask = async (body: unknown) =>
      host.open(
        await host.request('POST', '/v1/decisions', body, { claims: { nonce } }),
        STATEMENT_TYPES.decision,
        FreshDecisionSchema,
      );
    expect(await ask(input)).toMatchObject({
      nonce,
      hostId: host.id,
      inputDigest: digestOf(input),
      policyRevision: 1,
      decision: { decision: 'permit', rule: 'capture-payment' },
    });
    expect(await ask({ ...input, attributes: { amount: 501 } })).toMatchObject({
      decision: { decision: 'deny', reason: 'denied', message: 'at most 500' },
      decidedAtMs: world.clock.now().wallMs,
    });
    expect(await ask({ ...input, action: 'payments.refund' })).toMatchObject({
      decision: { decision: 'deny', reason: 'no_rule' },
    });
  });

  test('is not made without a policy: 503', async () => {
    const host = await world.enrolHost();
    const answer = await host.request('POST', '/v1/decisions', input);
    expect([answer.status, answer.json['code']]).toEqual([503, 'policy_absent']);
  });
});

test('a host is shown as connected, late and lost by the time since its sync', async () => {
  const host = await world.enrolHost();
  const state = async () => (await world.get(`/v1/hosts/${host.id}`)).json['state'];
  await host.sync({ policyRevision: null });
  expect(await state()).toBe('connected');
  await world.clock.advance(15_000);
  expect(await state()).toBe('late');
  await world.clock.advance(45_000);
  expect(await state()).toBe('lost');
  expect((await world.get('/v1/health')).json).toMatchObject({
    controlPlane: { verdict: 'down', parts: { hosts: { state: 'failed' } } },
    dataPlane: { parts: { outOfSight: { state: 'unknown' } } },
  });
});
