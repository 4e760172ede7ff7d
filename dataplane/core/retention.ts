/**
 * What the journal may forget, and when.
 *
 * N1  Nothing that control does not hold, and nothing of an operation that has not settled: an
 *     `unknown` one waits for a person however long that takes.
 * N2  An operation and its idempotency key go together, and only when no retry can still be meant:
 *     its own deadline has passed, and it has been settled for `retention`. A journal over its size
 *     waves the second, never the first.
 * N3  Age is counted by a time that a wall clock set forward cannot hurry: it never goes back, and
 *     after a jump it catches up at no more than twice the speed of the boot clock. What this boot
 *     admitted is besides never younger than the boot clock says.
 */
import type { Instant } from '../../shared/core/time.ts';
import { SETTLED_STATES, deadlinePassed, type StoredOperation } from './operation-record.ts';

export type RetentionLimits = {
  readonly retentionMs: number;
  /** `null` where there is no bound. */
  readonly sizeBytesMax: number | null;
};

/** N3, as it was counted last; it is kept in the journal. */
export type RetentionTime = {
  readonly steadyMs: number;
  readonly bootMs: number;
  readonly bootId: string;
};

export type RetentionTerms = {
  readonly time: RetentionTime;
  readonly retentionMs: number;
  /** The journal is over its size: age does not count. */
  readonly isPressed: boolean;
};

/** 2025-01-01, before there was this program: a clock that shows an earlier time was never set. */
const PLAUSIBLE_FROM_MS = 1_735_689_600_000;
const CATCH_UP_SPEED = 2;

/** N3. Another boot may have come after any time: there the wall clock alone can tell. */
export function retentionTime(last: RetentionTime | null, now: Instant): RetentionTime {
  const { wallMs, bootMs, bootId } = now;
  if (last === null || last.steadyMs < PLAUSIBLE_FROM_MS)
    return { steadyMs: wallMs, bootMs, bootId };
  const aheadMs =
    last.bootId === bootId
      ? Math.max(0, bootMs - last.bootMs) * CATCH_UP_SPEED
      : Number.POSITIVE_INFINITY;
  const steadyMs = Math.max(last.steadyMs, Math.min(wallMs, last.steadyMs + aheadMs));
  return { steadyMs, bootMs, bootId };
}

/** For an entry, by when it was made. */
export function isOldEnough(
  atMs: number,
  { time, retentionMs, isPressed }: RetentionTerms,
): boolean {
  return isPressed || time.steadyMs - atMs >= retentionMs;
}

export type RetentionVerdict =
  | { readonly kind: 'goes' }
  | { readonly kind: 'not_settled' }
  /** By `RetentionTime.steadyMs`; it is to be asked again, since a clock may say otherwise. */
  | { readonly kind: 'not_yet'; readonly untilMs: number };

/** N1, N2; that control holds all of it is the caller's to know. */
export function judgeOperation(
  operation: StoredOperation,
  terms: RetentionTerms,
): RetentionVerdict {
  const { state, settledAtMs, deadlineAtMs, deadlineBoot, admittedAtMs } = operation;
  if (!SETTLED_STATES.has(state) || settledAtMs === null) return { kind: 'not_settled' };
  const { time, retentionMs, isPressed } = terms;
  const { steadyMs, bootMs, bootId } = time;
  const agedAtMs = isPressed ? settledAtMs : settledAtMs + retentionMs;
  const untilMs = Math.max(deadlineAtMs, agedAtMs);
  if (steadyMs < untilMs) return { kind: 'not_yet', untilMs };
  // The boot clock knows better than any wall clock what it has counted itself.
  const admittedBootMs = deadlineBoot.bootMs - (deadlineAtMs - admittedAtMs);
  const isYoung =
    !isPressed && bootId === deadlineBoot.bootId && bootMs - admittedBootMs < retentionMs;
  if (isYoung || !deadlinePassed(operation, { wallMs: steadyMs, bootMs, bootId })) {
    const restMs = isYoung ? retentionMs - (bootMs - admittedBootMs) : deadlineBoot.bootMs - bootMs;
    return { kind: 'not_yet', untilMs: steadyMs + Math.max(1, restMs) };
  }
  return { kind: 'goes' };
}
