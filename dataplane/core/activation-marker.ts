/**
 * The record of activations under way (promise I11): a revision whose activation the process did
 * not survive twice is not tried a third time.
 *
 * M1  A revision is marked, durably, before its document is compiled and its tests run, both when
 *     it arrives and when it is loaded at start; the mark goes once it is in force or refused.
 * M2  A mark found at start is a death. Two of them: quarantine.
 */
import type { RevisionRef } from './bundle-acceptance.ts';

export const DEATHS_MAX = 2;

export type ActivationMark = RevisionRef & { readonly deaths: number; readonly underWay: boolean };

/** At start: what was under way when the process ended has cost one more death. */
export function countDeaths(marks: readonly ActivationMark[]): readonly ActivationMark[] {
  return marks.map((mark) =>
    mark.underWay ? { ...mark, underWay: false, deaths: mark.deaths + 1 } : mark,
  );
}

export function isQuarantined(marks: readonly ActivationMark[], revision: RevisionRef): boolean {
  return (markOf(marks, revision)?.deaths ?? 0) >= DEATHS_MAX;
}

export function beginActivation(
  marks: readonly ActivationMark[],
  { policyRevision, policyDigest }: RevisionRef,
): readonly ActivationMark[] {
  const revision = { policyRevision, policyDigest };
  const deaths = markOf(marks, revision)?.deaths ?? 0;
  return [...endActivation(marks, revision), { ...revision, deaths, underWay: true }];
}

export function endActivation(
  marks: readonly ActivationMark[],
  revision: RevisionRef,
): readonly ActivationMark[] {
  return marks.filter((mark) => !isSame(mark, revision));
}

function markOf(
  marks: readonly ActivationMark[],
  revision: RevisionRef,
): ActivationMark | undefined {
  return marks.find((mark) => isSame(mark, revision));
}

function isSame(a: RevisionRef, b: RevisionRef): boolean {
  return a.policyRevision === b.policyRevision && a.policyDigest === b.policyDigest;
}
