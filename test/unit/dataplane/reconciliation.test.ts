/** What is done about an unknown outcome: decided on the record, with clocks that a test sets. */
import { describe, expect, test } from 'vitest';
import type { Instant } from '../../../shared/core/time.ts';
import { applyLifecycleEvent } from '../../../dataplane/core/operation-lifecycle.ts';
import type { LifecycleEvent, StoredOperation } from '../../../dataplane/core/operation-record.ts';
import {
  claimAt,
  reconciliationOf,
  stepOf,
  tryDelayMs,
} from '../../../dataplane/core/reconciliation.ts';
import { fc } from '../../fakes/properties.ts';
import { LATE, NOW, begin, effect, operation, start } from '../../fakes/stored-operation.ts';
import {
  COMPENSATE,
  PROBE,
  RETRY,
  claimed,
  tryBegun,
  tryEnded,
  underWay,
} from '../../fakes/unknown-operation.ts';

const LOST: LifecycleEvent = { kind: 'lose_worker', attempt: 1 };

function after(record: StoredOperation, ...events: LifecycleEvent[]): StoredOperation {
  return events.reduce((known, event) => afterAt(known, event, NOW), record);
}

function afterAt(record: StoredOperation, event: LifecycleEvent, now: Instant): StoredOperation {
  const result = applyLifecycleEvent(record, event, now);
  if (!result.ok) throw new Error(`${result.code}: ${result.detail}`);
  return result.operation;
}

function codeOf(record: StoredOperation, event: LifecycleEvent, now = NOW): string | null {
  const result = applyLifecycleEvent(record, event, now);
  return result.ok ? null : result.code;
}

const later = (byMs: number): Instant => ({
  ...NOW,
  wallMs: NOW.wallMs + byMs,
  bootMs: NOW.bootMs + byMs,
});

describe('I8: an unknown outcome has a way to an end from the moment it is one', () => {
  test('its rule says which; the first try comes an interval later, not at once', () => {
    expect(after(underWay(PROBE), LOST)).toMatchObject({
      state: 'unknown',
      reconciliation: {
        strategy: 'probe',
        sinceMs: NOW.wallMs,
        tries: 0,
        nextTryAtMs: NOW.wallMs + 10_000,
      },
    });
    const humans = after(underWay(undefined), LOST);
    expect(humans.reconciliation).toMatchObject({ strategy: 'human', nextTryAtMs: null });
  });

  test('a try is counted before it is made: the process may die in it, and no try is endless', () => {
    let record = after(underWay(PROBE), LOST);
    for (const tries of [1, 2, 3]) {
      record = after(record, tryBegun());
      expect(record.reconciliation).toMatchObject({ tries });
    }
    expect(stepOf(record)).toEqual({ kind: 'leave_to_person', reason: 'attempts_used' });
    expect(after(record, tryBegun()).reconciliation).toMatchObject({ tries: 3 });
    const left = after(record, { kind: 'leave_to_person', reason: 'attempts_used' });
    expect(left.reconciliation).toMatchObject({
      strategy: 'human',
      nextTryAtMs: null,
      leftToPerson: 'attempts_used',
    });
  });

  test("the last try in vain makes it a person's in the same entry; a person may ask once more", () => {
    const rounds = [1, 2, 3].flatMap((number) => [tryBegun(), tryEnded({ number })]);
    const left = after(underWay(PROBE), LOST, ...rounds);
    expect(left.reconciliation).toMatchObject({ strategy: 'human', leftToPerson: 'attempts_used' });
    const asked = after(left, tryBegun({ by: 'ann' }));
    const settled = after(asked, tryEnded({ number: 4, verdict: 'succeeded', detail: 'found' }));
    expect(settled).toMatchObject({
      state: 'succeeded',
      outcome: { provenance: 'verified', by: 'ann', late: true },
    });
  });

  test('what a probe found settles it, with the evidence; what was overtaken settles nothing', () => {
    const record = after(underWay(PROBE), LOST, tryBegun());
    const found = tryEnded({ verdict: 'failed', result: { n: 1 }, evidence: 'ledger 7' });
    expect(after(record, found)).toMatchObject({
      state: 'failed',
      settledAtMs: NOW.wallMs,
      outcome: { provenance: 'verified', by: 'probe', result: { n: 1 }, evidence: 'ledger 7' },
      reconciliation: { nextTryAtMs: null },
    });
    const second = after(record, tryBegun());
    expect(after(second, tryEnded({ number: 1, verdict: 'failed' }))).toBe(second);
    expect(
      after(second, tryEnded({ number: 2 }), tryEnded({ number: 2, verdict: 'failed' })).state,
    ).toBe('unknown');
  });

  test('a report that comes late settles it while a probe is under way, and the probe changes nothing', () => {
    const record = after(
      underWay(PROBE, { effects: [effect({ state: 'unknown' })] }),
      LOST,
      tryBegun(),
    );
    const settled = after(
      record,
      { kind: 'settle_effect', attempt: 1, name: 'charge', outcome: 'succeeded', result: 1 },
      {
        kind: 'report_outcome',
        attempt: 1,
        outcome: 'succeeded',
        result: null,
        reason: null,
        ownership: null,
      },
    );
    expect(settled).toMatchObject({ state: 'succeeded', reconciliation: { nextTryAtMs: null } });
    expect(after(settled, tryEnded({ verdict: 'failed' }))).toBe(settled);
  });

  test('a delay doubles up to a bound, and is spread; it is never shorter than four fifths', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1_000, max: 86_400_000 }),
        fc.integer({ min: 1, max: 200 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (intervalMs, tries, unitRandom) => {
          const delayMs = tryDelayMs({ attempts: 200, intervalMs }, tries, unitRandom);
          expect(delayMs).toBeGreaterThanOrEqual(Math.floor(intervalMs * 0.8));
          expect(delayMs).toBeLessThanOrEqual(Math.ceil(Math.max(intervalMs, 900_000) * 1.2));
        },
      ),
    );
  });
});

