/** How control changes the key by which it signs, and no host is lost over it (`signing-ring.ts`). */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeProtectedHeader } from 'jose';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  generateSigningKey,
  openVerifier,
  publicPart,
  type SigningKey,
} from '../../shared/platform/signatures.ts';
import { BundleSchema, STATEMENT_TYPES, type Bundle } from '../../shared/wire/statements.ts';
import { policyDocument, type Answer, type ControlWorld } from '../fakes/control-world.ts';
import { FleetWorld } from '../fakes/fleet-world.ts';

let fleet: FleetWorld;
let control: ControlWorld;
let old: SigningKey;
let added: SigningKey;

/** Two hosts, one of them the canary. */
beforeEach(async () => {
  fleet = await FleetWorld.create([{ canary: 'true' }, {}], {
    rolloutStages: ['canary=true/1m', '100%'],
  });
  ({ control } = fleet);
  [old] = keysOnDisk();
  added = await generateSigningKey();
});
afterEach(() => fleet.dispose());

const keysPath = (): string => join(control.dataDir, 'signing-keys.json');

function keysOnDisk(): [SigningKey] {
  return (JSON.parse(readFileSync(keysPath(), 'utf8')) as { keys: [SigningKey] }).keys;
}

/** It publishes nothing until it has heard both hosts. */
async function restartWith(...keys: SigningKey[]): Promise<void> {
  await control.stop();
  writeFileSync(keysPath(), JSON.stringify({ keys }));
  await control.start();
}

const publish = (description: string): Promise<Answer> =>
  control.publish(policyDocument({ description }));

/** In force everywhere at once. */
const publishToAll = (description: string, replaces: number): Promise<Answer> =>
  control.call('PUT', '/v1/policy?rollout=all', {
    body: policyDocument({ description }),
    headers: { 'if-match': `"${replaces}"` },
  });

/** By the answer to a sync. */
async function signs(): Promise<string | undefined> {
  const { host } = fleet.host(2);
  const { text } = await host.request('POST', '/v1/sync', host.syncBody());
  return decodeProtectedHeader(text).kid;
}

function logged(words: string): boolean {
  return control.logged.some(({ msg }) => msg.includes(words));
}

/** `null` where none of the keys signed it. */
async function bundleBy(query: string, ...keys: SigningKey[]): Promise<Bundle | null> {
  const { text } = await fleet.host(2).host.request('GET', `/v1/bundle${query}`);
  const verifier = await openVerifier(keys.map(publicPart));
  const expected = { type: STATEMENT_TYPES.bundle, schema: BundleSchema };
  const verified = await verifier.verify(text, expected);
  return verified.ok ? verified.payload : null;
}

test('I8: a new key signs once a revision brings it to the hosts, without another restart', async () => {
  await publish('first');
  await restartWith(added, old);
  expect(await signs()).toBe(old.kid);
  expect(logged('waits for a revision')).toBe(true);
  await fleet.round();
  await publish('second');
  await fleet.pass(90_000);
  expect(await signs()).toBe(added.kid);
  expect(logged('the first signing key signs')).toBe(true);
  await restartWith(added, old);
  expect(await signs()).toBe(added.kid);
});

test('I8, I11: it does not sign while a roll-out holds that revision back from a host', async () => {
  await publish('first');
  await fleet.round();
  await restartWith(added, old);
  await fleet.round();
  await publish('second');
  await fleet.round();
  expect(fleet.running()).toEqual([2, 1]);
  expect(await signs()).toBe(old.kid);
  await control.restart();
  expect(await signs()).toBe(old.kid);
  await fleet.pass(90_000);
  expect(fleet.running()).toEqual([2, 2]);
  expect(await signs()).toBe(added.kid);
});

test('I8: a roll-out that is halted brings the key with the revision that goes back', async () => {
  await publish('first');
  await fleet.round();
  await restartWith(added, old);
  await fleet.round();
  await publish('second');
  await fleet.round();
  expect((await fleet.order('halt', { reason: 'wrong' })).status).toBe(200);
  await fleet.pass(10_000);
  expect(await bundleBy('?wait=0s', old)).toMatchObject({ policyRevision: 3 });
  expect(await signs()).toBe(added.kid);
});

