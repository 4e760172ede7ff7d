import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HOUR_MS, MINUTE_MS } from '../../shared/core/time.ts';
import { compileCel } from '../../shared/platform/cel.ts';
import { SYNC_INTERVAL_MS, UpstreamWorld, policyDocument } from '../fakes/upstream-world.ts';

let world: UpstreamWorld;
beforeEach(async () => {
  world = await UpstreamWorld.create();
});
afterEach(() => world.dispose());

const authority = (name: string): string => join(world.dataDir, 'authority', name);
const rejections = (reason: string): number =>
  world.metrics.value('holdfast_policy_rejections_total', { reason });
const kinds = (kind: string): number => world.feed.kinds().filter((each) => each === kind).length;

/** Publishes and waits until the host has it in force. */
async function publish(policyRevision: number, limit = policyRevision): Promise<void> {
  await world.control.publish(policyRevision, policyDocument(limit));
  await world.passUntil(() => world.revision() === policyRevision, `revision ${policyRevision}`);
}

/** Makes `statement` the newest and waits until the host has refused it. */
async function offer(policyRevision: number, statement: string, reason: string): Promise<void> {
  const before = rejections(reason);
  world.control.place(policyRevision, statement);
  await world.passUntil(() => rejections(reason) > before, `refused as ${reason}`);
}

