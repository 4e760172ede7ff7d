/**
 * Anchors: syncs of a host that say where its clock and its journal stood when control's time was
 * such. What a host did in between is placed by them (`decision-instant.ts`).
 *
 * N1  Kept are the first sync of each boot, the last before a silence and the first after it, and
 *     besides those one a minute. The newest is held until the next says which of them it is.
 * N2  How long the request took is known from the sync after it, in which the host says how long the
 *     whole exchange took. Until then, and where that answer was lost, it is not known.
 */
import { MINUTE_MS, SECOND_MS } from '../../shared/core/time.ts';

export type HostClock = { readonly bootId: string; readonly bootMs: number };

export type Anchor = {
  /** Control's time, when the request came in. */
  readonly heardMs: number;
  /** From the building of the request to `heardMs` it took no longer; `null` where nobody knows. */
  readonly transitMsMax: number | null;
  /** The newest entry of the host's journal, when the request was built. */
  readonly seq: number;
  /** The host's boot clock, at that moment; `null` from a sidecar that does not say it. */
  readonly clock: HostClock | null;
};

export type AnchorMemory = { readonly kept: Anchor | null; readonly newest: Anchor | null };
export const NO_ANCHORS: AnchorMemory = { kept: null, newest: null };

export const SILENCE_MS = 15 * SECOND_MS;
export const KEPT_EVERY_MS = MINUTE_MS;

/** What the host says of the last exchange of this boot that was answered. */
export type Answered = { readonly bootMs: number; readonly tookMs: number } | null;

export function noteAnchor(
  held: AnchorMemory,
  heard: Omit<Anchor, 'transitMsMax'>,
  answered: Answered,
): { readonly memory: AnchorMemory; readonly toKeep: readonly Anchor[] } {
  const anchor: Anchor = { ...heard, transitMsMax: null };
  const { kept: keptBefore, newest: newestBefore } = held;
  const kept = timed(keptBefore, anchor, answered);
  const newest = timed(newestBefore, anchor, answered);
  // N2: what is on disk already is written again with what is known now.
  const toKeep: Anchor[] = kept !== null && kept !== keptBefore ? [kept] : [];
  if (newest !== null && isSilent(newest, anchor) && newest.heardMs !== kept?.heardMs) {
    toKeep.push(newest);
  }
  const isKept =
    newest === null ||
    kept === null ||
    isSilent(newest, anchor) ||
    anchor.heardMs - kept.heardMs >= KEPT_EVERY_MS;
  if (isKept) toKeep.push(anchor);
  return { memory: { kept: isKept ? anchor : kept, newest: anchor }, toKeep };
}

function isSilent(before: Anchor, now: Anchor): boolean {
  return now.heardMs - before.heardMs >= SILENCE_MS || before.clock?.bootId !== now.clock?.bootId;
}

function timed(of: Anchor | null, said: Anchor, answered: Answered): Anchor | null {
  if (of === null || answered === null || of.transitMsMax !== null) return of;
  const isIt = of.clock?.bootId === said.clock?.bootId && of.clock?.bootMs === answered.bootMs;
  return isIt ? { ...of, transitMsMax: answered.tookMs } : of;
}
