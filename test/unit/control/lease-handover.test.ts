import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import type { Handover } from '../../../control/core/lease-handover.ts';
import {
  orderCancel,
  orderRevoke,
  orderTransfer,
  type Declined,
  type Marked,
} from '../../../control/core/lease-orders.ts';
import { decideLeaseSync, type SyncAsked } from '../../../control/core/lease-sync.ts';
import {
  acquireLease,
  grantorTermMs,
  releaseLease,
  renewLease,
  type Holder,
  type LeaseRecord,
  type Lessor,
} from '../../../control/core/lease-transition.ts';
import { holderEndMs } from '../../../shared/core/lease.ts';

const TTL_MS = 30_000;
const DRIFT = 0.01;
const TERM_MS = grantorTermMs({ ttlMs: TTL_MS, drift: DRIFT });
const START_MS = 1_000_000;
const DRAIN_MS = 10_000;
const RESOURCE = 'orders/1';
const A: Holder = { hostId: 'a', hostEpoch: 1 };
const B: Holder = { hostId: 'b', hostEpoch: 1 };
const C: Holder = { hostId: 'c', hostEpoch: 1 };

const at = (bootMs: number, over: Partial<Lessor> = {}): Lessor => ({
  now: { wallMs: 5_000_000 + bootMs, bootMs: START_MS + bootMs, bootId: 'boot' },
  run: 1,
  recovery: { kind: 'restart', startedBootMs: START_MS },
  ttlMs: TTL_MS,
  drift: DRIFT,
  lockDelayMs: 5_000,
  longestTermMs: TERM_MS,
  heldSinceMs: null,
  disownedEpoch: 0,
  ...over,
});

const transferTo = (toHostId: string, over: { onTimeout?: Handover['onTimeout'] } = {}) => ({
  toHostId,
  drainTimeoutMs: DRAIN_MS,
  onTimeout: 'give_up' as const,
  by: 'operator:ann',
  reason: null,
  ...over,
});
const revoke = { by: 'operator:ann', reason: null, toHostId: null };

function marked(outcome: Marked | Declined): LeaseRecord {
  if (outcome.kind !== 'marked') throw new Error(outcome.reason);
  return outcome.record;
}

function held(by: Holder, epoch: number, lessor: Lessor): LeaseRecord {
  const outcome = acquireLease(undefined, { resource: RESOURCE, holder: by, epoch }, lessor);
  if (outcome.kind !== 'granted') throw new Error(outcome.reason);
  return outcome.record;
}

function sync(
  record: LeaseRecord,
  holder: Holder,
  lessor: Lessor,
  asks: Partial<SyncAsked['leases']>,
) {
  return decideLeaseSync(
    new Map([[RESOURCE, record]]),
    {
      holder,
      leases: { renew: [], acquire: [], release: [], ...asks },
      heldCount: 0,
      heldMax: 10,
      highestEpoch: 7,
      assigned: [],
      placed: new Map(),
    },
    lessor,
  );
}

const owned = held(A, 7, at(0));
const claim = { resource: RESOURCE, epoch: 7 };
const draining = marked(orderTransfer(owned, transferTo('b'), at(0)));
const stopping = marked(orderRevoke(owned, revoke, at(0)));

