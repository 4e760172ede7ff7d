/** The writer on a thread of its own, so that an fsync never holds up the HTTP loop. */
import { Worker } from 'node:worker_threads';
import type { Clock } from '../../shared/platform/clock.ts';
import { StoreError } from '../../shared/platform/sqlite.ts';
import type { BatchAnswer, JournalCommand, JournalWriter } from './journal-command.ts';
import type { JournalFiles } from './journal-files.ts';
import type { FromWriter, ToWriter } from './writer-thread.ts';

/** A disk that hangs this long is as good as gone: callers are told, and the start looks anew. */
const BATCH_BOUND_MS = 30_000;

type Waiter = { resolve(answer: BatchAnswer | null): void; reject(error: Error): void };

export class ThreadWriter implements JournalWriter {
  readonly #worker: Worker;
  readonly #clock: Clock;
  #waiter: Waiter | null = null;
  #failure: Error | null = null;

  private constructor(worker: Worker, clock: Clock) {
    this.#worker = worker;
    this.#clock = clock;
    worker.on('message', (message: FromWriter) => this.#settle(message));
    worker.on('error', (error) =>
      this.#fail(error instanceof Error ? error : new Error(String(error))),
    );
    worker.on('messageerror', (error) => this.#fail(error));
    worker.on('exit', () => this.#fail(new Error('the writer thread ended')));
  }

  /**
   * Opens the journal of `files`; resolves with its state. Throws a `StoreError` where it cannot be
   * used.
   */
  static async open(
    files: JournalFiles,
    clock: Clock,
  ): Promise<{ writer: ThreadWriter; snapshot: BatchAnswer }> {
    const writer = new ThreadWriter(
      new Worker(new URL('./writer-thread.ts', import.meta.url), {
        workerData: files,
        name: 'journal-writer',
      }),
      clock,
    );
    try {
      const snapshot = await writer.#next();
      if (snapshot === null) throw new Error('the writer thread ended');
      return { writer, snapshot };
    } catch (error) {
      await writer.#worker.terminate();
      if (error instanceof StoreError) throw error;
      const why = error instanceof Error ? error.message : String(error);
      const message = `cannot open the journal ${files.database}: ${why}; check the disk, then start again`;
      throw new StoreError('not_writable', message, error);
    }
  }

  async write(commands: readonly JournalCommand[]): Promise<BatchAnswer> {
    const answer = this.#next();
    const bound = this.#clock.startTimer(BATCH_BOUND_MS, () =>
      this.#fail(new Error(`the disk has not answered for ${BATCH_BOUND_MS / 1_000} s`)),
    );
    try {
      this.#worker.postMessage({ commands } satisfies ToWriter);
      const batch = await answer;
      if (batch === null) throw new Error('the writer thread ended');
      return batch;
    } finally {
      bound.cancel();
    }
  }

  async close(): Promise<void> {
    const closed = this.#next();
    this.#worker.postMessage({ close: true } satisfies ToWriter);
    await closed;
    await this.#worker.terminate();
  }

  #next(): Promise<BatchAnswer | null> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }

  #settle(message: FromWriter): void {
    if ('failure' in message) {
      this.#fail(
        message.storeCode === null
          ? new Error(message.failure)
          : new StoreError(message.storeCode, message.failure),
      );
      return;
    }
    const waiter = this.#waiter;
    this.#waiter = null;
    waiter?.resolve('answer' in message ? message.answer : null);
  }

  /** For good: also where nobody waits just now. */
  #fail(error: Error): void {
    this.#failure ??= error;
    const waiter = this.#waiter;
    this.#waiter = null;
    waiter?.reject(error);
  }
}
