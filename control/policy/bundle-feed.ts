/**
 * Who waits for the next bundle. A waiter is woken by a publication, by its own time-out, or by the
 * end of the daemon; what it then finds it reads from the store, so a missed wake costs one
 * time-out and nothing else.
 */
import type { Clock } from '../../shared/platform/clock.ts';

export class BundleFeed {
  readonly #clock: Clock;
  readonly #waitersMax: number;
  readonly #waiters = new Set<() => void>();
  #isClosed = false;

  constructor(options: { clock: Clock; waitersMax: number }) {
    this.#clock = options.clock;
    this.#waitersMax = options.waitersMax;
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get isFull(): boolean {
    return this.#waiters.size >= this.#waitersMax;
  }

  /**
   * Resolves at the next publication, after `timeoutMs`, when the caller gives up, or when the
   * daemon stops. Take the promise before reading the store, so that a publication in between is
   * not slept through.
   */
  wait(timeoutMs: number, signal: AbortSignal): { readonly woken: Promise<void>; cancel(): void } {
    let wake = (): void => {};
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
    });
    if (this.#isClosed || signal.aborted) {
      wake();
      return { woken, cancel: wake };
    }
    const timer = this.#clock.startTimer(timeoutMs, () => done());
    const done = (): void => {
      timer.cancel();
      signal.removeEventListener('abort', done);
      this.#waiters.delete(done);
      wake();
    };
    signal.addEventListener('abort', done, { once: true });
    this.#waiters.add(done);
    return { woken, cancel: done };
  }

  wake(): void {
    for (const wake of this.#waiters) wake();
  }

  close(): void {
    this.#isClosed = true;
    this.wake();
  }
}
