import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import { LEASES_MAX, LeaseBook, type LeaseRequest } from '../../../dataplane/core/lease-book.ts';
import { grantorEndMs, ownershipAt } from '../../../shared/core/lease.ts';
import type { Instant } from '../../../shared/core/time.ts';

const NONE: LeaseRequest = { renew: [], acquire: [], release: [], draining: [] };
const at = (bootMs: number, bootId = 'boot-1'): Instant => ({
  wallMs: 1_000_000 + bootMs,
  bootMs,
  bootId,
});

function answer(
  changes: Partial<Parameters<LeaseBook['apply']>[0]>,
): Parameters<LeaseBook['apply']>[0] {
  return { leases: [], lost: [], pending: [], drift: 0.01, ...changes };
}

/** A book that holds `orders/7` at `epoch`, granted by a sync sent at 0. */
function holding(epoch: number, ttlMs = 30_000): LeaseBook {
  const book = new LeaseBook();
  book.want('orders/7', at(0));
  book.apply(answer({ leases: [{ resource: 'orders/7', epoch, ttlMs }] }), book.request(at(0)), {
    sentAt: at(0),
    now: at(10),
  });
  return book;
}

describe('I7: the holder never outlives the grantor', () => {
  test('I7: for any delay of request and answer, any ttl, and clocks within the declared drift', () => {
    fc.assert(
      fc.property(
        fc.record({
          ttlMs: fc.integer({ min: 1_000, max: 600_000 }),
          requestMs: fc.integer({ min: 0, max: 60_000 }),
          answerMs: fc.integer({ min: 0, max: 60_000 }),
          drift: fc.double({ min: 0.001, max: 0.05, noNaN: true }),
          hostRate: fc.double({ min: -1, max: 1, noNaN: true }),
          controlRate: fc.double({ min: -1, max: 1, noNaN: true }),
          hostBootMs: fc.integer({ min: 0, max: 10_000_000 }),
        }),
        ({ ttlMs, requestMs, answerMs, drift, hostRate, controlRate, hostBootMs }) => {
          // True time is counted from the sending; each clock runs at its own rate within the
          // bound.
          const hostClock = (trueMs: number): number =>
            hostBootMs + trueMs * (1 + hostRate * drift * 0.99);
          const trueOf = (controlMs: number): number =>
            controlMs / (1 + controlRate * drift * 0.99);
          const grantorEndTrueMs = requestMs + trueOf(grantorEndMs(0, ttlMs, drift));

          const book = new LeaseBook();
          book.want('orders/7', at(hostBootMs));
          const sentAt = at(Math.floor(hostClock(0)));
          const now = at(Math.floor(hostClock(requestMs + answerMs)));
          book.apply(
            answer({ drift, leases: [{ resource: 'orders/7', epoch: 1, ttlMs }] }),
            book.request(sentAt),
            { sentAt, now },
          );

          const atGrantorEnd = at(Math.floor(hostClock(grantorEndTrueMs)));
          const verdict = ownershipAt(book.heldLease('orders/7'), {
            mode: 'strict',
            graceMs: 0,
            now: atGrantorEnd,
          });
          expect(verdict.owned).toBe(false);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('I7: an answer older than the time to live grants nothing', () => {
    const book = new LeaseBook();
    book.want('orders/7', at(0));
    const leases = [{ resource: 'orders/7', epoch: 1, ttlMs: 1_000 }];
    book.apply(answer({ leases }), book.request(at(0)), { sentAt: at(0), now: at(5_000) });
    const lease = book.heldLease('orders/7');
    expect(ownershipAt(lease, { mode: 'strict', graceMs: 0, now: at(5_000) }).owned).toBe(false);
    expect(book.request(at(5_000)).renew).toEqual([{ resource: 'orders/7', epoch: 1 }]);
  });

  test('I7: a drift that would lengthen the lease is none', () => {
    const book = new LeaseBook();
    const leases = [{ resource: 'a', epoch: 1, ttlMs: 10_000 }];
    book.apply(answer({ leases, drift: -1 }), NONE, { sentAt: at(0), now: at(1) });
    expect(book.heldLease('a')?.endsBootMs).toBeLessThan(10_000);
  });

  test('a shorter time to live at renewal shortens the end', () => {
    const book = holding(1, 30_000);
    const before = book.heldLease('orders/7')?.endsBootMs ?? 0;
    const leases = [{ resource: 'orders/7', epoch: 1, ttlMs: 5_000 }];
    book.apply(answer({ leases }), NONE, { sentAt: at(100), now: at(110) });
    expect(book.heldLease('orders/7')?.endsBootMs).toBeLessThan(before);
  });
});

describe('I6: epochs', () => {
  test('I6: whatever control answers, the epoch held for a resource never goes back', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 30 }),
        (epochs) => {
          const book = new LeaseBook();
          let highest = 0;
          for (const [step, epoch] of epochs.entries()) {
            const now = at(step * 10);
            const changes = book.apply(
              answer({ leases: [{ resource: 'a', epoch, ttlMs: 10_000 }] }),
              NONE,
              { sentAt: now, now },
            );
            expect(changes.refused).toHaveLength(epoch < highest ? 1 : 0);
            highest = Math.max(highest, epoch);
            expect(book.heldLease('a')?.epoch).toBe(highest);
            expect(book.highestEpoch()).toBe(highest);
          }
        },
      ),
    );
  });

  test('a new epoch must be durable, a renewal need not be', () => {
    const book = new LeaseBook();
    const grant = (epoch: number): boolean =>
      book.apply(answer({ leases: [{ resource: 'a', epoch, ttlMs: 10_000 }] }), NONE, {
        sentAt: at(0),
        now: at(1),
      }).mustBeDurable;
    expect([grant(1), grant(1), grant(2), grant(2)]).toEqual([true, false, true, false]);
  });

  test('a token seen elsewhere raises the bar', () => {
    const book = new LeaseBook();
    expect(book.noteEpoch({ resource: 'a', epoch: 5 })).toBe(true);
    expect(book.noteEpoch({ resource: 'a', epoch: 4 })).toBe(false);
    const { refused } = book.apply(
      answer({ leases: [{ resource: 'a', epoch: 4, ttlMs: 10_000 }] }),
      NONE,
      { sentAt: at(0), now: at(1) },
    );
    expect(refused).toEqual([{ resource: 'a', epoch: 4, highestEpoch: 5 }]);
  });
});

