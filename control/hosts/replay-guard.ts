/**
 * Remembers what was taken for at least `windowMs`, in two generations, so that forgetting costs
 * nothing. It keeps 52 bits of a digest of each: of ten thousand hosts it remembers five million, and
 * as texts they would be most of the memory of control. A fresh one is then mistaken for an old one
 * once in 10^9 times; its host makes another with its next sync.
 */
import { sha256Hex } from '../../shared/platform/digest.ts';
import type { Clock } from '../../shared/platform/clock.ts';

const DIGITS_KEPT = 13;

export class ReplayGuard {
  readonly #clock: Clock;
  readonly #windowMs: number;
  #young = new Set<number>();
  #old = new Set<number>();
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
    const taken = Number.parseInt(sha256Hex(key).slice(0, DIGITS_KEPT), 16);
    if (this.#young.has(taken) || this.#old.has(taken)) return false;
    this.#young.add(taken);
    return true;
  }
}
