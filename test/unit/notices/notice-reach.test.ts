/** Until when control says that a silent host could act, held against what such a host does. */
import { expect, test } from 'vitest';
import {
  FRESH_USE_MS_MAX,
  allowanceOf,
  longestOf,
  reachOf,
} from '../../../control/core/notice-reach.ts';
import { fc } from '../../fakes/properties.ts';

const DRIFT = 0.01;
const ms = (max: number) => fc.integer({ min: 0, max });

test('I5: no host whose clock keeps the declared drift admits or acts later than control says', () => {
  fc.assert(
    fc.property(
      fc.record({
        /** How fast the host's clock goes. */
        rate: fc.double({ min: 1 - DRIFT, max: 1 + DRIFT, noNaN: true }),
        heardMs: ms(600_000),
        /** The host sent before control heard it. */
        onTheWayMs: ms(10_000),
        askedFreshMs: fc.option(ms(600_000)),
        freshOnTheWayMs: ms(10_000),
        lookedAfterMs: ms(3_600_000),
        maxStalenessMs: ms(86_400_000),
        maxDeadlineMs: ms(86_400_000),
      }),
      (at) => {
        const { rate, heardMs, maxStalenessMs, maxDeadlineMs } = at;
        const fresh = at.askedFreshMs ?? 0;
        const nowMs = Math.max(heardMs, fresh) + at.lookedAfterMs;
        const reach = reachOf({
          silentMs: nowMs - heardMs,
          sinceDecisionMs: at.askedFreshMs === null ? null : nowMs - fresh,
          sinceStartMs: nowMs,
          allowance: { maxStalenessMs, maxDeadlineMs },
          drift: DRIFT,
        });
        const cached = heardMs - at.onTheWayMs + maxStalenessMs / rate;
        const decided =
          at.askedFreshMs === null ? 0 : fresh - at.freshOnTheWayMs + FRESH_USE_MS_MAX / rate;
        const lastAdmissionMs = Math.max(cached, decided);
        expect(nowMs + reach.admitsForMs).toBeGreaterThanOrEqual(lastAdmissionMs);
        const lastActMs = lastAdmissionMs + maxDeadlineMs / rate;
        expect(nowMs + reach.actsForMs).toBeGreaterThanOrEqual(lastActMs);
      },
    ),
  );
});

test('the longest of all rules and of all revisions counts; fresh rules rest on nothing cached', () => {
  const rule = (freshness: string, maxStalenessMs: number, maxDeadlineMs: number) =>
    ({ terms: { freshness, maxStalenessMs, maxDeadlineMs } }) as never;
  const one = allowanceOf({ rules: [rule('bounded', 5, 70), rule('fresh', 900, 60)] });
  expect(one).toEqual({ maxStalenessMs: 5, maxDeadlineMs: 70 });
  const other = allowanceOf({ rules: [rule('bounded', 8, 10)] });
  expect(longestOf([one, other])).toEqual({ maxStalenessMs: 8, maxDeadlineMs: 70 });
});
