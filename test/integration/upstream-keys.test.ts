/** The keys by which a host knows its control, as bundles bring them. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MINUTE_MS } from '../../shared/core/time.ts';
import { SYNC_INTERVAL_MS, UpstreamWorld, policyDocument } from '../fakes/upstream-world.ts';

let world: UpstreamWorld;
beforeEach(async () => {
  world = await UpstreamWorld.create();
});
afterEach(() => world.dispose());

test('K3: a key that a bundle calls otherwise still verifies what it signed, over a restart', async () => {
  await world.startWithPolicy();
  const named = await world.control.bundle(2, { ...policyDocument(2), rules: [] }, (bundle) => ({
    ...bundle,
    trust: { keys: bundle.trust.keys.map((key) => ({ ...key, kid: 'another-name' })) },
  }));
  world.control.place(2, named);
  const refused = { reason: 'policy_invalid' };
  const isRefused = (): boolean =>
    world.metrics.value('holdfast_policy_rejections_total', refused) > 0;
  await world.passUntil(isRefused, 'it is refused');
  await world.restart();
  expect(world.revision()).toBe(1);
  await world.control.publish(3, policyDocument(3));
  await world.passUntil(() => world.revision() === 3, 'revision 3');
});

test('a host that was away while control changed keys learns the new one', async () => {
  await world.startWithPolicy();
  world.control.down();
  await world.pass(MINUTE_MS);
  await world.control.rotate({ keepOld: true });
  await world.control.publish(2, policyDocument(2));
  await world.control.signWithNewest();
  world.control.up();
  await world.passUntil(() => world.revision() === 2, 'revision 2');
  await world.pass(MINUTE_MS);
  expect(world.staleness()).toBeLessThan(2 * SYNC_INTERVAL_MS);
});

/** Control changes keys while it cannot be reached, and has the newest bundle under the old one. */
async function changeKeysUnseen(): Promise<void> {
  world.control.down();
  await world.pass(MINUTE_MS);
  await world.control.rotate({ keepOld: true });
  world.control.place(3, await world.control.bundle(3, policyDocument(3)));
  await world.control.signWithNewest();
  world.control.up();
}

test('a host that was away over several changes asks for the bundle under a key that it knows', async () => {
  await world.startWithPolicy();
  const [, , , known] = world.control.joinToken('another').split('.');
  await changeKeysUnseen();
  await world.passUntil(() => world.revision() === 3, 'revision 3');
  const asked = world.control.seen.filter(({ request }) => request.path.includes('trusted='));
  expect(asked.map(({ request }) => request.path)).toEqual([
    `/v1/bundle?wait=0ms&trusted=${known}`,
  ]);
});

test('one that refused the newest revision before it was away asks as well', async () => {
  await world.startWithPolicy();
  await world.control.publish(2, { ...policyDocument(2), kind: 'Nothing' });
  const isRefused = (): boolean => world.upstream.policy.rejectedPolicy()?.policyRevision === 2;
  await world.passUntil(isRefused, 'it is refused');
  await world.pass(MINUTE_MS);
  await changeKeysUnseen();
  await world.passUntil(() => world.revision() === 3, 'revision 3');
  expect(world.upstream.policy.rejectedPolicy()).toBeNull();
});

test('I10: a stranger who answers under another key gets one question for each sync', async () => {
  await world.startWithPolicy();
  world.control.behave('sync', { kind: 'foreign_key' });
  await world.pass(MINUTE_MS);
  const before = { sync: world.control.count('sync'), bundle: world.control.count('bundle') };
  await world.pass(5 * MINUTE_MS);
  const syncs = world.control.count('sync') - before.sync;
  expect(world.control.count('bundle') - before.bundle).toBeLessThanOrEqual(syncs + 1);
  expect(world.revision()).toBe(1);
});
