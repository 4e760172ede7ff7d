/** I1: the simulated disk loses with the power what SQLite was not told to sync, and nothing else. */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { openDatabase, type Database } from '../../../shared/platform/sqlite.ts';
import { FakeRandom } from '../../fakes/fake-random.ts';
import {
  carryUnsynced,
  forgetUnsynced,
  loseUnsynced,
} from '../../simulation/engine/unsynced-log.ts';

const SEEDS = 14;
const root = mkdtempSync(join(tmpdir(), 'holdfast-unsynced-'));
const open: Database[] = [];
let places = 0;

afterEach(() => {
  for (const database of open.splice(0)) if (database.isOpen) database.close();
  forgetUnsynced(root);
  rmSync(root, { recursive: true, force: true });
});

function place(): string {
  places += 1;
  const directory = join(root, `${places}`);
  mkdirSync(directory, { recursive: true });
  return join(directory, 'some.db');
}

function opened(path: string): Database {
  const database = openDatabase(path);
  open.push(database);
  return database;
}

function madeWith(rows: number): { path: string; database: Database } {
  const path = place();
  const database = opened(path);
  database.exec('CREATE TABLE t (n INTEGER)');
  insert(database, 1, rows);
  return { path, database };
}

function insert(database: Database, from: number, to: number): void {
  for (let n = from; n <= to; n += 1) database.exec(`INSERT INTO t VALUES (${n})`);
}

/** As a kill leaves it. */
function copied(path: string): string {
  const to = place();
  for (const end of ['', '-wal']) if (existsSync(path + end)) copyFileSync(path + end, to + end);
  return to;
}

/** The rows that are there after a power cut, by seed; `broken`: SQLite cannot read it. */
function afterPowerCuts(path: string): (number | 'broken')[] {
  return Array.from({ length: SEEDS }, (_, seed) => {
    const to = copied(path);
    loseUnsynced(path, to, new FakeRandom(seed + 1));
    return rowsIn(to);
  });
}

function rowsIn(path: string): number | 'broken' {
  try {
    const database = opened(path);
    const check = database.prepare('PRAGMA integrity_check').get();
    const rows = database
      .prepare('SELECT n FROM t ORDER BY n')
      .all()
      .map((row) => row['n']);
    database.close();
    // What came first is never gone where something later is there.
    const isPrefix = rows.every((n, index) => n === index + 1);
    return check?.['integrity_check'] === 'ok' && isPrefix ? rows.length : 'broken';
  } catch {
    return 'broken';
  }
}

test('I1: what was committed under FULL stays, and no chance is drawn for it', () => {
  const { path } = madeWith(10);
  const random = new FakeRandom(1);
  const to = copied(path);
  expect(loseUnsynced(path, to, random)).toBeNull();
  expect(random.unit()).toBe(new FakeRandom(1).unit());
  expect(rowsIn(to)).toBe(10);
});

test('I1: under NORMAL any number of the last commits may be gone, and none of before', () => {
  const { path, database } = madeWith(4);
  database.exec('PRAGMA synchronous=NORMAL');
  insert(database, 5, 12);
  const left = new Set(afterPowerCuts(path));
  expect([...left].every((rows) => rows !== 'broken' && rows >= 4 && rows <= 12)).toBe(true);
  expect(left.size).toBeGreaterThan(4);
  expect(left.has(4)).toBe(true);
});

test('I1: under NORMAL a checkpoint makes durable what came before it', () => {
  const { path, database } = madeWith(4);
  database.prepare('PRAGMA synchronous=NORMAL').run();
  insert(database, 5, 8);
  database.exec('PRAGMA wal_checkpoint(PASSIVE)');
  expect(new Set(afterPowerCuts(path))).toEqual(new Set([8]));
  // The log is begun anew.
  insert(database, 9, 12);
  const left = new Set(afterPowerCuts(path));
  expect([...left].every((rows) => rows !== 'broken' && rows >= 8)).toBe(true);
  expect(left.size).toBeGreaterThan(2);
});

test('I1: the next commit under FULL makes durable what came before it', () => {
  const { path, database } = madeWith(4);
  database.exec('PRAGMA synchronous=OFF');
  insert(database, 5, 8);
  database.exec('PRAGMA synchronous=FULL');
  expect(new Set(afterPowerCuts(path)).size).toBeGreaterThan(2);
  insert(database, 9, 9);
  expect(new Set(afterPowerCuts(path))).toEqual(new Set([9]));
  // And from there anew.
  database.exec('PRAGMA synchronous=OFF');
  insert(database, 10, 12);
  const left = afterPowerCuts(path);
  expect(left.every((rows) => rows !== 'broken' && rows >= 9)).toBe(true);
});

test('I1: under OFF the pages that a checkpoint wrote may be gone, and the database be broken', () => {
  const { path, database } = madeWith(4);
  database.exec('PRAGMA synchronous=OFF');
  insert(database, 5, 40);
  database.exec('UPDATE t SET n = n WHERE n > 4; PRAGMA wal_checkpoint(TRUNCATE)');
  insert(database, 41, 42);
  const left = new Set(afterPowerCuts(path));
  expect(left.has(4)).toBe(true);
  expect(left.has(42)).toBe(true);
  expect(left.size).toBeGreaterThan(2);
});

test('I1: a kill syncs nothing: the power cut after it takes what the killed one had not synced', () => {
  const { path, database } = madeWith(4);
  database.exec('PRAGMA synchronous=NORMAL');
  insert(database, 5, 8);
  const next = copied(path);
  carryUnsynced(path, next);
  const successor = opened(next);
  expect(successor.prepare('SELECT count(*) AS n FROM t').get()?.['n']).toBe(8);
  successor.exec('PRAGMA synchronous=NORMAL');
  const left = new Set(afterPowerCuts(next));
  expect(left.has(4)).toBe(true);
  expect([...left].every((rows) => rows !== 'broken' && rows >= 4)).toBe(true);
  // Whoever comes then under FULL has it synced with the first commit.
  const last = copied(path);
  carryUnsynced(path, last);
  insert(opened(last), 9, 9);
  expect(new Set(afterPowerCuts(last))).toEqual(new Set([9]));
});
