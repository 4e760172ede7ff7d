/** Damage to the files of a journal is harmless or noticed, never silent; a kill alone is neither. */
import { spawn } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SystemClock } from '../../shared/platform/clock.ts';
import { sha256Hex } from '../../shared/platform/digest.ts';
import { StoreError } from '../../shared/platform/sqlite.ts';
import { journalFiles, type JournalFiles } from '../../dataplane/journal/journal-files.ts';
import { openJournal } from '../../dataplane/journal/open-journal.ts';
import { verifyJournal } from '../../dataplane/journal/start-verification.ts';
import { JOURNAL_LOAD } from '../fakes/journal-load.ts';
import { copyJournal, crashImage, readAll, type Told } from '../fakes/journal-image.ts';

const clock = new SystemClock();
let directory: string;
let image: JournalFiles;
let older: JournalFiles;
let told: Told;
let copies = 0;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'journal-damage-'));
  ({ image, older, told } = await crashImage(directory));
});
afterAll(() => rmSync(directory, { recursive: true }));

function copy(from = image): JournalFiles {
  const files = journalFiles(join(directory, `copy-${(copies += 1)}`, 'journal'));
  copyJournal(from, files);
  return files;
}

/** Everything that was there, byte for byte; SQLite's index of the WAL holds no data. */
function digests(files: JournalFiles): Record<string, string> {
  return Object.fromEntries(
    readdirSync(files.directory)
      .filter((name) => !name.endsWith('-shm'))
      .map((name) => [name, sha256Hex(readFileSync(join(files.directory, name)))]),
  );
}

type Fate = 'harmless' | 'noticed' | 'silent';

function fateOf(files: JournalFiles): Fate {
  const before = digests(files);
  let fate: Fate = 'noticed';
  try {
    const { kind } = verifyJournal(files);
    if (kind === 'ok') fate = sameAsTold(files) ? 'harmless' : 'silent';
    if (kind === 'fresh') fate = 'silent';
  } catch (error) {
    // The start is refused with the reason.
    if (!(error instanceof StoreError)) throw error;
  }
  expect(digests(files)).toMatchObject(before);
  return fate;
}

function sameAsTold(files: JournalFiles): boolean {
  try {
    expect(readAll(files)).toEqual(told);
    return true;
  } catch {
    return false;
  }
}

/** The same places in every run: spread over the file, with the bit going round. */
function flipsOf(path: string, count: number): { offset: number; bit: number }[] {
  const { size } = statSync(path);
  return Array.from({ length: count }, (_, index) => ({
    offset: Math.floor(((index + 0.37) * size) / count),
    bit: index % 8,
  }));
}

/** SQLite writes a WAL anew from its beginning: what is behind the last frame of now is old. */
function endOfLastCommit(wal: Buffer): number {
  const [headBytes, frameBytes] = [32, 24 + 4_096];
  const salts = wal.subarray(16, 24);
  let end = headBytes;
  while (end < wal.length && wal.subarray(end + 8, end + 16).equals(salts)) end += frameBytes;
  return end;
}

function flip(path: string, { offset, bit }: { offset: number; bit: number }): void {
  const bytes = readFileSync(path);
  bytes[offset] = (bytes[offset] ?? 0) ^ (1 << bit);
  writeFileSync(path, bytes);
}

async function evidenceOf(files: JournalFiles): Promise<string | null> {
  const journal = await openJournal(files.directory, clock);
  await journal.close();
  return journal.quarantine;
}

test('the image as it is: everything that was told is there, half of it in the WAL', () => {
  expect(told.events.length).toBeGreaterThan(150);
  expect(statSync(image.wal).size).toBeGreaterThan(100_000);
  expect(fateOf(copy())).toBe('harmless');
});

function fatesOfFlips(name: 'database' | 'wal' | 'head', count: number): Record<Fate, number> {
  const fates = { harmless: 0, noticed: 0, silent: 0 };
  for (const place of flipsOf(image[name], count)) {
    const files = copy();
    flip(files[name], place);
    fates[fateOf(files)] += 1;
    rmSync(files.directory, { recursive: true });
  }
  return fates;
}

