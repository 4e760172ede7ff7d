/**
 * A clock that moves only when told. Timers fire in the order of their time, and between two of
 * them the code that waits gets its turn, so that what it starts is seen by the next step.
 */
import type { Clock, Timer } from '../../shared/platform/clock.ts';
import type { Instant } from '../../shared/core/time.ts';

type Waiting = { readonly dueMs: number; readonly order: number; fire(): void };

/** Rounds of the event loop that the code woken by one timer gets before time goes on. */
const TURNS = 4;

export class FakeClock implements Clock {
  #wallMs: number;
  #bootMs: number;
  #bootCount = 1;
  #order = 0;
  readonly #waiting = new Set<Waiting>();
  readonly #watchers = new Set<() => void>();

  constructor(options: { wallMs?: number; bootMs?: number } = {}) {
    this.#wallMs = options.wallMs ?? Date.UTC(2030, 0, 1);
    this.#bootMs = options.bootMs ?? 1_000_000;
  }

  now(): Instant {
    return { wallMs: this.#wallMs, bootMs: this.#bootMs, bootId: `boot-${this.#bootCount}` };
  }

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.startTimer(durationMs, () => {
        signal?.removeEventListener('abort', giveUp);
        resolve();
      });
      const giveUp = (): void => {
        timer.cancel();
        resolve();
      };
      signal?.addEventListener('abort', giveUp, { once: true });
    });
  }

  startTimer(durationMs: number, fire: () => void): Timer {
    const waiting: Waiting = {
      dueMs: this.#bootMs + Math.max(0, durationMs),
      order: (this.#order += 1),
      fire,
    };
    this.#waiting.add(waiting);
    for (const watcher of this.#watchers) watcher();
    return { cancel: () => void this.#waiting.delete(waiting) };
  }

  /**
   * Both clocks go on by `durationMs`; every timer that falls due on the way fires at its own
   * moment.
   */
  async advance(durationMs: number): Promise<void> {
    const endMs = this.#bootMs + durationMs;
    await turns();
    for (let next = this.#next(endMs); next !== null; next = this.#next(endMs)) {
      this.#waiting.delete(next);
      this.#move(Math.max(0, next.dueMs - this.#bootMs));
      next.fire();
      await turns();
    }
    this.#move(endMs - this.#bootMs);
    await turns();
  }

  /**
   * Moves both clocks and fires nothing: what a suspended machine, or a stalled event loop, looks
   * like.
   */
  jump(durationMs: number): void {
    this.#move(durationMs);
  }

  /** The wall clock is set, forwards or back; the boot clock does not notice. */
  stepWall(byMs: number): void {
    this.#wallMs += byMs;
  }

  /**
   * Another boot: a new id, the boot clock near zero, timers gone with the process that set them.
   */
  reboot(options: { downMs?: number } = {}): void {
    this.#bootCount += 1;
    this.#bootMs = 10_000;
    this.#wallMs += options.downMs ?? 0;
    this.#waiting.clear();
  }

  get pendingTimers(): number {
    return this.#waiting.size;
  }

  /**
   * Resolves once at least `count` timers are waiting: the code under test has come to rest there.
   */
  whenWaiting(count = 1): Promise<void> {
    if (this.#waiting.size >= count) return Promise.resolve();
    return new Promise((resolve) => {
      const watcher = (): void => {
        if (this.#waiting.size < count) return;
        this.#watchers.delete(watcher);
        resolve();
      };
      this.#watchers.add(watcher);
    });
  }

  #move(byMs: number): void {
    this.#wallMs += byMs;
    this.#bootMs += byMs;
  }

  #next(untilMs: number): Waiting | null {
    let next: Waiting | null = null;
    for (const waiting of this.#waiting) {
      if (waiting.dueMs > untilMs) continue;
      const isSooner =
        next === null ||
        waiting.dueMs < next.dueMs ||
        (waiting.dueMs === next.dueMs && waiting.order < next.order);
      if (isSooner) next = waiting;
    }
    return next;
  }
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn += 1) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
