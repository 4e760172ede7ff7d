/** Durations of documents and settings: whatever fits the pattern is one, and none leaves whole numbers. */
import { expect, test } from 'vitest';
import { DURATION_MS_MAX, DURATION_PATTERN, parseDurationMs } from '../../../shared/core/time.ts';
import { fc } from '../../fakes/properties.ts';

test.each([
  ['250ms', 250],
  ['1h30m', 5_400_000],
  ['2d', 172_800_000],
  ['36500d', DURATION_MS_MAX],
  ['104249991d', DURATION_MS_MAX],
  ['999999999d999999999d999999999d999999999d', DURATION_MS_MAX],
  ['', null],
  ['5', null],
  ['-1s', null],
])('%s', (text, durationMs) => {
  expect(parseDurationMs(text)).toBe(durationMs);
});

test('property: a text of the pattern is never taken for none, and an instant and many of them are exact', () => {
  fc.assert(
    fc.property(fc.stringMatching(new RegExp(DURATION_PATTERN)), (text) => {
      const durationMs = parseDurationMs(text);
      expect(durationMs).not.toBeNull();
      expect(Number.isSafeInteger(Date.now() + 100 * (durationMs ?? 0))).toBe(true);
    }),
  );
});
