/**
 * What several say together. Each may say as much as the wire takes, and the sum must not be more: it would
 * be a number that no answer can carry.
 */
export function sumOfCounts(counts: readonly number[]): number {
  return Math.min(
    Number.MAX_SAFE_INTEGER,
    counts.reduce((sum, count) => sum + count, 0),
  );
}
