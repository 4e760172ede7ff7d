import { expect, test } from 'vitest';
import { MINUTES_OF_CAMPAIGN, MINUTES_STANDARD, planOf } from '../../simulation/plan.ts';

const drillsOf = (seed: number, minutes: number) =>
  planOf(seed, minutes, 'quick').tasks.filter(({ kind }) => kind === 'drill');

test.for([MINUTES_OF_CAMPAIGN, MINUTES_STANDARD])(
  'drills are dealt in turn from seed to seed, at %i minutes',
  (minutes) => {
    const dealt = [1, 2, 3, 4].flatMap((seed) => drillsOf(seed, minutes).map((one) => one.seed));
    const [first = -1] = dealt;
    expect(dealt).toEqual(dealt.map((_, n) => first + n));
    expect(dealt.length).toBeGreaterThanOrEqual(4);
  },
);

test('drills of one run come one after the other', () => {
  const times = drillsOf(9, MINUTES_STANDARD).map(({ atMs }) => atMs);
  for (const [index, atMs] of times.slice(1).entries())
    expect(atMs - (times[index] ?? 0)).toBeGreaterThan(60_000);
  expect(times.length).toBeGreaterThan(1);
});

test('a slow run is the quick one, stretched, and the same seed is always of the same pace', () => {
  const quick = planOf(5, MINUTES_OF_CAMPAIGN, 'quick');
  const slow = planOf(5, MINUTES_OF_CAMPAIGN, 'slow');
  const { stretch } = slow.terms;
  expect(stretch).toBeGreaterThan(1);
  expect(slow.terms.leaseTtlMs).toBe(quick.terms.leaseTtlMs * stretch);
  expect(slow.faults.map(({ atMs }) => atMs)).toEqual(
    quick.faults.map(({ atMs }) => atMs * stretch),
  );
  const paces = Array.from({ length: 200 }, (_, seed) => planOf(seed).terms.stretch);
  expect(new Set(paces)).toEqual(new Set([1, stretch]));
  expect(paces).toEqual(Array.from({ length: 200 }, (_, seed) => planOf(seed).terms.stretch));
});
