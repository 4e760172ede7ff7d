/** I3, I10: a budget of the fleet is never overspent, and what nobody uses becomes usable. */
import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import type { LimitKind } from '../../../shared/core/limit-kinds.ts';
import { AllotmentWorld, DRIFT, budgetOf } from '../../fakes/allotment-world.ts';

type Step =
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'admit'; readonly host: number; readonly count: number }
  | { readonly kind: 'end'; readonly host: number; readonly count: number }
  /** All ask and sync, and everything arrives. */
  | { readonly kind: 'round'; readonly counts: readonly number[] }
  | {
      readonly kind: 'sync';
      readonly host: number;
      readonly askMs: number;
      readonly answerMs: number;
      readonly isLost: boolean;
    }
  | { readonly kind: 'kill'; readonly host: number }
  | { readonly kind: 'stop' }
  | { readonly kind: 'copy' }
  | { readonly kind: 'start'; readonly copy: boolean; readonly isSeen: boolean };

const host = fc.nat({ max: 2 });
const oneStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant('round'),
      counts: fc.tuple(fc.nat({ max: 6 }), fc.nat({ max: 6 }), fc.nat({ max: 6 })),
    }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('pass'), ms: fc.nat({ max: 4_000 }) }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('admit'),
      host,
      count: fc.integer({ min: 1, max: 8 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('end'), host, count: fc.nat({ max: 4 }) }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('sync'),
      host,
      // Past the time-out too: an old request may arrive late.
      askMs: fc.oneof(fc.nat({ max: 100 }), fc.nat({ max: 9_000 })),
      answerMs: fc.nat({ max: 1_500 }),
      isLost: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.constant(true)),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('kill'), host }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('stop') }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('copy') }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('start'),
      copy: fc.boolean(),
      isSeen: fc.boolean(),
    }),
  },
);
const clockRate = fc.constantFrom(1 - DRIFT, 1, 1 + DRIFT);

function play(
  kind: LimitKind,
  clockRates: readonly number[],
  steps: readonly Step[],
): AllotmentWorld {
  const played = new AllotmentWorld(kind, clockRates);
  for (const step of steps) {
    if (step.kind === 'pass') played.pass(step.ms);
    else if (step.kind === 'admit') played.admit(step.host, step.count);
    else if (step.kind === 'end') played.end(step.host, step.count);
    else if (step.kind === 'sync') played.sync(step.host, step);
    else if (step.kind === 'round') work(played, 1, step.counts);
    else if (step.kind === 'kill') played.restartHost(step.host);
    else if (step.kind === 'stop') played.stopControl();
    else if (step.kind === 'copy') played.copyStore();
    else played.startControl(step);
    played.pass(1);
  }
  return played;
}

function overspent(kind: LimitKind, played: AllotmentWorld): string[] {
  const { units, burst, windowMs } = budgetOf(kind);
  const { admissions } = played;
  if (kind === 'concurrency')
    return played.mostRunning <= units ? [] : [`${played.mostRunning} at once`];
  if (kind === 'quota') {
    const used = new Map<number, number>();
    for (const { window } of admissions) used.set(window, (used.get(window) ?? 0) + 1);
    const over = [...used].filter(([, count]) => count > units);
    const late = played.late > 0 ? [`${played.late} after the window`] : [];
    return [...over.map(([window, count]) => `${count} in window ${window}`), ...late];
  }
  for (const [first, { atMs }] of admissions.entries()) {
    for (let last = first; last < admissions.length; last += 1) {
      // The clock of a host may be ahead of true time by the drift, and reads whole milliseconds.
      const passedMs = ((admissions[last]?.atMs ?? 0) - atMs) * (1 + DRIFT) + 3;
      const allowed = burst + (passedMs * units) / windowMs;
      if (last - first + 1 > allowed + 1e-6) return [`${last - first + 1} in ${passedMs} ms`];
    }
  }
  return [];
}

describe('I3: never more than the budget, whatever is lost, late, killed, restarted or put back', () => {
  test.for<LimitKind>(['rate', 'concurrency', 'quota'])('%s', { timeout: 60_000 }, (kind) => {
    let admitted = 0;
    fc.assert(
      fc.property(
        fc.tuple(clockRate, clockRate, clockRate),
        fc.array(oneStep, { minLength: 40, maxLength: 160 }),
        (rates, steps) => {
          const played = play(kind, rates, steps);
          admitted += played.admissions.length;
          expect(overspent(kind, played)).toEqual([]);
        },
      ),
      { numRuns: 500, endOnFailure: true },
    );
    // Nothing is held by refusing everything.
    expect(admitted).toBeGreaterThan(1_000);
  });
});

