import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import { windowAt, type QuotaWindow } from '../../../shared/core/quota-window.ts';
import { DAY_MS, HOUR_MS, type Instant } from '../../../shared/core/time.ts';

const NOON = Date.UTC(2030, 0, 1, 12);
const at = (bootMs: number, wallMs = NOON + bootMs, bootId = 'a'): Instant => ({
  wallMs,
  bootMs,
  bootId,
});
const used = (window: QuotaWindow, count: number): QuotaWindow => ({ ...window, used: count });

test('a window ends at the next multiple of its length in UTC', () => {
  const first = windowAt(null, DAY_MS, at(0));
  expect(first.ends).toEqual(at(12 * HOUR_MS));
  expect(windowAt(used(first, 7), DAY_MS, at(12 * HOUR_MS - 1))).toMatchObject({ used: 7 });
  const second = windowAt(used(first, 7), DAY_MS, at(12 * HOUR_MS));
  expect(second).toMatchObject({ number: first.number + 1, used: 0, ends: at(36 * HOUR_MS) });
});

describe('W1, W2: whatever the wall clock is set to within a boot', () => {
  const first = used(windowAt(null, DAY_MS, at(0)), 10);

  test('set back, nothing is opened again, and it ends when it would have', () => {
    const back = windowAt(first, DAY_MS, at(HOUR_MS, NOON - 40 * DAY_MS));
    expect(back).toMatchObject({ used: 10, number: first.number });
    expect(back.ends.bootMs).toBe(12 * HOUR_MS);
    // Noon of another day by then: the window goes on to the end of that one.
    const later = windowAt(back, DAY_MS, at(12 * HOUR_MS, NOON - 40 * DAY_MS + 11 * HOUR_MS));
    expect(later).toMatchObject({ used: 10 });
    expect(later.ends.bootMs).toBe(13 * HOUR_MS);
  });

  test('set forward, no quota comes early', () => {
    const ahead = windowAt(first, DAY_MS, at(HOUR_MS, NOON + 36 * HOUR_MS + HOUR_MS));
    expect(ahead).toMatchObject({ used: 10 });
    // When it is over, the window that the wall clock shows has begun before that.
    const next = windowAt(ahead, DAY_MS, at(12 * HOUR_MS, NOON + 48 * HOUR_MS));
    expect(next).toMatchObject({ used: 10 });
    expect(windowAt(next, DAY_MS, at(24 * HOUR_MS, NOON + 60 * HOUR_MS))).toMatchObject({
      used: 0,
    });
  });

  test('a clock that is corrected by a second costs no window', () => {
    const next = windowAt(first, DAY_MS, at(12 * HOUR_MS, NOON + 12 * HOUR_MS + 1_000));
    expect(next).toMatchObject({ used: 0, number: first.number + 1 });
  });
});

describe('W3: in another boot', () => {
  const first = used(windowAt(null, DAY_MS, at(0)), 10);

  test('an open window goes on, by the wall clock', () => {
    const next = windowAt(first, DAY_MS, at(5, NOON + HOUR_MS, 'b'));
    expect(next).toMatchObject({ used: 10, ends: { bootMs: 5 + 11 * HOUR_MS, bootId: 'b' } });
  });

  test('one that is over is followed by another', () => {
    expect(windowAt(first, DAY_MS, at(5, NOON + 13 * HOUR_MS, 'b'))).toMatchObject({ used: 0 });
  });

  test('a wall clock that is years behind costs one length at the most', () => {
    const next = windowAt(first, DAY_MS, at(5, NOON - 900 * DAY_MS, 'b'));
    expect(next.ends.bootMs).toBe(5 + DAY_MS);
  });
});

test('W5: another length has used what the open window has', () => {
  const first = used(windowAt(null, DAY_MS, at(0)), 10);
  const hourly = windowAt(first, HOUR_MS, at(1));
  expect(hourly).toMatchObject({ used: 10, lengthMs: HOUR_MS, number: expect.any(Number) });
  expect(hourly.number).toBeGreaterThan(first.number);
});

test('I3: of any length of real time, no more windows open than fit into it, and two', () => {
  const step = fc.record({
    passesMs: fc.integer({ min: 1, max: 90 * 60_000 }),
    wallJumpMs: fc.oneof(
      { weight: 3, arbitrary: fc.constant(0) },
      fc.integer({ min: -3 * DAY_MS, max: 3 * DAY_MS }),
    ),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 200 }), (steps) => {
      let now = at(0);
      let window: QuotaWindow | null = null;
      const openedAt: number[] = [];
      for (const { passesMs, wallJumpMs } of steps) {
        now = at(now.bootMs + passesMs, Math.max(0, now.wallMs + passesMs + wallJumpMs));
        const next: QuotaWindow = windowAt(window, HOUR_MS, now);
        if (next.number !== window?.number) openedAt.push(now.bootMs);
        expect(next.ends.bootMs).toBeGreaterThan(now.bootMs);
        expect(next.ends.bootMs - now.bootMs).toBeLessThanOrEqual(HOUR_MS);
        window = used(next, 1);
      }
      // The one opened first, and of each two that follow the end of the earlier lies between.
      for (let i = 0; i + 2 < openedAt.length; i += 1)
        expect((openedAt[i + 2] ?? 0) - (openedAt[i] ?? 0)).toBeGreaterThan(HOUR_MS * 0.97);
    }),
    { numRuns: 300 },
  );
});