describe('one flipped bit is harmless or noticed', () => {
  test.each(['database', 'wal'] as const)('in the %s, at 150 places', (name) => {
    const { harmless, noticed, silent } = fatesOfFlips(name, 150);
    expect(silent).toBe(0);
    expect(noticed).toBeGreaterThan(30);
    expect(harmless + noticed).toBe(150);
  });

  test('in the head file, at 60 places: the other slot is as good but for one commit', () => {
    expect(fatesOfFlips('head', 60)).toEqual({ harmless: 60, noticed: 0, silent: 0 });
  });
});

describe('what SQLite itself calls ok', () => {
  test('a WAL cut at any length is noticed, down to its last commit', () => {
    const end = endOfLastCommit(readFileSync(image.wal));
    for (const length of [
      0,
      16,
      32,
      4_000,
      end * 0.25,
      end * 0.5,
      end * 0.9,
      end - 4_120,
      end - 1,
    ]) {
      const files = copy();
      truncateSync(files.wal, Math.floor(length));
      expect([length, fateOf(files)]).toEqual([length, 'noticed']);
    }
  });

  test('a WAL that is gone', async () => {
    const files = copy();
    rmSync(files.wal);
    expect(verifyJournal(files).kind).toBe('lost');
    expect(await evidenceOf(files)).toMatch(
      /\(lost\): the journal ends at entry \d+ and journal\.head is at entry \d+/,
    );
  });

  test('an old copy put back over the database, with its WAL and without', () => {
    for (const withWal of [true, false]) {
      const files = copy();
      copyFileSync(older.database, files.database);
      rmSync(files.wal);
      if (withWal) copyFileSync(older.wal, files.wal);
      expect(verifyJournal(files).kind).toBe('lost');
    }
  });

  test('an old copy put back, together with work that went on from it', async () => {
    const files = copy(older);
    const journal = await openJournal(files.directory, clock);
    for (let entry = 0; entry < 300; entry += 1)
      await journal.submit({ type: 'check_fence', resource: 'orders/1', epoch: 1_000 + entry });
    await journal.close();
    copyFileSync(image.head, files.head);
    expect(verifyJournal(files)).toMatchObject({
      kind: 'lost',
      evidence: [expect.stringContaining('has hash')],
    });
  });

  test('a value changed in the tables beside the chain', () => {
    const of = (key: number): string =>
      `WHERE seq = (SELECT min(seq) FROM events WHERE operation_id = 'op_k${key}')`;
    const changes = [
      `UPDATE operations SET record = replace(record, '"round":3', '"round":4') ${of(3)}`,
      `UPDATE operations SET state = 'accepted' ${of(4)}`,
      `UPDATE operations SET key_hash = key_hash + 1 ${of(5)}`,
      `UPDATE operations SET record = json_set(record, '$.effects[0].state', 'failed') ${of(6)}`,
      `UPDATE operations SET record = json_set(record, '$.outcome.outcome', 'failed') ${of(8)}`,
      `UPDATE operations SET record = NULL, digest = NULL ${of(9)}`,
      `DELETE FROM operations ${of(7)}`,
      "UPDATE refusals SET reason = 'no_rule' WHERE seq = (SELECT min(seq) FROM refusals)",
      'UPDATE fences SET epoch = epoch - 1',
      'DELETE FROM events WHERE seq = 50',
      'DELETE FROM events WHERE seq = 1',
      'DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)',
      'UPDATE events SET at_ms = at_ms + 1 WHERE seq = 60',
      "UPDATE body_ends SET text = replace(text, 'notify', 'notice') WHERE first_seq = 1",
      'UPDATE events SET body_end = NULL WHERE seq = 1',
      'DELETE FROM body_ends WHERE first_seq = 1',
    ];
    for (const sql of changes) {
      const files = copy();
      const database = new DatabaseSync(files.database);
      expect([sql, Number(database.prepare(sql).run().changes)]).toEqual([sql, 1]);
      database.close();
      expect([sql, fateOf(files)]).toEqual([sql, 'noticed']);
    }
  });
});