describe('a transfer', () => {
  test('its holder renews as before, and is told to drain and for how long', () => {
    const answer = sync(draining, A, at(4_000), { renew: [claim] });
    expect(answer.leases).toEqual([{ ...claim, ttlMs: TTL_MS }]);
    expect(answer.drain).toEqual([{ ...claim, remainingMs: DRAIN_MS - 4_000 }]);
  });

  test('after its release the target gets it unasked and at once, under a higher epoch; others wait', () => {
    const released = sync(draining, A, at(1_000), { release: [claim] }).writes[0]?.record;
    if (released === undefined) throw new Error('nothing was written');
    // Not the one that has just given it up, though it asks in vain.
    expect(sync(released, A, at(1_001), { acquire: [RESOURCE] }).pending).toMatchObject([
      { reason: 'reserved', holder: 'b', retryAfterMs: TERM_MS - 1 },
    ]);
    expect(sync(released, C, at(1_001), { acquire: [RESOURCE] }).leases).toEqual([]);
    const granted = sync(released, B, at(1_001), {});
    expect(granted.leases).toEqual([{ resource: RESOURCE, epoch: 8, ttlMs: TTL_MS }]);
    expect(granted.writes[0]?.record.handover).toBeNull();
  });

  test('a target that does not come leaves it to others after a term', () => {
    const released = releaseLease(draining, { ...claim, holder: A }, at(0));
    if (released.kind !== 'released') throw new Error(released.kind);
    expect(sync(released.record, C, at(TERM_MS), { acquire: [RESOURCE] }).leases).toHaveLength(1);
  });

  test('a drain that takes too long is given up: its holder keeps the lease, and says so once', () => {
    const answer = sync(draining, A, at(DRAIN_MS), { renew: [claim] });
    expect(answer.drain).toEqual([]);
    expect(answer.transitions.map(({ kind }) => kind)).toEqual(['renewed', 'transfer_given_up']);
    expect(answer.writes[0]?.record.handover).toBeNull();
  });

  test('or revoked, where that was asked for; a restart of control does not begin the drain anew', () => {
    const order = transferTo('b', { onTimeout: 'revoke' });
    const record = marked(orderTransfer(owned, order, at(0)));
    const late = sync(record, A, at(DRAIN_MS), { renew: [claim] });
    expect(late.lost).toEqual([{ ...claim, reason: 'revoked' }]);
    const stopped = late.writes[0]?.record;
    if (stopped === undefined) throw new Error('nothing was written');
    const next = at(DRAIN_MS + 1, {
      run: 2,
      recovery: { kind: 'restart', startedBootMs: START_MS + DRAIN_MS },
    });
    expect(sync(stopped, A, next, { renew: [claim] }).lost).toHaveLength(1);
    // Its word that it has stopped frees it for the target.
    const freed = sync(stopped, A, at(DRAIN_MS + 2), { release: [claim] }).writes[0]?.record;
    expect(sync(freed as LeaseRecord, B, at(DRAIN_MS + 3), {}).leases).toHaveLength(1);
  });

  test('a holder that crashes: the target gets it as anybody, after the end and the lock delay', () => {
    const over = at(0).now.bootMs - START_MS + TERM_MS;
    const soon = marked(
      orderTransfer(owned, { ...transferTo('b'), drainTimeoutMs: 10 * TERM_MS }, at(0)),
    );
    expect(sync(soon, B, at(over), {}).leases).toEqual([]);
    expect(sync(soon, B, at(over + 5_000), {}).leases).toHaveLength(1);
  });

  test('of a free resource: reserved at once', () => {
    const released = releaseLease(owned, { ...claim, holder: A }, at(1));
    if (released.kind !== 'released') throw new Error(released.kind);
    const record = marked(orderTransfer(released.record, transferTo('b'), at(2)));
    expect(record.handover?.mode).toBe('reserved');
  });

  test.each([
    ['to its holder', orderTransfer(owned, transferTo('a'), at(0)), 'same_host'],
    ['of what never was', orderTransfer(undefined, transferTo('a'), at(0)), 'absent'],
    ['twice', orderTransfer(draining, transferTo('c'), at(1)), 'in_handover'],
    ['of what is to stop', orderTransfer(stopping, transferTo('c'), at(1)), 'in_handover'],
    ['called off when there is none', orderCancel(owned, at(0)), 'no_handover'],
    ['called off when it stops', orderCancel(stopping, at(0)), 'told'],
    ['called off when given up', orderCancel(draining, at(DRAIN_MS)), 'no_handover'],
    ['a revocation of what nobody holds', orderRevoke(owned, revoke, at(TERM_MS)), 'not_held'],
  ] as const)('%s is declined', (_what, outcome, reason) => {
    expect(outcome).toEqual({ kind: 'declined', reason });
  });

  test('called off, it is as if nothing had been', () => {
    const record = marked(orderCancel(draining, at(1)));
    expect(sync(record, A, at(2), { renew: [claim] }).drain).toEqual([]);
    expect(sync(record, B, at(2), {}).leases).toEqual([]);
  });
});

describe('a revocation', () => {
  test('its holder is not renewed, and nobody gets it before the holder has stopped or its term is over', () => {
    const outcome = renewLease(stopping, { ...claim, holder: A }, at(1));
    expect(outcome).toMatchObject({ kind: 'lost', reason: 'revoked' });
    expect(sync(stopping, B, at(TERM_MS - 1), { acquire: [RESOURCE] }).pending).toMatchObject([
      { reason: 'held' },
    ]);
    // Without its word it counts as crashed: the lock delay comes on top.
    expect(sync(stopping, B, at(TERM_MS), { acquire: [RESOURCE] }).pending).toMatchObject([
      { reason: 'lock_delay' },
    ]);
    expect(sync(stopping, B, at(TERM_MS + 5_000), { acquire: [RESOURCE] }).leases).toHaveLength(1);
    const freed = sync(stopping, A, at(2), { release: [claim] }).writes[0]?.record;
    expect(sync(freed as LeaseRecord, B, at(3), { acquire: [RESOURCE] }).leases).toHaveLength(1);
  });

  test('a holder that has forgotten everything does not get it back before its term is over', () => {
    expect(sync(stopping, A, at(1), { acquire: [RESOURCE] }).pending).toMatchObject([
      { reason: 'revoked', retryAfterMs: TERM_MS - 1 },
    ]);
    expect(sync(stopping, A, at(TERM_MS), { acquire: [RESOURCE] }).leases).toHaveLength(1);
  });
});

