/**
 * Time and randomness where there may be no Node: what the published client runs on. Its boot clock
 * stops while the machine is suspended; a client decides nothing by it, the sidecar does.
 */
import type { Clock, Timer } from './clock.ts';
import type { Random } from './random.ts';

const TIMEOUT_MS_MAX = 2 ** 31 - 1;

export class PortableClock implements Clock {
  now(): { wallMs: number; bootMs: number; bootId: string } {
    return { wallMs: Date.now(), bootMs: performance.now(), bootId: 'client' };
  }

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, Math.min(durationMs, TIMEOUT_MS_MAX));
      signal?.addEventListener('abort', end, { once: true });
    });
  }

  startTimer(durationMs: number, fire: () => void): Timer {
    const timer: unknown = setTimeout(fire, Math.min(durationMs, TIMEOUT_MS_MAX));
    // In a browser it is a number.
    if (typeof timer === 'object' && timer !== null && 'unref' in timer)
      (timer as { unref: () => void }).unref();
    return { cancel: () => clearTimeout(timer as number) };
  }
}

export class PortableRandom implements Random {
  unit(): number {
    return Math.random();
  }

  bytes(size: number): Uint8Array {
    return globalThis.crypto.getRandomValues(new Uint8Array(size));
  }
}
