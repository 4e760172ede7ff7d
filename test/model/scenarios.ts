/** What is explored: each with a few faults, so that what can follow from them is looked at deeply. */
import type { Faults, Scenario } from './lease-model.ts';

const NO_FAULTS: Faults = {
  twice: 0,
  controlKilled: 0,
  copied: 0,
  restoredDatabase: 0,
  restoredAll: 0,
  hostRestarted: 0,
  clockStepped: 0,
};

function scenario(over: Partial<Omit<Scenario, 'faults'>>, faults: Partial<Faults>): Scenario {
  return {
    hosts: 2,
    isWallClockRight: true,
    rates: 'worst',
    begins: 'nothing',
    isTimeStill: false,
    ...over,
    faults: { ...NO_FAULTS, ...faults },
  };
}

export const SCENARIOS = {
  'messages only': scenario({}, { twice: 1 }),
  'three hosts': scenario({ hosts: 3 }, {}),
  'clocks of every rate': scenario({ rates: 'all' }, {}),
  'hosts restart': scenario({}, { hostRestarted: 2, clockStepped: 1 }),
  'control restarts': scenario({}, { controlKilled: 2, hostRestarted: 1 }),
  'database restored': scenario(
    { begins: 'a copy, then a grant' },
    { copied: 1, restoredDatabase: 1, controlKilled: 1 },
  ),
  'database restored, wall clock wrong': scenario(
    { isWallClockRight: false, begins: 'a copy, then a grant' },
    { copied: 1, restoredDatabase: 1, controlKilled: 1 },
  ),
  'whole disk restored': scenario(
    { begins: 'a copy, then a grant' },
    { copied: 1, restoredAll: 1 },
  ),
  // With time, a host that stays silent for a term is not waited for: only the wall clock then helps.
  'whole disk restored, wall clock wrong': scenario(
    { isWallClockRight: false, isTimeStill: true, begins: 'a copy, then a grant' },
    { copied: 1, restoredAll: 1 },
  ),
  'whole disk restored, an old request on its way': scenario(
    { begins: 'a copy, a start, an old request on its way, then a grant' },
    { copied: 1, controlKilled: 1, restoredAll: 1 },
  ),
  'holder of a copy': scenario(
    { begins: 'a grant, a copy, then another owner' },
    { copied: 1, restoredDatabase: 1, controlKilled: 1 },
  ),
  'everything at once': scenario(
    {},
    {
      twice: 1,
      controlKilled: 1,
      copied: 1,
      restoredDatabase: 1,
      restoredAll: 1,
      hostRestarted: 1,
      clockStepped: 1,
    },
  ),
} as const satisfies Readonly<Record<string, Scenario>>;

export type ScenarioName = keyof typeof SCENARIOS;
