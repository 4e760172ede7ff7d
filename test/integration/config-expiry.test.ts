/** I5 for config values: over a restart, a reboot, clocks that jump, and control that is replayed. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ConfigValues } from '../../dataplane/authority/config-values.ts';
import { HOUR_MS, MINUTE_MS } from '../../shared/core/time.ts';
import type { ConfigChange } from '../../shared/client/index.ts';
import type { ConfigValue } from '../../shared/wire/config-value.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import { startDevDaemons } from '../fakes/dev-daemons.ts';
import { UpstreamWorld, policyDocument } from '../fakes/upstream-world.ts';

const KEY = 'checkout.banner';
const withBanner = (value: string, maxStaleness = '1h'): PolicyDocument => ({
  ...policyDocument(),
  config: { [KEY]: { value, maxStaleness, onExpiry: 'default', default: 'none' } },
});

describe('one host and one control', () => {
  let world: UpstreamWorld;
  beforeEach(async () => {
    world = await UpstreamWorld.create();
    await world.startWithPolicy(withBanner('sale'));
  });
  afterEach(() => world.dispose());

  /** As it is served now, by a reader that is as new as the process. */
  function served(): ConfigValue {
    const { upstream, clock } = world;
    const values = new ConfigValues({ policy: upstream.policy, clock, onRead: () => undefined });
    return values.read(KEY);
  }

  test('I5: a restart makes no value younger', async () => {
    world.control.down();
    await world.restart(() => world.clock.jump(59 * MINUTE_MS));
    expect(served()).toMatchObject({ value: 'sale', expired: false });
    world.clock.jump(2 * MINUTE_MS);
    expect(served()).toMatchObject({ value: 'none', source: 'default', expired: true });
    await world.restart();
    expect(served()).toMatchObject({ expired: true, reason: 'too_old' });
  });

  test('I5: over a reboot its age is taken from the wall clock', async () => {
    world.control.down();
    await world.restart(() => world.clock.reboot({ downMs: 30 * MINUTE_MS }));
    expect(served()).toMatchObject({ value: 'sale', expired: false });
    await world.restart(() => world.clock.reboot({ downMs: 31 * MINUTE_MS }));
    expect(served()).toMatchObject({ value: 'none', expired: true });
  });

  test('I5: over a reboot with a wall clock that went back, its age is not known, and it is expired', async () => {
    world.control.down();
    await world.restart(() => {
      world.clock.reboot({ downMs: MINUTE_MS });
      world.clock.stepWall(-HOUR_MS);
    });
    expect(served()).toMatchObject({ value: 'none', expired: true, reason: 'age_unknown' });
  });

  test('I5: a wall clock set back within a boot lengthens nothing, a suspend shortens', async () => {
    world.control.down();
    world.clock.stepWall(-10 * HOUR_MS);
    expect(served()).toMatchObject({ expired: false });
    world.clock.jump(HOUR_MS + 1);
    expect(served()).toMatchObject({ expired: true, reason: 'too_old' });
  });

  /** An hour and a minute, with syncs and polls all the way. */
  async function passAnHour(): Promise<void> {
    for (let part = 0; part < 12; part += 1) {
      world.clock.jump(5 * MINUTE_MS);
      await world.pass(6_000);
    }
  }

  test('I5: freeze: a signed bundle replayed for ever, with syncs that get no answer, ends in expiry', async () => {
    world.control.behave('bundle', { kind: 'replay' });
    world.control.behave('sync', { kind: 'unreachable', cause: 'timeout' });
    await passAnHour();
    expect(served()).toMatchObject({ value: 'none', expired: true, reason: 'too_old' });
    expect(world.revision()).toBe(1);
  });

  test('I5: freeze: a recorded answer to a sync proves nothing when it is replayed', async () => {
    world.control.behave('bundle', { kind: 'replay' });
    world.control.behave('sync', { kind: 'replay' });
    await passAnHour();
    expect(served()).toMatchObject({ value: 'none', expired: true, reason: 'too_old' });
  });

  test('I5: freeze: control says there is a newer revision, and what carries bundles keeps it back', async () => {
    world.control.behave('bundle', { kind: 'replay' });
    // The poll that waits already is answered as before; the one after it is not.
    await world.pass(40_000);
    await world.control.publish(2, withBanner('recalled'));
    await passAnHour();
    expect(world.control.lastSync?.policyRevision).toBe(1);
    expect(served()).toMatchObject({ value: 'none', expired: true, policyRevision: 1 });
    world.control.behave('bundle', null);
    await world.passUntil(() => world.revision() === 2, 'the newer one');
    expect(served()).toMatchObject({ value: 'recalled', expired: false });
  });

  test('while control confirms, the same value never ends', async () => {
    await passAnHour();
    expect(served()).toMatchObject({ value: 'sale', expired: false });
  });
});

test('I5: over a real restart of the sidecar with control away, a value ends on time, and the watch says so', async () => {
  const daemons = await startDevDaemons({ HOLDFAST_SYNC_INTERVAL: '200ms' });
  const { supervisor } = daemons;
  const stop = new AbortController();
  const sidecar = supervisor.openSidecarClient();
  const control = supervisor.openControlClient();
  try {
    const { policy, policyRevision } = await control.policy();
    const document = { ...policy, config: withBanner('sale', '4s').config };
    await control.publishPolicy(JSON.stringify(document), {
      format: 'json',
      replaces: policyRevision,
    });
    const changes = sidecar.config.watch({ key: KEY, signal: stop.signal });
    const next = async (
      isIt: (value: ConfigValue | undefined) => boolean,
    ): Promise<ConfigChange> => {
      for (;;) {
        const { value, done } = await changes.next();
        if (done === true) throw new Error('the watch ended');
        if (isIt(value.items[0])) return value;
      }
    };
    await next((value) => value?.expired === false && value.value === 'sale');
    await supervisor.kill('control');
    await supervisor.kill('sidecar');
    await supervisor.start('sidecar');
    const ended = await next((value) => value?.expired === true);
    expect(ended.items).toMatchObject([{ value: 'none', source: 'default', reason: 'too_old' }]);
    await supervisor.kill('sidecar');
    await supervisor.start('sidecar');
    expect(await sidecar.config.get(KEY)).toMatchObject({ expired: true, policyRevision: 2 });
    // And it holds again by itself once control has said so.
    await supervisor.start('control');
    const again = await next((value) => value?.expired === false);
    expect(again.items).toMatchObject([{ value: 'sale', source: 'policy' }]);
  } finally {
    stop.abort();
    await sidecar.close();
    await control.close();
    await daemons.close();
  }
}, 60_000);
