/** The model of leases at a small depth; deeper it is `npm run model -- --depth N`. */
import { describe, expect, test } from 'vitest';
import { explore } from '../../model/explorer.ts';
import { TRUE_LAWS } from '../../model/laws.ts';
import { MUTANTS } from '../../model/mutants.ts';
import { SCENARIOS, type ScenarioName } from '../../model/scenarios.ts';

const DEPTH = 5;
const MUTANT_DEPTH = 11;
const BOUND_MS = 120_000;

describe('I6, I7: over the real decisions of control and sidecar, every way to a depth of 5', () => {
  test.each(Object.keys(SCENARIOS) as ScenarioName[])('%s', (name) => {
    const { breach, states, depth } = explore(SCENARIOS[name], TRUE_LAWS, { depth: DEPTH });
    expect(breach).toBeNull();
    expect(depth).toBe(DEPTH);
    expect(states).toBeGreaterThan(100);
  });
});

describe('I6, I7: each broken variant is found out', () => {
  test.each(MUTANTS)(
    '$name',
    ({ scenario, laws, breaks }) => {
      const { breach } = explore(scenario, laws, { depth: MUTANT_DEPTH });
      expect(breach?.what).toMatch(new RegExp(`^${breaks}: `));
    },
    BOUND_MS,
  );
});