test('I8: a host that was away over several changes gets the bundle under a key that it knows', async () => {
  await publish('first');
  await restartWith(added, old);
  await fleet.round();
  await publishToAll('second', 1);
  await publishToAll('third', 2);
  expect(await bundleBy('', old)).toBe(null);
  const plain = await bundleBy('', added);
  expect(plain).toMatchObject({ policyRevision: 3 });
  expect(await bundleBy(`?trusted=${old.kid}`, old)).toEqual(plain);
  expect(plain?.trust.keys.map(({ kid }) => kid)).toEqual([added.kid, old.kid]);
  expect(await bundleBy(`?trusted=${old.kid},${added.kid}`, added)).toEqual(plain);
  const stranger = await generateSigningKey();
  expect(await bundleBy(`?trusted=${stranger.kid}`, added)).toEqual(plain);
  const { host } = fleet.host(2);
  const refused = await host.request('GET', '/v1/bundle?trusted=mine');
  expect(refused.json).toMatchObject({ code: 'invalid_request' });
});

test('a join token that names the key of before enrols as long as that one is in the file', async () => {
  await publish('first');
  const [token, late] = [await control.joinToken('host-8'), await control.joinToken('host-9')];
  await restartWith(added, old);
  await fleet.round();
  await publishToAll('second', 1);
  expect(await signs()).toBe(added.kid);
  const [first, second] = [fleet.host(1).host, fleet.host(2).host];
  first.key = await generateSigningKey();
  const enrolled = await first.tryEnrol(token, { hostName: 'host-8' });
  expect(decodeProtectedHeader(enrolled.text).kid).toBe(old.kid);
  expect((await control.joinToken('host-7')).split('.')[3]).toBe(added.kid);
  await restartWith(added);
  second.key = await generateSigningKey();
  const refused = await second.tryEnrol(late, { hostName: 'host-9' });
  expect(refused.json).toMatchObject({
    code: 'join_token_invalid',
    detail: expect.stringContaining('has no more') as string,
  });
});

test('before anything was published the oldest key signs: all enrolments have brought it', async () => {
  await restartWith(added, old);
  expect(await signs()).toBe(old.kid);
  await fleet.round();
  await publish('first');
  expect(await signs()).toBe(added.kid);
});

test('where no host knows any of the keys, that is said with the way out', async () => {
  await publish('first');
  await restartWith(added);
  expect(logged('put the one of before behind them')).toBe(true);
  expect(await signs()).toBe(added.kid);
  await restartWith(added, old);
  expect(await signs()).toBe(old.kid);
});

test('I8: a host that is enrolled after the old key was taken out can read the bundle in force', async () => {
  await publish('first');
  await restartWith(added, old);
  await fleet.round();
  await publishToAll('second', 1);
  await fleet.round();
  expect(await signs()).toBe(added.kid);
  await restartWith(added);
  const late = await control.enrolHost('host-9');
  expect(late.enrolment?.trust.keys.map(({ kid }) => kid)).toEqual([added.kid]);
  expect((await late.sync()).policyRevision).toBe(2);
  const answer = await late.request('GET', '/v1/bundle');
  const bundle = await late.open(answer, STATEMENT_TYPES.bundle, BundleSchema);
  expect(bundle.policyRevision).toBe(2);
});

test('I8: the same document is published again where it brings another key', async () => {
  await publish('first');
  await fleet.round();
  await restartWith(added, old);
  await fleet.round();
  expect((await publishToAll('first', 1)).json).toMatchObject({
    outcome: 'published',
    policyRevision: 2,
  });
  await fleet.round();
  expect(await signs()).toBe(added.kid);
  const same = await publishToAll('first', 2);
  expect(same.json).toMatchObject({ outcome: 'unchanged', policyRevision: 2 });
});
