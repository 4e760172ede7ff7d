/**
 * A loop that claims accepted work and runs it.
 *
 * V1  It claims no more than it can run at once, so that nothing waits here while its heartbeat does
 *     not beat.
 * V2  Each claim has a key of its own; one whose answer is lost is asked for again under it.
 * V3  Closing takes nothing new and lets what runs come to its end. A claim that was on its way is
 *     ended by its key: what it had taken all the same is run.
 */
import type { Clock } from '../platform/clock.ts';
import { AttemptRun, type RunHandler } from './attempt-run.ts';
import type { HandleParts } from './operation-handle.ts';
import { patiently } from './patience.ts';
import type { Claimed } from './sidecar-shapes.ts';

const WAIT_MS = 20_000;
const LIMIT_MAX = 100;
/** Between two claims that failed for good: the sidecar may be mended meanwhile. */
const FAILED_PAUSE_MS = 1_000;

export type WorkerOptions<T> = {
  /** As `payments.capture`, `payments.*` or `*`. */
  readonly actions: readonly string[];
  /** Operations that run at once; 1 where it is not given. */
  readonly concurrency?: number;
  readonly handler: RunHandler<T>;
  /** Told of what a run has thrown, with its operation, and of claims that failed, without one. */
  readonly onError?: (error: unknown, operationId: string | null) => void;
};

export class ClaimWorker<T> {
  readonly #parts: HandleParts;
  readonly #options: WorkerOptions<T>;
  readonly #concurrency: number;
  readonly #running = new Map<AttemptRun, Promise<void>>();
  readonly #closing = new AbortController();
  /** Ends when it was closed and all that ran has ended. */
  readonly done: Promise<void>;
  #wake: () => void = () => undefined;

  constructor(parts: HandleParts, options: WorkerOptions<T>) {
    const { concurrency = 1 } = options;
    if (!Number.isSafeInteger(concurrency) || concurrency < 1)
      throw new RangeError(`concurrency is ${concurrency}: give a whole number from 1`);
    this.#parts = parts;
    this.#options = options;
    this.#concurrency = concurrency;
    this.done = this.#loop();
  }

  get running(): number {
    return this.#running.size;
  }

  /** V3. After `graceMs` what still runs has its signal aborted (`worker_closing`). */
  async close({ graceMs }: { graceMs?: number } = {}): Promise<void> {
    this.#closing.abort();
    this.#wake();
    const clock: Clock = this.#parts.clock;
    const grace =
      graceMs === undefined
        ? null
        : clock.startTimer(graceMs, () => {
            for (const run of this.#running.keys())
              run.stop('worker_closing', `the worker is closing, and its ${graceMs} ms are over`);
          });
    try {
      await this.done;
    } finally {
      grace?.cancel();
    }
  }

  async #loop(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const free = this.#concurrency - this.#running.size;
      if (free === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      const key = this.#parts.makeKey();
      try {
        for (const claimed of await this.#claim(key, Math.min(free, LIMIT_MAX)))
          this.#start(claimed, key);
      } catch (error) {
        this.#options.onError?.(error, null);
        await this.#parts.clock.sleep(FAILED_PAUSE_MS, signal);
      }
    }
    await Promise.all(this.#running.values());
  }

  /** V2, V3. */
  async #claim(key: string, limit: number): Promise<readonly Claimed[]> {
    const { calls, patience } = this.#parts;
    const { actions } = this.#options;
    const { signal } = this.#closing;
    try {
      const ask = () => calls.claim({ actions, limit }, { key, waitMs: WAIT_MS, signal });
      return (await patiently(ask, this.#parts, { ...patience, signal })).items;
    } catch (error) {
      if (!signal.aborted) throw error;
      const end = () => calls.claim({ actions, limit: 0 }, { key, waitMs: 0 });
      return (await patiently(end, this.#parts, patience)).items;
    }
  }

  #start({ operation, attempt }: Claimed, key: string): void {
    const runKey = `${key}.${operation.operationId}`;
    const run = new AttemptRun({ ...this.#parts, runKey }, operation, attempt);
    const running = run
      .execute(this.#options.handler)
      .then(
        () => undefined,
        (error: unknown) => this.#options.onError?.(error, operation.operationId),
      )
      .finally(() => {
        this.#running.delete(run);
        this.#wake();
      });
    this.#running.set(run, running);
  }
}
