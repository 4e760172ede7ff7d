/** Which accepted operations a worker means when it names actions, and which of them go first. */
import { deadlinePassed, type StoredOperation } from './operation-record.ts';
import type { Instant } from '../../shared/core/time.ts';

/** Actions between the two, neither included; `null` where one action alone is meant. */
export type ActionRange = { readonly after: string; readonly before: string };

/** `~` comes after whatever an action may have in it, and `/` is next to the dot. */
export function rangeOf(pattern: string): ActionRange | null {
  if (pattern === '*') return { after: '', before: '~' };
  if (!pattern.endsWith('.*')) return null;
  const stem = pattern.slice(0, -2);
  return { after: `${stem}.`, before: `${stem}/` };
}

export function isNamed(action: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => {
    const range = rangeOf(pattern);
    return range === null ? action === pattern : action > range.after && action < range.before;
  });
}

/** A place in the order of claims: what comes to its deadline first, then what is older. */
export type ClaimPlace = { readonly deadlineAtMs: number; readonly seq: number };

export function comesFirst(a: ClaimPlace, b: ClaimPlace): boolean {
  return a.deadlineAtMs === b.deadlineAtMs ? a.seq < b.seq : a.deadlineAtMs < b.deadlineAtMs;
}

/** Whether an attempt of it could begin now, its lease aside. What is paused or held is not. */
export function isClaimable(operation: StoredOperation, action: string, now: Instant): boolean {
  return (
    operation.state === 'accepted' && operation.action === action && !deadlinePassed(operation, now)
  );
}

/** What a key has taken and still has: its attempts that are the newest, and executing. */
export function isStillHeld(operation: StoredOperation, key: string): boolean {
  return operation.state === 'executing' && operation.attemptKeys.at(-1) === key;
}