describe('I9: what may have happened is run again only where that changes nothing', () => {
  test('a rule with idempotent effects: a new attempt may begin them again', () => {
    const lost = after(underWay(RETRY), LOST);
    const again = after(lost, tryBegun({ strategy: 'retry' }));
    expect(again).toMatchObject({
      state: 'accepted',
      reason: 'unknown_run_again',
      outcome: null,
      reconciliation: { tries: 1, nextTryAtMs: null },
    });
    const second = after(again, start(), begin({ attempt: 2, name: 'send' }));
    expect(second).toMatchObject({ state: 'executing', attempt: 2 });
  });

  test.each([
    ['an effect that is not idempotent', { effectTerms: operation().effectTerms }],
    ['no declared effect', { effectTerms: {}, effects: [] }],
    ['an effect begun as not idempotent', { effects: [effect({ name: 'send' })] }],
  ])('refused with %s, whatever the record says of its strategy', (_, change) => {
    const lost = after(underWay(RETRY, change), LOST);
    expect(stepOf(lost)).toEqual({ kind: 'leave_to_person', reason: 'not_idempotent' });
    expect(codeOf(lost, tryBegun({ strategy: 'retry' }))).toBe('effect_unknown');
  });

  test('tries are counted over all of them, and none comes after the deadline', () => {
    let record = underWay(RETRY);
    for (const attempt of [1, 2, 3]) {
      record = after(record, { kind: 'lose_worker', attempt }, tryBegun({ strategy: 'retry' }));
      record = after(record, start(), begin({ attempt: attempt + 1, name: 'send' }));
    }
    record = after(record, { kind: 'lose_worker', attempt: 4 });
    expect(stepOf(record)).toEqual({ kind: 'leave_to_person', reason: 'attempts_used' });
    const lost = after(underWay(RETRY), LOST);
    expect(codeOf(lost, tryBegun({ strategy: 'retry' }), LATE)).toBe('deadline_passed');
  });
});

