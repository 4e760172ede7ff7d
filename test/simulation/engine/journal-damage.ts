/**
 * What a bad disk, or a bad hand, does to a journal while nobody runs: the write-ahead log or the
 * database is cut off, or bits of it are turned, in what was committed. What the sidecar remembers
 * beside it stays (`journal.head`), so that all that is gone can be told.
 */
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import type { JournalFiles } from '../../../dataplane/journal/journal-files.ts';
import { JournalReader } from '../../../dataplane/journal/journal-reader.ts';
import { openDatabase } from '../../../shared/platform/sqlite.ts';
import type { FakeRandom } from '../../fakes/fake-random.ts';

export type JournalDamage = {
  readonly how: 'log_cut' | 'log_flip' | 'file_cut' | 'file_flip';
  readonly atByte: number;
  readonly ofBytes: number;
  /** Its newest entry before that. */
  readonly headSeq: number;
};

const LOG_SHARE = 0.6;
const FLIPS_MAX = 3;
/** https://sqlite.org/fileformat2.html#the_write_ahead_log */
const LOG_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const PAGE_BYTES_AT = 8;
const LOG_SALT_AT = 16;
const FRAME_SALT_AT = 8;
const SALT_BYTES = 8;
const FRAME_COMMIT_AT = 4;
/** The first bytes of a database say what it is: without them it is no journal to anybody. */
const FILE_HEADER_BYTES = 100;

/** `null`: there is nothing in it yet that could be lost. */
export function damageJournal(files: JournalFiles, random: FakeRandom): JournalDamage | null {
  const headSeq = newestIn(files);
  if (headSeq === 0) return null;
  const log = committedLog(files.wal);
  const isLog = log !== null && random.unit() < LOG_SHARE;
  const isCut = random.unit() < 0.5;
  if (isLog) {
    const { frameBytes, ofBytes } = log;
    if (!isCut)
      return { how: 'log_flip', headSeq, ...flip(files.wal, LOG_HEADER_BYTES, ofBytes, random) };
    const frames = (ofBytes - LOG_HEADER_BYTES) / frameBytes;
    const atByte = LOG_HEADER_BYTES + random.below(frames) * frameBytes;
    truncateSync(files.wal, atByte);
    return { how: 'log_cut', headSeq, atByte, ofBytes };
  }
  // As one that was stopped leaves it: all of it is in the database, and there is no log.
  openDatabase(files.database).close();
  const ofBytes = readFileSync(files.database).length;
  if (!isCut)
    return {
      how: 'file_flip',
      headSeq,
      ...flip(files.database, FILE_HEADER_BYTES, ofBytes, random),
    };
  const atByte = FILE_HEADER_BYTES + random.below(ofBytes - FILE_HEADER_BYTES);
  truncateSync(files.database, atByte);
  return { how: 'file_cut', headSeq, atByte, ofBytes };
}

/** 0 where there is none. */
export function newestIn(files: JournalFiles): number {
  if (!existsSync(files.database)) return 0;
  let reader: JournalReader | null = null;
  try {
    reader = new JournalReader(files.database);
    return reader.newest()?.seq ?? 0;
  } catch {
    return 0;
  } finally {
    reader?.close();
  }
}

/** Up to its last commit; `null` where nothing was committed to it. */
function committedLog(path: string): { ofBytes: number; frameBytes: number } | null {
  if (!existsSync(path)) return null;
  const bytes = readFileSync(path);
  if (bytes.length < LOG_HEADER_BYTES) return null;
  const frameBytes = FRAME_HEADER_BYTES + bytes.readUInt32BE(PAGE_BYTES_AT);
  const salt = bytes.subarray(LOG_SALT_AT, LOG_SALT_AT + SALT_BYTES);
  let ofBytes = 0;
  for (let at = LOG_HEADER_BYTES; at + frameBytes <= bytes.length; at += frameBytes) {
    const its = bytes.subarray(at + FRAME_SALT_AT, at + FRAME_SALT_AT + SALT_BYTES);
    // What was left of the log before it was begun anew.
    if (!its.equals(salt)) break;
    if (bytes.readUInt32BE(at + FRAME_COMMIT_AT) > 0) ofBytes = at + frameBytes;
  }
  return ofBytes === 0 ? null : { ofBytes, frameBytes };
}

function flip(
  path: string,
  fromByte: number,
  ofBytes: number,
  random: FakeRandom,
): Pick<JournalDamage, 'atByte' | 'ofBytes'> {
  const bytes = readFileSync(path);
  const atByte = fromByte + random.below(ofBytes - fromByte);
  const flips = 1 + random.below(FLIPS_MAX);
  for (let n = 0; n < flips; n += 1) {
    const at = Math.min(bytes.length - 1, atByte + n);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
  }
  writeFileSync(path, bytes, { mode: 0o600 });
  return { atByte, ofBytes };
}
