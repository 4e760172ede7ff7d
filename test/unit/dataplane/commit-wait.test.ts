import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import { expectedWaitMs, usualCommitMs } from '../../../dataplane/core/commit-wait.ts';

const idle = { usualMs: 5_000, runningMs: null, queueLength: 0, batchMax: 512 };

describe('I10: a slow disk sheds new work early', () => {
  test('W2: where nothing is on its way nothing waits, however slow the disk was', () => {
    expect(expectedWaitMs(idle)).toBe(0);
  });

  test('one that joins waits for what is left of this commit, and for the one that takes it', () => {
    expect(expectedWaitMs({ ...idle, usualMs: 100, runningMs: 40 })).toBe(60 + 100);
    expect(expectedWaitMs({ ...idle, usualMs: 100, queueLength: 511 })).toBe(100);
    expect(expectedWaitMs({ ...idle, usualMs: 100, queueLength: 512 })).toBe(200);
  });

  test('W1: a commit that hangs is noticed while it hangs, before any has been slow', () => {
    expect(expectedWaitMs({ ...idle, usualMs: 2, runningMs: 3_000 })).toBe(3_000);
    expect(expectedWaitMs({ ...idle, usualMs: null, runningMs: 3_000 })).toBe(3_000);
  });

  test('a longer queue never waits for less, and neither does a slower disk', () => {
    const load = fc.record({
      usualMs: fc.nat(10_000),
      runningMs: fc.option(fc.nat(10_000)),
      queueLength: fc.nat(8_192),
    });
    fc.assert(
      fc.property(load, (one) => {
        const at = { ...one, batchMax: 512 };
        const more = { ...at, queueLength: at.queueLength + 1 };
        const slower = { ...at, usualMs: at.usualMs + 1 };
        expect(expectedWaitMs(more)).toBeGreaterThanOrEqual(expectedWaitMs(at));
        expect(expectedWaitMs(slower)).toBeGreaterThanOrEqual(expectedWaitMs(at));
      }),
    );
  });

  test('the average follows what commits take, and forgets a single slow one', () => {
    let usualMs = usualCommitMs(null, 2);
    expect(usualMs).toBe(2);
    usualMs = usualCommitMs(usualMs, 3_000);
    expect(usualMs).toBeGreaterThan(500);
    for (let commit = 0; commit < 20; commit += 1) usualMs = usualCommitMs(usualMs, 2);
    expect(usualMs).toBeLessThan(3);
  });
});
