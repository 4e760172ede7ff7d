/**
 * Files of a journal, damaged in ways that keep their structure as well as in ways that do not, and a
 * start on them.
 *
 * J1  A start is quarantined or refused, with what is wrong in words, or everything that anybody was told
 *     is there; never silently less, and never with an error that has no code.
 * J2  A start that is not sound changes nothing: the evidence stays.
 *
 * One of the files is damaged at a time (the database and its log are one): what of all of them together
 * cannot be noticed is listed in `dataplane/DESIGN.md`.
 */
import {
  appendFileSync,
  existsSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isDeepStrictEqual } from 'node:util';
import { journalFiles, type JournalFiles } from '../../dataplane/journal/journal-files.ts';
import { openJournal } from '../../dataplane/journal/open-journal.ts';
import { SystemClock } from '../../shared/platform/clock.ts';
import { sha256Hex } from '../../shared/platform/digest.ts';
import { StoreError } from '../../shared/platform/sqlite.ts';
import { copyJournal, crashImage, readAll, type Told } from '../fakes/journal-image.ts';
import { scratchDirectory } from '../faults/scratch.ts';
import { fuzzCases } from './cases.ts';
import type { Draw } from './draw.ts';
import type { Fuzzer, FuzzOptions, FuzzReport } from './fuzzer.ts';

const PAGE = 4_096;

export const journal: Fuzzer = {
  name: 'journal',
  about: 'files of a journal (database, WAL, head, identity) damaged before a start',
  casesAtFirst: 500,
  run: fuzzJournals,
};

type Image = { readonly image: JournalFiles; readonly older: JournalFiles; readonly told: Told };
type Outcome = 'harmless' | 'quarantined' | 'refused' | 'WRONG';

async function fuzzJournals(options: FuzzOptions): Promise<FuzzReport> {
  const { root, remove } = scratchDirectory(options.undo, 'fuzz');
  const image = await crashImage(root);
  const kind = { name: 'journal', counted: 'journals', saidEvery: 500 };
  const report = await fuzzCases(options, kind, async ({ draw, tally, find }) => {
    const files = journalFiles(join(root, 'case', 'journal'));
    copyJournal(image.image, files);
    const edits = damageJournal(files, image, draw);
    const { outcome, problem } = await startOn(files, image.told);
    tally.add(`${edits[0]?.split(' ')[0] ?? 'nothing'}: ${outcome}`);
    if (problem !== null) find(problem, edits);
    rmSync(join(root, 'case'), { recursive: true });
  });
  remove();
  return report;
}

