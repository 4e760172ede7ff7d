import { describe, expect, test } from 'vitest';
import {
  URGENT_MS,
  WAIT_MS_MAX,
  gateAtStart,
  gateTerms,
  judgeCaller,
  type GateCaller,
  type GateState,
} from '../../../control/core/reconnect-gate.ts';
import { fc } from '../../fakes/properties.ts';

const TERMS = { ratePerSecond: 100, burst: 50, atOnceMax: 8 };
const RETURNING: GateCaller = { kind: 'sync', isInContact: false, leaseEndsMs: null, underWay: 0 };
const holder = (leaseEndsMs: number): GateCaller => ({
  kind: 'sync',
  isInContact: false,
  leaseEndsMs,
  underWay: 0,
});

/** A gate on its own clock. */
class Gate {
  state: GateState = gateAtStart(TERMS, 0);
  bootMs = 0;
  unit = 0.5;

  ask(caller: GateCaller) {
    const at = { bootMs: this.bootMs, unitRandom: this.unit };
    const { answer, state } = judgeCaller(this.state, TERMS, caller, at);
    this.state = state;
    return answer;
  }

  /** Empties what is there for hosts without leases, and then what is left for holders. */
  drain(): void {
    while (this.ask(RETURNING).admitted);
    while (this.ask(holder(60_000)).admitted);
  }
}

type Sidecar = {
  readonly caller: (bootMs: number) => GateCaller;
  readonly endsBootMs: number;
  comesMs: number;
  lastWaitMs: number;
  admittedMs: number | null;
};

/** Everybody asks when told to, until all are in; how often the fullest 100 ms were asked. */
function comeBack(sidecars: Sidecar[], unit: () => number): { asked: number; crowd: number } {
  const gate = new Gate();
  const crowds = new Map<number, number>();
  let asked = 0;
  for (let out = [...sidecars]; out.length > 0;) {
    const next = out.reduce((a, b) => (b.comesMs < a.comesMs ? b : a));
    gate.bootMs = next.comesMs;
    gate.unit = unit();
    asked += 1;
    const slot = Math.floor(next.comesMs / 100);
    crowds.set(slot, (crowds.get(slot) ?? 0) + 1);
    const answer = gate.ask(next.caller(gate.bootMs));
    if (answer.admitted) {
      next.admittedMs = gate.bootMs;
      out = out.filter((one) => one !== next);
    } else {
      next.lastWaitMs = answer.retryAfterMs;
      next.comesMs += answer.retryAfterMs * (1 + 0.2 * unit());
    }
  }
  crowds.delete(0);
  return { asked, crowd: Math.max(0, ...crowds.values()) };
}