describe('losing and releasing', () => {
  test('a loss of an older epoch than the one held is old news', () => {
    const book = holding(5);
    const { lost } = book.apply(
      answer({ lost: [{ resource: 'orders/7', epoch: 4, reason: 'expired' }] }),
      NONE,
      { sentAt: at(1), now: at(2) },
    );
    expect(lost).toEqual([]);
    expect(book.heldLease('orders/7')?.epoch).toBe(5);
  });

  test.each([
    ['expired', ['orders/7']],
    ['unknown', ['orders/7']],
    ['superseded', []],
  ] as const)('lost as %s, it is asked for again: %s', (reason, acquire) => {
    const book = holding(5);
    book.apply(answer({ lost: [{ resource: 'orders/7', epoch: 5, reason }] }), NONE, {
      sentAt: at(1),
      now: at(2),
    });
    expect(book.request(at(3)).acquire).toEqual(acquire);
  });

  test('a release that was not answered is sent again', () => {
    const book = holding(5);
    book.release('orders/7');
    const release = [{ resource: 'orders/7', epoch: 5 }];
    expect(book.request(at(1)).release).toEqual(release);
    const asked = book.request(at(2));
    expect(asked.release).toEqual(release);
    book.apply(answer({}), asked, { sentAt: at(2), now: at(3) });
    expect(book.request(at(4)).release).toEqual([]);
  });

  test('I7: given up and wanted again while its renewal is on the way, it is not taken back', () => {
    const book = holding(5);
    const renewal = book.request(at(1));
    book.release('orders/7');
    book.want('orders/7', at(2));
    book.apply(answer({ leases: [{ resource: 'orders/7', epoch: 5, ttlMs: 30_000 }] }), renewal, {
      sentAt: at(1),
      now: at(3),
    });
    expect(book.heldLease('orders/7')).toBeUndefined();
    const next = book.request(at(4));
    expect(next).toEqual({
      renew: [],
      draining: [],
      acquire: [],
      release: [{ resource: 'orders/7', epoch: 5 }],
    });
    book.apply(answer({}), next, { sentAt: at(4), now: at(5) });
    expect(book.request(at(6)).acquire).toEqual(['orders/7']);
  });

  test('a lease that control assigns unasked is taken', () => {
    const book = new LeaseBook();
    const { granted } = book.apply(
      answer({ leases: [{ resource: 'a', epoch: 1, ttlMs: 10_000 }] }),
      NONE,
      { sentAt: at(0), now: at(1) },
    );
    expect(granted).toEqual([{ resource: 'a', epoch: 1 }]);
  });

  test('what never came does not need to be released', () => {
    const book = new LeaseBook();
    expect(book.release('a')).toBe(false);
    book.want('a', at(0));
    expect(book.release('a')).toBe(true);
    expect(book.request(at(1))).toEqual(NONE);
  });

  test('what could not be stored is given up', () => {
    const book = holding(5);
    book.renounce([{ resource: 'orders/7', epoch: 5 }]);
    expect(book.heldLease('orders/7')).toBeUndefined();
    expect(book.request(at(1)).release).toEqual([{ resource: 'orders/7', epoch: 5 }]);
  });
});

