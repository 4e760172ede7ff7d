import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import type { LimitTerms } from '../../../shared/core/policy.ts';
import { burstOf } from '../../../shared/core/rate.ts';
import { MINUTE_MS, SECOND_MS, type Instant } from '../../../shared/core/time.ts';
import {
  absentBudget,
  bucketAt,
  hostBudget,
  isIdle,
  judgeLimits,
  limitSubject,
  limitsState,
  type LimitUse,
} from '../../../dataplane/core/limits.ts';

const terms = (limits: Partial<LimitTerms>): LimitTerms => ({
  rate: null,
  burst: null,
  concurrency: null,
  quota: null,
  per: 'rule',
  scope: 'host',
  ...limits,
});
const at = (bootMs: number): Instant => ({
  bootMs,
  wallMs: Date.UTC(2030, 0, 1) + bootMs,
  bootId: 'a',
});
const unused: LimitUse = { bucket: null, window: null, inUse: 0, sinceBootMs: 0 };
const judge = (limits: LimitTerms, use: LimitUse, now: Instant) =>
  judgeLimits({ rule: 'r', terms: limits, key: '' }, hostBudget(limits), use, now);

test('whose budget it is', () => {
  const input = { principal: 'agent:a', action: 'x.y', resource: { id: 'o/7' } };
  const keys = (['rule', 'principal', 'action', 'resource'] as const).map(
    (per) => limitSubject('r', terms({ per }), input).key,
  );
  expect(keys).toEqual(['', 'agent:a', 'x.y', 'o/7']);
  const { resource: _, ...without } = input;
  expect(limitSubject('r', terms({ per: 'resource' }), without).key).toBe('');
});

describe('a rate', () => {
  const fifty = terms({ rate: { count: 50, windowMs: SECOND_MS } });

  test('the burst is what one second allows, where the rule does not say', () => {
    expect(burstOf(fifty)).toBe(50);
    expect(burstOf(terms({ rate: { count: 10, windowMs: MINUTE_MS } }))).toBe(1);
    expect(burstOf(terms({ rate: { count: 10, windowMs: MINUTE_MS }, burst: 4 }))).toBe(4);
  });

  test('a bucket that nobody has seen was empty at the start: a loop of restarts gains nothing', () => {
    expect(judge(fifty, unused, at(0))).toMatchObject({
      ok: false,
      code: 'rate_limited',
      retryAfterMs: 20,
    });
    expect(judge(fifty, unused, at(20))).toMatchObject({ ok: true });
  });

  test('after the time that it named there is room', () => {
    const limits = terms({ rate: { count: 7, windowMs: 3 * SECOND_MS } });
    let use = unused;
    let now = at(0);
    let waits = 0;
    let inVain = 0;
    for (let i = 0; i < 50; i += 1) {
      const verdict = judge(limits, use, now);
      if (verdict.ok) use = { ...use, bucket: verdict.bucket };
      else {
        now = at(now.bootMs + verdict.retryAfterMs);
        waits += 1;
        if (!judge(limits, use, now).ok) inVain += 1;
      }
    }
    expect(waits).toBeGreaterThan(5);
    expect(inVain).toBe(0);
  });

  test('no more than burst and rate together, over any stretch of time, restarts in between', () => {
    const event = fc.record({
      passesMs: fc.integer({ min: 0, max: 400 }),
      asks: fc.integer({ min: 1, max: 20 }),
      restarts: fc.boolean(),
      forgets: fc.boolean(),
    });
    const rates = fc.record({
      count: fc.integer({ min: 1, max: 100 }),
      windowMs: fc.integer({ min: 1, max: 5_000 }),
      burst: fc.integer({ min: 1, max: 50 }),
    });
    fc.assert(
      fc.property(rates, fc.array(event, { maxLength: 60 }), ({ burst, ...rate }, events) => {
        const limits = terms({ rate, burst });
        const admitted: number[] = [];
        let use = unused;
        let nowMs = 0;
        for (const { passesMs, asks, restarts, forgets } of events) {
          nowMs += passesMs;
          if (restarts) use = { ...unused, sinceBootMs: nowMs };
          else if (forgets && isIdle(hostBudget(limits), use, at(nowMs)))
            use = { ...use, bucket: null };
          for (let i = 0; i < asks; i += 1) {
            const verdict = judge(limits, use, at(nowMs));
            if (!verdict.ok) break;
            admitted.push(nowMs);
            use = { ...use, bucket: verdict.bucket };
          }
        }
        admitted.forEach((fromMs, first) => {
          for (let last = first; last < admitted.length; last += 1) {
            const allowed = burst + (((admitted[last] ?? 0) - fromMs) * rate.count) / rate.windowMs;
            expect(last - first + 1).toBeLessThanOrEqual(allowed + 1e-6);
          }
        });
      }),
    );
  });

  test('what is forgotten when full is made anew as full as it was', () => {
    const rate = { count: 5, windowMs: SECOND_MS, burst: 5 };
    const full = bucketAt(null, rate, { bootMs: 1_000, sinceBootMs: 0 });
    expect(full.tokens).toBe(5);
    expect(
      isIdle(hostBudget(terms({ rate, burst: 5 })), { ...unused, bucket: full }, at(1_000)),
    ).toBe(true);
    expect(bucketAt(null, rate, { bootMs: 1_000, sinceBootMs: 0 })).toEqual(full);
  });
});

