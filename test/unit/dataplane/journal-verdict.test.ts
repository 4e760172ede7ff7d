import { describe, expect, test } from 'vitest';
import {
  judgeJournal,
  type FoundJournal,
  type Remembered,
} from '../../../dataplane/core/journal-verdict.ts';

const hashOf = (seq: number): string => String(seq % 10).repeat(64);
const place = (seq: number) => ({ seq, hash: hashOf(seq) });

const nothing: Remembered = { headFile: { kind: 'absent' }, isEnrolled: false, loss: null };
const remembering = (head: number, acked = 0, pruned = 0): Remembered => ({
  ...nothing,
  headFile: { kind: 'read', head: place(head), acked: place(acked), pruned: place(pruned) },
});

type Readable = Extract<FoundJournal, { kind: 'readable' }>;

/** A journal of `head` entries whose hashes are all as they should be. */
function readable(head: number, change: Partial<Readable> = {}): Readable {
  const hashes = new Map(
    Array.from({ length: head }, (_, index) => [index + 1, hashOf(index + 1)]),
  );
  const beginning = { acked: null, pruned: place(0) };
  return { kind: 'readable', head: place(head), ...beginning, hashes, broken: null, ...change };
}

describe('a journal is sound', () => {
  test('where it ends as remembered, and where it is ahead of the head file', () => {
    const sound = (head: number) => ({ kind: 'ok', head: place(head), pruned: place(0) });
    expect(judgeJournal(readable(7), remembering(7, 3))).toEqual(sound(7));
    expect(judgeJournal(readable(9), remembering(7, 3))).toEqual(sound(9));
  });

  test('before its first entry, remembered or not', () => {
    expect(judgeJournal(readable(0), remembering(0)).kind).toBe('ok');
    expect(judgeJournal(readable(0), nothing).kind).toBe('ok');
    expect(judgeJournal(readable(0), { ...remembering(0), isEnrolled: true }).kind).toBe('ok');
  });
});

describe('a journal is new only where nobody remembers one', () => {
  const absent: FoundJournal = { kind: 'absent', walBytes: 0 };
  const empty: FoundJournal = { kind: 'empty', detail: 'the database has no tables' };
  const memories: [string, Remembered][] = [
    ['a head file', remembering(5)],
    ['a head file of a journal without entries', remembering(0)],
    ['a damaged head file', { ...nothing, headFile: { kind: 'damaged', detail: 'damaged' } }],
    ['an identity', { ...nothing, isEnrolled: true }],
    ['a loss found before', { ...nothing, loss: 'found before' }],
  ];

  test('no database, or an empty one, and no memory', () => {
    expect(judgeJournal(absent, nothing)).toEqual({ kind: 'fresh' });
    expect(judgeJournal(empty, nothing)).toEqual({ kind: 'fresh' });
  });

  test.each(memories)('no database, and %s', (_, remembered) => {
    expect(judgeJournal(absent, remembered).kind).toBe('missing');
  });

  test.each(memories)('an empty database, and %s', (_, remembered) => {
    expect(judgeJournal(empty, remembered).kind).toBe('lost');
  });

  test('no database, and a write-ahead log that speaks of one', () => {
    expect(judgeJournal({ kind: 'absent', walBytes: 4_152 }, nothing)).toMatchObject({
      kind: 'missing',
      evidence: [expect.any(String), expect.stringContaining('4152 bytes')],
    });
  });

  test('a file that is no database is never taken for none', () => {
    const verdict = judgeJournal({ kind: 'unreadable', detail: 'not a database' }, nothing);
    expect(verdict).toMatchObject({ kind: 'unreadable', evidence: ['not a database'] });
  });
});

describe('a journal has lost something', () => {
  test('where it ends before the head file does', () => {
    expect(judgeJournal(readable(6), remembering(7))).toMatchObject({
      kind: 'lost',
      evidence: ['the journal ends at entry 6 and journal.head is at entry 7'],
    });
  });

  test('where the entry at the remembered head has another hash', () => {
    const hashes = new Map([[7, 'f'.repeat(64)]]);
    expect(judgeJournal(readable(9, { hashes }), remembering(7))).toMatchObject({
      kind: 'lost',
      evidence: [expect.stringContaining('entry 7 has hash ffffffffffff…')],
    });
  });

  test('where the entry that control acknowledged has another hash, or is not there', () => {
    const hashes = new Map([
      [7, hashOf(7)],
      [3, 'f'.repeat(64)],
    ]);
    expect(judgeJournal(readable(7, { hashes }), remembering(7, 3)).kind).toBe('lost');
    hashes.delete(3);
    expect(judgeJournal(readable(7, { hashes }), remembering(7, 3)).kind).toBe('lost');
    const acked = { seq: 5, hash: 'f'.repeat(64) };
    expect(judgeJournal(readable(7, { acked }), remembering(7)).kind).toBe('lost');
  });

  test('where control acknowledged more than there is', () => {
    expect(judgeJournal(readable(2), remembering(1, 3)).kind).toBe('lost');
  });

  test('where the head file is gone or damaged: any older copy would look the same', () => {
    expect(judgeJournal(readable(7), nothing)).toMatchObject({
      kind: 'lost',
      evidence: [expect.stringContaining('journal.head is not there')],
    });
    expect(judgeJournal(readable(0), { ...nothing, isEnrolled: true }).kind).toBe('lost');
    const damaged: Remembered = { ...nothing, headFile: { kind: 'damaged', detail: 'damaged' } };
    expect(judgeJournal(readable(0), damaged).kind).toBe('lost');
  });

  test('where a loss was found while the sidecar ran', () => {
    expect(judgeJournal(readable(7), { ...remembering(7), loss: 'found' })).toMatchObject({
      kind: 'lost',
      evidence: ['found'],
    });
  });
});

test('a chain that does not hold is named by its place, with all other evidence', () => {
  const broken = { seq: 4, detail: 'does not have the hash of what it says' };
  expect(judgeJournal(readable(6, { broken }), remembering(7))).toEqual({
    kind: 'broken_chain',
    seq: 4,
    evidence: [
      'entry 4 does not have the hash of what it says',
      'the journal ends at entry 6 and journal.head is at entry 7',
    ],
  });
});

describe('I12: where a journal that was pruned begins', () => {
  const begun = (pruned: number, acked: number): FoundJournal => {
    const hashes = new Map([6, 7].map((seq) => [seq, hashOf(seq)]));
    return readable(7, { pruned: place(pruned), acked: place(acked), hashes });
  };

  test('what control acknowledged before it is proved by what comes after', () => {
    expect(judgeJournal(begun(5, 6), remembering(7, 3)).kind).toBe('ok');
    expect(judgeJournal(begun(5, 6), remembering(7, 6, 5)).kind).toBe('ok');
  });

  test('never earlier than is remembered, never elsewhere', () => {
    expect(judgeJournal(begun(4, 6), remembering(7, 6, 5)).kind).toBe('lost');
    const other = { ...remembering(7, 6), headFile: { kind: 'read', ...memory() } } as const;
    expect(judgeJournal(begun(5, 6), other).kind).toBe('lost');
  });

  test('never after what control holds, nor after the head that is remembered', () => {
    expect(judgeJournal(begun(6, 6), remembering(7)).kind).toBe('lost');
    expect(judgeJournal(begun(5, 6), remembering(4)).kind).toBe('lost');
  });

  const memory = () => ({ head: place(7), acked: place(6), pruned: { seq: 5, hash: hashOf(9) } });
});
