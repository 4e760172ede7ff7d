/**
 * Which operation an idempotency key names, at the same cost for a thousand operations and for
 * millions. An index of SQLite over keys, which come in no order, rewrites a page for each of them;
 * here they gather in memory and are written in sorted runs, each page once.
 *
 * K1  Every admitted key is in memory or in one run: at the start what came after the newest run is
 *     read from the operations themselves.
 * K2  A run is written in the transaction of the batch that filled it.
 * K3  A lookup never misses; it may also find an operation whose key has the same hash, so whoever
 *     asks compares the keys.
 * K4  What is read from a run is what was written: each part has its digest. A flipped bit here
 *     would admit an operation twice (I2).
 * K5  A run goes when the retention has taken the last operation that it names; a key that is still
 *     in one and whose operation is gone names nothing.
 */
import { hash } from 'node:crypto';
import type { Database } from '../../shared/platform/sqlite.ts';

const RUN_KEYS = 65_536;
/** Two numbers of eight bytes each: as many as one page of the database holds. */
const CHUNK_KEYS = 240;
/** A power of two; at sixteen bits a key, one lookup in about a thousand reads a run for nothing. */
const FILTER_BITS = 1_048_576;
const FILTER_PROBES = 6;

const KEY_HASH_DIGITS = 12;

/** Six bytes of it: a number that is exact, and small on disk. A buffer of it costs more than its text. */
export function keyHash(app: string, idempotencyKey: string): number {
  return Number.parseInt(hash('sha256', `${app}\n${idempotencyKey}`).slice(0, KEY_HASH_DIGITS), 16);
}

type Run = {
  readonly run: number;
  readonly lastSeq: number;
  readonly filter: Uint8Array;
  /** The first hash of each chunk. */
  readonly firsts: Float64Array;
};
type Key = readonly [hash: number, seq: number];

export class DamagedKeyIndex extends Error {
  override name = 'DamagedKeyIndex';
  readonly code = 'ERR_SQLITE_ERROR';
}

export class KeyIndex {
  readonly #statements: ReturnType<typeof prepare>;
  #runs: Run[] = [];
  #recent = new Map<number, number>();
  /** Those of the recent whose hash another has as well. */
  #shared: Key[] = [];

  /** Throws `DamagedKeyIndex`. */
  constructor(database: Database) {
    this.#statements = prepare(database);
    this.load();
  }

