/** What the ownership campaign can find out: each kind of breach once, and what is none. */
import { expect, test } from 'vitest';
import { OwnershipRecord } from '../../faults/ownership/ownership-record.ts';

function seen(record: OwnershipRecord, holder: string, epoch: number | null, at: number): void {
  const remainingMs = epoch === null ? 0 : 100;
  record.see({ holder, epoch, remainingMs, askedMs: at, answeredMs: at + 1 });
}

test('I7: two who believe at once are found, by what the first said it would believe', () => {
  const record = new OwnershipRecord();
  seen(record, 'a', 1, 0);
  seen(record, 'b', 2, 50);
  expect(record.lies()).toMatchObject([{ kind: 'doubled', about: 'owner' }]);
});

test('I7: one after the other is no breach, nor is one who said that it ended sooner', () => {
  const record = new OwnershipRecord();
  seen(record, 'a', 1, 0);
  seen(record, 'b', 2, 101);
  seen(record, 'b', null, 110);
  seen(record, 'a', 3, 120);
  expect(record.lies()).toEqual([]);
});

test('what was promised before its clock was moved proves nothing', () => {
  const record = new OwnershipRecord();
  seen(record, 'a', 1, 0);
  record.forgetPromises('a', 10);
  seen(record, 'b', 2, 50);
  expect(record.lies()).toEqual([]);
});

test('I6: one epoch of two holders is found; a write under a lower token is refused', () => {
  const record = new OwnershipRecord();
  seen(record, 'a', 5, 0);
  seen(record, 'b', 5, 200);
  expect(record.lies()).toMatchObject([{ kind: 'doubled', about: 'epoch 5' }]);
  expect(record.write('a', 5, 0)).toBe(true);
  expect(record.write('b', 6, 1)).toBe(true);
  expect(record.write('a', 5, 2)).toBe(false);
});
