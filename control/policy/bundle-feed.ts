/**
 * Who waits for the next bundle. A waiter is woken by a publication, by a word for its host, by its
 * own time-out, or by the end of the daemon; what it then finds it reads from the store, so a missed
 * wake costs one time-out, or the time to the next sync, and nothing else.
 */
import type { Clock } from '../../shared/platform/clock.ts';

export class BundleFeed {
  readonly #clock: Clock;
  readonly #waitersMax: number;
  readonly #waiters = new Map<(isCalled: boolean) => void, string | null>();
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
   * daemon stops; with `true` when that host was called. Take the promise before reading the store,
   * so that a publication in between is not slept through.
   */
  wait(
    timeoutMs: number,
    { hostId, signal }: { readonly hostId: string | null; readonly signal: AbortSignal },
  ): { readonly woken: Promise<boolean>; cancel(): void } {
    const { promise: woken, resolve } = Promise.withResolvers<boolean>();
    if (this.#isClosed || signal.aborted) {
      resolve(false);
      return { woken, cancel: () => {} };
    }
    const cancel = (): void => done(false);
    const timer = this.#clock.startTimer(timeoutMs, cancel);
    const done = (isCalled: boolean): void => {
      timer.cancel();
      signal.removeEventListener('abort', cancel);
      this.#waiters.delete(done);
      resolve(isCalled);
    };
    signal.addEventListener('abort', cancel, { once: true });
    this.#waiters.set(done, hostId);
    return { woken, cancel };
  }

  wake(): void {
    for (const wake of this.#waiters.keys()) wake(false);
  }

  /** There is something that it gets with a sync. */
  call(hostId: string): void {
    for (const [wake, waiting] of this.#waiters) if (waiting === hostId) wake(true);
  }

  close(): void {
    this.#isClosed = true;
    this.wake();
  }
}
