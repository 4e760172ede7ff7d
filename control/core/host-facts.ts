/**
 * How each host does under which revision, folded from what it says at its syncs.
 *
 * H1  Counters begin again with each process of a sidecar; what is kept here goes on across them.
 * H2  A host counts as offered a revision from the answer that first named it as its target.
 * H3  What an operator says about a host goes before what the host says of itself.
 */
import type { Labels, Tally } from '../../shared/wire/rollout.ts';

/** Revisions whose counters are kept: the one in use, and what it is compared with. */
const TALLIES_MAX = 4;

export type HostFacts = {
  readonly labels: Labels;
  readonly processId: string | null;
  readonly policyRevision: number | null;
  /** Since when control knows that it runs that. */
  readonly sinceMs: number | null;
  readonly highWaterRevision: number;
  readonly rejected: { readonly policyRevision: number; readonly reason: string } | null;
  readonly deaths: { readonly policyRevision: number; readonly deaths: number } | null;
  readonly offered: {
    readonly policyRevision: number;
    readonly atMs: number;
    /** Of the sidecar, since then. */
    readonly restarts: number;
  } | null;
  /** As the process that runs now last sent them. */
  readonly sent: readonly Tally[];
  readonly tallies: readonly Tally[];
};

export type SelfReport = {
  readonly labels?: Labels | undefined;
  readonly processId?: string | undefined;
  readonly policyRevision: number | null;
  readonly policyRejected: HostFacts['rejected'];
  readonly highWater: { readonly policyRevision: number };
  readonly activationDeaths?: HostFacts['deaths'] | undefined;
  readonly decisions?: readonly Tally[] | undefined;
};

export function foldReport(
  held: HostFacts | null,
  said: SelfReport,
  at: { readonly targetRevision: number | null; readonly nowMs: number },
): HostFacts {
  const { policyRevision } = said;
  const processId = said.processId ?? null;
  const isSameProcess = held !== null && held.processId === processId;
  const sent = said.decisions ?? [];
  return {
    labels: said.labels ?? {},
    processId,
    policyRevision,
    sinceMs:
      policyRevision === null
        ? null
        : held?.policyRevision === policyRevision
          ? held.sinceMs
          : at.nowMs,
    highWaterRevision: Math.max(held?.highWaterRevision ?? 0, said.highWater.policyRevision),
    rejected: said.policyRejected,
    deaths: said.activationDeaths ?? null,
    offered: offerOf(held, at, held !== null && !isSameProcess),
    sent,
    tallies: addTallies(held?.tallies ?? [], isSameProcess ? held.sent : [], sent),
  };
}

/**
 * Whether a restart must know it: all but the counters, which are said again or miss one second of a
 * ratio.
 */
export function isOtherThan(known: HostFacts | null, now: HostFacts): boolean {
  return (
    known === null ||
    known.processId !== now.processId ||
    known.policyRevision !== now.policyRevision ||
    known.rejected?.policyRevision !== now.rejected?.policyRevision ||
    known.deaths?.deaths !== now.deaths?.deaths ||
    known.offered?.policyRevision !== now.offered?.policyRevision ||
    !isSameLabels(known.labels, now.labels)
  );
}

function isSameLabels(a: Labels, b: Labels): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

/** H3: by what a roll-out picks. Placement takes operators' alone: no host is to draw work to itself. */
export function effectiveLabels(said: Labels, set: Labels): Labels {
  return { ...said, ...set };
}

/** H2. */
function offerOf(
  held: HostFacts | null,
  at: { readonly targetRevision: number | null; readonly nowMs: number },
  isRestarted: boolean,
): HostFacts['offered'] {
  const { targetRevision, nowMs } = at;
  if (targetRevision === null) return null;
  const offered = held?.offered ?? null;
  if (offered?.policyRevision !== targetRevision) {
    return { policyRevision: targetRevision, atMs: nowMs, restarts: 0 };
  }
  return isRestarted ? { ...offered, restarts: offered.restarts + 1 } : offered;
}

/** H1: what is sent, less what the same process had sent before, is new. */
function addTallies(
  known: readonly Tally[],
  sentBefore: readonly Tally[],
  sent: readonly Tally[],
): readonly Tally[] {
  const sums = new Map(known.map((tally) => [tally.policyRevision, tally]));
  for (const tally of sent) {
    const { policyRevision } = tally;
    const before = sentBefore.find((one) => one.policyRevision === policyRevision);
    const sum = sums.get(policyRevision);
    const added = (field: 'admitted' | 'refused' | 'ruleErrors'): number =>
      (sum?.[field] ?? 0) + Math.max(0, tally[field] - (before?.[field] ?? 0));
    sums.set(policyRevision, {
      policyRevision,
      admitted: added('admitted'),
      refused: added('refused'),
      ruleErrors: added('ruleErrors'),
    });
  }
  return [...sums.values()]
    .toSorted((a, b) => b.policyRevision - a.policyRevision)
    .slice(0, TALLIES_MAX);
}
