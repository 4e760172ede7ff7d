import { describe, expect, test } from 'vitest';
import { placeDecision, type DecisionMoment } from '../../../control/core/decision-instant.ts';
import {
  KEPT_EVERY_MS,
  NO_ANCHORS,
  SILENCE_MS,
  noteAnchor,
  type Anchor,
  type Answered,
} from '../../../control/core/sync-anchors.ts';

/** Syncs at these moments, each timed by the next; what is kept of them. */
function kept(moments: readonly number[], bootOf = (_ms: number) => 'boot-1'): number[] {
  const stored = new Map<number, Anchor>();
  let memory = NO_ANCHORS;
  let answered: Answered = null;
  for (const ms of moments) {
    const clock = { bootId: bootOf(ms), bootMs: ms };
    const noted = noteAnchor(memory, { heardMs: ms, seq: 0, clock }, answered);
    memory = noted.memory;
    answered = { bootMs: ms, tookMs: 4 };
    for (const anchor of noted.toKeep) stored.set(anchor.heardMs, anchor);
  }
  return [...stored.keys()].toSorted((a, b) => a - b);
}

const every5s = (count: number): number[] => Array.from({ length: count }, (_, at) => at * 5_000);

describe('which syncs are kept', () => {
  test('one a minute of a host that is there', () => {
    expect(kept(every5s(30))).toEqual([0, KEPT_EVERY_MS, 2 * KEPT_EVERY_MS]);
  });

  test('the last before a silence, and the first after it', () => {
    const silent = [0, 5_000, 10_000, 10_000 + SILENCE_MS, 30_000];
    expect(kept(silent)).toEqual([0, 10_000, 10_000 + SILENCE_MS]);
  });

  test('the first of each boot, and the last of the one before', () => {
    const boots = (ms: number) => (ms < 15_000 ? 'boot-1' : 'boot-2');
    expect(kept(every5s(6), boots)).toEqual([0, 10_000, 15_000]);
  });
});

describe('I3, I5: where a decision is placed', () => {
  const anchor = (heardMs: number, over: Partial<Anchor> = {}): Anchor => ({
    heardMs,
    transitMsMax: 10,
    seq: 5,
    clock: { bootId: 'boot-1', bootMs: heardMs - 1_000_000 },
    ...over,
  });
  const bounds = { drift: 0.01, readingMs: 0, queueMsMax: 1_000, transitMsMax: 60_000 };
  const place = (
    moment: DecisionMoment,
    anchors: readonly Anchor[],
    givenOut: number | null = null,
  ) =>
    placeDecision(moment, { anchors, scales: [], givenOutMs: givenOut, nowMs: 9_000_000 }, bounds);
  const decided = { seq: 6, clock: { bootId: 'boot-1', bootMs: 1_000_000 } };

  test('by the time since a sync of the same boot, within drift and the time that its request took', () => {
    const placed = place(decided, [anchor(1_900_000)]);
    // 100 s after it.
    expect(placed).toEqual({
      fromMs: Math.floor(1_900_000 - 10 / 0.99 + 100_000 / 1.01),
      toMs: Math.ceil(1_900_000 + 100_000 / 0.99),
      by: 'boot_clock',
    });
  });

  test('closer by the syncs on both sides', () => {
    const after = anchor(2_010_000, { seq: 6 });
    const { fromMs, toMs } = place(decided, [anchor(1_900_000), after]);
    expect(toMs).toBe(Math.ceil(2_010_000 - 10_000 / 1.01));
    expect(toMs - fromMs).toBeLessThan(250);
  });

  test('by the order of the journal alone, in a boot from which nothing was heard', () => {
    const moment = { seq: 6, clock: { bootId: 'boot-2', bootMs: 5 } };
    const placed = place(moment, [anchor(1_900_000), anchor(2_500_000, { seq: 6 })]);
    expect(placed).toEqual({
      fromMs: Math.floor(1_900_000 - 10 / 0.99 - 1_000),
      toMs: 2_500_000,
      by: 'journal_order',
    });
  });

  test('never before the revision that it was decided by was given out', () => {
    expect(place(decided, [anchor(1_900_000)], 2_000_000).fromMs).toBe(2_000_000);
  });

  test('a wall clock is not asked for', () => {
    expect(place({ seq: 6, clock: null }, []).by).toBe('journal_order');
  });
});
