/** Long work in slices: others get their turn between two of them. */
import type { Clock } from '../../shared/platform/clock.ts';

const SLICE_MS = 8;

export class Pacer {
  readonly #clock: Clock;
  #sinceMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sinceMs = clock.now().bootMs;
  }

  /** Between two pieces of work, each far shorter than a slice. */
  async breathe(): Promise<void> {
    if (this.#clock.now().bootMs - this.#sinceMs < SLICE_MS) return;
    await this.#clock.sleep(0);
    this.#sinceMs = this.#clock.now().bootMs;
  }
}
