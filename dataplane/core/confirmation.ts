/**
 * From when on the policy in use counts as confirmed (promise I5).
 *
 * C1  An answer to a sync says which revision was the newest for this host at the moment the sync
 *     was *sent*. It confirms whatever revision is not older than that: nothing newer existed then.
 * C2  It also confirms the last-known-good revision when the newest is exactly the one that this
 *     host has refused and reported: control knows which one is in force here. Without this, one
 *     bad revision would let the cached authority of the whole fleet run out, which is the outage
 *     that I11 forbids.
 * C3  An answer that names a newer revision is kept too: once that one is activated, it is
 *     confirmed as of then. Activating never makes the age younger than the sync that proves it,
 *     and never throws a proof away.
 * C4  A host that falls back to an older revision has the age of the last sync that confirmed
 *     *that* one.
 */
import type { Instant } from '../../shared/core/time.ts';

/** As of `sentAt`, control's newest revision for this host; 0 where it had none. */
export type Confirmation = { readonly newestRevision: number; readonly sentAt: Instant };

/** One for each kept generation, and one for a revision that is not active yet. */
const CONFIRMATIONS_MAX = 4;

/** Appends the newest answer; of several that name one revision the last is enough. */
export function noteConfirmation(
  confirmations: readonly Confirmation[],
  answer: Confirmation,
): readonly Confirmation[] {
  const others = confirmations.filter(
    ({ newestRevision }) => newestRevision !== answer.newestRevision,
  );
  return [...others, answer].slice(-CONFIRMATIONS_MAX);
}

export function confirmedAt(
  confirmations: readonly Confirmation[],
  inUse: { readonly activeRevision: number; readonly rejectedRevision: number | null },
): Instant | null {
  const proof = confirmations.findLast(
    ({ newestRevision }) =>
      newestRevision <= inUse.activeRevision || newestRevision === inUse.rejectedRevision,
  );
  return proof?.sentAt ?? null;
}
