import { describe, expect, test } from 'vitest';
import { AT_ONCE_MAX, EMPTY_QUEUE, enter, leave } from '../../../control/core/report-queue.ts';

const full = () => {
  let queue = EMPTY_QUEUE;
  for (let at = 0; at < AT_ONCE_MAX; at += 1) ({ queue } = enter(queue, 1_000));
  return queue;
};

describe('I12: reports of many hosts at once', () => {
  test('so many enter; the next are told a time each, one after the other', () => {
    let queue = full();
    const told: number[] = [];
    for (let at = 0; at < 3; at += 1) {
      const entry = enter(queue, 1_000);
      ({ queue } = entry);
      if (entry.kind === 'later') told.push(entry.retryAfterMs);
    }
    expect(told).toEqual([450, 500, 550]);
    expect(queue.inHand).toBe(AT_ONCE_MAX);
  });

  test('ten thousand are told half a minute at the most', () => {
    let queue = full();
    let longest = 0;
    for (let at = 0; at < 10_000; at += 1) {
      const entry = enter(queue, 1_000);
      ({ queue } = entry);
      if (entry.kind === 'later') longest = Math.max(longest, entry.retryAfterMs);
    }
    expect(longest).toBe(30_000);
    // What was promised is over by then, and nobody is told more for it.
    const later = enter(queue, 60_000);
    expect(later).toMatchObject({ kind: 'later', retryAfterMs: 450 });
  });

  test('each that leaves makes room, and says how long one takes', () => {
    const queue = leave(full(), 8_000);
    expect(queue.inHand).toBe(AT_ONCE_MAX - 1);
    expect(queue.usualMs).toBe(145);
    expect(enter(queue, 1_000).kind).toBe('enters');
    let quick = full();
    for (let at = 0; at < 200; at += 1) quick = { ...leave(quick, 0), inHand: AT_ONCE_MAX };
    expect(quick.usualMs).toBeCloseTo(5, 3);
  });
});
