/** The writer on a thread of its own, so that an fsync never holds up the HTTP loop. */
import { Worker } from 'node:worker_threads';
import type { Clock } from '../../shared/platform/clock.ts';
import { StoreError } from '../../shared/platform/sqlite.ts';
import type { BatchAnswer, JournalCommand, JournalWriter } from './journal-command.ts';
import type { JournalFiles } from './journal-files.ts';
import { packCommands, unpackAnswers } from './packed-batch.ts';
import type { FromWriter, ToWriter } from './writer-thread.ts';

/** A disk that hangs this long is as good as gone: callers are told, and the start looks anew. */
const BATCH_BOUND_MS = 30_000;
/** What a batch leaves is dead with its answer: more would only be more memory. */
const WRITER_YOUNG_MB = 6;

type Waiter = {
  /** How many of the answers are its own. */
  readonly commands: number;
  resolve(answer: BatchAnswer | null): void;
  reject(error: Error): void;
};

export class ThreadWriter implements JournalWriter {
  readonly #worker: Worker;
  readonly #clock: Clock;
  /** In the order of their messages. */
  #waiters: Waiter[] = [];
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
        resourceLimits: { maxYoungGenerationSizeMb: WRITER_YOUNG_MB },
      }),
      clock,
    );
    try {
      const snapshot = await writer.#next(0);
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
    const answer = this.#next(commands.length);
    const bound = this.#clock.startTimer(BATCH_BOUND_MS, () =>
      this.#fail(new Error(`the disk has not answered for ${BATCH_BOUND_MS / 1_000} s`)),
    );
    try {
      this.#worker.postMessage(packCommands(commands) satisfies ToWriter);
      const batch = await answer;
      if (batch === null) throw new Error('the writer thread ended');
      return batch;
    } finally {
      bound.cancel();
    }
  }

  async close(): Promise<void> {
    const closed = this.#next(0);
    this.#worker.postMessage({ close: true } satisfies ToWriter);
    await closed;
    await this.#worker.terminate();
  }

  #next(commands: number): Promise<BatchAnswer | null> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiters.push({ commands, resolve, reject });
    });
  }

  /** The thread answers all that it took together at once. */
  #settle(message: FromWriter): void {
    if ('failure' in message) {
      const { failure, storeCode } = message;
      this.#fail(storeCode === null ? new Error(failure) : new StoreError(storeCode, failure));
    } else if ('closed' in message) {
      this.#waiters.shift()?.resolve(null);
    } else {
      const { answers, ...state } = message.answer;
      let from = 0;
      do {
        const waiter = this.#waiters.shift();
        if (waiter === undefined) return;
        const to = from + waiter.commands;
        waiter.resolve({ ...state, answers: unpackAnswers(answers.slice(from, to)) });
        from = to;
      } while (from < answers.length);
    }
  }

  /** For good: also where nobody waits just now. */
  #fail(error: Error): void {
    this.#failure ??= error;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }
}
