import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import { decideLeaseSync } from '../../../control/core/lease-sync.ts';
import {
  acquireLease,
  grantorTermMs,
  releaseLease,
  renewLease,
  viewLease,
  type Holder,
  type LeaseRecord,
  type Lessor,
} from '../../../control/core/lease-transition.ts';
import { holderEndMs } from '../../../shared/core/lease.ts';

const TTL_MS = 30_000;
const DRIFT = 0.01;
const TERM_MS = grantorTermMs({ ttlMs: TTL_MS, drift: DRIFT });
const START_MS = 1_000_000;

const lessorAt = (bootMs: number, over: Partial<Lessor> = {}): Lessor => ({
  now: { wallMs: 5_000_000 + bootMs, bootMs, bootId: 'boot' },
  run: 1,
  recovery: { kind: 'restart', startedBootMs: START_MS },
  ttlMs: TTL_MS,
  drift: DRIFT,
  lockDelayMs: 0,
  longestTermMs: TERM_MS,
  heldSinceMs: null,
  disownedEpoch: 0,
  ...over,
});
/** Epoch 7 is the copy's. */
const ROLLED_BACK: Partial<Lessor> = {
  recovery: { kind: 'rollback', startedBootMs: START_MS },
  heldSinceMs: START_MS,
  disownedEpoch: 7,
};
const A: Holder = { hostId: 'a', hostEpoch: 1 };
const B: Holder = { hostId: 'b', hostEpoch: 1 };
const RESOURCE = 'orders/1';

function granted(holder: Holder, epoch: number, lessor: Lessor, record?: LeaseRecord): LeaseRecord {
  const outcome = acquireLease(record, { resource: RESOURCE, holder, epoch }, lessor);
  if (outcome.kind !== 'granted') throw new Error(outcome.reason);
  return outcome.record;
}

