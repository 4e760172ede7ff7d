/**
 * Random timelines against an oracle that knows the true moments: policies tighten and loosen,
 * principals and credentials are revoked and given back, hosts are cut off, start again and have wrong
 * clocks, and so does control.
 */
import { describe, expect, test } from 'vitest';
import type { NoticeKind } from '../../../shared/wire/divergences.ts';
import { DivergenceWorld, type Decided, type Terms } from '../../fakes/divergence-world.ts';
import { fc } from '../../fakes/properties.ts';

const PRINCIPALS = ['agent:a', 'agent:b'];

const terms: fc.Arbitrary<Terms> = fc.record({
  limit: fc.constantFrom(100, 300, 500),
  principals: fc.constantFrom(PRINCIPALS, ['agent:a'], ['agent:b']),
  maxStalenessMs: fc.constantFrom(20_000, 3_600_000),
  isFresh: fc.nat(5).map((drawn) => drawn === 0),
});
const host = fc.nat({ max: 2 });
const notice: fc.Arbitrary<[NoticeKind, string]> = fc.constantFrom<[NoticeKind, string][]>(
  ['revoke_principal', 'agent:a'],
  ['revoke_credential', 'app:app-1'],
  ['revoke_credential', 'host:host_1'],
  ['kill_action', 'payments.*'],
);

type Took = { readonly askMs: number; readonly answerMs: number; readonly isLost: boolean };
type Step = (world: DivergenceWorld) => void;

const at = (world: DivergenceWorld, index: number) => world.hosts[index % world.hosts.length]!;

function steps(took: fc.Arbitrary<Took>): fc.Arbitrary<readonly Step[]> {
  const decide = fc
    .tuple(host, fc.constantFrom(...PRINCIPALS), fc.constantFrom(50, 200, 400, 600))
    .map(
      ([index, principal, amount]): Step =>
        (world) =>
          world.decide(at(world, index), principal, amount),
    );
  const sync = fc.tuple(host, took).map(
    ([index, how]): Step =>
      (world) =>
        world.sync(at(world, index), how),
  );
  const pass = fc.constantFrom(3, 400, 5_000, 40_000, 600_000).map(
    (ms): Step =>
      (world) =>
        world.pass(ms),
  );
  const publish = fc.tuple(terms, fc.option(fc.subarray(['host_0', 'host_1', 'host_2']))).map(
    ([of, staged]): Step =>
      (world) =>
        world.publish(of, staged),
  );
  const others = fc.oneof(
    fc.constant<Step>((world) => world.complete()),
    notice.map(
      ([kind, subject]): Step =>
        (world) =>
          world.revoke(kind, subject),
    ),
    fc.constant<Step>((world) => world.lift()),
    host.map((index): Step => (world) => {
      at(world, index).isCut = !at(world, index).isCut;
    }),
    host.map(
      (index): Step =>
        (world) =>
          at(world, index).restart(),
    ),
    host.map((index): Step => (world) => {
      world.pass(1_000);
      at(world, index).reboot(world.nowMs);
    }),
    fc
      .tuple(host, fc.integer({ min: -100_000_000, max: 100_000_000 }))
      .map(([index, ms]): Step => (world) => {
        at(world, index).wallOffsetMs = ms;
      }),
    fc
      .tuple(
        fc.option(fc.record({ wallOffsetMs: fc.integer({ min: -10_000_000, max: 10_000_000 }) })),
        fc.nat(90_000),
      )
      .map(
        ([machine, downMs]): Step =>
          (world) =>
            world.restartControl(machine, downMs),
      ),
    fc.constant<Step>((world) => world.stopControl()),
    fc.constant<Step>((world) => world.startControl()),
  );
  const any = fc.oneof(
    { arbitrary: decide, weight: 5 },
    { arbitrary: sync, weight: 4 },
    { arbitrary: pass, weight: 3 },
    { arbitrary: publish, weight: 2 },
    { arbitrary: others, weight: 3 },
  );
  return fc.array(any, { minLength: 10, maxLength: 120, size: 'max' });
}

