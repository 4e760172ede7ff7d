/**
 * The only source of time. `now()` reads both clocks; nothing else in the project reads either.
 *
 * C1  `bootMs` never goes back and counts suspended time. Node's monotonic clock stops in suspend,
 *     so it is corrected by `os.uptime()` (CLOCK_BOOTTIME), which is read at most every 20 ms of
 *     running time: after a resume the jump is seen at most that much running time late.
 * C2  A timer is a hint to look again, never the proof that time has passed.
 */
import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { assert } from '../core/assert.ts';
import type { Instant } from '../core/time.ts';

export type Timer = { cancel(): void };

export interface Clock {
  now(): Instant;
  /**
   * Resolves after `durationMs`, or at once when the signal aborts: look at the signal afterwards.
   */
  sleep(durationMs: number, signal?: AbortSignal): Promise<void>;
  /** Does not keep the process alive. */
  startTimer(durationMs: number, fire: () => void): Timer;
}

const UPTIME_READ_INTERVAL_MS = 20;

/** A time-out longer than this fires at once in Node. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

export class SystemClock implements Clock {
  readonly #bootId = readBootId();
  #offsetMs = uptime() * 1_000 - performance.now();
  #uptimeReadAtMs = performance.now();
  #lastBootMs = 0;

  now(): Instant {
    const runningMs = performance.now();
    if (runningMs - this.#uptimeReadAtMs >= UPTIME_READ_INTERVAL_MS) {
      this.#uptimeReadAtMs = runningMs;
      this.#offsetMs = Math.max(this.#offsetMs, uptime() * 1_000 - runningMs);
    }
    const bootMs = Math.floor(runningMs + this.#offsetMs);
    assert(
      bootMs >= this.#lastBootMs,
      `the boot clock went back from ${this.#lastBootMs} to ${bootMs}`,
    );
    this.#lastBootMs = bootMs;
    return { wallMs: Date.now(), bootMs, bootId: this.#bootId };
  }

  async sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    try {
      await delay(
        Math.min(Math.max(0, durationMs), TIMEOUT_MS_MAX),
        undefined,
        signal ? { signal } : {},
      );
    } catch (error) {
      if (!(error instanceof Error && error.name === 'AbortError')) throw error;
    }
  }

  startTimer(durationMs: number, fire: () => void): Timer {
    const timeout = setTimeout(fire, Math.min(Math.max(0, durationMs), TIMEOUT_MS_MAX));
    timeout.unref();
    return { cancel: () => clearTimeout(timeout) };
  }
}

/**
 * Where the kernel does not tell (macOS, Windows), each process is taken for a boot of its own:
 * this only shortens rights.
 */
function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return `process-${process.pid}-${Date.now()}`;
  }
}

/** Aborts after `durationMs`: the bound of one call to the network. */
export function timeoutSignal(durationMs: number): AbortSignal {
  return AbortSignal.timeout(Math.min(Math.max(1, Math.ceil(durationMs)), TIMEOUT_MS_MAX));
}