describe('a compensation', () => {
  const linked = after(underWay(COMPENSATE), LOST, tryBegun({ strategy: 'compensate' }), {
    kind: 'link_compensation',
    number: 1,
    operationId: 'op_2',
  });

  test('that ended well makes the first one failed, known as well as the undoing is', () => {
    expect(linked.reconciliation).toMatchObject({ compensatedBy: 'op_2', nextTryAtMs: null });
    const undone = after(linked, {
      kind: 'compensated',
      operationId: 'op_2',
      provenance: 'asserted',
    });
    expect(undone).toMatchObject({
      state: 'failed',
      reason: 'compensated',
      outcome: { provenance: 'asserted', by: 'op_2' },
    });
    const other = { kind: 'compensated', operationId: 'op_3', provenance: 'asserted' } as const;
    expect(after(linked, other)).toBe(linked);
  });

  test('is not compensated itself: the chain would have no end', () => {
    const lost = after(underWay(COMPENSATE, { compensates: 'op_0' }), LOST);
    expect(stepOf(lost)).toEqual({ kind: 'leave_to_person', reason: 'is_a_compensation' });
  });
});

describe('a claim holds others off', () => {
  const lost = after(underWay(PROBE), LOST);
  const held = after(lost, claimed('ann'));
  const resolve = (by: string, change: object = {}): LifecycleEvent => ({
    kind: 'resolve',
    outcome: 'failed',
    provenance: 'verified',
    reason: 'looked',
    result: null,
    by,
    key: 'k-1',
    ...change,
  });

  test('nobody else claims, settles, or probes; its rule waits until it has ended', () => {
    expect(codeOf(held, claimed('ben'))).toBe('reconciliation_claimed');
    expect(codeOf(held, resolve('ben'))).toBe('reconciliation_claimed');
    expect(codeOf(held, tryBegun())).toBe('reconciliation_claimed');
    expect(codeOf(held, { kind: 'release', holder: 'ben', force: false })).toBe(
      'reconciliation_claimed',
    );
    expect(held.reconciliation).toMatchObject({ nextTryAtMs: NOW.wallMs + 60_000 });
    expect(codeOf(held, tryBegun({ by: 'ann' }))).toBeNull();
  });

  test('whoever has it renews, releases and settles; an operator may force it', () => {
    const renewed = afterAt(held, claimed('ann'), later(30_000));
    expect(renewed.reconciliation?.claim).toMatchObject({ endsAtMs: NOW.wallMs + 90_000 });
    const released = after(held, { kind: 'release', holder: 'ann', force: false });
    expect(released.reconciliation).toMatchObject({ claim: null, nextTryAtMs: NOW.wallMs });
    expect(after(held, resolve('ann'))).toMatchObject({
      state: 'failed',
      outcome: { by: 'ann' },
      reconciliation: { claim: null },
    });
    expect(after(held, resolve('ben', { force: true })).outcome).toMatchObject({ by: 'ben' });
  });

  test('it ends by the boot clock whatever the wall clock was set to, and after a reboot by that', () => {
    const { reconciliation } = held;
    if (reconciliation === undefined) throw new Error('none');
    const setBack = { ...later(60_000), wallMs: 5 };
    expect(claimAt(reconciliation, later(59_999))).not.toBeNull();
    expect(claimAt(reconciliation, setBack)).toBeNull();
    const rebooted = { bootId: 'boot-2', bootMs: 1, wallMs: NOW.wallMs + 59_999 };
    expect(claimAt(reconciliation, rebooted)).not.toBeNull();
    expect(claimAt(reconciliation, { ...rebooted, wallMs: NOW.wallMs + 60_000 })).toBeNull();
    expect(codeOf(held, claimed('ben'), later(60_000))).toBeNull();
  });

  test('I2: a resolution whose answer was lost is asked for again with its key', () => {
    const settled = after(lost, resolve('ann'));
    const again = applyLifecycleEvent(settled, resolve('ann'), NOW);
    expect(again).toMatchObject({ ok: true, replayed: true, note: null });
    expect(codeOf(settled, resolve('ann', { reason: 'other' }))).toBe('idempotency_key_reused');
    expect(codeOf(settled, resolve('ann', { key: 'k-2' }))).toBe('operation_not_unknown');
  });

  test("a record of before there were strategies is a person's", () => {
    const old = operation({ state: 'unknown', attempt: 1 });
    expect(reconciliationOf(old)).toMatchObject({ strategy: 'human', tries: 0 });
    expect(after(old, claimed('ann')).reconciliation).toMatchObject({ strategy: 'human' });
  });
});
