import { describe, expect, it } from 'vitest';
import { NoticeBook } from '../../../dataplane/core/notice-book.ts';
import {
  entriesAfter,
  isOfHistory,
  nextNumber,
  toSayAgain,
} from '../../../control/core/notice-delivery.ts';
import type { NoticeEntry } from '../../../shared/wire/notices.ts';
import { fc } from '../../fakes/properties.ts';

const REQUEST = {
  hostId: 'hst_1',
  app: 'billing',
  principal: 'agent:mallory',
  action: 'payments.capture',
  resourceId: 'orders/7',
};

function entry(sequence: number, over: Partial<NoticeEntry> = {}): NoticeEntry {
  return {
    sequence,
    follows: sequence - 1,
    entryId: `e${sequence}`,
    noticeId: `ntc_${sequence}`,
    kind: 'revoke_principal',
    subject: 'agent:mallory',
    reason: 'stolen laptop',
    inForce: true,
    atMs: 1,
    ...over,
  };
}

describe('the notices of a host', () => {
  it.each([
    ['revoke_principal', 'agent:mallory', 'principal_revoked'],
    ['revoke_credential', 'app:billing', 'credential_revoked'],
    ['revoke_credential', 'host:hst_1', 'credential_revoked'],
    ['kill_action', 'payments.capture', 'action_killed'],
    ['kill_action', 'payments.*', 'action_killed'],
    ['hold_resource', 'orders/*', 'resource_held'],
    ['hold_resource', '*', 'resource_held'],
  ] as const)('%s of %s refuses with %s, until it is lifted', (kind, subject, code) => {
    const book = new NoticeBook();
    expect(book.against(REQUEST)).toBeNull();
    expect(book.take([entry(1, { kind, subject })])).toMatchObject({ kind: 'taken', begun: 1 });
    expect(book.against(REQUEST)).toMatchObject({ code, noticeId: 'ntc_1' });
    const lift = entry(2, { kind, subject, noticeId: 'ntc_1', inForce: false });
    expect(book.take([lift])).toMatchObject({ kind: 'taken', lifted: 1 });
    expect(book.against(REQUEST)).toBeNull();
  });

  it('leaves alone what they do not name', () => {
    const book = new NoticeBook();
    book.take([
      entry(1, { subject: 'agent:mallory2' }),
      entry(2, { kind: 'kill_action', subject: 'payments.refund' }),
      entry(3, { kind: 'hold_resource', subject: 'orders/8*' }),
      entry(4, { kind: 'revoke_credential', subject: 'app:other' }),
    ]);
    expect(book.against(REQUEST)).toBeNull();
  });

  it('stays refused while another notice speaks against the same', () => {
    const book = new NoticeBook();
    book.take([entry(1), entry(2), entry(3, { noticeId: 'ntc_1', inForce: false })]);
    expect(book.against(REQUEST)).toMatchObject({ noticeId: 'ntc_2' });
  });

  it('refuses whole what leaves a number out, and takes nothing again (I3)', () => {
    const book = new NoticeBook();
    expect(book.take([entry(1), entry(3)])).toMatchObject({ kind: 'refused', reason: 'gap' });
    expect(book.take([entry(2)])).toMatchObject({ kind: 'refused', reason: 'gap' });
    expect(book.take([entry(2), entry(1)])).toMatchObject({ kind: 'refused', reason: 'disorder' });
    expect(book.notices()).toEqual([]);
    book.take([entry(1), entry(2)]);
    const lift = entry(1, { noticeId: 'ntc_2', inForce: false });
    expect(book.take([lift])).toEqual({ kind: 'unchanged' });
    expect(book.against(REQUEST)).not.toBeNull();
  });

  it('holds after a restart what it held before (I5)', () => {
    const book = new NoticeBook();
    book.take([entry(1), entry(2, { kind: 'kill_action', subject: 'payments.*' })]);
    const again = new NoticeBook();
    again.load({ position: book.position, notices: book.notices() });
    expect(again.against({ ...REQUEST, principal: 'agent:else' })?.code).toBe('action_killed');
    expect(again.position).toEqual({ sequence: 2, entryId: 'e2' });
  });
});

/** Control, as its pure parts have it: with copies that are put back, and floors that may be too. */
class Model {
  log: NoticeEntry[] = [];
  floor = 0;
  #made = 0;

  append(noticeId: string, inForce: boolean): void {
    const number = nextNumber(this.log, this.floor);
    this.floor = Math.max(this.floor, number.sequence);
    this.#made += 1;
    const subject = `agent:${noticeId}`;
    const entryId = `entry-${this.#made}`;
    this.log = [...this.log, { ...entry(1), ...number, noticeId, subject, inForce, entryId }];
  }

  /** One sync of a host, of which the answer may be lost. */
  serve(book: NoticeBook, isLost: boolean): boolean {
    const { position } = book;
    if (!isOfHistory(this.log, position)) {
      this.floor = Math.max(this.floor, position.sequence);
      const known = toSayAgain(this.log, position.sequence);
      for (const { noticeId, inForce } of known) this.append(noticeId, inForce);
    }
    const entries = entriesAfter(this.log, position.sequence, 3);
    if (isLost || entries.length === 0) return false;
    expect(book.take(entries).kind).toBe('taken');
    return true;
  }
}

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('record' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('lift' as const), at: fc.nat(20) }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('sync' as const),
      host: fc.nat(2),
      isLost: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('copy' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('restore' as const), floorToo: fc.boolean() }),
  },
);

describe('delivery of notices', () => {
  it('reaches every host, whatever is lost and whichever copy comes back (I1, I5, I10)', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const control = new Model();
        const hosts = [new NoticeBook(), new NoticeBook(), new NoticeBook()];
        let copy = { log: control.log, floor: 0 };
        let recorded = 0;
        for (const one of steps) {
          if (one.kind === 'record') control.append(`ntc_${(recorded += 1)}`, true);
          if (one.kind === 'copy') copy = { log: control.log, floor: control.floor };
          if (one.kind === 'restore') {
            control.log = copy.log;
            if (one.floorToo) control.floor = copy.floor;
          }
          if (one.kind === 'lift' && control.log.length > 0) {
            const { noticeId } = control.log[one.at % control.log.length] as NoticeEntry;
            control.append(noticeId, false);
          }
          const host = one.kind === 'sync' ? hosts[one.host] : undefined;
          if (one.kind === 'sync' && host !== undefined) control.serve(host, one.isLost);
        }
        for (let round = 0; round < 100; round += 1)
          for (const host of hosts) control.serve(host, false);
        const newest = new Map(control.log.map((each) => [each.noticeId, each]));
        for (const host of hosts) {
          expect(control.log.length === 0 || isOfHistory(control.log, host.position)).toBe(true);
          const held = new Set(host.notices().map(({ noticeId }) => noticeId));
          for (const { noticeId, inForce } of newest.values())
            expect(held.has(noticeId)).toBe(inForce);
        }
      }),
    );
  });

  it('gives no number twice, and leaves none out but over a restored copy', () => {
    const control = new Model();
    control.append('ntc_1', true);
    control.append('ntc_2', true);
    const copy = control.log;
    control.append('ntc_3', true);
    control.log = copy;
    control.append('ntc_4', true);
    expect(control.log.map(({ sequence, follows }) => [sequence, follows])).toEqual([
      [1, 0],
      [2, 1],
      [4, 2],
    ]);
  });
});
