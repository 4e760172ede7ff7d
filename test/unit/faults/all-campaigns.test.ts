/** All campaigns together: their time, their account, and what makes the whole fail. */
import { expect, test } from 'vitest';
import { FAILPOINTS, type FailpointName } from '../../../shared/platform/failpoints.ts';
import { runAll } from '../../faults/all-campaigns.ts';
import { allText } from '../../faults/all-report.ts';
import { CannotRunHere, type Campaign, type CampaignReport } from '../../faults/campaign.ts';
import { Undo } from '../../faults/undo.ts';

const EVERY = Object.fromEntries(Object.keys(FAILPOINTS).map((name) => [name, 1])) as Record<
  FailpointName,
  number
>;

/** A campaign that takes time of its own making, in steps, until it is told that it is over. */
class Clocked {
  nowMs = 0;
  readonly ran: string[] = [];
  readonly undone: string[] = [];

  campaign(name: string, report: Partial<CampaignReport> = {}, stepMs = 1_000): Campaign {
    return {
      name,
      about: name,
      cyclesAtFirst: 1,
      needs: [],
      run: async ({ isOver, undo }) => {
        undo.add(name, () => void this.undone.push(name));
        const beganMs = this.nowMs;
        let cycles = 0;
        for (; !isOver(); cycles += 1) this.nowMs += stepMs;
        this.ran.push(`${name} ${Math.round((this.nowMs - beganMs) / 1_000)}`);
        await Promise.resolve();
        return {
          counts: { cycles, kind: name },
          faults: { 'kill -9': cycles },
          checks: { I1: 2 },
          lies: [],
          breaches: [],
          ...report,
        };
      },
    };
  }

  run(
    campaigns: readonly Campaign[],
    minutes: number,
    checkPrograms = (_: Campaign): void => undefined,
  ) {
    return runAll(campaigns, {
      minutes,
      seed: 1,
      undo: new Undo(),
      say: () => undefined,
      checkPrograms,
      nowMs: () => this.nowMs,
    });
  }
}

test('the minutes are divided, in turn, and what one takes too much all the others lack alike', async () => {
  const clocked = new Clocked();
  const report = await clocked.run(
    [
      clocked.campaign('failpoints', { failpoints: EVERY }, 200_000),
      clocked.campaign('a'),
      clocked.campaign('b'),
    ],
    5,
  );
  expect(clocked.ran).toEqual(['failpoints 200', 'a 51', 'b 50']);
  expect(report).toMatchObject({ passed: true, seconds: 301 });
  expect(clocked.undone).toEqual(['failpoints', 'a', 'b']);
});

test('more minutes are more slices of each, and their counts are added up', async () => {
  const clocked = new Clocked();
  const names = ['failpoints', 'a'];
  const report = await clocked.run(
    names.map((name) => clocked.campaign(name, { failpoints: EVERY })),
    6,
  );
  expect(clocked.ran.map((ran) => ran.split(' ')[0])).toEqual([...names, ...names, ...names]);
  expect(report.campaigns[1]?.counts['cycles']).toBeGreaterThan(150);
  expect(report.failpoints['journal.after_commit']).toBe(6);
});

test('a failpoint that was not reached fails the run, and is named', async () => {
  const clocked = new Clocked();
  const failpoints = { ...EVERY, 'journal.after_head': 0 };
  const report = await clocked.run([clocked.campaign('failpoints', { failpoints })], 1);
  expect(report.passed).toBe(false);
  expect(allText(report)).toContain('BROKEN failpoint journal.after_head: was not reached');
});

test('a lie, a breach and an error of any of them fail the run', async () => {
  const lie = { kind: 'lost', about: 'x', detail: 'gone' } as const;
  const breach = { what: 'a start', detail: 'failed' };
  for (const report of [{ lies: [lie] }, { breaches: [breach] }]) {
    const clocked = new Clocked();
    const failing = clocked.campaign('a', { ...report, failpoints: EVERY });
    expect((await clocked.run([failing], 1)).passed).toBe(false);
  }
  const clocked = new Clocked();
  const broken: Campaign = { ...clocked.campaign('a'), run: () => Promise.reject(new Error('no')) };
  const rest = clocked.campaign('failpoints', { failpoints: EVERY });
  const report = await clocked.run([broken, rest], 1);
  expect(report.passed).toBe(false);
  expect(report.campaigns[0]?.breaches[0]?.detail).toContain('no');
  expect(clocked.ran).toHaveLength(1);
});

test('what this machine cannot run is skipped, named, and no failure', async () => {
  const clocked = new Clocked();
  const report = await clocked.run(
    [clocked.campaign('a'), clocked.campaign('failpoints', { failpoints: EVERY })],
    1,
    ({ name }) => {
      if (name === 'a') throw new CannotRunHere('a needs strace: not installed here');
    },
  );
  expect(report.passed).toBe(true);
  expect(allText(report)).toContain('SKIPPED: a needs strace');
});

test('the report says what was done how often and by whom, and how much was held against each promise', async () => {
  const clocked = new Clocked();
  const report = await clocked.run(
    [
      clocked.campaign('failpoints', { faults: { 'kill at a failpoint': 15 }, failpoints: EVERY }),
      clocked.campaign('a', { faults: { 'kill -9': 2, 'power cut': 1 } }),
      clocked.campaign('b', { faults: { 'kill -9': 3 }, checks: { I1: 40, I12: 7 } }),
      clocked.campaign('c', { faults: {}, checks: {} }),
    ],
    1,
  );
  const text = allText(report);
  expect(text).toMatch(/^ {2}seed 1, commit \S+.*, [\d.]+ s of 60 s$/m);
  expect(text).toMatch(/^all: no lie, 1 of 4 campaigns skipped$/m);
  expect(text).toMatch(/^ {2}kill -9 +5 {2}a, b$/m);
  expect(text).toMatch(/^ {2}power cut +1 {2}a$/m);
  expect(text).toMatch(/^ {2}I1 +44 {2}what was acknowledged/m);
  expect(text).toMatch(/^ {2}I12 +7 {2}control shows/m);
  expect(text).toMatch(/^ {2}I4 +0 {2}not held here: see npm run simulate$/m);
  for (const name of Object.keys(FAILPOINTS))
    expect(text).toMatch(new RegExp(`^ {2}${name} +1$`, 'm'));
  // One that did nothing has shown nothing.
  expect(text).toMatch(/^ {2}c +SKIPPED: its time was over before it had done anything/m);
  expect(report.passed).toBe(true);
});
