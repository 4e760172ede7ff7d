/**
 * Looks at health where nobody asks, so that a change is dated when it happened and not when it was
 * first seen (`shared/core/health-memory.ts`, P3).
 */
import { HealthMemory } from '../shared/core/health-memory.ts';
import type { Clock, Timer } from '../shared/platform/clock.ts';

/** Each look reads every host and every lease: seldom enough to cost nothing beside the syncs. */
const LOOK_MS = 10_000;

export class HealthWatch {
  readonly memory = new HealthMemory();
  readonly #clock: Clock;
  #timer: Timer | null = null;
  #looking: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor({ clock }: { readonly clock: Clock }) {
    this.#clock = clock;
  }

  start(look: () => Promise<unknown>): void {
    if (this.#isStopped) return;
    this.#timer = this.#clock.startTimer(LOOK_MS, () => {
      // A store that fails ends the daemon by itself (D2), and whoever asks is told.
      this.#looking = look().then(
        () => this.start(look),
        () => this.start(look),
      );
    });
  }

  /** Resolves when nothing is looked at any more. */
  stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    return this.#looking;
  }
}
