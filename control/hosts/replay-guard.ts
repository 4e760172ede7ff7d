/**
 * Remembers what was taken for at least `windowMs`, in two generations, so that forgetting costs
 * nothing.
 */
import type { Clock } from '../../shared/platform/clock.ts';

export class ReplayGuard {
  readonly #clock: Clock;
  readonly #windowMs: number;
  #young = new Set<string>();
  #old = new Set<string>();
  #turnedAtMs: number;

  constructor(options: { clock: Clock; windowMs: number }) {
    this.#clock = options.clock;
    this.#windowMs = options.windowMs;
    this.#turnedAtMs = options.clock.now().bootMs;
  }

  /** `false` where it was taken before. */
  take(key: string): boolean {
    const nowMs = this.#clock.now().bootMs;
    if (nowMs - this.#turnedAtMs >= this.#windowMs) {
      this.#old = nowMs - this.#turnedAtMs >= 2 * this.#windowMs ? new Set() : this.#young;
      this.#young = new Set();
      this.#turnedAtMs = nowMs;
    }
    if (this.#young.has(key) || this.#old.has(key)) return false;
    this.#young.add(key);
    return true;
  }
}
