/**
 * Whether a bundle whose signature verified may be considered at all (promises I10, I11). The
 * reasons stand in order of precedence; those of the signature come before them
 * (`shared/platform/signatures.ts`), those of the document itself after them.
 *
 * B1  A revision below the highest ever activated here is refused, whoever signed it: control
 *     restored from an old backup, or a replayed bundle, takes nothing back.
 * B2  One revision has one digest for ever.
 * B3  A revision that was refused once is not tried again; a newer one is.
 */
export const BUNDLE_REFUSALS = [
  'wrong_audience',
  'revision_regressed',
  'revision_conflict',
  'rejected_before',
] as const;
export type BundleRefusal = (typeof BUNDLE_REFUSALS)[number];

export type RevisionRef = { readonly policyRevision: number; readonly policyDigest: string };

export type HeldRevisions = {
  readonly controlId: string;
  readonly active: RevisionRef | null;
  readonly highWater: RevisionRef | null;
  readonly rejected: RevisionRef | null;
};

export type BundleVerdict =
  | { readonly verdict: 'consider' }
  | { readonly verdict: 'unchanged' }
  | { readonly verdict: 'refused'; readonly reason: BundleRefusal; readonly detail: string };

export function judgeBundle(
  offered: RevisionRef & { readonly controlId: string },
  held: HeldRevisions,
): BundleVerdict {
  const refused = (reason: BundleRefusal, detail: string): BundleVerdict => ({
    verdict: 'refused',
    reason,
    detail,
  });
  const { policyRevision, policyDigest, controlId } = offered;
  if (controlId !== held.controlId) {
    return refused(
      'wrong_audience',
      `it is of control ${controlId}, this host is of ${held.controlId}`,
    );
  }
  const { highWater } = held;
  if (highWater !== null && policyRevision < highWater.policyRevision) {
    return refused(
      'revision_regressed',
      `revision ${policyRevision} is below ${highWater.policyRevision}, which was in force here`,
    );
  }
  for (const known of [highWater, held.active, held.rejected]) {
    if (known !== null && sameNumberOtherContent(offered, known)) {
      return refused(
        'revision_conflict',
        `revision ${policyRevision} has digest ${policyDigest}, and had ${known.policyDigest} before`,
      );
    }
  }
  if (held.active?.policyRevision === policyRevision) return { verdict: 'unchanged' };
  if (held.rejected?.policyRevision === policyRevision) {
    return refused('rejected_before', `revision ${policyRevision} was refused before`);
  }
  return { verdict: 'consider' };
}

function sameNumberOtherContent(a: RevisionRef, b: RevisionRef): boolean {
  return a.policyRevision === b.policyRevision && a.policyDigest !== b.policyDigest;
}
