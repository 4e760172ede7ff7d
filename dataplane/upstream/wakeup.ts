/** A wait that ends when woken, when its time is over, or when the daemon stops. */
import type { Clock } from '../../shared/platform/clock.ts';

export class Wakeup {
  #isWoken = false;
  #end: (() => void) | null = null;

  /** Ends the wait, or the next one where nobody waits now: no call is lost. */
  wake(): void {
    this.#isWoken = true;
    this.#end?.();
  }

  /** One waiter at a time. */
  async wait(clock: Clock, durationMs: number, signal: AbortSignal): Promise<void> {
    if (!this.#isWoken && !signal.aborted) {
      const woken = new AbortController();
      this.#end = () => woken.abort();
      await clock.sleep(durationMs, AbortSignal.any([signal, woken.signal]));
      this.#end = null;
    }
    this.#isWoken = false;
  }
}