describe('placement and syncs', () => {
  const placed = (holder: Holder, over: Partial<SyncAsked>, records: readonly LeaseRecord[] = []) =>
    decideLeaseSync(
      new Map(records.map((record) => [record.resource, record])),
      {
        holder,
        leases: { renew: [], acquire: [], release: [] },
        heldCount: 0,
        heldMax: 10,
        highestEpoch: 7,
        assigned: [],
        placed: new Map(),
        ...over,
      },
      at(1),
    );

  test('what is placed on a host is granted to it unasked, once; others are told where it is', () => {
    const mine = placed(A, { assigned: [RESOURCE] });
    expect(mine.leases).toMatchObject([{ resource: RESOURCE, epoch: 8 }]);
    const record = mine.writes[0]?.record as LeaseRecord;
    const renew = [{ resource: RESOURCE, epoch: 8 }];
    const again = placed(A, { assigned: [RESOURCE], leases: { renew, acquire: [], release: [] } }, [
      record,
    ]);
    expect(again.leases).toMatchObject([{ epoch: 8 }]);
    const theirs = placed(B, {
      leases: { renew: [], acquire: [RESOURCE], release: [] },
      placed: new Map([[RESOURCE, 'a']]),
    });
    expect(theirs).toMatchObject({ leases: [], pending: [{ reason: 'placed', holder: 'a' }] });
  });

  test('I7: an assignment is no right: while another may hold it, nothing is granted and nothing said', () => {
    expect(placed(B, { assigned: [RESOURCE] }, [owned])).toMatchObject({ leases: [], pending: [] });
  });

  test('within the limit of the host', () => {
    expect(placed(A, { assigned: ['x', 'y'], heldMax: 1 }).leases).toHaveLength(1);
  });
});

/** Three hosts with clocks of their own, orders at any time, answers that are lost, restarts. */
type Step =
  | { kind: 'sync'; host: number; delayMs: number; isLost: boolean; acquires: boolean }
  | { kind: 'pass'; ms: number }
  | { kind: 'restart' | 'cancel' }
  | { kind: 'forget' | 'drained' | 'place'; host: number }
  | { kind: 'transfer'; host: number; drainTimeoutMs: number; onTimeout: Handover['onTimeout'] }
  | { kind: 'revoke'; host: number | null };

const anyHost = fc.nat(2);
const constant = <T extends string>(kind: T) => fc.constant(kind);
const steps = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        kind: constant('sync'),
        host: anyHost,
        delayMs: fc.nat(4_000),
        isLost: fc.boolean(),
        acquires: fc.boolean(),
      }),
    },
    { weight: 4, arbitrary: fc.record({ kind: constant('pass'), ms: fc.nat(20_000) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: constant('transfer'),
        host: anyHost,
        drainTimeoutMs: fc.nat(30_000),
        onTimeout: fc.constantFrom('give_up' as const, 'revoke' as const),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: constant('drained'), host: anyHost }) },
    {
      weight: 1,
      arbitrary: fc.record({ kind: constant('revoke'), host: fc.option(anyHost, { nil: null }) }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('restart', 'cancel') }) },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constantFrom('forget', 'place'), host: anyHost }),
    },
  ),
  { minLength: 1, maxLength: 80, size: 'max' },
);

type Belief = { epoch: number; endsMs: number; draining: boolean };

class Play {
  #nowMs = 0;
  #run = 1;
  #startedMs = 0;
  #record: LeaseRecord | undefined;
  #highestEpoch = 0;
  #placedOn: number | null = null;
  readonly granted: number[] = [];
  handedOver = 0;
  readonly #belief = new Map<number, Belief>();
  readonly #releasing = new Map<number, number>();
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
        this.#releasing.delete(step.host);
        break;
      case 'drained':
        if (this.#belief.get(step.host)?.draining === true) this.#stop(step.host);
        break;
      case 'place':
        this.#placedOn = step.host;
        break;
      case 'transfer': {
        const { drainTimeoutMs, onTimeout } = step;
        const order = { ...transferTo(`host-${step.host}`), drainTimeoutMs, onTimeout };
        this.#mark(orderTransfer(this.#record, order, this.#lessor()));
        break;
      }
      case 'revoke': {
        const toHostId = step.host === null ? null : `host-${step.host}`;
        this.#mark(orderRevoke(this.#record, { ...revoke, toHostId }, this.#lessor()));
        break;
      }
      case 'cancel':
        this.#mark(orderCancel(this.#record, this.#lessor()));
        break;
      case 'sync':
        this.#sync(step);
    }
    const inTime = [...this.#belief.values()].filter(({ endsMs }) => this.#nowMs < endsMs);
    expect(inTime.length, 'I7: two hosts believe that they hold').toBeLessThanOrEqual(1);
  }

