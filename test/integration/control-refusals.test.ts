/** Control's refusals as the sidecar's own link to control takes them, over the network. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HostIdentity } from '../../dataplane/authority/identity.ts';
import { ControlLink } from '../../dataplane/upstream/control-link.ts';
import {
  UndiciTransport,
  type Transport,
  type TransportRequest,
} from '../../shared/client/transport.ts';
import { sha256Hex } from '../../shared/platform/digest.ts';
import { createLogger } from '../../shared/platform/logger.ts';
import { generateSigningKey, openSigner, openVerifier } from '../../shared/platform/signatures.ts';
import {
  HostRefusalSchema,
  REFUSAL_HEADER,
  STATEMENT_TYPES,
  type HostRefusal,
} from '../../shared/wire/statements.ts';
import { ControlWorld, type Answer } from '../fakes/control-world.ts';
import { FakeRandom } from '../fakes/fake-random.ts';
import { SigningHost } from '../fakes/signing-host.ts';

let world: ControlWorld;
beforeEach(async () => {
  world = await ControlWorld.create();
});
afterEach(() => world.dispose());

const claimsOf = (token: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as never;

describe('I10: what control refuses to a host it signs', () => {
  /** The statement, verified under the keys of the enrolment. */
  async function refusalIn(host: SigningHost, answer: Answer): Promise<HostRefusal> {
    const verifier = await openVerifier(host.enrolment?.trust.keys ?? []);
    const verified = await verifier.verify(answer.headers.get(REFUSAL_HEADER) ?? '', {
      type: STATEMENT_TYPES.refusal,
      schema: HostRefusalSchema,
    });
    if (!verified.ok) throw new Error(`${verified.reason}: ${verified.detail}`);
    return verified.payload;
  }

  async function expectSigned(host: SigningHost, answer: Answer, code: string): Promise<void> {
    expect(answer.json['code']).toBe(code);
    const { status, json } = answer;
    const { nonce, iss: hostId } = claimsOf(host.lastToken);
    const tokenSha256 = sha256Hex(host.lastToken);
    const detail = String(json['detail']).slice(0, 300);
    const said = { nonce, hostId, tokenSha256, status, code, detail };
    expect(await refusalIn(host, answer)).toEqual(said);
  }

  test('on every route that hosts use', async () => {
    const host = await world.enrolHost();
    const key = await generateSigningKey();
    for (const [method, path, body] of [
      ['POST', '/v1/sync', host.syncBody()],
      ['GET', '/v1/bundle?wait=1s', undefined],
      ['POST', '/v1/decisions', {}],
      ['POST', '/v1/reports', { events: [] }],
    ] as const) {
      await expectSigned(host, await host.request(method, path, body, { key }), 'host_unknown');
    }
  });

  test('whatever is wrong: the epoch, the claims, the body, its size, its type, its chain', async () => {
    const host = await world.enrolHost();
    const ask = (body: unknown, tampering: Parameters<SigningHost['request']>[3] = {}) =>
      host.request('POST', '/v1/sync', body, tampering);
    await expectSigned(
      host,
      await ask(host.syncBody(), { claims: { hostEpoch: 9 } }),
      'host_epoch_stale',
    );
    await expectSigned(
      host,
      await ask(host.syncBody(), { text: '{"other":true}' }),
      'host_signature_invalid',
    );
    await expectSigned(host, await ask({ other: true }), 'invalid_request');
    await expectSigned(
      host,
      await ask(host.syncBody(), { headers: { 'content-type': 'text/plain' } }),
      'unsupported_media_type',
    );
    await expectSigned(host, await ask('x'.repeat(5 * 1024 * 1024)), 'body_too_large');
    host.record('host_started', {});
    const second = host.record('host_started', {});
    await host.reported(host.journal());
    const forked = { ...second, hash: '0'.repeat(64) };
    await expectSigned(host, await host.report([forked]), 'report_conflict');
  });

  test('a detail that is long is cut in the header, not in the body', async () => {
    const host = await world.enrolHost();
    const answer = await host.request('POST', '/v1/sync', {
      ...host.syncBody(),
      ['é'.repeat(2_000)]: true,
    });
    expect(String(answer.json['detail']).length).toBeGreaterThan(300);
    await expectSigned(host, answer, 'invalid_request');
    expect(answer.headers.get(REFUSAL_HEADER)?.length).toBeLessThan(4_096);
  });

  test('nothing is signed for who has no token that can be read, for operators, or on a failure', async () => {
    const host = await world.enrolHost();
    const statementOf = (answer: Answer) => answer.headers.get(REFUSAL_HEADER);
    const body = host.syncBody();
    for (const token of ['x', 'a.b.c', `${'e30.'.repeat(2)}x`]) {
      const answer = await host.request('POST', '/v1/sync', body, { token: () => token });
      expect([answer.status, statementOf(answer)]).toEqual([401, null]);
    }
    for (const claims of [
      { nonce: 'n'.repeat(65) },
      { nonce: 'short' },
      { iss: 'h'.repeat(101) },
    ]) {
      const answer = await host.request('POST', '/v1/sync', body, { claims });
      expect([answer.status, statementOf(answer)]).toEqual([401, null]);
    }
    const others = [
      await world.call('POST', '/v1/sync', { token: null, body }),
      await world.call('POST', '/v1/sync', { body }),
      await host.request('GET', '/v1/hosts'),
      await world.get('/v1/bundle?wait=soon'),
      await host.tryEnrol('x'),
      await host.request('GET', '/v1/bundle'),
    ];
    expect(others.map((answer) => [answer.status, statementOf(answer)])).toEqual([
      [401, null],
      [401, null],
      [401, null],
      [400, null],
      [401, null],
      [503, null],
    ]);
    expect(statementOf(await host.request('POST', '/v1/sync', body))).toBeNull();
  });
});