describe('activation', () => {
  test('a publication is in force before the next sync, journaled and told to control', async () => {
    await world.startWithPolicy();
    await world.settle();
    const beforeMs = world.clock.now().bootMs;
    await world.control.publish(2, policyDocument(2));
    await world.until(() => world.revision() === 2, 'revision 2');
    expect(world.clock.now().bootMs).toBe(beforeMs);
    expect(kinds('policy_activated')).toBe(2);
    await world.passUntil(
      () => world.control.lastSync?.policyRevision === 2,
      'told to control',
      1_000,
    );
    expect(world.control.lastSync?.highWater.policyRevision).toBe(2);
  });

  test('a caller keeps the policy object that it got', async () => {
    await world.startWithPolicy();
    const held = world.upstream.policy.activePolicy();
    await publish(2);
    expect(held?.policyRevision).toBe(1);
    expect(world.upstream.policy.activePolicy()).not.toBe(held);
  });

  test('only three generations stay on disk', async () => {
    await world.startWithPolicy();
    for (const revision of [2, 3, 4, 5]) await publish(revision);
    const bundles = readdirSync(authority('')).filter((name) => name.startsWith('bundle-'));
    expect(bundles.toSorted()).toEqual(['bundle-3.jws', 'bundle-4.jws', 'bundle-5.jws']);
  });

  test('control is asked with the ETag of the revision in force, not of one refused', async () => {
    await world.startWithPolicy();
    const etagOf = (): string | undefined =>
      world.control.seen.filter(({ route }) => route === 'bundle').at(-1)?.request.headers?.[
        'if-none-match'
      ];
    await world.passUntil(() => etagOf() !== undefined, 'asked with an ETag');
    const inForce = etagOf();
    await offer(
      2,
      await world.control.bundle(2, { ...policyDocument(2), rules: [] }),
      'policy_invalid',
    );
    await publish(3);
    expect(
      world.control.seen.some(({ request }) => request.headers?.['if-none-match'] === inForce),
    ).toBe(true);
    await world.passUntil(() => etagOf() !== inForce, 'asked with the new one');
    expect(etagOf()).toMatch(/^"3-/);
  });

  test('nothing of a bundle is in force when its disk refuses it, and it is tried again', async () => {
    await world.startWithPolicy();
    rmSync(authority(''), { recursive: true });
    writeFileSync(authority('').replace(/\/$/, ''), 'not a directory');
    await offer(2, await world.control.bundle(2, policyDocument(2)), 'not_stored');
    expect(world.revision()).toBe(1);
    expect(world.upstream.policy.rejectedPolicy()).toBeNull();
    rmSync(authority('').replace(/\/$/, ''));
    const { makeDirectory } = await import('../../shared/platform/durable-file.ts');
    makeDirectory(authority(''));
    await world.passUntil(() => world.revision() === 2, 'revision 2 in force');
  });
});

describe('I10, I11: what is refused', () => {
  test('I10: a bundle signed by a foreign key is refused, counted, its number not believed', async () => {
    await world.startWithPolicy();
    await offer(99, await world.control.foreignBundle(99, policyDocument(9)), 'key_unknown');
    expect(world.revision()).toBe(1);
    expect(world.upstream.policy.rejectedPolicy()).toBeNull();
    expect(kinds('policy_rejected')).toBe(0);
    await publish(2);
  });

  test('I10: an older revision is refused, however rightly it is signed', async () => {
    await world.startWithPolicy();
    const old = await world.control.bundle(1, policyDocument(100));
    await publish(2);
    await offer(1, old, 'revision_regressed');
    expect(world.revision()).toBe(2);
  });

  test('I10: the same revision with another content is refused', async () => {
    await world.startWithPolicy();
    await publish(2);
    await offer(2, await world.control.bundle(2, policyDocument(7)), 'revision_conflict');
    expect(world.upstream.policy.activePolicy()?.document).toEqual(policyDocument(2));
  });

  test.each([
    ['of another control', 'wrong_audience', { controlId: 'ctl_another' }],
    [
      'whose digest is not that of its document',
      'digest_mismatch',
      { policyDigest: '0'.repeat(64) },
    ],
    ['that has lost its revision', 'payload_invalid', { policyRevision: undefined }],
  ] as const)('I10: a bundle %s is refused', async (_, reason, change) => {
    await world.startWithPolicy();
    await offer(
      2,
      await world.control.bundle(2, policyDocument(2), (bundle) => ({ ...bundle, ...change })),
      reason,
    );
    expect(world.revision()).toBe(1);
  });

  test.each([
    ['an empty list of rules', { rules: [] }],
    ['a field that this sidecar does not know', { fromTheFuture: true }],
    [
      'an expression that does not compile',
      { rules: [{ ...policyDocument().rules[0], permit: [{ expression: '1 +' }] }] },
    ],
    [
      'a failing test of its own',
      {
        tests: [
          {
            name: 'x',
            given: { principal: 'agent:billing', action: 'payments.capture' },
            expect: { decision: 'permit' },
          },
        ],
      },
    ],
    ['a nesting deeper than any policy has', { description: nested(200) }],
  ])(
    'I11: a revision with %s leaves the last known good one in force and says so upwards',
    async (_, change) => {
      await world.startWithPolicy();
      await offer(
        2,
        await world.control.bundle(2, { ...policyDocument(2), ...change }),
        'policy_invalid',
      );
      expect(world.revision()).toBe(1);
      expect(world.upstream.policy.rejectedPolicy()).toMatchObject({ policyRevision: 2 });
      await world.passUntil(
        () => world.control.lastSync?.policyRejected?.policyRevision === 2,
        'told to control',
      );
      expect(world.control.lastSync?.policyRevision).toBe(1);
      expect(kinds('policy_rejected')).toBe(1);
      await publish(3);
      expect(world.upstream.policy.rejectedPolicy()).toBeNull();
    },
  );

  test('I11: a document whose nesting overflows the stack ends no process', async () => {
    await world.startWithPolicy();
    const change = { policy: nested(5_000), policyDigest: '0'.repeat(64) };
    const statement = await world.control.bundle(2, {}, (bundle) => ({ ...bundle, ...change }));
    await offer(2, statement, 'policy_invalid');
    expect(world.upstream.policy.rejectedPolicy()).toMatchObject({ policyRevision: 2 });
    await publish(3);
  });

  test('I11: a refused revision is not fetched again and again, nor tried after a restart', async () => {
    await world.startWithPolicy();
    await offer(
      2,
      await world.control.bundle(2, { ...policyDocument(2), rules: [] }),
      'policy_invalid',
    );
    await world.pass(2 * SYNC_INTERVAL_MS);
    const fetched = world.control.count('bundle');
    await world.pass(2 * MINUTE_MS);
    expect(world.control.count('bundle') - fetched).toBe(0);
    await world.restart();
    await world.pass(MINUTE_MS);
    expect(rejections('policy_invalid')).toBe(0);
    expect(world.upstream.policy.rejectedPolicy()).toMatchObject({ policyRevision: 2 });
    expect(world.revision()).toBe(1);
  });

  test('I11: one bad revision does not let the cached authority run out', async () => {
    await world.startWithPolicy();
    await offer(
      2,
      await world.control.bundle(2, { ...policyDocument(2), rules: [] }),
      'policy_invalid',
    );
    await world.pass(5 * MINUTE_MS);
    expect(world.staleness()).toBeLessThan(2 * SYNC_INTERVAL_MS);
  });

  test('a rejected revision still brings the keys under which control signs from now on', async () => {
    await world.startWithPolicy();
    await world.control.rotate({ keepOld: true });
    await offer(
      2,
      await world.control.bundle(2, { ...policyDocument(2), rules: [] }),
      'policy_invalid',
    );
    await world.control.signWithNewest();
    await publish(3);
    expect(rejections('key_unknown')).toBe(0);
  });
});

describe('keys', () => {
  test('they rotate with overlap, and the generation on disk stays readable', async () => {
    await world.startWithPolicy();
    await world.control.rotate({ keepOld: true });
    await publish(2);
    await world.control.signWithNewest();
    await publish(3);
    await world.restart();
    expect(world.revision()).toBe(3);
    writeFileSync(authority('bundle-3.jws'), 'damaged');
    world.control.down();
    await world.restart();
    expect(world.revision()).toBe(2);
  });

  test('an older bundle that comes late does not take newer keys away', async () => {
    await world.startWithPolicy();
    const late = await world.control.bundle(2, policyDocument(2));
    await world.control.rotate({ keepOld: true });
    const bad = { ...policyDocument(3), rules: [] };
    await offer(3, await world.control.bundle(3, bad), 'policy_invalid');
    world.control.place(2, late);
    await world.passUntil(() => world.revision() === 2, 'revision 2');
    await world.control.signWithNewest();
    await publish(4);
    expect(rejections('key_unknown')).toBe(0);
  });

  test('I10: a key that control has retired signs nothing any more', async () => {
    await world.startWithPolicy();
    const byOldKey = await world.control.bundle(4, policyDocument(4));
    await world.control.rotate({ keepOld: false });
    await publish(2);
    await world.control.signWithNewest();
    await offer(4, byOldKey, 'key_unknown');
    await world.restart();
    await offer(4, byOldKey, 'key_unknown');
    expect(world.revision()).toBe(2);
  });
});

describe('I5, I10: restart', () => {
  test('I10: with control away the policy on disk is served, with its age', async () => {
    await world.startWithPolicy();
    await world.pass(MINUTE_MS);
    world.control.down();
    await world.restart(() => world.clock.jump(10 * MINUTE_MS));
    expect(world.revision()).toBe(1);
    expect(world.staleness()).toBeGreaterThanOrEqual(10 * MINUTE_MS);
    expect(world.staleness()).toBeLessThan(10 * MINUTE_MS + 2 * SYNC_INTERVAL_MS);
    expect(world.upstream.identity()?.hostId).toBe(world.control.hostId);
  });

  test('I5: the age goes on by wall time over a reboot', async () => {
    await world.startWithPolicy();
    world.control.down();
    await world.restart(() => world.clock.reboot({ downMs: HOUR_MS }));
    expect(world.staleness()).toBeGreaterThanOrEqual(HOUR_MS);
  });

  test('I5: expired, when the wall clock went back behind the last confirmation over a reboot', async () => {
    await world.startWithPolicy();
    world.control.down();
    await world.restart(() => {
      world.clock.stepWall(-HOUR_MS);
      world.clock.reboot();
    });
    expect(world.revision()).toBe(1);
    expect(world.staleness()).toBeNull();
  });

  test('I5: within one boot the wall clock lengthens and shortens nothing', async () => {
    await world.startWithPolicy();
    world.control.down();
    await world.pass(MINUTE_MS);
    const before = world.staleness() ?? 0;
    world.clock.stepWall(-24 * HOUR_MS);
    expect(world.staleness()).toBe(before);
    await world.restart(() => world.clock.jump(1_000));
    expect(world.staleness()).toBe(before + 1_000);
  });

  test('I5: suspended time counts', async () => {
    await world.startWithPolicy();
    world.control.down();
    const before = world.staleness() ?? 0;
    world.clock.jump(7 * HOUR_MS);
    expect(world.staleness()).toBe(before + 7 * HOUR_MS);
  });

  test('I5: the age counts from the sending of the sync, not from its answer', async () => {
    await world.startWithPolicy();
    world.control.behave('sync', { kind: 'late', delayMs: 1_500 });
    const asked = world.control.count('sync');
    await world.passUntil(() => world.control.count('sync') > asked, 'a sync under way');
    const sentMs = world.clock.now().bootMs;
    await world.pass(1_500);
    await world.until(
      () => (world.staleness() ?? 0) <= world.clock.now().bootMs - sentMs + 250,
      'confirmed',
    );
    expect(world.staleness()).toBeGreaterThanOrEqual(1_400);
  });

  test('I5: an unknown time of confirmation counts as expired', async () => {
    await world.startWithPolicy();
    world.control.down();
    await world.restart(() => writeFileSync(authority('confirmed.json'), '{"checksum":"00"}'));
    expect(world.revision()).toBe(1);
    expect(world.staleness()).toBeNull();
  });

  test('I5: control that names a newer revision confirms the present one no more', async () => {
    await world.startWithPolicy();
    world.control.behave('bundle', { kind: 'hang' });
    world.control.newestRevision = 2;
    await world.pass(MINUTE_MS);
    expect(world.revision()).toBe(1);
    expect(world.staleness()).toBeGreaterThan(MINUTE_MS - 2 * SYNC_INTERVAL_MS);
  });

  test('a revision just put in force is as old as the sync that named it, never unknown', async () => {
    await world.startWithPolicy();
    const seen: (number | null)[] = [];
    await world.control.publish(2, policyDocument(2));
    await world.until(() => {
      seen.push(world.staleness());
      return world.revision() === 2;
    }, 'revision 2');
    expect(seen).not.toContain(null);
    expect(world.staleness()).not.toBeNull();
  });
});

describe('what lies on disk', () => {
  test('K3: a file that was tampered with is refused, and the generation before it serves', async () => {
    await world.startWithPolicy();
    await publish(2);
    world.control.down();
    await world.restart(() => flipByte(authority('bundle-2.jws')));
    expect(world.revision()).toBe(1);
    expect(rejections('signature_invalid')).toBe(1);
  });

  test('I5: the older generation has the age of the last sync that confirmed that one', async () => {
    await world.startWithPolicy();
    await publish(2);
    await world.pass(10 * MINUTE_MS);
    world.control.down();
    await world.restart(() => flipByte(authority('bundle-2.jws')));
    expect(world.revision()).toBe(1);
    expect(world.staleness()).toBeGreaterThan(9 * MINUTE_MS);
  });

  test('a tampered file is replaced by the genuine one when control is back', async () => {
    await world.startWithPolicy();
    await publish(2);
    await world.restart(() => flipByte(authority('bundle-2.jws')));
    expect(world.revision()).toBe(1);
    await world.passUntil(() => world.revision() === 2, 'revision 2 again');
    expect(readFileSync(authority('bundle-2.jws'), 'utf8').split('.')).toHaveLength(3);
  });

  test('I10: a foreign bundle put in the place of the genuine one is refused', async () => {
    await world.startWithPolicy();
    await publish(2);
    const foreign = await world.control.foreignBundle(2, policyDocument(9_999));
    world.control.down();
    await world.restart(() => writeFileSync(authority('bundle-2.jws'), foreign));
    expect(world.revision()).toBe(1);
    expect(rejections('key_unknown')).toBe(1);
  });

  test('I10: an older genuine bundle under the name of a newer one is refused', async () => {
    await world.startWithPolicy();
    await publish(2);
    const old = readFileSync(authority('bundle-1.jws'), 'utf8');
    world.control.down();
    await world.restart(() => writeFileSync(authority('bundle-2.jws'), old));
    expect(rejections('revision_conflict')).toBe(1);
    expect(world.revision()).toBe(1);
  });

  test('without its record the newest bundle that verifies serves', async () => {
    await world.startWithPolicy();
    await publish(2);
    world.control.down();
    await world.restart(() => flipByte(authority('active.json')));
    expect(world.revision()).toBe(2);
    expect(world.hasLogged('damaged')).toBe(true);
  });

  test('the highest revision ever in force is remembered over a restart', async () => {
    await world.startWithPolicy();
    await publish(5);
    await world.restart();
    await offer(4, await world.control.bundle(4, policyDocument(4)), 'revision_regressed');
    expect(world.revision()).toBe(5);
  });
});

describe('I11: two deaths', () => {
  test('a revision that the sidecar did not survive twice is quarantined, and told to control', async () => {
    await world.startWithPolicy();
    const marks: string[] = [];
    // What the disk looks like while revision 2 is compiled is what a death there leaves behind.
    world.compile = (source) => {
      if (source.includes('2') && existsSync(authority('activating.json'))) {
        marks.push(readFileSync(authority('activating.json'), 'utf8'));
      }
      return compileCel(source);
    };
    await world.restart();
    const statement = await world.control.bundle(2, policyDocument(2));
    world.control.place(2, statement);
    await world.passUntil(() => world.revision() === 2, 'revision 2');
    expect(marks.at(-1)).toContain('"underWay":true');
    expect(existsSync(authority('activating.json'))).toBe(false);

    world.control.down();
    const dead = marks.at(-1) ?? '';
    await world.restart(() => writeFileSync(authority('activating.json'), dead));
    expect(world.revision()).toBe(2);
    expect(world.upstream.policy.rejectedPolicy()).toBeNull();

    const twice = marks.at(-1) ?? '';
    expect(twice).toContain('"deaths":1');
    await world.restart(() => writeFileSync(authority('activating.json'), twice));
    expect(world.revision()).toBe(1);
    expect(world.upstream.policy.rejectedPolicy()).toMatchObject({ policyRevision: 2 });
    expect(world.upstream.policy.rejectedPolicy()?.reason).toMatch(/^quarantined/);
    expect(rejections('quarantined')).toBe(1);
    expect(kinds('policy_rejected')).toBe(1);

    world.control.up();
    await world.passUntil(
      () => world.control.lastSync?.policyRejected?.policyRevision === 2,
      'told to control',
    );
    await world.pass(2 * MINUTE_MS);
    expect(world.revision()).toBe(1);
    await publish(3);
  });
});

function flipByte(path: string): void {
  const bytes = readFileSync(path);
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] ?? 0) === 65 ? 66 : 65;
  writeFileSync(path, bytes);
}

function nested(levels: number): unknown {
  let value: unknown = 'x';
  for (let depth = 0; depth < levels; depth += 1) value = [value];
  return value;
}