/** Every second each of them syncs, and asks for what it wants. */
function work(on: AllotmentWorld, seconds: number, asks: readonly number[]): number[] {
  const admitted = asks.map(() => 0);
  for (let second = 0; second < seconds; second += 1) {
    asks.forEach((count, index) => {
      admitted[index] = (admitted[index] ?? 0) + on.admit(index, count);
      on.sync(index, { askMs: 20, answerMs: 20, isLost: false });
    });
    on.pass(1_000);
  }
  return admitted;
}
const sum = (counts: readonly number[]): number => counts.reduce((all, one) => all + one, 0);

test('I3: a host whose units have ended before the window gives none of them back', () => {
  const world = new AllotmentWorld('quota', [1, 1]);
  expect(sum(work(world, 30, [3, 0]))).toBe(12);
  // The window is of 60 s; by the clock of the holder it is over a little earlier.
  world.pass(29_800);
  expect(world.admit(0, 1)).toBe(0);
  for (const index of [0, 1, 0, 1]) {
    world.admit(index, 1);
    world.sync(index, { askMs: 5, answerMs: 5, isLost: false });
    world.pass(20);
  }
  expect(world.admissions).toHaveLength(12);
});

describe('with control up what nobody uses becomes usable', () => {
  test('a quota: one host alone gets all of it', () => {
    const world = new AllotmentWorld('quota', [1, 1, 1]);
    expect(sum(work(world, 40, [3, 0, 0]))).toBe(12);
  });

  test('a quota: what one host has not used goes to another that asks', () => {
    const world = new AllotmentWorld('quota', [1, 1, 1]);
    // The first asks much at once, and then no more.
    world.sync(0, { askMs: 1, answerMs: 1, isLost: false });
    expect(sum(work(world, 4, [1, 0, 0]))).toBeLessThan(12);
    const later = work(world, 40, [0, 3, 0]);
    expect(sum(world.admissions.map(() => 1))).toBe(12);
    expect(later[1]).toBeGreaterThan(6);
  });

  test('a rate: a busy host gets nearly all while the others are idle, and a fair part when not', () => {
    const world = new AllotmentWorld('rate', [1, 1, 1]);
    work(world, 30, [10, 0, 0]);
    const [alone = 0] = work(world, 50, [10, 0, 0]);
    // 20 in 10 s.
    expect(alone).toBeGreaterThan(80);
    work(world, 20, [10, 10, 0]);
    const [first = 0, second = 0] = work(world, 50, [10, 10, 0]);
    expect(first).toBeGreaterThan(25);
    expect(second).toBeGreaterThan(25);
  });

  test('concurrency: what has ended on one host is admitted on another', () => {
    const world = new AllotmentWorld('concurrency', [1, 1, 1]);
    work(world, 10, [6, 0, 0]);
    expect(world.hosts[0]?.running).toHaveLength(6);
    world.end(0, 6);
    work(world, 12, [0, 6, 0]);
    expect(world.hosts[1]?.running.length).toBeGreaterThan(3);
  });

  test('a host that is lost keeps its part for its term and the deadlines of its work, no longer', () => {
    const world = new AllotmentWorld('concurrency', [1, 1]);
    work(world, 10, [6, 0]);
    // It runs on, and nobody hears of it.
    expect(work(world, 20, [0, 6].slice(0, 0))).toEqual([]);
    let admitted = 0;
    for (let second = 0; second < 40; second += 1) {
      admitted += world.admit(1, 6);
      world.sync(1, { askMs: 20, answerMs: 20, isLost: false });
      world.pass(1_000);
    }
    expect(admitted).toBeGreaterThan(0);
    expect(world.mostRunning).toBeLessThanOrEqual(6);
  });
});

describe('I10: with control down', () => {
  test('what is held is used, and no more, until it ends', () => {
    const world = new AllotmentWorld('quota', [1, 1]);
    work(world, 6, [1, 0]);
    world.stopControl();
    const before = world.admissions.length;
    const admitted = world.admit(0, 20);
    expect(admitted).toBeGreaterThan(0);
    expect(before + admitted).toBeLessThanOrEqual(12);
    world.restartHost(0);
    expect(world.admit(0, 5)).toBe(0);
  });

  test('a restart of control renews at once and gives nothing new until every host was heard', () => {
    const world = new AllotmentWorld('concurrency', [1, 1, 1]);
    work(world, 6, [2, 0, 0]);
    world.stopControl();
    world.startControl({ copy: false, isSeen: false });
    expect(sum(work(world, 4, [0, 6, 0]))).toBe(0);
    // The third has nothing to say of limits, and speaks all the same.
    const all = work(world, 8, [1, 6, 1]);
    expect(all[1]).toBeGreaterThan(0);
    expect(world.mostRunning).toBeLessThanOrEqual(6);
  });
});
