/**
 * What of the databases a power cut may take. SQLite syncs its write-ahead log with each commit only
 * under `synchronous=FULL` (or EXTRA). Which it is, is asked of each connection whenever that is set.
 *
 * S1  Under FULL nothing is kept here and nothing may be gone.
 * S2  Under NORMAL the log is synced where a checkpoint begins, and the database where it ends. What
 *     the log got since may be gone from any frame on. A frame of which only a part was written is
 *     the end of the log: its checksum says so.
 * S3  Under OFF nothing is synced. The log may be gone from any frame on, or be as it was, and so may
 *     the database, each for itself: a checkpoint that lies between is a broken database.
 * S4  The first commit under FULL after that syncs the whole log.
 */
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  realpathSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { endianness } from 'node:os';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { FakeRandom } from '../../fakes/fake-random.ts';

const FULL = 2;
const NORMAL = 1;
const IS_LITTLE_ENDIAN = endianness() === 'LE';
const MENTIONS = /\bpragma\b/i;
const SETS = /\bpragma\s+(\w+\.)?synchronous\s*[=(]/i;

/** How far a log has come, as its index has it (https://sqlite.org/walformat.html). */
const INDEX_BYTES = 100;
const PAGE_BYTES_AT = 14;
const FRAMES_AT = 16;
const SALT_AT = 32;
const SALT_BYTES = 8;
const BACKFILLED_AT = 96;
const LOG_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;

type LogPlace = {
  /** Another with each time that the log is begun anew. */
  readonly salt: string;
  readonly frames: number;
  /** Of those, what a checkpoint has brought into the database. */
  readonly backfilled: number;
  readonly pageBytes: number;
};
const NO_LOG: LogPlace = { salt: '', frames: 0, backfilled: 0, pageBytes: 0 };

type Unsynced = {
  /** The least that was in force since. */
  level: number;
  /** Up to there the log was durable, and the files were so. */
  readonly salt: string;
  readonly frames: number;
  readonly database: Buffer;
  readonly log: Buffer;
  /** S4: where the log was when FULL came into force again; `null`: it has not. */
  fullFrom: LogPlace | null;
};

/** By the path of the database. */
const unsynced = new Map<string, Unsynced>();
const levels = new WeakMap<DatabaseSync, number>();

type Prepare = DatabaseSync['prepare'];
const original: {
  readonly exec: (this: DatabaseSync, sql: string) => void;
  readonly prepare: (this: DatabaseSync, ...args: Parameters<Prepare>) => StatementSync;
} = DatabaseSync.prototype;
const { exec, prepare } = original;

DatabaseSync.prototype.exec = function watchedExec(this: DatabaseSync, sql: string): void {
  exec.call(this, sql);
  if (MENTIONS.test(sql)) look(this);
};

DatabaseSync.prototype.prepare = function watchedPrepare(
  this: DatabaseSync,
  ...args: Parameters<Prepare>
): StatementSync {
  const statement = prepare.apply(this, args);
  return SETS.test(args[0]) ? watched(this, statement) : statement;
};

function watched(database: DatabaseSync, statement: StatementSync): StatementSync {
  for (const verb of ['run', 'get', 'all'] as const) {
    const plain = statement[verb].bind(statement) as (...values: unknown[]) => unknown;
    statement[verb] = ((...values: unknown[]) => {
      const answer = plain(...values);
      look(database);
      return answer;
    }) as never;
  }
  return statement;
}

/** After what may have changed which synchronous is in force. */
function look(database: DatabaseSync): void {
  const path = database.location();
  if (path === null) return;
  const row = prepare.call(database, 'PRAGMA synchronous').get() as { synchronous: number };
  const before = levels.get(database) ?? FULL;
  const level = Math.min(FULL, row.synchronous);
  levels.set(database, level);
  const known = unsynced.get(path);
  if (level === FULL) {
    if (known !== undefined && before < FULL) known.fullFrom = placeOf(path);
    return;
  }
  if (known !== undefined && !isSyncedBy(known, path)) {
    known.level = Math.min(known.level, level);
    known.fullFrom = null;
    return;
  }
  const { salt, frames } = placeOf(path);
  unsynced.set(path, { level, salt, frames, fullFrom: null, ...filesOf(path) });
}

function filesOf(path: string): Pick<Unsynced, 'database' | 'log'> {
  const log = `${path}-wal`;
  return {
    database: readFileSync(path),
    log: existsSync(log) ? readFileSync(log) : Buffer.alloc(0),
  };
}

/** S4. */
function isSyncedBy({ fullFrom }: Unsynced, path: string): boolean {
  if (fullFrom === null) return false;
  const { salt, frames } = placeOf(path);
  return salt !== fullFrom.salt || frames !== fullFrom.frames;
}

/** Of a database that is open: SQLite keeps the index of its log in a file beside it. */
function placeOf(path: string): LogPlace {
  const index = `${path}-shm`;
  if (!existsSync(index)) return NO_LOG;
  const bytes = new DataView(new ArrayBuffer(INDEX_BYTES));
  const file = openSync(index, 'r');
  try {
    if (readSync(file, bytes, 0, INDEX_BYTES, 0) < INDEX_BYTES) return NO_LOG;
  } finally {
    closeSync(file);
  }
  const pageBytes = bytes.getUint16(PAGE_BYTES_AT, IS_LITTLE_ENDIAN);
  return {
    salt: Buffer.from(bytes.buffer, SALT_AT, SALT_BYTES).toString('hex'),
    frames: bytes.getUint32(FRAMES_AT, IS_LITTLE_ENDIAN),
    backfilled: bytes.getUint32(BACKFILLED_AT, IS_LITTLE_ENDIAN),
    // As SQLite writes the largest, which does not go into 16 bits.
    pageBytes: pageBytes === 1 ? 65_536 : pageBytes,
  };
}

/** S2: at the least, how many of its frames are durable. */
function syncedFrames({ level, salt, frames }: Unsynced, now: LogPlace): number {
  return Math.max(salt === now.salt ? frames : 0, level === NORMAL ? now.backfilled : 0);
}

/** A killed process: the system still has what it was given, and has not synced it. */
export function carryUnsynced(from: string, to: string): void {
  const path = realPath(from);
  const known = unsynced.get(path);
  if (known === undefined || isSyncedBy(known, path)) return;
  const now = placeOf(path);
  const frames = syncedFrames(known, now);
  // Whoever opens it next under FULL has it synced with the first commit.
  unsynced.set(realPath(to), { ...known, salt: now.salt, frames, fullFrom: now });
}

/**
 * The power goes: takes from the copy `to` of the database `from`, and of its log, what was not
 * synced. Says what is gone, in words; `null` where nothing is.
 */
export function loseUnsynced(from: string, to: string, random: FakeRandom): string | null {
  const path = realPath(from);
  const known = unsynced.get(path);
  unsynced.delete(realPath(to));
  if (known === undefined || isSyncedBy(known, path)) return null;
  const log = `${to}-wal`;
  const lost: string[] = [];
  if (known.level < NORMAL) {
    if (random.unit() < 0.5 && !known.database.equals(readFileSync(to))) {
      writeFileSync(to, known.database);
      lost.push('the database as it was');
    }
    if (random.unit() < 0.5) {
      if (known.log.length === 0) rmSync(log, { force: true });
      else writeFileSync(log, known.log);
      return [...lost, 'its log as it was'].join(', ');
    }
  }
  const now = placeOf(path);
  const least = syncedFrames(known, now);
  const kept = least + random.below(Math.max(0, now.frames - least) + 1);
  if (existsSync(log) && kept < now.frames) {
    truncateSync(log, LOG_HEADER_BYTES + kept * (FRAME_HEADER_BYTES + now.pageBytes));
    lost.push(`${kept} of ${now.frames} frames of its log`);
  }
  return lost.length === 0 ? null : lost.join(', ');
}

/** What lies under that directory is of no matter any more. */
export function forgetUnsynced(root: string): void {
  for (const path of unsynced.keys()) if (path.startsWith(`${root}/`)) unsynced.delete(path);
}

function realPath(path: string): string {
  return existsSync(path) ? realpathSync(path) : path;
}