  /** Releases what it goes on believing in. */
  lie(host: number): void {
    const belief = this.#belief.get(host);
    if (belief !== undefined) this.#releasing.set(host, belief.epoch);
  }

  #lessor(): Lessor {
    const startedBootMs = START_MS + this.#startedMs;
    return at(this.#nowMs, {
      run: this.#run,
      recovery: { kind: 'restart', startedBootMs },
    });
  }

  #mark(outcome: Marked | Declined): void {
    if (outcome.kind === 'marked') this.#record = outcome.record;
  }

  /** It stops before it says so. */
  #stop(host: number): void {
    const belief = this.#belief.get(host);
    if (belief === undefined) return;
    this.#belief.delete(host);
    this.#releasing.set(host, belief.epoch);
  }

  #sync({ host, delayMs, isLost, acquires }: Step & { kind: 'sync' }): void {
    const sentMs = this.#nowMs;
    this.#nowMs += delayMs;
    const belief = this.#belief.get(host);
    const releasing = this.#releasing.get(host);
    const ref = (epoch: number) => ({ resource: RESOURCE, epoch });
    const decision = decideLeaseSync(
      new Map(this.#record === undefined ? [] : [[RESOURCE, this.#record]]),
      {
        holder: { hostId: `host-${host}`, hostEpoch: 1 },
        leases: {
          renew: belief === undefined || releasing !== undefined ? [] : [ref(belief.epoch)],
          release: releasing === undefined ? [] : [ref(releasing)],
          acquire: acquires && belief === undefined && releasing === undefined ? [RESOURCE] : [],
        },
        heldCount: 0,
        heldMax: 10,
        highestEpoch: this.#highestEpoch,
        assigned: this.#placedOn === host ? [RESOURCE] : [],
        placed: new Map(),
      },
      this.#lessor(),
    );
    for (const { kind, epoch } of decision.transitions) {
      if (kind === 'granted' && epoch !== null) this.granted.push(epoch);
      if (kind === 'granted' && this.#record?.handover?.mode === 'reserved') this.handedOver += 1;
    }
    this.#highestEpoch = decision.highestEpoch;
    this.#record = decision.writes[0]?.record ?? this.#record;
    if (!isLost) this.#hear(host, sentMs, decision);
  }

  #hear(host: number, sentMs: number, answer: ReturnType<typeof decideLeaseSync>): void {
    this.#releasing.delete(host);
    for (const { epoch, reason } of answer.lost) {
      if (this.#belief.get(host)?.epoch !== epoch) continue;
      if (reason === 'revoked') this.#stop(host);
      else this.#belief.delete(host);
    }
    const lease = answer.leases[0];
    if (lease === undefined) return;
    const byItsClockMs = holderEndMs(0, lease.ttlMs, DRIFT);
    this.#belief.set(host, {
      epoch: lease.epoch,
      endsMs: sentMs + byItsClockMs / (this.#rates[host] ?? 1),
      draining: answer.drain.length > 0,
    });
  }
}

describe('over any history of syncs, losses, orders and restarts', () => {
  const rates = fc.tuple(
    ...[0, 1, 2].map(() => fc.double({ min: 1 - DRIFT, max: 1 + DRIFT, noNaN: true })),
  );

  test('I7: no two hosts hold at a time; I6: each grant has a higher epoch than all before it', () => {
    let handedOver = 0;
    fc.assert(
      fc.property(rates, steps, (hostRates, history) => {
        const play = new Play(hostRates);
        for (const step of history) play.take(step);
        handedOver += play.handedOver;
        expect(play.granted).toEqual([...new Set(play.granted)].toSorted((a, b) => a - b));
      }),
      { numRuns: 2_000 },
    );
    expect(handedOver, 'histories in which a hand-over came to its end').toBeGreaterThan(50);
  });

  test('the check can fail: a holder that says it has stopped before it does overlaps', () => {
    const play = new Play([1, 1, 1]);
    const answered = { delayMs: 0, isLost: false, acquires: true };
    play.take({ kind: 'sync', host: 0, ...answered });
    play.take({ kind: 'transfer', host: 1, drainTimeoutMs: 10_000, onTimeout: 'revoke' });
    play.take({ kind: 'sync', host: 0, ...answered });
    play.lie(0);
    play.take({ kind: 'sync', host: 0, ...answered, isLost: true });
    expect(() => play.take({ kind: 'sync', host: 1, ...answered })).toThrow(/two hosts/);
  });
});