  /** K1. Also where a transaction was undone. */
  load(): void {
    const { runs, after } = this.#statements;
    this.#runs = runs.all().map((row) => readRun(row as RunRow));
    this.#recent = new Map();
    this.#shared = [];
    const rows = after.iterate(this.#runs.at(-1)?.lastSeq ?? 0) as Iterable<Record<string, number>>;
    for (const { key_hash, seq } of rows) this.add(key_hash ?? 0, seq ?? 0);
  }

  /** K3: the operations that a key of this hash may name. */
  find(wanted: number): number[] {
    const found: number[] = [];
    const recent = this.#recent.get(wanted);
    if (recent !== undefined) found.push(recent);
    for (const [other, seq] of this.#shared) if (other === wanted) found.push(seq);
    for (const run of this.#runs)
      if (mayHold(run.filter, wanted)) this.#findInRun(run, wanted, found);
    return found;
  }

  add(key: number, seq: number): void {
    if (this.#recent.has(key)) this.#shared.push([key, seq]);
    else this.#recent.set(key, seq);
  }

  /** K2: before each COMMIT. */
  writeFullRun(): void {
    if (this.#recent.size + this.#shared.length < RUN_KEYS) return;
    const keys: Key[] = [...this.#recent, ...this.#shared].toSorted((a, b) => a[0] - b[0]);
    const run = (this.#runs.at(-1)?.run ?? 0) + 1;
    const firsts: number[] = [];
    const filter = new Uint8Array(FILTER_BITS / 8);
    for (let from = 0; from < keys.length; from += CHUNK_KEYS) {
      const chunk = keys.slice(from, from + CHUNK_KEYS);
      const numbers = new Float64Array(chunk.length * 2);
      chunk.forEach((key, at) => numbers.set(key, at * 2));
      const entries = bytesOf(numbers);
      this.#statements.insertChunk.run(chunkId(run, firsts.length), entries, digest(entries));
      firsts.push(chunk[0]?.[0] ?? 0);
    }
    let lastSeq = 0;
    for (const [key, seq] of keys) {
      lastSeq = Math.max(lastSeq, seq);
      for (let probe = 0; probe < FILTER_PROBES; probe += 1) {
        const bit = filterBit(key, probe);
        filter[bit >> 3] = (filter[bit >> 3] ?? 0) | (1 << (bit & 7));
      }
    }
    const written = { run, lastSeq, filter, firsts: Float64Array.from(firsts) };
    const firstsBytes = bytesOf(written.firsts);
    const proof = digest(filter, firstsBytes);
    this.#statements.insertRun.run(run, lastSeq, filter, firstsBytes, proof);
    this.#runs.push(written);
    this.#recent = new Map();
    this.#shared = [];
  }

  /** K5: in the transaction that takes operations up to `untilSeq`. */
  removeRuns(untilSeq: number): void {
    const { hasOperation, deleteRun, deleteChunks } = this.#statements;
    let afterSeq = 0;
    this.#runs = this.#runs.filter(({ run, lastSeq }) => {
      const isNeeded = lastSeq > untilSeq || hasOperation.get(afterSeq, lastSeq) !== undefined;
      afterSeq = lastSeq;
      if (isNeeded) return true;
      deleteRun.run(run);
      deleteChunks.run(chunkId(run, 0), chunkId(run + 1, 0));
      return false;
    });
  }

  #findInRun({ run, firsts }: Run, wanted: number, found: number[]): void {
    // Keys of one hash may lie on both sides of a border.
    let index = firsts.findLastIndex((first) => first <= wanted);
    for (; index >= 0; index -= 1) {
      for (const [key, seq] of this.#chunk(run, index)) if (key === wanted) found.push(seq);
      if (firsts[index] !== wanted) return;
    }
  }

  /** K4. */
  #chunk(run: number, index: number): Key[] {
    const row = this.#statements.chunk.get(chunkId(run, index)) as ChunkRow | undefined;
    if (row === undefined || digest(row.entries) !== row.digest)
      throw new DamagedKeyIndex(`part ${index} of run ${run} of the index of keys is damaged`);
    const numbers = numbersOf(row.entries);
    return Array.from({ length: numbers.length / 2 }, (_, at): Key => {
      return [numbers[at * 2] ?? 0, numbers[at * 2 + 1] ?? 0];
    });
  }
}

type RunRow = {
  readonly run: number;
  readonly last_seq: number;
  readonly filter: Uint8Array;
  readonly firsts: Uint8Array;
  readonly digest: string;
};
type ChunkRow = { readonly entries: Uint8Array; readonly digest: string };

const CHUNKS_PER_RUN_MAX = 1_024;
const chunkId = (run: number, index: number): number => run * CHUNKS_PER_RUN_MAX + index;

/** K4. */
function readRun({ run, last_seq: lastSeq, filter, firsts, digest: proof }: RunRow): Run {
  if (digest(filter, firsts) !== proof)
    throw new DamagedKeyIndex(`run ${run} of the index of keys is damaged`);
  return { run, lastSeq, filter, firsts: numbersOf(firsts) };
}

function mayHold(filter: Uint8Array, key: number): boolean {
  for (let probe = 0; probe < FILTER_PROBES; probe += 1) {
    const bit = filterBit(key, probe);
    if (((filter[bit >> 3] ?? 0) & (1 << (bit & 7))) === 0) return false;
  }
  return true;
}

/** Two parts of the hash make as many places as are wanted. Most runs end a look at the first. */
function filterBit(key: number, probe: number): number {
  const start = key % FILTER_BITS;
  const step = (Math.floor(key / FILTER_BITS) % FILTER_BITS) | 1;
  return (start + probe * step) % FILTER_BITS;
}

function digest(...parts: readonly Uint8Array[]): string {
  return hash('sha256', Buffer.concat(parts));
}

const bytesOf = ({ buffer }: Float64Array<ArrayBuffer>): Uint8Array => new Uint8Array(buffer);

/** A copy: what SQLite gives need not lie where numbers may. */
function numbersOf(bytes: Uint8Array): Float64Array<ArrayBuffer> {
  return new Float64Array(Uint8Array.from(bytes).buffer);
}

function prepare(database: Database) {
  return {
    runs: database.prepare(
      'SELECT run, last_seq, filter, firsts, digest FROM key_runs ORDER BY run',
    ),
    after: database.prepare('SELECT key_hash, seq FROM operations WHERE seq > ? ORDER BY seq'),
    chunk: database.prepare('SELECT entries, digest FROM key_chunks WHERE chunk = ?'),
    insertChunk: database.prepare(
      'INSERT INTO key_chunks (chunk, entries, digest) VALUES (?, ?, ?)',
    ),
    hasOperation: database.prepare(
      'SELECT 1 FROM operations WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT 1',
    ),
    deleteRun: database.prepare('DELETE FROM key_runs WHERE run = ?'),
    deleteChunks: database.prepare('DELETE FROM key_chunks WHERE chunk >= ? AND chunk < ?'),
    insertRun: database.prepare(
      'INSERT INTO key_runs (run, last_seq, filter, firsts, digest) VALUES (?, ?, ?, ?, ?)',
    ),
  };
}
