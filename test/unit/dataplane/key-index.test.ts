import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { migrate, type Database } from '../../../shared/platform/sqlite.ts';
import { JOURNAL_MIGRATIONS } from '../../../dataplane/journal/journal-schema.ts';
import { KeyIndex, keyHash } from '../../../dataplane/journal/key-index.ts';

const RUN_KEYS = 65_536;

let database: Database;
let insert: (seq: number, hash: number) => void;

beforeEach(() => {
  database = new DatabaseSync(':memory:');
  migrate(database, JOURNAL_MIGRATIONS);
  const statement = database.prepare(
    "INSERT INTO operations (seq, app, key_hash, state, on_control_loss, deadline_at_ms) VALUES (?, 'demo', ?, 'accepted', 'finish', 0)",
  );
  insert = (seq, hash) => void statement.run(seq, hash);
});
afterEach(() => database.close());

/** As the writer does it: the operation and its key, and a look at the run with each batch. */
function admit(index: KeyIndex, hashes: readonly number[], firstSeq: number): void {
  database.exec('BEGIN');
  for (const [offset, hash] of hashes.entries()) {
    insert(firstSeq + offset, hash);
    index.add(hash, firstSeq + offset);
  }
  index.writeFullRun();
  database.exec('COMMIT');
}

const hashesOf = (prefix: string, count: number): number[] =>
  Array.from({ length: count }, (_, number) => keyHash('demo', `${prefix}-${number}`));
const runs = (): unknown => database.prepare('SELECT count(*) AS n FROM key_runs').get()?.['n'];

describe('I2: a key that was admitted is found', () => {
  const sets = [hashesOf('a', RUN_KEYS), hashesOf('b', RUN_KEYS), hashesOf('c', 1_000)];
  const everyThousandth = (): [hash: number, seq: number][] =>
    sets.flat().flatMap((hash, at) => (at % 997 === 0 ? [[hash, at + 1]] : []));

  test('in memory, in a run and in one before it, also after a restart; one that was not is not', () => {
    const index = new KeyIndex(database);
    let seq = 1;
    for (const hashes of sets) {
      admit(index, hashes, seq);
      seq += hashes.length;
    }
    expect(runs()).toBe(2);
    for (const opened of [index, new KeyIndex(database)]) {
      for (const [hash, at] of everyThousandth()) expect(opened.find(hash)).toContain(at);
      for (const hash of hashesOf('never', 1_000)) expect(opened.find(hash)).toEqual([]);
    }
  });

  test('whatever else has its hash: in memory, in one run, on both sides of a border', () => {
    const index = new KeyIndex(database);
    const shared = 7;
    const hashes = [...Array.from({ length: 600 }, () => shared), ...hashesOf('a', RUN_KEYS)];
    const seqs = Array.from({ length: 600 }, (_, offset) => offset + 1);
    for (const [offset, hash] of hashes.slice(0, 600).entries()) index.add(hash, offset + 1);
    expect(index.find(shared).toSorted((a, b) => a - b)).toEqual(seqs);
    admit(new KeyIndex(database), hashes, 1);
    expect(runs()).toBe(1);
    expect(new KeyIndex(database).find(shared).toSorted((a, b) => a - b)).toEqual(seqs);
  });

  test('a transaction that is undone leaves no key and no run', () => {
    const index = new KeyIndex(database);
    const hashes = hashesOf('a', RUN_KEYS);
    database.exec('BEGIN');
    for (const [offset, hash] of hashes.entries()) {
      insert(offset + 1, hash);
      index.add(hash, offset + 1);
    }
    index.writeFullRun();
    expect(runs()).toBe(1);
    database.exec('ROLLBACK');
    index.load();
    expect(index.find(hashes[0] ?? 0)).toEqual([]);
    admit(index, hashes, 1);
    expect(index.find(hashes[0] ?? 0)).toEqual([1]);
  });

  test('a run goes when the last operation that it names has gone, and its keys are free', () => {
    const index = new KeyIndex(database);
    admit(index, sets[0] ?? [], 1);
    admit(index, sets[1] ?? [], RUN_KEYS + 1);
    const [first = 0] = sets[0] ?? [];
    const [last = 0] = (sets[1] ?? []).slice(-1);
    database.exec('DELETE FROM operations WHERE seq <> 1');
    index.removeRuns(2 * RUN_KEYS - 1);
    expect(runs()).toBe(2);
    index.removeRuns(2 * RUN_KEYS);
    expect(runs()).toBe(1);
    for (const opened of [index, new KeyIndex(database)]) {
      expect(opened.find(first)).toEqual([1]);
      expect(opened.find(last)).toEqual([]);
    }
    database.exec('DELETE FROM operations');
    index.removeRuns(2 * RUN_KEYS);
    expect(runs()).toBe(0);
    expect(database.prepare('SELECT count(*) AS n FROM key_chunks').get()).toEqual({ n: 0 });
    expect(new KeyIndex(database).find(first)).toEqual([]);
  });

  test('or its loss is noticed: a run with a flipped bit is not believed', () => {
    const hashes = hashesOf('a', RUN_KEYS);
    admit(new KeyIndex(database), hashes, 1);
    const flip = (sql: string): void => {
      database.exec('SAVEPOINT flip');
      expect(database.prepare(sql).run().changes).toBeGreaterThan(0);
      expect(() => hashes.map((hash) => new KeyIndex(database).find(hash))).toThrow(/damaged/);
      database.exec('ROLLBACK TO flip');
    };
    const other = 'zeroblob(length(entries))';
    flip('UPDATE key_runs SET filter = zeroblob(length(filter))');
    flip('UPDATE key_runs SET firsts = zeroblob(length(firsts))');
    flip(`UPDATE key_chunks SET entries = ${other} WHERE chunk = 1024`);
    flip('DELETE FROM key_chunks WHERE chunk = 1024');
  });
});
