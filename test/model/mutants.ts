/** Laws that are wrong in one way each, and the scenario in which that is found out. */
import { TRUE_LAWS, type Laws } from './laws.ts';
import type { Scenario } from './lease-model.ts';
import { SCENARIOS, type ScenarioName } from './scenarios.ts';
import { stepMs } from './terms.ts';

export type Mutant = {
  readonly name: string;
  readonly scenario: Scenario;
  /** Which promise it breaks. */
  readonly breaks: 'I6' | 'I7';
  readonly laws: Laws;
};

const mutant = (
  name: string,
  scenario: ScenarioName,
  breaks: Mutant['breaks'],
  laws: Partial<Laws>,
): Mutant => {
  const base: Scenario = SCENARIOS[scenario];
  // It comes to light sooner where somebody holds the lease at the start.
  const begins = base.begins === 'nothing' ? 'grant' : base.begins;
  return { name, scenario: { ...base, begins }, breaks, laws: { ...TRUE_LAWS, ...laws } };
};

export const MUTANTS: readonly Mutant[] = [
  mutant('the holder counts from the answer', 'messages only', 'I7', {
    countedFrom: ({ now }) => now,
  }),
  mutant('the holder allows for no drift', 'messages only', 'I7', { holderDrift: () => 0 }),
  mutant('the holder ends one step late', 'messages only', 'I7', {
    lookedAt: (now) => ({ ...now, bootMs: now.bootMs - stepMs('slow') }),
  }),
  mutant('the grantor ends one step early', 'messages only', 'I7', {
    granted: (record) => ({ ...record, endsBootMs: record.endsBootMs - stepMs('fast') }),
  }),
  mutant('the clock of a host stops in suspend', 'messages only', 'I7', {
    clockStopsInSuspend: true,
  }),
  mutant('a restart ends what was granted before', 'control restarts', 'I7', {
    terms: (terms) => ({
      ...terms,
      heldSinceMs: null,
      recovery: { ...terms.recovery, startedBootMs: Number.NEGATIVE_INFINITY },
    }),
  }),
  mutant('a restored store goes on from its own epoch', 'database restored', 'I6', {
    floorAtStart: (floor, { highestEpoch }) => ({ ...floor, epoch: highestEpoch }),
  }),
  mutant('there is no floor', 'database restored, wall clock wrong', 'I6', {
    remembered: ({ run }) => ({
      floor: {
        run,
        epoch: 0,
        policyRevision: 0,
        noticeSequence: 0,
        disownedEpoch: 0,
        recovering: 'no',
      },
      markedEpoch: 0,
    }),
  }),
  mutant('a restored store grants at once', 'whole disk restored', 'I7', {
    terms: (terms) => ({ ...terms, heldSinceMs: null }),
  }),
  mutant(
    'a request of before the start counts as heard',
    'whole disk restored, an old request on its way',
    'I7',
    {
      isOfThisRun: () => true,
    },
  ),
  mutant('what hosts have seen is not heard', 'whole disk restored, wall clock wrong', 'I6', {
    reported: () => 0,
  }),
  mutant('the holders of a copy renew', 'holder of a copy', 'I7', {
    terms: (terms) => ({ ...terms, disownedEpoch: 0 }),
  }),
];