describe('each command in each state', () => {
  const at = START_MS + 100_000;
  const held = granted(A, 7, lessorAt(at));
  const released: LeaseRecord = { ...held, state: 'released', endsBootMs: 0 };
  const inTime = lessorAt(at + TERM_MS - 1);
  const over = lessorAt(at + TERM_MS);
  const claim = (holder: Holder, epoch: number) => ({ resource: RESOURCE, holder, epoch });

  test.each([
    ['none', undefined, A, 7, inTime, 'unknown'],
    ['held by it', held, A, 7, inTime, 'renewed'],
    ['expired, nobody since', held, A, 7, over, 'renewed'],
    ['an older epoch', held, A, 6, inTime, 'superseded'],
    ['a newer epoch than any', held, A, 8, inTime, 'unknown'],
    ['held by another', held, B, 7, inTime, 'unknown'],
    ['of an earlier enrolment', held, { hostId: 'a', hostEpoch: 2 }, 7, inTime, 'unknown'],
    ['released', released, A, 7, inTime, 'expired'],
    [
      'expired, before a rollback',
      held,
      A,
      7,
      lessorAt(START_MS + TERM_MS, {
        run: 2,
        ...ROLLED_BACK,
      }),
      'expired',
    ],
    [
      'held, right after a rollback',
      held,
      A,
      7,
      lessorAt(START_MS + TERM_MS - 1, {
        run: 2,
        ...ROLLED_BACK,
      }),
      'recovering',
    ],
    ['held, after a restart', held, A, 7, lessorAt(START_MS, { run: 2 }), 'renewed'],
  ] as const)('renew: %s', (_what, record, holder, epoch, lessor, expected) => {
    const outcome = renewLease(record, claim(holder, epoch), lessor);
    expect(outcome.kind === 'renewed' ? 'renewed' : outcome.reason).toBe(expected);
    expect(outcome.kind === 'renewed' ? outcome.record.epoch : epoch).toBe(epoch);
  });

  test.each([
    ['none', undefined, B, inTime, 'granted'],
    ['held by another', held, B, inTime, 'held'],
    ['expired', held, B, over, 'granted'],
    ['expired, within the lock delay', held, B, { ...over, lockDelayMs: 1 }, 'lock_delay'],
    ['held by itself', held, A, { ...inTime, lockDelayMs: 1_000 }, 'granted'],
    ['held by its earlier enrolment', held, { hostId: 'a', hostEpoch: 2 }, inTime, 'held'],
    ['released', released, B, { ...inTime, lockDelayMs: 1_000 }, 'granted'],
    ['held before a restart', held, B, lessorAt(START_MS + TERM_MS - 1, { run: 2 }), 'recovering'],
    [
      'held before a restart, long ago',
      held,
      B,
      lessorAt(START_MS + TERM_MS, { run: 2 }),
      'granted',
    ],
    [
      'free, right after a rollback',
      undefined,
      B,
      lessorAt(START_MS + TERM_MS - 1, { ...ROLLED_BACK }),
      'recovering',
    ],
    [
      'free, after a rollback',
      undefined,
      B,
      lessorAt(START_MS + TERM_MS, { ...ROLLED_BACK }),
      'granted',
    ],
    [
      'free, while hosts have not been heard',
      undefined,
      B,
      lessorAt(START_MS + TERM_MS - 1, { heldSinceMs: START_MS }),
      'recovering',
    ],
    [
      'held by it before the start, while hosts have not been heard',
      held,
      A,
      lessorAt(START_MS + 1, { run: 2, heldSinceMs: START_MS }),
      'recovering',
    ],
    [
      'free, a term after the start',
      undefined,
      B,
      lessorAt(START_MS + TERM_MS, { heldSinceMs: START_MS }),
      'granted',
    ],
  ] as const)('acquire: %s', (_what, record, holder, lessor, expected) => {
    const outcome = acquireLease(record, { resource: RESOURCE, holder, epoch: 8 }, lessor);
    expect(outcome.kind === 'granted' ? 'granted' : outcome.reason).toBe(expected);
    expect(outcome.kind === 'pending' ? outcome.retryAfterMs : 1).toBeGreaterThan(0);
  });

  test.each([
    ['held by it', held, A, 7, 'released'],
    ['another epoch', held, A, 6, 'ignored'],
    ['held by another', held, B, 7, 'ignored'],
    ['released already', released, A, 7, 'ignored'],
    ['none', undefined, A, 7, 'ignored'],
  ] as const)('release: %s', (_what, record, holder, epoch, expected) => {
    expect(releaseLease(record, claim(holder, epoch), inTime).kind).toBe(expected);
  });

  test('what is shown says how long until others may have it', () => {
    expect(viewLease(held, inTime)).toMatchObject({ state: 'held', remainingMs: 1 });
    expect(viewLease(held, over)).toMatchObject({ state: 'expired', remainingMs: 0 });
    expect(viewLease(held, { ...over, lockDelayMs: 5 })).toMatchObject({
      state: 'expired',
      remainingMs: 5,
    });
    expect(viewLease(released, { ...inTime, lockDelayMs: 5 })).toMatchObject({
      state: 'released',
      remainingMs: 0,
    });
  });
});

/**
 * Hosts that sync at any time, lose answers, keep what they hold by their own clocks (which run fast or slow
 * within the bound), while control restarts. The model of a host is the arithmetic of `shared/core/lease.ts`.
 */
type Step =
  | {
      readonly kind: 'sync';
      readonly host: number;
      readonly delayMs: number;
      readonly isLost: boolean;
    }
  | { readonly kind: 'release'; readonly host: number }
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'restart' }
  | { readonly kind: 'forget'; readonly host: number };

const steps = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('sync' as const),
        host: fc.nat(2),
        delayMs: fc.nat(4_000),
        isLost: fc.boolean(),
      }),
    },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(20_000) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('release' as const), host: fc.nat(2) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('forget' as const), host: fc.nat(2) }) },
  ),
  { minLength: 1, maxLength: 80, size: 'max' },
);

