import { expect, test } from 'vitest';
import { MINUTES_OF_CAMPAIGN, MINUTES_STANDARD, planOf } from '../../simulation/plan.ts';

const drillsOf = (seed: number, minutes: number) =>
  planOf(seed, minutes).tasks.filter(({ kind }) => kind === 'drill');

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