test('L1: what has no room spends nothing of the others, and the longest wait is said first', () => {
  const limits = terms({
    rate: { count: 1, windowMs: MINUTE_MS },
    quota: { count: 1, windowMs: MINUTE_MS },
    concurrency: 1,
  });
  const later = at(2 * MINUTE_MS + 15 * SECOND_MS);
  const first = judge(limits, unused, later);
  expect(first).toMatchObject({ ok: true, window: { used: 1 }, bucket: { tokens: 0 } });
  if (!first.ok) return;
  const { bucket, window } = first;
  const use = { ...unused, bucket, window, inUse: 1 };
  expect(judge(limits, use, later)).toMatchObject({
    code: 'quota_exhausted',
    retryAfterMs: 45 * SECOND_MS,
    window: { used: 1 },
  });
  const next = at(3 * MINUTE_MS);
  expect(judge(limits, use, next)).toMatchObject({ code: 'concurrency_limited' });
  expect(judge(limits, { ...use, inUse: 0 }, next)).toMatchObject({
    code: 'rate_limited',
    window: { used: 0 },
  });
});

test('L4: without a part of the fleet’s budget nothing is admitted', () => {
  const limits = terms({ concurrency: 5, scope: 'fleet' });
  const subject = { rule: 'r', terms: limits, key: '' };
  const verdict = judgeLimits(
    subject,
    absentBudget(limits, 'control has not given one'),
    unused,
    at(0),
  );
  expect(verdict).toMatchObject({ ok: false, code: 'allotment_absent', kind: 'concurrency' });
});

test('a look spends nothing and says what is left', () => {
  const limits = terms({
    rate: { count: 10, windowMs: SECOND_MS },
    quota: { count: 100, windowMs: MINUTE_MS },
    concurrency: 4,
  });
  const subject = { rule: 'r', terms: limits, key: '' };
  const use = { ...unused, inUse: 3 };
  const now = at(500);
  const states = limitsState(subject, hostBudget(limits), use, now);
  expect(states).toEqual(limitsState(subject, hostBudget(limits), use, now));
  expect(states).toMatchObject([
    { kind: 'quota', limit: 100, used: 0, remaining: 100, resetsMs: MINUTE_MS - 500 },
    { kind: 'concurrency', limit: 4, used: 3, remaining: 1, resetsMs: null },
    { kind: 'rate', limit: 10, used: 5, remaining: 5, resetsMs: 500 },
  ]);
});