describe('hosts that come back', () => {
  test('a host in contact pays nothing and is never sent away', () => {
    const gate = new Gate();
    gate.drain();
    const answer = gate.ask({ kind: 'sync', isInContact: true, leaseEndsMs: null, underWay: 99 });
    expect(answer).toEqual({ admitted: true, as: 'in_contact' });
  });

  test('where control is slower than its rate, what it has not answered yet turns others away', () => {
    const gate = new Gate();
    const busy = (underWay: number, leaseEndsMs: number | null = null) =>
      gate.ask({ kind: 'sync', isInContact: false, leaseEndsMs, underWay }).admitted;
    expect([busy(7), busy(8), busy(8, 60_000), busy(8, URGENT_MS)]).toEqual([
      true,
      false,
      false,
      true,
    ]);
  });

  test('the bucket lets a burst in, then as many as its rate', () => {
    const gate = new Gate();
    gate.drain();
    gate.bootMs = 1_000;
    let admitted = 0;
    while (gate.ask(holder(60_000)).admitted) admitted += 1;
    expect(admitted).toBe(TERMS.burst);
    gate.bootMs = 1_100;
    admitted = 0;
    while (gate.ask(holder(60_000)).admitted) admitted += 1;
    expect(admitted).toBe(10);
  });

  test('renewals come before other syncs, those before bundles, and reports are last', () => {
    const gate = new Gate();
    const left = (): string =>
      [
        gate.ask({ kind: 'report' }).admitted ? 'report' : '',
        gate.ask({ kind: 'bundle' }).admitted ? 'bundle' : '',
      ].join(' ');
    expect(left()).toBe('report bundle');
    for (let count = 0; count < 26; count += 1) gate.ask(RETURNING);
    expect(left()).toBe(' bundle');
    while (gate.ask(RETURNING).admitted);
    expect(left()).toBe(' ');
    expect(gate.ask(holder(60_000)).admitted).toBe(true);
    gate.drain();
    expect(gate.ask(holder(60_000)).admitted).toBe(false);
    expect(gate.ask(holder(URGENT_MS))).toEqual({ admitted: true, as: 'urgent' });
  });

  test('2,000 at once are told to come one after the other, and few have to ask a third time', () => {
    const sidecars = Array.from({ length: 2_000 }, (): Sidecar => ({
      caller: () => RETURNING,
      endsBootMs: Number.POSITIVE_INFINITY,
      comesMs: 0,
      lastWaitMs: 0,
      admittedMs: null,
    }));
    let seed = 1;
    const unit = (): number => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
    const { asked, crowd } = comeBack(sidecars, unit);
    expect(sidecars.every(({ admittedMs }) => admittedMs !== null)).toBe(true);
    expect(asked).toBeLessThan(2.5 * sidecars.length);
    // 10 are taken in 100 ms; whoever comes is not many times as many.
    expect(crowd).toBeLessThanOrEqual(20);
    const lastMs = Math.max(...sidecars.map(({ admittedMs }) => admittedMs ?? 0));
    expect(lastMs).toBeLessThan(1.5 * (2_000 / TERMS.ratePerSecond) * 1_000);
  });

  test('I7: whatever the crowd, no renewal is lost by waiting', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 500, max: 120_000 }), { minLength: 1, maxLength: 120 }),
        fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 7, maxLength: 7 }),
        (ends, units) => {
          const sidecars = ends.map((endsBootMs): Sidecar => ({
            caller: (bootMs) => holder(Math.max(0, endsBootMs - bootMs)),
            endsBootMs,
            comesMs: 0,
            lastWaitMs: 0,
            admittedMs: null,
          }));
          let at = 0;
          comeBack(sidecars, () => units[(at += 1) % units.length] ?? 0);
          for (const { admittedMs, endsBootMs } of sidecars)
            expect(admittedMs).toBeLessThan(endsBootMs);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('however many come, none is told to wait longer than a minute and a little', () => {
    const gate = new Gate();
    let longestMs = 0;
    for (let count = 0; count < 20_000; count += 1) {
      for (const caller of [RETURNING, { kind: 'report' }] as const) {
        const answer = gate.ask(caller);
        if (!answer.admitted) longestMs = Math.max(longestMs, answer.retryAfterMs);
      }
    }
    expect(longestMs).toBeGreaterThan(WAIT_MS_MAX / 2);
    expect(longestMs).toBeLessThanOrEqual(WAIT_MS_MAX + 5_000);
    // Q5.
    expect(Object.keys(gate.state)).toHaveLength(3);
  });

  test('a debt that renewals made is paid back, and no more than a burst of it', () => {
    const gate = new Gate();
    for (let count = 0; count < 10_000; count += 1)
      expect(gate.ask(holder(URGENT_MS)).admitted).toBe(true);
    expect(gate.ask(RETURNING).admitted).toBe(false);
    gate.bootMs = (2 * TERMS.burst * 1_000) / TERMS.ratePerSecond;
    expect(gate.ask(RETURNING).admitted).toBe(true);
  });

  test('a small fleet never meets it', () => {
    expect(gateTerms(1)).toMatchObject({ ratePerSecond: 1, burst: 16 });
    expect(gateTerms(500)).toMatchObject({ ratePerSecond: 500, burst: 250 });
  });
});
