import { describe, expect, test } from 'vitest';
import {
  controlDown,
  ended,
  silenceOf,
  silentBeforeMs,
} from '../../../control/core/own-outages.ts';
import { NO_TALLY, OutageTallies, addTallies } from '../../../control/core/outage-tally.ts';

describe("I12: control's own view of outages", () => {
  test('control was down from the end of the run before to the start of this one', () => {
    const stopped = controlDown({ run: 3, aliveAtMs: 90, endedAtMs: 100 }, 250);
    expect(stopped).toMatchObject({ hostId: null, fromMs: 100, toMs: 250 });
    expect(stopped.detail).toBe('run 3 of control was stopped');
  });

  test('after a crash, from when it was last known to go on', () => {
    const crashed = controlDown({ run: 3, aliveAtMs: 90, endedAtMs: null }, 250);
    expect(crashed).toMatchObject({ fromMs: 90, toMs: 250 });
    expect(crashed.detail).toMatch(/without a word/);
  });

  test('a wall clock that went back makes it short, never negative', () => {
    expect(controlDown({ run: 1, aliveAtMs: 90, endedAtMs: null }, 50).toMs).toBe(90);
    const silence = { outageId: 'out_1', ...silenceOf({ hostId: 'host_1', lastSyncAtMs: 70 }) };
    expect(silence).toMatchObject({ fromMs: 70, toMs: null });
    expect(ended(silence, 20).toMs).toBe(70);
    expect(ended(silence, 90).toMs).toBe(90);
  });

  test('no host is silent before this run could have heard it', () => {
    expect(silentBeforeMs({ nowMs: 1_000, runForMs: 14, lateAfterMs: 15 })).toBeNull();
    expect(silentBeforeMs({ nowMs: 1_000, runForMs: 15, lateAfterMs: 15 })).toBe(985);
  });
});

describe('I12: the tally of an outage', () => {
  test('counts what it is about, by outage, a refusal for as many as it stands for', () => {
    const tallies = new OutageTallies();
    tallies.count({ outageId: 'a', kind: 'admitted' });
    tallies.count({ outageId: 'a', kind: 'refused' }, 7);
    tallies.count({ outageId: 'b', kind: 'unknown' });
    tallies.count({ outageId: 'a', kind: 'effect_begun' });
    tallies.count({ outageId: null, kind: 'admitted' });
    expect([...tallies.all]).toEqual([
      ['a', { ...NO_TALLY, admitted: 1, refused: 7 }],
      ['b', { ...NO_TALLY, unknown: 1 }],
    ]);
  });

  test('grows with each report', () => {
    const one = { ...NO_TALLY, admitted: 2, failed: 1 };
    expect(addTallies(one, { ...NO_TALLY, admitted: 3 })).toEqual({ ...one, admitted: 5 });
    expect(addTallies(NO_TALLY, one)).toEqual(one);
  });
});