describe('a journal is never made anew over what is left of another', () => {
  const cases: [string, (files: JournalFiles) => void, string][] = [
    ['no database', (files) => rmSync(files.database), 'missing'],
    [
      'no file but the head',
      (files) => [files.database, files.wal].forEach((path) => rmSync(path)),
      'missing',
    ],
    [
      'no file but the identity',
      (files) => {
        rmSync(files.directory, { recursive: true });
        writeFileSync(files.identity, '{}');
      },
      'missing',
    ],
    ['a database without a byte', (files) => writeFileSync(files.database, ''), 'unreadable'],
    [
      'a database without a byte, and no WAL',
      (files) => {
        writeFileSync(files.database, '');
        rmSync(files.wal);
      },
      'lost',
    ],
    ['text', (files) => writeFileSync(files.database, 'no database, '.repeat(900)), 'unreadable'],
    [
      'a database of somebody else',
      (files) => {
        rmSync(files.database);
        rmSync(files.wal);
        const foreign = new DatabaseSync(files.database);
        foreign.exec('CREATE TABLE invoices (id INTEGER)');
        foreign.close();
      },
      'unreadable',
    ],
    ['a database cut in half', (files) => truncateSync(files.database, 40_000), 'unreadable'],
    ['no head file', (files) => rmSync(files.head), 'lost'],
    ['a head file of blanks', (files) => writeFileSync(files.head, ' '.repeat(4_608)), 'lost'],
  ];
  test.each(cases)('%s', async (_, damage, kind) => {
    const files = copy();
    damage(files);
    mkdirSync(files.directory, { recursive: true });
    const before = digests(files);
    const journal = await openJournal(files.directory, clock);
    expect(journal.quarantine).toContain(`(${kind})`);
    expect(journal.quarantine).toContain('accept-loss');
    await expect(journal.acknowledge(1)).rejects.toMatchObject({ code: 'journal_quarantined' });
    await journal.close();
    const { [`journal.db-wal`]: _wal, ...after } = digests(files);
    const { [`journal.db-wal`]: _walBefore, ...expected } = before;
    expect(after).toEqual(expected);
    expect(verifyJournal(files).kind).toBe(kind);
  });

  test('what is left of a first start that was killed at once is no journal yet', async () => {
    const files = journalFiles(join(directory, 'first', 'journal'));
    mkdirSync(files.directory, { recursive: true });
    writeFileSync(files.database, '');
    expect(await evidenceOf(files)).toBeNull();
    expect(await evidenceOf(files)).toBeNull();
  });
});

test('control that holds more than there is ends the journal, and the next start has the evidence', async () => {
  const files = copy();
  const journal = await openJournal(files.directory, clock);
  const { seq } = journal.head();
  await journal.acknowledge(seq);
  await journal.acknowledge(seq + 5);
  await expect(journal.failed).rejects.toThrow(`control holds it up to entry ${seq + 5}`);
  await expect(journal.acknowledge(seq)).rejects.toMatchObject({ code: 'outcome_unknown' });
  await journal.close();
  expect(await evidenceOf(files)).toContain(`control holds it up to entry ${seq + 5}`);
});

test('I12: a quarantined journal says how far control holds it', async () => {
  const files = copy();
  const journal = await openJournal(files.directory, clock);
  const { seq } = journal.head();
  await journal.acknowledge(seq - 3);
  await journal.close();
  writeFileSync(files.loss, 'a person took it out of service\n');
  const again = await openJournal(files.directory, clock);
  try {
    expect(again.quarantine).toContain('a person took it out of service');
    expect([again.head().seq, again.ackedSeq()]).toEqual([seq, seq - 3]);
  } finally {
    await again.close();
  }
});

test('twenty kills: no start is quarantined, and whatever was answered is there', async () => {
  const files = journalFiles(join(directory, 'killed', 'journal'));
  const answered: string[] = [];
  for (let cycle = 0; cycle < 20; cycle += 1) {
    const child = spawn(process.execPath, [JOURNAL_LOAD, files.directory, String(cycle)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    const enough = 5 + cycle * 7;
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (data: Buffer) => {
        output += data.toString();
        if (output.split('\n').length > enough) child.kill('SIGKILL');
      });
      child.once('close', () => resolve());
    });
    answered.push(...output.split('\n').slice(0, -1));
    expect(verifyJournal(files)).toMatchObject({ kind: 'ok' });
  }
  const ids = new Set(readAll(files).operations.map(({ operationId }) => operationId));
  expect(answered.filter((id) => !ids.has(id))).toEqual([]);
  expect(answered.length).toBeGreaterThan(20 * 30);
}, 60_000);
