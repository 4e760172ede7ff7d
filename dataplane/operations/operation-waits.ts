/**
 * Waits for an operation to come to something, for who asks with `?wait=`. What is waited for is a
 * state and not a change: nothing is missed between two questions, or over a restart.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { hasEnded, type StoredOperation } from '../core/operation-record.ts';

export type WaitFor = 'decided' | 'ended';

const WAITS_MAX = 1_024;
const RETRY_MS = 1_000;

export class OperationWaits {
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Set<() => void>>();
  #count = 0;
  #isClosed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** It was changed, on disk. */
  note({ operationId }: Pick<StoredOperation, 'operationId'>): void {
    for (const wake of this.#waiting.get(operationId) ?? []) wake();
  }

  /** Everybody is answered with what there is: the daemon stops. */
  close(): void {
    this.#isClosed = true;
    for (const waiting of this.#waiting.values()) for (const wake of waiting) wake();
  }

  /** Reads anew after each change; returns when it has come to it, or the time is over. */
  async until(
    read: () => StoredOperation,
    at: { readonly waitFor: WaitFor; readonly waitMs: number; readonly signal: AbortSignal },
  ): Promise<StoredOperation> {
    const endMs = this.#clock.now().bootMs + at.waitMs;
    for (;;) {
      const operation = read();
      const leftMs = endMs - this.#clock.now().bootMs;
      const isOver = leftMs <= 0 || this.#isClosed || at.signal.aborted;
      if (isOver || hasComeTo(operation, at.waitFor)) return operation;
      await this.#wait(operation.operationId, leftMs, at.signal);
    }
  }

  async #wait(operationId: string, leftMs: number, signal: AbortSignal): Promise<void> {
    if (this.#count >= WAITS_MAX) {
      throw new HoldfastError(
        'overloaded',
        `${WAITS_MAX} callers wait for operations already: ask again without wait`,
        { retry_after_ms: RETRY_MS },
      );
    }
    const woken = new AbortController();
    const wake = (): void => woken.abort();
    const waiting = this.#waiting.get(operationId) ?? new Set();
    this.#waiting.set(operationId, waiting.add(wake));
    this.#count += 1;
    try {
      await this.#clock.sleep(leftMs, AbortSignal.any([signal, woken.signal]));
    } finally {
      this.#count -= 1;
      waiting.delete(wake);
      if (waiting.size === 0) this.#waiting.delete(operationId);
    }
  }
}

function hasComeTo(operation: StoredOperation, waitFor: WaitFor): boolean {
  return waitFor === 'decided' ? operation.state !== 'awaiting_approval' : hasEnded(operation);
}