class Play {
  #nowMs = START_MS;
  #run = 1;
  #startedMs = START_MS;
  #record: LeaseRecord | undefined;
  #highestEpoch = 0;
  readonly granted: number[] = [];
  /** In true time, from the moment each host believes it holds until it believes it does not. */
  readonly #belief = new Map<number, { epoch: number; endsMs: number }>();
  readonly #rates: readonly number[];

  constructor(rates: readonly number[]) {
    this.#rates = rates;
  }

  take(step: Step): void {
    switch (step.kind) {
      case 'pass':
        this.#nowMs += step.ms;
        break;
      case 'restart':
        this.#run += 1;
        this.#startedMs = this.#nowMs;
        break;
      case 'forget':
        this.#belief.delete(step.host);
        break;
      case 'release':
        this.#sync(step.host, { sentMs: this.#nowMs, isLost: false, isRelease: true });
        break;
      case 'sync': {
        const sentMs = this.#nowMs;
        this.#nowMs += step.delayMs;
        this.#sync(step.host, { sentMs, isLost: step.isLost, isRelease: false });
      }
    }
    const inTime = [...this.#belief].filter(([, { endsMs }]) => this.#nowMs < endsMs);
    expect(inTime.length, 'I7: two hosts believe that they hold').toBeLessThanOrEqual(1);
  }

  #sync(host: number, how: { sentMs: number; isLost: boolean; isRelease: boolean }): void {
    const belief = this.#belief.get(host);
    const claim = belief === undefined ? [] : [{ resource: RESOURCE, epoch: belief.epoch }];
    // It stops before it says so.
    if (how.isRelease) this.#belief.delete(host);
    const lessor = lessorAt(this.#nowMs, {
      run: this.#run,
      recovery: { kind: 'restart', startedBootMs: this.#startedMs },
    });
    const decision = decideLeaseSync(
      new Map(this.#record === undefined ? [] : [[RESOURCE, this.#record]]),
      {
        holder: { hostId: `host-${host}`, hostEpoch: 1 },
        leases: {
          renew: how.isRelease ? [] : claim,
          release: how.isRelease ? claim : [],
          acquire: how.isRelease || belief !== undefined ? [] : [RESOURCE],
        },
        heldCount: 0,
        heldMax: 10,
        highestEpoch: this.#highestEpoch,
        assigned: [],
        placed: new Map(),
      },
      lessor,
    );
    for (const { kind, epoch } of decision.transitions) {
      if (kind === 'granted' && epoch !== null) this.granted.push(epoch);
    }
    this.#highestEpoch = decision.highestEpoch;
    this.#record = decision.writes[0]?.record ?? this.#record;
    if (how.isLost) return;
    const lease = decision.leases[0];
    const rate = this.#rates[host] ?? 1;
    if (lease !== undefined) {
      const byItsClockMs = holderEndMs(0, lease.ttlMs, DRIFT);
      this.#belief.set(host, { epoch: lease.epoch, endsMs: how.sentMs + byItsClockMs / rate });
    }
    if (decision.lost.length > 0) this.#belief.delete(host);
  }
}

describe('over any history', () => {
  // A clock at rate r shows r ms for each true one; apart from control's by no more than the bound.
  const rates = fc.tuple(
    ...[0, 1, 2].map(() => fc.double({ min: 1 - DRIFT, max: 1 + DRIFT, noNaN: true })),
  );

  test('I7: no two hosts hold at a time; I6: each grant has a higher epoch than all before it', () => {
    fc.assert(
      fc.property(rates, steps, (hostRates, history) => {
        const play = new Play(hostRates);
        for (const step of history) play.take(step);
        expect(play.granted).toEqual([...new Set(play.granted)].toSorted((a, b) => a - b));
      }),
      { numRuns: 1_000 },
    );
  });

  test('the check can fail: clocks that run beyond the bound do overlap', () => {
    const slow = new Play([0.9, 1, 1]);
    slow.take({ kind: 'sync', host: 0, delayMs: 0, isLost: false });
    slow.take({ kind: 'pass', ms: TERM_MS });
    expect(() => slow.take({ kind: 'sync', host: 1, delayMs: 0, isLost: false })).toThrow(
      /two hosts/,
    );
  });
});
