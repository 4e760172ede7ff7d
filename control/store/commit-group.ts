/**
 * Writes that share one transaction, so that its fsync is paid once for all of them. What is written
 * is seen by every later read of this connection at once, committed or not; so a caller who is to
 * rely on it waits.
 *
 * K1  Each write is all or nothing by itself: a savepoint of its own.
 * K2  A write that must be durable is answered after the commit, which comes as soon as what is ready
 *     now has joined. A lazy one is answered at once; it is on disk with the next commit, and within
 *     `LAZY_MS_MAX`. A crash may lose it.
 * K3  A commit that fails fails every write that waits for it, and the store with it (S3).
 */
import type { CommitPace } from '../../shared/platform/commit-pace.ts';
import type { Database } from '../../shared/platform/sqlite.ts';

export const LAZY_MS_MAX = 1_000;

type Waiting = { readonly resolve: () => void; readonly reject: (error: unknown) => void };

export class CommitGroup {
  readonly #database: Database;
  readonly #pace: CommitPace;
  readonly #onFailure: (error: unknown) => void;
  #isOpen = false;
  #isDueSoon = false;
  #later: { cancel(): void } | null = null;
  #waiting: Waiting[] = [];

  constructor(
    database: Database,
    options: { readonly pace: CommitPace; readonly onFailure: (error: unknown) => void },
  ) {
    this.#database = database;
    this.#pace = options.pace;
    this.#onFailure = options.onFailure;
  }

  /** Does `work`, after `first` where it is the first of its transaction. Throws what they throw. */
  join(work: () => void, first: () => void): void {
    if (!this.#isOpen) this.#begin(first);
    this.#database.exec('SAVEPOINT one');
    try {
      work();
    } catch (error) {
      // SQLite has undone all of it where nothing can be written any more.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK TO one; RELEASE one');
      else this.#fail(error);
      throw error;
    }
    this.#database.exec('RELEASE one');
  }

  /** Resolves when what has joined is on disk. */
  committed(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ resolve, reject });
    if (!this.#isDueSoon) {
      this.#isDueSoon = true;
      this.#pace.soon(() => this.#flushAlone());
    }
    return promise;
  }

  /** K2, for who does not wait. */
  commitLater(): void {
    this.#later ??= this.#pace.later(LAZY_MS_MAX, () => this.#flushAlone());
  }

  /** Commits what is open. */
  flush(): void {
    this.#isDueSoon = false;
    this.#later?.cancel();
    this.#later = null;
    if (!this.#isOpen) return;
    try {
      this.#database.exec('COMMIT');
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      this.#fail(error);
      throw error;
    }
    this.#isOpen = false;
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  #begin(first: () => void): void {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      first();
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
    this.#isOpen = true;
  }

  #flushAlone(): void {
    try {
      this.flush();
    } catch (error) {
      this.#onFailure(error);
    }
  }

  #fail(error: unknown): void {
    this.#isOpen = false;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}
