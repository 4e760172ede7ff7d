/**
 * Asking the same thing again, with the same key, while no answer comes or the answer is that the
 * sidecar cannot say. What policy says (`denied`, `rate_limited`, `lease_absent`…) is an answer, and
 * is asked again only where the caller names it.
 */
import { backoffDelayMs, type BackoffPolicy } from '../core/backoff.ts';
import type { Clock } from '../platform/clock.ts';
import type { Random } from '../platform/random.ts';
import type { ErrorCode } from './error-table.ts';
import { ProblemError } from './problem-error.ts';
import { UnreachableError } from './transport-port.ts';

/** The sidecar is on this host: it is back within seconds, or a person is needed. */
const BACKOFF: BackoffPolicy = { baseMs: 50, maxMs: 2_000 };
const NO_ANSWER: readonly ErrorCode[] = [
  'outcome_unknown',
  'journal_busy',
  'overloaded',
  'shutting_down',
];

export type Patience = {
  /** How long to go on asking; the bound is on the beginning of another try. */
  readonly patienceMs: number;
  /** Codes that are waited for besides. */
  readonly alsoRetry?: readonly ErrorCode[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told of each try that is made again. */
  readonly onRetry?: ((error: ProblemError | UnreachableError) => void) | undefined;
};

export async function patiently<T>(
  ask: () => Promise<T>,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
  { patienceMs, alsoRetry = [], signal, onRetry }: Patience,
): Promise<T> {
  const startedMs = clock.now().bootMs;
  for (let failures = 1; ; failures += 1) {
    try {
      return await ask();
    } catch (error) {
      const isLost = error instanceof UnreachableError;
      const isAnswer = error instanceof ProblemError;
      if (!isLost && !(isAnswer && error.is(...NO_ANSWER, ...alsoRetry))) throw error;
      const backoffMs = backoffDelayMs(failures, BACKOFF, random.unit());
      const delayMs = Math.max(isAnswer ? (error.retryAfterMs ?? 0) : 0, backoffMs);
      if (clock.now().bootMs - startedMs + delayMs >= patienceMs) throw error;
      if (signal?.aborted !== true) await clock.sleep(delayMs, signal);
      if (signal?.aborted === true) throw error;
      onRetry?.(error);
    }
  }
}
