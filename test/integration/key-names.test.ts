/** What a key is called decides nothing: it is known by its thumbprint. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { UpstreamWorld, policyDocument } from '../fakes/upstream-world.ts';

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
  await world.passUntil(
    () => world.upstream.policy.rejectedPolicy()?.policyRevision === 2,
    'revision 2 refused',
  );
  await world.restart();
  expect(world.revision()).toBe(1);
  await world.control.publish(3, policyDocument(3));
  await world.passUntil(() => world.revision() === 3, 'revision 3 in force');
});
