import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { StartError } from '../../shared/platform/shutdown.ts';
import type { EnrolRequest } from '../../shared/wire/control-api.ts';
import { FakeControl } from '../fakes/fake-control.ts';
import { UpstreamWorld, policyDocument } from '../fakes/upstream-world.ts';

let world: UpstreamWorld;
beforeEach(async () => {
  world = await UpstreamWorld.create();
});
afterEach(() => world.dispose());

const isConnected = (): boolean => world.upstream.status().state === 'connected';
const enrolments = (): EnrolRequest[] =>
  world.control.seen
    .filter(({ route }) => route === 'enrol')
    .map(({ request }) => JSON.parse(request.body ?? '') as EnrolRequest);

describe('enrolment', () => {
  test('a join token makes the host known, and its key is for its owner only', async () => {
    await world.start();
    await world.until(isConnected, 'connected');
    expect(world.upstream.identity()).toMatchObject({ hostId: world.control.hostId, hostEpoch: 1 });
    expect(statSync(join(world.dataDir, 'identity.json')).mode & 0o777).toBe(0o600);
  });

  test('a later start needs no token and asks for no enrolment', async () => {
    await world.start();
    await world.until(isConnected, 'connected');
    world.joinToken = undefined;
    await world.restart();
    await world.until(() => world.control.count('sync') >= 2, 'a second sync');
    expect(world.control.count('enrol')).toBe(1);
  });

  test('a token given to an enrolled host is not used', async () => {
    await world.start();
    await world.until(isConnected, 'connected');
    world.joinToken = 'rubbish';
    await world.restart();
    await world.until(isConnected, 'connected');
    expect(world.control.count('enrol')).toBe(1);
  });

  test('without a token the start fails and says what to do', async () => {
    world.joinToken = undefined;
    await expect(world.start()).rejects.toThrow(/holdfast host join-token host-1/);
    await expect(world.open()).rejects.toBeInstanceOf(StartError);
  });

  test('what is no token is found at start, before control is asked', async () => {
    world.joinToken = 'hfj1.cut';
    await expect(world.start()).rejects.toThrow(/is not one .* new join token/);
    expect(world.control.seen).toHaveLength(0);
  });

  test('a token that control refuses ends the daemon and says what to do', async () => {
    world.control.joinTokens.clear();
    await world.start();
    await expect(world.running).rejects.toThrow(/join_token_invalid.*new join token/);
    await expect(world.running).rejects.toBeInstanceOf(StartError);
    world.running = Promise.resolve();
  });

  test('a lost answer is asked for again with the same key', async () => {
    world.control.behave('enrol', { kind: 'late', delayMs: 3_600_000 });
    await world.start();
    await world.passUntil(() => world.control.count('enrol') >= 2, 'a second try');
    world.control.up();
    await world.passUntil(isConnected, 'connected');
    expect(new Set(enrolments().map(({ publicKey }) => publicKey.x)).size).toBe(1);
    expect(new Set(enrolments().map(({ nonce }) => nonce)).size).toBe(enrolments().length);
  });

  test('the key survives a crash between asking and the answer', async () => {
    world.control.behave('enrol', { kind: 'hang' });
    await world.start();
    await world.control.whenAsked('enrol', 1);
    await world.restart();
    await world.control.whenAsked('enrol', 2);
    expect(new Set(enrolments().map(({ publicKey }) => publicKey.x)).size).toBe(1);
  });

  test('control out of reach is waited for, in the log and without an outage', async () => {
    world.control.down();
    await world.start();
    await world.passUntil(() => world.control.count('enrol') >= 3, 'three tries');
    expect(world.hasLogged('cannot enrol yet')).toBe(true);
    expect(world.upstream.status()).toMatchObject({ state: 'starting', outage: null });
    expect(world.upstream.status().lastError).toContain('enrolment');
    world.control.up();
    await world.passUntil(isConnected, 'connected');
  });

  test('I10: an enrolment by a control whose key the token does not name is not believed', async () => {
    const stranger = await FakeControl.start(world.clock);
    stranger.joinTokens.add(world.joinToken ?? '');
    const send = world.control.send.bind(world.control);
    world.control.send = (request) => stranger.send(request);
    await world.start();
    await world.passUntil(() => stranger.count('enrol') >= 2, 'two tries');
    expect(world.upstream.identity()).toBeNull();
    expect(readFileSync(join(world.dataDir, 'identity.json'), 'utf8')).not.toContain(
      stranger.controlId,
    );
    world.control.send = send;
    await world.passUntil(isConnected, 'connected');
  });

  test.each([
    ['signed by another key', { kind: 'foreign_key' }],
    [
      'in answer to another request',
      { kind: 'alter', alter: (said: object) => ({ ...said, nonce: 'another-nonce-123' }) },
    ],
  ] as const)('I10: an enrolment %s is not believed', async (_, behaviour) => {
    world.control.behave('enrol', behaviour);
    await world.start();
    await world.passUntil(() => world.control.count('enrol') >= 2, 'two tries');
    expect(world.upstream.identity()).toBeNull();
  });

  test('the secret of the token is in no log line', async () => {
    world.control.behave('enrol', { kind: 'foreign_key' });
    await world.start();
    await world.passUntil(() => world.control.count('enrol') >= 2, 'two tries');
    expect(JSON.stringify(world.logged)).not.toContain('c2VjcmV0');
  });
});

test('I10: enrolled anew under a control that has only older revisions, a host has its own again', async () => {
  await world.startWithPolicy();
  const first = await world.control.bundle(1, policyDocument());
  await world.control.publish(2, policyDocument(2));
  await world.passUntil(() => world.revision() === 2, 'revision 2');
  // Control is put back to a copy of before, and the host loses its journal and with it its identity.
  world.control.place(1, first);
  world.control.forgetHost();
  await world.restart(() => rmSync(join(world.dataDir, 'identity.json')));
  expect(world.revision(), 'before it is enrolled it knows no control').toBeNull();
  await world.passUntil(() => world.revision() === 2, 'revision 2 again');
});
