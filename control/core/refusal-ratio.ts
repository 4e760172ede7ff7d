/**
 * Whether hosts refuse clearly more than they did before. A one-sided test of two proportions: with
 * the pooled share p of refusals, z = (after - before) / sqrt(p (1 - p) (1/n + 1/m)).
 *
 * Q1  Nothing is said on fewer than `DECISIONS_MIN` decisions on either side.
 * Q2  Clearly: z of at least `Z_ALL` for all hosts taken together, `Z_ONE` for one of them, and in
 *     both at least `RISE_MIN` more of all decisions. The bounds are high because it is asked again
 *     and again while the counts grow, and of each of many hosts.
 */
export type Share = { readonly decisions: number; readonly refused: number };

export const DECISIONS_MIN = 50;
export const RISE_MIN = 0.02;
export const Z_ALL = 4;
export const Z_ONE = 5;

export function refusesMore(before: Share, after: Share, zMin: number): boolean {
  const [n, m] = [before.decisions, after.decisions];
  if (n < DECISIONS_MIN || m < DECISIONS_MIN) return false;
  const rise = after.refused / m - before.refused / n;
  if (rise < RISE_MIN) return false;
  const pooled = (before.refused + after.refused) / (n + m);
  const deviation = Math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m));
  // Without any spread the rise is all there is: from none to all.
  return deviation === 0 || rise / deviation >= zMin;
}

export function addShares(shares: readonly Share[]): Share {
  return shares.reduce(
    (sum, { decisions, refused }) => ({
      decisions: sum.decisions + decisions,
      refused: sum.refused + refused,
    }),
    { decisions: 0, refused: 0 },
  );
}