describe('handing over', () => {
  const lease = { resource: 'orders/7', epoch: 5, ttlMs: 10_000 };
  const drain = [{ resource: 'orders/7', epoch: 5, remainingMs: 7_000 }];

  test('a lease that is to be drained is held as before, and marked until control no longer says so', () => {
    const book = holding(5);
    book.apply(answer({ leases: [lease], drain }), NONE, { sentAt: at(1), now: at(2) });
    expect(book.heldLease('orders/7')).toMatchObject({ epoch: 5, drainEndsBootMs: 7_002 });
    expect(book.request(at(3))).toMatchObject({ renew: [{ epoch: 5 }], draining: [] });
    book.noteUnfinished(new Map([['orders/7', 2]]));
    expect(book.request(at(3)).draining).toEqual([
      { resource: 'orders/7', epoch: 5, unfinished: 2 },
    ]);
    book.apply(answer({ leases: [lease] }), NONE, { sentAt: at(4), now: at(5) });
    expect(book.draining()).toEqual([]);
  });

  test('a drain of another epoch is none', () => {
    const book = holding(5);
    const older = [{ resource: 'orders/7', epoch: 4, remainingMs: 7_000 }];
    book.apply(answer({ leases: [lease], drain: older }), NONE, { sentAt: at(1), now: at(2) });
    expect(book.draining()).toEqual([]);
  });

  test('what was revoked is gone at once, confirmed with the next sync, and not asked for again', () => {
    const book = holding(5);
    const lost = [{ resource: 'orders/7', epoch: 5, reason: 'revoked' as const }];
    book.apply(answer({ lost }), NONE, { sentAt: at(1), now: at(2) });
    expect(book.heldLease('orders/7')).toBeUndefined();
    expect(book.request(at(3))).toMatchObject({
      renew: [],
      acquire: [],
      release: [{ resource: 'orders/7', epoch: 5 }],
    });
  });
});

describe('wanting', () => {
  const held = { reason: 'held', holder: 'host_rival', retryAfterMs: 1_000 } as const;

  test('control is not asked sooner than it said, and is asked again after that', () => {
    const book = new LeaseBook();
    expect(book.want('a', at(0))).toBe(true);
    book.apply(answer({ pending: [{ resource: 'a', ...held }] }), book.request(at(0)), {
      sentAt: at(0),
      now: at(10),
    });
    expect(book.want('a', at(1_009))).toBe(false);
    expect(book.wantedEntry('a')).toMatchObject({ reason: 'held', holder: 'host_rival' });
    expect(book.want('a', at(1_010))).toBe(true);
    expect(book.wantedEntry('a')).toMatchObject({ reason: null, holder: null });
  });

  test('a lease that has ended may be wanted again, one in time need not', () => {
    const book = holding(1, 1_000);
    expect(book.want('orders/7', at(100))).toBe(false);
    expect(book.want('orders/7', at(2_000))).toBe(true);
  });

  test('no more is wanted than one sync can ask for', () => {
    const book = new LeaseBook();
    for (let index = 0; index < LEASES_MAX; index += 1) book.want(`a/${index}`, at(0));
    expect(book.want('one/more', at(0))).toBe(false);
    expect(book.request(at(0)).acquire).toHaveLength(LEASES_MAX);
  });
});

describe('I7: clocks and boots', () => {
  test('I7: leases of another boot are not loaded, their epochs are', () => {
    const book = new LeaseBook();
    const lease = { resource: 'a', epoch: 3, ttlMs: 10_000, endsBootMs: 9_000, bootId: 'boot-1' };
    const stored = { leases: [lease], epochs: [{ resource: 'a', epoch: 3 }], highestEpoch: 8 };
    book.load(stored, at(5, 'boot-2'));
    expect(book.heldLease('a')).toBeUndefined();
    expect(book.highestEpoch()).toBe(8);
    const same = new LeaseBook();
    same.load(stored, at(5, 'boot-1'));
    expect(same.heldLease('a')).toEqual(lease);
  });

  test('to end all is to leave every epoch for control to renew', () => {
    const book = holding(5);
    expect(book.endAll(at(100))).toEqual([{ resource: 'orders/7', epoch: 5 }]);
    expect(
      ownershipAt(book.heldLease('orders/7'), { mode: 'strict', graceMs: 0, now: at(100) }).owned,
    ).toBe(false);
    expect(book.request(at(100)).renew).toEqual([{ resource: 'orders/7', epoch: 5 }]);
    expect(book.endAll(at(101))).toEqual([]);
  });

  test('only leases in time set the pace', () => {
    const book = holding(5, 9_000);
    expect(book.shortestTtlMs(at(100))).toBe(9_000);
    expect(book.shortestTtlMs(at(9_000))).toBeNull();
  });
});