describe('I10: the sidecar and the refusals of control', () => {
  let dataDir: string;
  let network: UndiciTransport;
  let link: ControlLink;
  let identity: HostIdentity;
  /** What stands between the sidecar and control does this to a request. */
  let inBetween: (request: TransportRequest) => Promise<TransportRequest>;

  beforeEach(async () => {
    dataDir = mkdtempSync(join(tmpdir(), 'holdfast-link-'));
    network = new UndiciTransport({ url: world.address });
    inBetween = (request) => Promise.resolve(request);
    const logger = createLogger({ name: 'test', level: 'silent' });
    identity = new HostIdentity({ dataDir, hostName: 'host-1', logger, random: new FakeRandom(3) });
    await identity.open();
    const transport: Transport = {
      send: async (request) => network.send(await inBetween(request)),
      close: () => Promise.resolve(),
    };
    const { clock } = world;
    const random = new FakeRandom(7);
    link = new ControlLink({ transport, identity, clock, random, requestTimeoutMs: 5_000 });
    await enrolThisHost();
  });
  afterEach(async () => {
    await network.close();
    rmSync(dataDir, { recursive: true });
  });

  async function enrolThisHost(): Promise<void> {
    const token = await world.joinToken('host-1');
    const keyThumbprint = token.split('.')[3] ?? '';
    const invitation = { token, keyThumbprint, hostName: 'host-1' };
    const result = await link.enrol(invitation, new AbortController().signal);
    if (result.kind !== 'answer') throw new Error(JSON.stringify(result));
    await identity.recordEnrolment(result.payload);
  }

  const sync = async () =>
    link.sync((await SigningHost.create(world, 'host-1')).syncBody({ policyRevision: null }), {
      leaseEndsMs: null,
    });

  test('a host whose name was given to another machine is told so, and obeys', async () => {
    expect(await sync()).toMatchObject({ kind: 'answer' });
    await world.enrolHost('host-1');
    expect(await sync()).toMatchObject({ kind: 'refused', code: 'host_epoch_stale' });
  });

  test('a refusal that control signed for a copy of the claims under another key is not obeyed', async () => {
    const stranger = await openSigner(await generateSigningKey());
    inBetween = async (request) => {
      const claims = claimsOf(request.headers?.['authorization'] ?? '');
      const forged = await stranger.sign(STATEMENT_TYPES.hostRequest, claims);
      return {
        ...request,
        headers: { ...request.headers, authorization: `Holdfast-Host ${forged}` },
      };
    };
    expect(await sync()).toMatchObject({
      kind: 'unreachable',
      cause: 'bad_answer',
      detail: expect.stringMatching(/host_unknown.*another request/) as string,
    });
  });

  test('no policy yet is an answer, though no statement comes with it', async () => {
    const poll = { waitMs: 0, etag: null, underKnownKey: false };
    expect(await link.bundle(poll, new AbortController().signal)).toMatchObject({
      kind: 'answer',
      payload: { kind: 'none' },
    });
  });
});
