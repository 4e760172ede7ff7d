/** Times of a part of health, after each kind of change. */
import { describe, expect, test } from 'vitest';
import { HealthMemory } from '../../../shared/core/health-memory.ts';
import { healthPart, judgePlane } from '../../../shared/core/plane-health.ts';
import type { HealthPart } from '../../../shared/wire/health.ts';
import { FakeClock } from '../../fakes/fake-clock.ts';

function watched() {
  const clock = new FakeClock();
  const memory = new HealthMemory();
  const startMs = clock.now().wallMs;
  return {
    clock,
    /** As it is shown, with times counted from the start. */
    look: (part: HealthPart, plane = 'dataPlane') => {
      const shown = memory.note(plane, judgePlane({ one: part }, ''), clock.now().wallMs);
      const { state, sinceMs, lastSuccessMs, lastError, lastErrorMs } = shown.parts['one'] ?? part;
      const from = (atMs: number | null): number | null => (atMs === null ? null : atMs - startMs);
      return [state, from(sinceMs), from(lastSuccessMs), lastError, from(lastErrorMs)];
    },
  };
}

const ok = healthPart('ok', 'fine');
const bad = (detail: string): HealthPart => healthPart('degraded', detail);

describe('the times of a part of health', () => {
  test('P1: the state has a beginning, which another detail does not move', async () => {
    const { clock, look } = watched();
    expect(look(ok)).toEqual(['ok', 0, 0, null, null]);
    await clock.advance(1_000);
    expect(look(ok)).toEqual(['ok', 0, 1_000, null, null]);
    await clock.advance(1_000);
    expect(look(bad('one is stuck'))).toEqual(['degraded', 2_000, 1_000, 'one is stuck', 2_000]);
    await clock.advance(1_000);
    expect(look(bad('two are stuck'))).toEqual(['degraded', 2_000, 1_000, 'two are stuck', 3_000]);
    expect(look(healthPart('failed', 'all are'))).toEqual([
      'failed',
      3_000,
      1_000,
      'all are',
      3_000,
    ]);
  });

  test('P2: what is well again says what its trouble was, and when it was last seen', async () => {
    const { clock, look } = watched();
    look(bad('no answer'));
    await clock.advance(5_000);
    look(bad('no answer'));
    await clock.advance(1_000);
    expect(look(ok)).toEqual(['ok', 6_000, 6_000, 'no answer', 5_000]);
  });

  test('P2: what is not known any more is neither a success nor an error', async () => {
    const { clock, look } = watched();
    look(ok);
    await clock.advance(2_000);
    expect(look(healthPart('unknown', 'not heard'))).toEqual(['unknown', 2_000, 0, null, null]);
  });

  test('P1: what a part knows itself goes before what was seen of it', async () => {
    const { clock, look } = watched();
    await clock.advance(10_000);
    const sinceMs = clock.now().wallMs - 7_000;
    const known = { sinceMs, lastSuccessMs: sinceMs - 1_000, lastError: 'refused: no' };
    expect(look(healthPart('degraded', 'away', known))).toEqual([
      'degraded',
      3_000,
      2_000,
      'refused: no',
      10_000,
    ]);
  });

  test('parts of the same name on the two planes do not mix', async () => {
    const { clock, look } = watched();
    look(bad('here'), 'controlPlane');
    await clock.advance(1_000);
    expect(look(ok, 'dataPlane')).toEqual(['ok', 1_000, 1_000, null, null]);
  });
});
