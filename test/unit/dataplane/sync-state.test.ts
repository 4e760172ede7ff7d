import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import {
  RETRY_AFTER_MS_MAX,
  SYNC_STATE_AT_START,
  afterSync,
  nextSyncDelayMs,
  type SyncState,
} from '../../../dataplane/core/sync-state.ts';
import { closeOutage, openOutage } from '../../../dataplane/core/outage-interval.ts';

const at = (bootMs: number) => ({ wallMs: bootMs, bootMs, bootId: 'boot-1' });
const PACE = { syncIntervalMs: 5_000, leaseTtlMs: null, retryAfterMs: null };

function failed(times: number): SyncState {
  let state = SYNC_STATE_AT_START;
  for (let time = 0; time < times; time += 1)
    state = afterSync(state, { kind: 'unreachable', detail: 'refused' }, at(time));
  return state;
}

describe('when to sync next', () => {
  test('healthy: the interval, or up to 20 % less', () => {
    const state = afterSync(failed(3), { kind: 'answer' }, at(9));
    expect(state).toMatchObject({
      phase: 'connected',
      failures: 0,
      lastError: null,
      lastSuccess: at(9),
    });
    expect([0, 0.5, 0.999_999].map((unit) => nextSyncDelayMs(state, PACE, unit))).toEqual([
      4_000, 4_500, 5_000,
    ]);
  });

  test('a lease is renewed at a third of its time to live at the latest, whatever the jitter', () => {
    const state = afterSync(failed(0), { kind: 'answer' }, at(0));
    fc.assert(
      fc.property(
        fc.integer({ min: 300, max: 60_000 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (leaseTtlMs, unit) => {
          expect(nextSyncDelayMs(state, { ...PACE, leaseTtlMs }, unit)).toBeLessThanOrEqual(
            leaseTtlMs / 3,
          );
        },
      ),
    );
  });

  test('sent away by control it comes when it was told to, a fifth later at most, and in time for its lease', () => {
    const state = afterSync(
      afterSync(failed(0), { kind: 'answer' }, at(0)),
      { kind: 'overloaded', detail: 'overloaded' },
      at(9),
    );
    expect(state).toMatchObject({ phase: 'connected', lastSuccess: at(0) });
    const told = (retryAfterMs: number, leaseEndsMs: number | null, unit: number): number =>
      nextSyncDelayMs(state, { ...PACE, retryAfterMs, overloaded: { leaseEndsMs } }, unit);
    expect([told(7_000, null, 0), told(7_000, null, 0.999_999)]).toEqual([7_000, 8_400]);
    expect(told(86_400_000, null, 0)).toBe(RETRY_AFTER_MS_MAX);
    // Half of what is left, and never a loop without a pause.
    expect(told(60_000, 8_000, 0.5)).toBe(4_000);
    expect(told(60_000, 20, 0.5)).toBe(100);
  });

  test('not healthy: full jitter under a ceiling that doubles up to 30 s', () => {
    const ceilings = [1, 2, 3, 4, 5, 6, 7, 8, 50].map((times) =>
      nextSyncDelayMs(failed(times), PACE, 0.999_999),
    );
    expect(ceilings).toEqual([499, 999, 1_999, 3_999, 7_999, 15_999, 29_999, 29_999, 29_999]);
    expect(nextSyncDelayMs(failed(8), PACE, 0)).toBe(0);
  });

  test('a long interval is the ceiling where it is longer', () => {
    expect(nextSyncDelayMs(failed(50), { ...PACE, syncIntervalMs: 60_000 }, 0.999_999)).toBe(
      59_999,
    );
  });

  test('while a lease can be renewed the back-off does not pass it by', () => {
    expect(nextSyncDelayMs(failed(50), { ...PACE, leaseTtlMs: 9_000 }, 0.999_999)).toBe(2_999);
  });

  test('what control asks for is a floor, up to a bound', () => {
    expect(nextSyncDelayMs(failed(1), { ...PACE, retryAfterMs: 7_000 }, 0)).toBe(7_000);
    expect(nextSyncDelayMs(failed(1), { ...PACE, retryAfterMs: 1e12 }, 0)).toBe(RETRY_AFTER_MS_MAX);
  });

  test('a refusal is another phase than being out of reach', () => {
    expect(failed(1).phase).toBe('disconnected');
    expect(afterSync(failed(1), { kind: 'refused', detail: 'host_unknown' }, at(3))).toMatchObject({
      phase: 'refused',
      failures: 2,
    });
  });
});

describe('an outage', () => {
  const start = {
    outageId: 'out_1',
    fromMs: 1_000,
    cause: 'refused' as const,
    detail: 'x'.repeat(900),
    policyRevision: 1,
    stalenessMs: 5,
  };

  test('has an end not before its beginning', () => {
    expect(closeOutage(openOutage(start), 5_000).toMs).toBe(5_000);
    expect(closeOutage(openOutage(start), 500).toMs).toBe(1_000);
  });

  test('has a detail of bounded length', () => {
    expect(openOutage(start).detail).toHaveLength(500);
  });
});