/** By hand, and at the true moment: the code under test decides nothing here. */
function diverged({ truth, principal, amount, accepted, stalenessMs, hostId }: Decided): boolean {
  const isRevoked = truth.notices.some(
    ({ subject }) =>
      subject === principal ||
      subject === 'app:app-1' ||
      subject === `host:${hostId}` ||
      subject === 'payments.*',
  );
  const { terms: now } = truth;
  if (now === null) return isRevoked && accepted;
  const permits =
    !isRevoked &&
    now.principals.includes(principal) &&
    amount <= now.limit &&
    !now.isFresh &&
    stalenessMs <= now.maxStalenessMs;
  return permits !== accepted;
}

/** A first policy that permits most, known to every host. */
function begun(world: DivergenceWorld): DivergenceWorld {
  const wide = { limit: 500, principals: PRINCIPALS, maxStalenessMs: 3_600_000, isFresh: false };
  world.publish(wide, null);
  for (const one of world.hosts) world.sync(one, { askMs: 0, answerMs: 0, isLost: false });
  return world;
}

/** Everything is back, and what was decided has been reported: that takes a sync of every host. */
function heal(world: DivergenceWorld): void {
  world.startControl();
  for (const one of world.hosts) {
    one.isCut = false;
    world.pass(5_000);
    world.sync(one, { askMs: 0, answerMs: 0, isLost: false });
    world.pass(5_000);
    world.sync(one, { askMs: 0, answerMs: 0, isLost: false });
  }
}

const EXACT = { drift: 0, readingMs: 0, queueMsMax: 0, transitMsMax: 0 };

/** How what was found says too much or too little; `null` where it is right. */
function fault(world: DivergenceWorld, one: Decided): string | null {
  const { placed, found } = world.find(one);
  const isSure = placed.fromMs === placed.toMs || !world.changesWithin(placed, one.hostId);
  const told = JSON.stringify({ one, placed, found });
  if (found.kind === 'unknown') return one.truth.terms === null ? null : `unknown: ${told}`;
  if (found.kind === 'same') return diverged(one) ? `left out: ${told}` : null;
  if (found.kind !== (one.accepted ? 'permit_to_deny' : 'deny_to_permit')) return `kind: ${told}`;
  if (found.certainty === 'certain') return diverged(one) ? null : `invented: ${told}`;
  return isSure ? `possible without a change: ${told}` : null;
}

type Count = { certain: number; possible: number; sure: number };

function count(world: DivergenceWorld, counted: Count): string[] {
  const faults: string[] = [];
  for (const one of world.decided) {
    const { placed, found } = world.find(one);
    if ('certainty' in found) counted[found.certainty] += 1;
    if (placed.fromMs === placed.toMs) counted.sure += 1;
    faults.push(...[fault(world, one)].filter((said) => said !== null));
  }
  return faults;
}

describe('I3, I5, I12: the list has what it must have', () => {
  test('exactly, where clocks run alike and requests take no time', () => {
    const counted: Count = { certain: 0, possible: 0, sure: 0 };
    const took = fc.record({
      askMs: fc.constant(0),
      answerMs: fc.constant(0),
      isLost: fc.boolean(),
    });
    fc.assert(
      fc.property(steps(took), (run) => {
        const world = begun(new DivergenceWorld({ rates: [1, 1, 1], bounds: EXACT }));
        for (const step of run) step(world);
        heal(world);
        expect(count(world, counted)).toEqual([]);
      }),
      { numRuns: 400 },
    );
    expect(counted.sure).toBeGreaterThan(2_000);
    expect(counted.certain).toBeGreaterThan(300);
    // Decided in a boot from which nothing was ever heard, or while control's own machine was down.
    expect(counted.possible).toBeLessThan(counted.certain / 4);
  });

  test('all that diverged, and beyond it only what may have, where clocks drift and requests take time', () => {
    const counted: Count = { certain: 0, possible: 0, sure: 0 };
    const took = fc.record({
      askMs: fc.nat(2_000),
      answerMs: fc.nat(2_000),
      isLost: fc.boolean(),
    });
    const rate = fc.constantFrom(0.991, 1, 1.009);
    const bounds = { drift: 0.01, readingMs: 2, queueMsMax: 0, transitMsMax: 2_000 };
    fc.assert(
      fc.property(steps(took), fc.tuple(rate, rate, rate), (run, rates) => {
        const world = begun(new DivergenceWorld({ rates, bounds }));
        for (const step of run) step(world);
        heal(world);
        expect(count(world, counted)).toEqual([]);
      }),
      { numRuns: 400 },
    );
    expect(counted.certain).toBeGreaterThan(300);
    expect(counted.possible).toBeLessThan(counted.certain);
  });
});
