/** An accepted operation in the hand of the app that asked for it. */
import type { Clock } from '../platform/clock.ts';
import type { Random } from '../platform/random.ts';
import { AttemptRun, type RunHandler } from './attempt-run.ts';
import type { ErrorCode } from './error-table.ts';
import { patiently, type Patience } from './patience.ts';
import { ProblemError } from './problem-error.ts';
import { OperationEndedError } from './run-errors.ts';
import type { Operation, OperationState } from './sidecar-shapes.ts';
import type { WorkCalls } from './work-calls.ts';

const WAIT_MS = 25_000;
/** Where the sidecar answers at once although it was asked to wait. */
const LOOK_AGAIN_MS = 200;
const START_WAITS_FOR: readonly ErrorCode[] = [
  'attempt_in_progress',
  'operation_paused',
  'lease_lost',
];
const ENDED: ReadonlySet<OperationState> = new Set([
  'succeeded',
  'failed',
  'cancelled',
  'expired',
  'unknown',
]);

export type HandleParts = {
  readonly calls: WorkCalls;
  readonly clock: Clock;
  readonly random: Random;
  readonly patience: Omit<Patience, 'signal'>;
  readonly makeKey: () => string;
};

export class OperationHandle {
  readonly id: string;
  /** The key was known: the work was asked for before, and may have ended long ago. */
  readonly replayed: boolean;
  readonly #parts: HandleParts;
  #record: Operation;

  constructor(parts: HandleParts, record: Operation, replayed: boolean) {
    this.#parts = parts;
    this.#record = record;
    this.id = record.operationId;
    this.replayed = replayed;
  }

  /** As it was when it was read last. */
  get record(): Operation {
    return this.#record;
  }

  async get(): Promise<Operation> {
    const { calls, patience } = this.#parts;
    this.#record = await patiently(() => calls.operation(this.id), this.#parts, patience);
    return this.#record;
  }

  /**
   * Resolves when it has ended, or after `timeoutMs`: look at `state`. `unknown` is an end: nobody
   * knows, until it is resolved.
   */
  async wait({
    timeoutMs = WAIT_MS,
    signal,
  }: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<Operation> {
    const { calls, clock, patience } = this.#parts;
    const endMs = clock.now().bootMs + timeoutMs;
    for (;;) {
      const askedMs = clock.now().bootMs;
      const waitMs = Math.max(0, Math.min(WAIT_MS, Math.floor(endMs - askedMs)));
      const ask = (): Promise<Operation> => calls.operation(this.id, { waitMs, signal });
      this.#record = await patiently(ask, this.#parts, { ...patience, signal });
      const nowMs = clock.now().bootMs;
      if (ENDED.has(this.#record.state) || nowMs >= endMs || signal?.aborted === true)
        return this.#record;
      const lookAgainMs = Math.min(LOOK_AGAIN_MS - (nowMs - askedMs), endMs - nowMs);
      if (lookAgainMs > 0) await clock.sleep(lookAgainMs, signal);
    }
  }

  async cancel(reason?: string): Promise<Operation> {
    const { calls, patience } = this.#parts;
    this.#record = await patiently(() => calls.cancel(this.id, reason), this.#parts, patience);
    return this.#record;
  }

  /**
   * Begins an attempt, runs `handler` under it with heartbeats, and returns what it returned once that
   * is on record. Where the operation has succeeded before, that result is returned and nothing is
   * run. Throws `OperationEndedError` where it has come to another end, `RunStoppedError` where this
   * worker may not go on, and what `handler` has thrown, after it was recorded.
   */
  async run<T>(handler: RunHandler<T>): Promise<T> {
    if (ENDED.has(this.#record.state)) return this.#resultOfEnd<T>();
    const { calls, patience, makeKey } = this.#parts;
    const runKey = makeKey();
    try {
      const attempt = await patiently(() => calls.startAttempt(this.id, runKey), this.#parts, {
        ...patience,
        alsoRetry: [...START_WAITS_FOR, ...(patience.alsoRetry ?? [])],
      });
      return await new AttemptRun({ ...this.#parts, runKey }, this.#record, attempt).execute(
        handler,
      );
    } catch (error) {
      // It ended while this worker waited for its turn.
      if (!(error instanceof ProblemError && error.is('operation_settled'))) throw error;
      await this.get();
      return this.#resultOfEnd<T>();
    }
  }

  #resultOfEnd<T>(): T {
    const { state, outcome } = this.#record;
    if (state === 'succeeded' && outcome !== null) return outcome.result as T;
    throw new OperationEndedError(this.#record);
  }
}