/** J1, J2. */
async function startOn(
  files: JournalFiles,
  told: Told,
): Promise<{ outcome: Outcome; problem: string | null }> {
  const before = digests(files);
  try {
    const opened = await openJournal(files.directory, new SystemClock());
    const { quarantine } = opened;
    await opened.close();
    if (quarantine === null) {
      const isWhole = hasAllOf(files, told);
      return isWhole
        ? { outcome: 'harmless', problem: null }
        : wrong('J1: it serves, and not all that was told is there');
    }
    if (quarantine === '') return wrong('J1: quarantined without a reason');
    const changed = changedIn(before, digests(files));
    return changed === null
      ? { outcome: 'quarantined', problem: null }
      : wrong(`J2: ${changed} was changed`);
  } catch (error) {
    if (error instanceof StoreError && error.message !== '')
      return { outcome: 'refused', problem: null };
    return wrong(`J1: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  }
}

function wrong(problem: string): { outcome: Outcome; problem: string } {
  return { outcome: 'WRONG', problem };
}

/** What the start itself adds, an outage or a policy, comes behind it. */
function hasAllOf(files: JournalFiles, told: Told): boolean {
  try {
    return isDeepStrictEqual(readAll(files), told);
  } catch {
    return false;
  }
}

function digests(files: JournalFiles): Map<string, string> {
  return new Map(
    readdirSync(files.directory)
      .filter((name) => !name.endsWith('-shm'))
      .map((name) => [name, sha256Hex(readFileSync(join(files.directory, name)))]),
  );
}

function changedIn(
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): string | null {
  for (const [name, digest] of before) if (after.get(name) !== digest) return name;
  return null;
}

/** One to three edits of one file; what was done comes back in words. */
export function damageJournal(
  files: JournalFiles,
  { older }: Pick<Image, 'older'>,
  draw: Draw,
): string[] {
  const target = draw.weighted([
    [5, 'database'],
    [4, 'wal'],
    [3, 'head'],
    [1, 'identity'],
    [5, 'rows'],
  ] as const);
  const edits: string[] = [];
  for (let times = draw.between(1, 3); times > 0; times -= 1) {
    if (target === 'rows') edits.push(`rows ${editRows(files.database, draw)}`);
    else if (target === 'database' && draw.chance(0.1)) {
      const path = draw.chance(0.5) ? files.database : files.wal;
      edits.push(
        `database ${editBytes(path, older[path === files.database ? 'database' : 'wal'], draw)}`,
      );
    } else edits.push(`${target} ${editBytes(files[target], older[target], draw)}`);
  }
  return edits;
}

function editBytes(path: string, older: string, draw: Draw): string {
  if (!existsSync(path)) {
    writeFileSync(path, draw.bytes(draw.below(300)));
    return 'made of noise';
  }
  const bytes = readFileSync(path);
  const { length } = bytes;
  if (length === 0) {
    appendFileSync(path, draw.bytes(draw.below(300)));
    return 'noise where nothing was';
  }
  const at = draw.below(length + 1);
  const [page, other] = [
    draw.below(Math.ceil(length / PAGE)),
    draw.below(Math.ceil(length / PAGE)),
  ];
  switch (draw.below(10)) {
    case 0:
      bytes[at % length] = (bytes[at % length] ?? 0) ^ (1 << draw.below(8));
      writeFileSync(path, bytes);
      return `one bit at ${at % length}`;
    case 1:
      truncateSync(path, at);
      return `cut at ${at}`;
    case 2:
      truncateSync(path, page * PAGE);
      return `cut at page ${page}`;
    case 3:
      bytes.fill(0, at, Math.min(length, at + draw.one([1, 16, 512, PAGE])));
      writeFileSync(path, bytes);
      return `zeros at ${at}`;
    case 4:
      bytes.copy(bytes, page * PAGE, other * PAGE, (other + 1) * PAGE);
      writeFileSync(path, bytes);
      return `page ${other} over page ${page}`;
    case 5: {
      const kept = Buffer.from(bytes.subarray(page * PAGE, (page + 1) * PAGE));
      bytes.copy(bytes, page * PAGE, other * PAGE, (other + 1) * PAGE);
      kept.copy(bytes, other * PAGE);
      writeFileSync(path, bytes);
      return `pages ${page} and ${other} changed places`;
    }
    case 6:
      appendFileSync(path, draw.bytes(draw.one([1, 100, PAGE])));
      return 'noise at its end';
    case 7:
      rmSync(path);
      return 'taken away';
    case 8:
      if (!existsSync(older)) return 'left as it is';
      writeFileSync(path, readFileSync(older));
      return 'an older one in its place';
    default: {
      const noise = draw.bytes(draw.between(1, 64));
      noise.copy(bytes, Math.min(at, Math.max(0, length - noise.length)));
      writeFileSync(path, bytes);
      return `noise at ${at}`;
    }
  }
}

/** As somebody would with `sqlite3`, who means well or not: the file stays in order. */
function editRows(path: string, draw: Draw): string {
  const database = new DatabaseSync(path);
  try {
    const statement = draw
      .one([
        'DELETE FROM events WHERE seq = (SELECT seq FROM events ORDER BY random() LIMIT 1)',
        'DELETE FROM events WHERE seq > (SELECT max(seq) FROM events) - $n',
        'DELETE FROM events WHERE seq <= $n',
        "UPDATE events SET body = replace(body, 'demo', 'else') WHERE seq = $n",
        'UPDATE events SET at_ms = at_ms + 1 WHERE seq = $n',
        "UPDATE events SET kind = 'succeeded' WHERE seq = $n",
        'UPDATE events SET operation_id = NULL WHERE seq = $n',
        'UPDATE events SET seq = 100000 + seq WHERE seq = $n',
        "UPDATE events SET hash = replace(hash, 'a', 'b') WHERE seq = $n",
        'DELETE FROM operations WHERE seq = (SELECT seq FROM operations LIMIT 1 OFFSET $n % 10)',
        "UPDATE operations SET record = replace(record, 'executing', 'succeeded')",
        'UPDATE operations SET record = NULL WHERE seq % 5 = $n % 5',
        'UPDATE fences SET epoch = epoch - 1',
        'DELETE FROM fences',
        'DELETE FROM body_ends',
        "UPDATE body_ends SET text = replace(text, 'demo', 'else')",
        'DELETE FROM refusals',
        'DELETE FROM facts',
        'DROP TABLE events',
        'DROP TABLE operations',
        'PRAGMA user_version = 99',
        "PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = replace(sql, 'seq', 'qes')",
        'VACUUM',
        'REINDEX',
      ])
      .replaceAll('$n', `${draw.between(1, 150)}`);
    try {
      database.exec(statement);
    } catch (error) {
      return `refused ${statement}: ${error instanceof Error ? error.message : String(error)}`;
    }
    return statement;
  } finally {
    database.close();
  }
}
