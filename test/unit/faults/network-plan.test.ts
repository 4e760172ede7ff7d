/** What is done to the network in which cycle: the same for the same seed and number, everything in turn. */
import { expect, test } from 'vitest';
import { NETWORK_FAULTS, networkCycle } from '../../faults/network/network-plan.ts';

const cycles = (seed: number, count: number) =>
  Array.from({ length: count }, (_, at) => networkCycle(seed, at + 1));

test('a cycle follows from the seed and its number alone', () => {
  const [, , , fourth] = cycles(20, 4);
  expect(networkCycle(20, 4)).toEqual(fourth);
  expect(networkCycle(21, 4)).not.toEqual(fourth);
});

test('each fault comes in turn, and no draw leaves the bounds', () => {
  const names = cycles(1, NETWORK_FAULTS.length).map(({ fault }) => fault);
  expect(names).toEqual(NETWORK_FAULTS.map(([fault]) => fault));
  for (const { badMs } of cycles(1, 500)) {
    expect(badMs).toBeGreaterThanOrEqual(600);
    expect(badMs).toBeLessThan(3_000);
  }
});

test('over many cycles a quarter kills, either daemon as often, and each fault meets each kill', () => {
  const many = cycles(1, 2_000);
  const kills = many.filter(({ killed }) => killed !== null);
  expect(kills.length / many.length).toBeCloseTo(0.25, 1);
  expect(kills.filter(({ killed }) => killed === 'control').length / kills.length).toBeCloseTo(
    0.5,
    1,
  );
  expect(new Set(kills.map(({ fault, killed }) => `${fault} ${killed}`)).size).toBe(
    NETWORK_FAULTS.length * 2,
  );
});
