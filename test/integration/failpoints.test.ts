/**
 * A sidecar that is killed between two durable steps, on purpose: the moments that random kills meet
 * by luck. All of them are `npm run faults -- failpoints`; these are the ones that differ most.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FailpointName } from '../../shared/platform/failpoints.ts';
import {
  FAILPOINT_CASES,
  runFailpointCase,
  type CaseResult,
  type FailpointCase,
} from '../faults/campaigns/failpoints-cases.ts';
import {
  migrationKills,
  runFirstStartKill,
  runMigrationKill,
} from '../faults/campaigns/failpoints-migrations.ts';
import { POLICY_KILLS, runPolicyKill } from '../faults/campaigns/failpoints-policy.ts';
import { makeSite, type Site } from '../faults/sidecar/site.ts';
import { Undo } from '../faults/undo.ts';

const BOUND_MS = 60_000;

const undo = new Undo();
let site: Site;

beforeAll(async () => {
  site = await makeSite(undo);
}, BOUND_MS);
afterAll(() => undo.undoAll());

function caseOf(step: FailpointCase['step'], point: FailpointName): FailpointCase {
  const found = FAILPOINT_CASES.find((one) => one.step === step && one.point === point);
  if (found === undefined) throw new Error(`there is no case ${step} ${point}`);
  return found;
}

function expectKept({ problems, lies, report }: CaseResult, point: FailpointName): void {
  expect({ problems, lies }).toEqual({ problems: [], lies: [] });
  expect(report?.killedAt).toBe(point);
}

describe('I1, I2: an admission that was killed is there once, or not at all, and its key says which', () => {
  test.for<FailpointName>([
    'journal.before_commit',
    'journal.after_commit',
    'journal.before_answers',
  ])('at %s', { timeout: BOUND_MS }, async (point) => {
    expectKept(await runFailpointCase(site, undo, caseOf('admit', point)), point);
  });
});

describe('I1, I9: a step that was killed is done or not done, and asking again never doubles it', () => {
  test.for<[FailpointCase['step'], FailpointName]>([
    ['begin_effect', 'journal.after_head'],
    ['settle_effect', 'journal.before_commit'],
    ['report_outcome', 'journal.before_answers'],
  ])('%s at %s', { timeout: BOUND_MS }, async ([step, point]) => {
    expectKept(await runFailpointCase(site, undo, caseOf(step, point)), point);
  });
});

test.for(POLICY_KILLS)(
  'I11: a revision that kills the sidecar at $point is given up by itself, and accepted work goes on',
  { timeout: 2 * BOUND_MS },
  async (kill) => {
    expectKept(await runPolicyKill(kill, undo), kill.point);
  },
);

test(
  'I1: a migration of the journal that is killed at any statement is completed by the next start',
  async () => {
    const { root } = site;
    const kills = await migrationKills('journal', root, undo);
    expect(
      kills.filter(({ point }) => point === 'migration.before_statement').length,
    ).toBeGreaterThan(5);
    const broken: unknown[] = [];
    for (const kill of kills) {
      const { problems } = await runMigrationKill('journal', kill, { root, undo });
      if (problems.length > 0) broken.push({ kill, problems });
    }
    expect(broken).toEqual([]);
  },
  BOUND_MS,
);

test(
  'I1: a first start that is killed once a migration is committed serves at the next',
  async () => {
    const kill = { point: 'migration.after_commit', at: 1 } as const;
    expectKept(await runFirstStartKill(site, undo, kill), kill.point);
  },
  BOUND_MS,
);

test(
  'I1: a first start that is killed within the first migration serves at the next',
  async () => {
    const kill = { point: 'migration.before_commit', at: 1 } as const;
    expectKept(await runFirstStartKill(site, undo, kill), kill.point);
  },
  BOUND_MS,
);
