/** Writes that share a commit, as another connection sees them: it sees what is committed. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CommitGroup, LAZY_MS_MAX } from '../../control/store/commit-group.ts';
import type { CommitPace } from '../../shared/platform/commit-pace.ts';
import { openDatabase, type Database } from '../../shared/platform/sqlite.ts';

class HandPace implements CommitPace {
  soonCommits: (() => void)[] = [];
  laterCommits: { delayMs: number; commit: () => void }[] = [];

  soon(commit: () => void): void {
    this.soonCommits.push(commit);
  }

  later(delayMs: number, commit: () => void) {
    const waiting = { delayMs, commit };
    this.laterCommits.push(waiting);
    return {
      cancel: () => {
        this.laterCommits = this.laterCommits.filter((one) => one !== waiting);
      },
    };
  }
}

let directory: string;
let database: Database;
let other: Database;
let pace: HandPace;
let group: CommitGroup;
let failures: unknown[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-group-'));
  database = openDatabase(join(directory, 'x.db'));
  database.exec('CREATE TABLE words (word TEXT PRIMARY KEY) STRICT');
  other = openDatabase(join(directory, 'x.db'), { readOnly: true });
  pace = new HandPace();
  failures = [];
  group = new CommitGroup(database, { pace, onFailure: (error) => failures.push(error) });
});
afterEach(() => {
  if (database.isOpen) database.close();
  other.close();
  rmSync(directory, { recursive: true });
});

const put = (word: string) => () => void database.prepare('INSERT INTO words VALUES (?)').run(word);
const nothing = (): void => undefined;
const wordsOf = (reader: Database): unknown[] =>
  reader
    .prepare('SELECT word FROM words ORDER BY word')
    .all()
    .map(({ word }) => word);

describe('writes that share a commit', () => {
  test('I1: whoever waits is answered after the one commit of all of them', async () => {
    let answered = 0;
    const waiting = ['a', 'b', 'c'].map((word) => {
      group.join(put(word), nothing);
      return group.committed().then(() => (answered += 1));
    });
    await Promise.resolve();
    expect([answered, wordsOf(database), wordsOf(other)]).toEqual([0, ['a', 'b', 'c'], []]);
    expect(pace.soonCommits).toHaveLength(1);
    pace.soonCommits[0]?.();
    await Promise.all(waiting);
    expect([answered, wordsOf(other)]).toEqual([3, ['a', 'b', 'c']]);
  });

  test('one that does not hold is undone by itself', async () => {
    group.join(put('a'), nothing);
    expect(() => {
      group.join(() => {
        put('b')();
        throw new Error('no longer so');
      }, nothing);
    }).toThrow('no longer so');
    group.join(put('c'), nothing);
    const committed = group.committed();
    group.flush();
    await committed;
    expect(wordsOf(other)).toEqual(['a', 'c']);
  });

  test('a lazy one is on disk within its time, or with the next commit', () => {
    group.join(put('a'), nothing);
    group.commitLater();
    group.commitLater();
    expect(pace.laterCommits.map(({ delayMs }) => delayMs)).toEqual([LAZY_MS_MAX]);
    pace.laterCommits[0]?.commit();
    expect(wordsOf(other)).toEqual(['a']);
    group.join(put('b'), nothing);
    group.commitLater();
    group.flush();
    expect([wordsOf(other), pace.laterCommits]).toEqual([['a', 'b'], []]);
  });

  test('what must hold for a transaction is looked at once in each, and without it nothing is written', () => {
    const refuse = (): never => {
      throw new Error('another run has begun');
    };
    expect(() => group.join(put('a'), refuse)).toThrow('another run');
    expect(database.isTransaction).toBe(false);
    group.join(put('a'), nothing);
    group.join(put('b'), refuse);
    group.flush();
    expect(wordsOf(other)).toEqual(['a', 'b']);
  });

  test('a commit that fails fails all who wait for it, and says so', async () => {
    database.exec(
      'CREATE TABLE children (word TEXT REFERENCES words DEFERRABLE INITIALLY DEFERRED)',
    );
    group.join(put('a'), nothing);
    const first = group.committed();
    group.join(() => database.exec("INSERT INTO children VALUES ('nobody')"), nothing);
    const second = group.committed();
    pace.soonCommits[0]?.();
    await expect(first).rejects.toThrow(/FOREIGN KEY/);
    await expect(second).rejects.toThrow(/FOREIGN KEY/);
    expect([failures.length, wordsOf(database)]).toEqual([1, []]);
  });
});
