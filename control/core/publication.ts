/**
 * What a publication does, decided before anything is written (I11).
 *
 * P1  A revision number is never given twice: it follows the highest of what the store, the floor
 *     file and any host have ever seen, so that a restored old database does not publish a number
 *     that hosts know already.
 * P2  The writer says what it replaces. Nobody overwrites a revision that they have not read.
 * P3  The same document again is no new revision: its answer is the one in force. Unless it brings
 *     other keys of control than that one.
 */

export type Precondition =
  | { readonly kind: 'replaces'; readonly policyRevision: number }
  | { readonly kind: 'first' };

export type Publication =
  | {
      readonly outcome: 'published';
      readonly policyRevision: number;
      readonly follows: number | null;
    }
  | { readonly outcome: 'unchanged'; readonly policyRevision: number }
  | { readonly outcome: 'conflict'; readonly current: number | null };

export function decidePublication(
  current: { readonly policyRevision: number; readonly policyDigest: string } | null,
  candidate: {
    readonly policyDigest: string;
    readonly precondition: Precondition;
    readonly bringsKeys?: boolean;
  },
  highestRevisionSeen: number,
): Publication {
  const { precondition } = candidate;
  const follows = current?.policyRevision ?? null;
  const isMet =
    precondition.kind === 'first' ? follows === null : precondition.policyRevision === follows;
  if (!isMet) return { outcome: 'conflict', current: follows };
  const isSame = current?.policyDigest === candidate.policyDigest;
  if (current !== null && isSame && candidate.bringsKeys !== true) {
    return { outcome: 'unchanged', policyRevision: current.policyRevision };
  }
  return {
    outcome: 'published',
    policyRevision: Math.max(follows ?? 0, highestRevisionSeen) + 1,
    follows,
  };
}
