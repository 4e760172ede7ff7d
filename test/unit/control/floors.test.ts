import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import {
  EPOCH_BLOCK,
  isRolledBack,
  judgeSeenEpoch,
  plausibleEpoch,
  plausibleRevision,
  raiseFloor,
  recoveringAtStart,
  wallEpoch,
  type Floor,
} from '../../../control/core/floors.ts';

const floor = (over: Partial<Floor> = {}): Floor => ({
  run: 3,
  epoch: 1_000,
  policyRevision: 4,
  noticeSequence: 0,
  disownedEpoch: 0,
  recovering: 'no',
  ...over,
});

describe('an older copy of the store is told by what is beside it', () => {
  test.each([
    ['a first start', { run: 0, highestEpoch: 0 }, { floor: null, markedEpoch: 0 }, false],
    ['a restart', { run: 3, highestEpoch: 7 }, { floor: floor(), markedEpoch: 7 }, false],
    ['a lost mark', { run: 3, highestEpoch: 7 }, { floor: floor(), markedEpoch: 0 }, false],
    ['a lost floor file', { run: 3, highestEpoch: 7 }, { floor: null, markedEpoch: 7 }, true],
    [
      'a copy of an earlier run',
      { run: 2, highestEpoch: 7 },
      { floor: floor(), markedEpoch: 7 },
      true,
    ],
    ['a copy of this run', { run: 3, highestEpoch: 6 }, { floor: floor(), markedEpoch: 7 }, true],
    [
      'a new store beside an old floor',
      { run: 0, highestEpoch: 0 },
      { floor: floor(), markedEpoch: 7 },
      true,
    ],
  ])('%s', (_what, store, remembered, expected) => {
    expect(isRolledBack(store, remembered)).toBe(expected);
  });
});

test('the floor goes up in blocks, before what it covers is given', () => {
  expect(raiseFloor(floor(), { epoch: 1_000, policyRevision: 4 })).toBeNull();
  expect(raiseFloor(floor(), { epoch: 1_001 })).toEqual(floor({ epoch: 1_001 + EPOCH_BLOCK }));
  expect(raiseFloor(floor(), { policyRevision: 5 })).toEqual(floor({ policyRevision: 5 }));
});

test('a number is believed up to what could be real', () => {
  const nowMs = Date.UTC(2030, 0, 1);
  const highest = wallEpoch(Date.UTC(2030, 0, 2));
  expect(plausibleEpoch(highest, 5, nowMs)).toBe(highest);
  expect(plausibleEpoch(highest + 1, 5, nowMs)).toBeNull();
  // A clock that was put back takes nothing away.
  expect(plausibleEpoch(highest + 1, highest + 1, nowMs)).toBe(highest + 1);
  expect(plausibleRevision(1_000_001, 1)).toBe(1_000_001);
  expect(plausibleRevision(1_000_002, 1)).toBeNull();
});

test('F4: a million epochs for each second since 2020, safe integers for long', () => {
  expect(wallEpoch(Date.UTC(2020, 0, 1) + 1_500)).toBe(1_500_000);
  expect(wallEpoch(0)).toBe(0);
  expect(wallEpoch(Date.UTC(2305, 0, 1))).toBeLessThan(Number.MAX_SAFE_INTEGER);
});

test.each([
  ['a restart', 3, floor(), 'no'],
  ['a copy of the database', 2, floor(), 'leases'],
  ['a copy of the floor', 4, floor(), 'everything'],
  ['no floor', 3, null, 'everything'],
  ['a restart while recovering', 3, floor({ recovering: 'everything' }), 'everything'],
  ['another copy while recovering', 2, floor({ recovering: 'everything' }), 'everything'],
] as const)('F5: %s', (_what, run, remembered, expected) => {
  const beside = { floor: remembered, markedEpoch: 0 };
  expect(recoveringAtStart({ run, highestEpoch: 7 }, beside)).toBe(expected);
});

test.each([
  ['in the store at the start', 5, 'known'],
  ['granted since the copy', 6, 'lost_before'],
  ['the last before this run', 100, 'lost_before'],
  ['granted by this run', 103, 'known'],
  ['above this run', 104, 'above'],
] as const)('F6: an epoch %s', (_what, seen, expected) => {
  const known = { storedAtStart: 5, epochAtStart: 100, highest: 103 };
  expect(judgeSeenEpoch(seen, known)).toBe(expected);
});

test('I6: over any sequence of grants, kills and restored copies no epoch is given twice', () => {
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant('grant' as const),
        count: fc.integer({ min: 1, max: 1_500 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('start' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('copy' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('restore' as const) }) },
    // Reserved, and killed before the commit.
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('killed' as const),
        count: fc.integer({ min: 1, max: 50 }),
      }),
    },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (history) => {
      let disk: Floor = floor({ run: 1, epoch: 0, policyRevision: 0 });
      let stored = 0;
      let copy = 0;
      let base = 0;
      let highestGiven = 0;
      const start = (): void => {
        base = Math.max(stored, disk.epoch);
        disk = { ...disk, run: disk.run + 1, epoch: base };
      };
      const give = (count: number, isCommitted: boolean): void => {
        const highest = Math.max(stored, base) + count;
        disk = raiseFloor(disk, { epoch: highest }) ?? disk;
        if (!isCommitted) return;
        expect(highest - count).toBeGreaterThanOrEqual(highestGiven);
        stored = highest;
        highestGiven = highest;
      };
      for (const one of history) {
        if (one.kind === 'grant') give(one.count, true);
        else if (one.kind === 'copy') copy = stored;
        else {
          if (one.kind === 'killed') give(one.count, false);
          if (one.kind === 'restore') stored = copy;
          start();
        }
      }
    }),
    { numRuns: 500 },
  );
});
