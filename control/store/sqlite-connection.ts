/**
 * One SQLite connection under all parts of the store: reads, conditional writes, and the end of it
 * all when a commit fails (S1 to S3 of `control-store.ts`).
 */
import type { SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite';
import { traceIdOf } from '../../shared/core/trace-context.ts';
import { assert } from '../../shared/core/assert.ts';
import { chainHash } from '../../shared/platform/digest.ts';
import type { CommitPace } from '../../shared/platform/commit-pace.ts';
import { currentTrace } from '../../shared/platform/tracing.ts';
import { transaction, type Database } from '../../shared/platform/sqlite.ts';
import { FIRST_PREVIOUS_HASH } from '../../shared/wire/operation.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import {
  SupersededError,
  type AuditDraft,
  type Page,
  type PageRequest,
  type WriteOutcome,
} from './control-store.ts';
import { CommitGroup } from './commit-group.ts';

export type Row = Readonly<Record<string, SQLOutputValue>>;

/** Tables are STRICT: another type in a column is a wrong program. */
export function textOf(row: Row, column: string): string {
  const value = row[column];
  assert(typeof value === 'string', `column ${column} holds no text`);
  return value;
}

export function numberOf(row: Row, column: string): number {
  const value = row[column];
  assert(typeof value === 'number', `column ${column} holds no number`);
  return value;
}

export function textOrNull(row: Row, column: string): string | null {
  return row[column] === null ? null : textOf(row, column);
}

export function numberOrNull(row: Row, column: string): number | null {
  return row[column] === null ? null : numberOf(row, column);
}

/** Thrown inside a write whose condition no longer holds: all of it is rolled back. */
class ConflictSignal extends Error {}

/**
 * Primary result codes after which nothing is known: I/O, corruption, a full disk, a file that is
 * gone.
 */
const FATAL_CODES: ReadonlySet<number> = new Set([8, 10, 11, 13, 14, 26]);

export class SqliteConnection {
  readonly #database: Database;
  readonly #statements = new Map<string, StatementSync>();
  readonly #listeners: ((error: Error) => void)[] = [];
  #failure: Error | null = null;
  readonly #group: CommitGroup;
  #run = 0;

  constructor(database: Database, pace: CommitPace) {
    this.#database = database;
    this.#group = new CommitGroup(database, {
      pace,
      onFailure: (error) => this.#fail(error instanceof Error ? error : new Error(String(error))),
    });
  }

  get(sql: string, values: readonly SQLInputValue[] = []): Row | undefined {
    return this.#prepare(sql).get(...values);
  }

  all(sql: string, values: readonly SQLInputValue[] = []): Row[] {
    return this.#prepare(sql).all(...values);
  }

  /** The number of rows changed. */
  change(sql: string, values: readonly SQLInputValue[] = []): number {
    return Number(this.#prepare(sql).run(...values).changes);
  }

  /** A change that must hit one row, or the condition of this write does not hold. */
  changeOne(sql: string, values: readonly SQLInputValue[] = []): void {
    if (this.change(sql, values) !== 1) throw new ConflictSignal();
  }

  require(isStillSo: boolean): void {
    if (!isStillSo) throw new ConflictSignal();
  }

  async read<T>(work: () => T): Promise<T> {
    return this.#guard(work);
  }

  /** One transaction, refused when another run of control has begun since (S2). */
  async write(work: () => void): Promise<WriteOutcome> {
    return this.#guard(() => {
      this.#group.flush();
      try {
        transaction(this.#database, () => {
          this.#checkRun();
          work();
        });
        return 'ok';
      } catch (error) {
        if (error instanceof ConflictSignal) return 'conflict';
        throw error;
      }
    });
  }

  /** Together with others (`commit-group.ts`); a lazy one may be lost with a crash. */
  async writeTogether(work: () => void, options: { isLazy: boolean }): Promise<WriteOutcome> {
    const outcome = this.#guard((): WriteOutcome => {
      try {
        this.#group.join(work, () => this.#checkRun());
        return 'ok';
      } catch (error) {
        if (error instanceof ConflictSignal) return 'conflict';
        throw error;
      }
    });
    if (options.isLazy || outcome === 'conflict') this.#group.commitLater();
    else await this.#group.committed();
    return outcome;
  }

  beginRun(run: number, work: () => void): void {
    this.#guard(() => {
      this.#group.flush();
      transaction(this.#database, work);
    });
    this.#run = run;
  }

  appendAudit(drafts: readonly AuditDraft[]): void {
    if (drafts.length === 0) return;
    const last = this.get('SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1');
    let seq = last === undefined ? 0 : numberOf(last, 'seq');
    let previousHash = last === undefined ? FIRST_PREVIOUS_HASH : textOf(last, 'hash');
    const trace = currentTrace();
    for (const { atMs, actor, action, target, detail: said } of drafts) {
      seq += 1;
      // Whoever follows a trace finds what was changed by it.
      const detail = trace === null ? said : { ...said, traceId: traceIdOf(trace) };
      const hash = chainHash(previousHash, { seq, atMs, actor, action, target, detail });
      this.change('INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)', [
        seq,
        atMs,
        actor,
        action,
        target,
        JSON.stringify(detail),
        previousHash,
        hash,
      ]);
      previousHash = hash;
    }
  }

  onFailure(tell: (error: Error) => void): void {
    this.#listeners.push(tell);
  }

  close(): void {
    if (this.#failure === null && this.#database.isOpen) this.#guard(() => this.#group.flush());
    this.#failure ??= new Error('the store is closed');
    this.#statements.clear();
    if (this.#database.isOpen) this.#database.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #checkRun(): void {
    const row = this.get('SELECT run FROM control_state');
    const run = row === undefined ? 0 : numberOf(row, 'run');
    if (run === this.#run) return;
    throw new SupersededError(
      `another control has taken over this data: its run is ${run}, this one is ${this.#run}`,
    );
  }

  #guard<T>(work: () => T): T {
    if (this.#failure !== null) throw this.#failure;
    try {
      return work();
    } catch (error) {
      if (error instanceof Error && isFatal(error)) this.#fail(error);
      throw error;
    }
  }

  #fail(error: Error): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    for (const tell of this.#listeners) tell(error);
  }
}

function isFatal(error: Error): boolean {
  if (error instanceof SupersededError) return true;
  const { errcode } = error as { errcode?: unknown };
  return typeof errcode === 'number' && FATAL_CODES.has(errcode & 0xff);
}

/** Runs a query for one row more than asked, so that it is known whether there is a next page. */
export function toPage<T>(
  page: PageRequest,
  query: (limit: number, after: string | null) => readonly Row[],
  read: (row: Row) => T,
  keyOf: (row: Row) => string,
): Page<T> {
  const rows = query(page.limit + 1, page.cursor === null ? null : decodeCursor(page.cursor));
  const shown = rows.slice(0, page.limit);
  const last = shown.at(-1);
  const hasMore = rows.length > page.limit && last !== undefined;
  return { items: shown.map(read), nextCursor: hasMore ? encodeCursor(keyOf(last)) : null };
}

function encodeCursor(key: string): string {
  return Buffer.from(key).toString('base64url');
}

function decodeCursor(cursor: string): string {
  if (/^[A-Za-z0-9_-]+$/.test(cursor)) return Buffer.from(cursor, 'base64url').toString();
  throw new HoldfastError(
    'invalid_request',
    'the cursor is not one that this list gave: begin without it',
    { errors: [{ path: 'query:cursor', message: 'is not a cursor of this list' }] },
  );
}
