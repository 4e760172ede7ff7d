/**
 * An outage: from the first sync that control did not answer to the first that it did. A refusal
 * neither opens nor closes one: control was reached, but nothing was synced.
 *
 * N1  Its moments say what changed while it lasted, each with the authority in force then. The first
 *     is its beginning.
 * N2  They are bounded: past the bound the newest takes the place of the one before it, which is
 *     counted. A network that flaps for a week does not fill a disk with it.
 */
import type { WallMs } from '../../shared/core/time.ts';
import type {
  Outage,
  OutageCause,
  OutageMoment,
  OutageTally,
} from '../../shared/wire/operation.ts';

const DETAIL_LENGTH_MAX = 500;
export const MOMENTS_MAX = 64;

export type OutageEventKind = 'outage_opened' | 'outage_changed' | 'outage_closed';

export type AuthorityAt = {
  readonly policyRevision: number | null;
  readonly stalenessMs: number | null;
};

export type OutageStart = AuthorityAt & {
  readonly outageId: string;
  readonly fromMs: WallMs;
  readonly cause: OutageCause;
  readonly detail: string;
};

export function openOutage(start: OutageStart): Outage {
  const detail = start.detail.slice(0, DETAIL_LENGTH_MAX);
  const { fromMs: atMs, cause, policyRevision, stalenessMs } = start;
  const first = { atMs, kind: 'opened', cause, detail, policyRevision, stalenessMs } as const;
  return { ...start, detail, toMs: null, moments: [first] };
}

/** A wall clock that went back meanwhile makes an outage look short, never negative. */
export function closeOutage(outage: Outage, nowMs: WallMs): Outage {
  return { ...outage, toMs: Math.max(outage.fromMs, nowMs) };
}

/** Of a sync that failed again; `null` where it failed as the last one did, under the same authority. */
export function momentOfFailure(
  outage: Outage,
  failure: { readonly cause: OutageCause; readonly detail: string },
  at: AuthorityAt & { readonly atMs: WallMs },
): OutageMoment | null {
  const last = lastMoment(outage);
  const detail = failure.detail.slice(0, DETAIL_LENGTH_MAX);
  if (last.cause !== failure.cause)
    return { ...at, kind: 'cause_changed', cause: failure.cause, detail };
  if (last.policyRevision !== at.policyRevision)
    return { ...at, kind: 'revision_changed', cause: failure.cause, detail };
  return null;
}

/** The cause is the one that was seen last: nobody has asked control since. */
export function momentOfRestart(
  outage: Outage,
  at: AuthorityAt & { readonly atMs: WallMs },
): OutageMoment {
  const { cause } = lastMoment(outage);
  return { ...at, kind: 'restarted', cause, detail: 'the sidecar was started again' };
}

/** N2. */
export function withMoment(
  outage: Outage,
  moment: OutageMoment,
): { readonly outage: Outage; readonly isKept: boolean } {
  const moments = outage.moments ?? [];
  if (moments.length < MOMENTS_MAX)
    return { outage: { ...outage, moments: [...moments, moment] }, isKept: true };
  const momentsOmitted = (outage.momentsOmitted ?? 0) + 1;
  const kept = [...moments.slice(0, -1), moment];
  return { outage: { ...outage, moments: kept, momentsOmitted }, isKept: false };
}

/** As it goes into the journal with this entry. */
export function outageRecorded(
  outage: Outage,
  entry: { readonly kind: OutageEventKind; readonly seq: number; readonly openedSeq: number },
  tally: OutageTally | null,
): Outage {
  const { kind, seq, openedSeq } = entry;
  const moments = outage.moments?.map((moment) =>
    moment.seq === undefined ? { ...moment, seq } : moment,
  );
  return {
    ...outage,
    openedSeq,
    ...(moments === undefined ? {} : { moments }),
    ...(kind === 'outage_closed' ? { closedSeq: seq } : {}),
    ...(kind === 'outage_closed' && tally !== null ? { tally } : {}),
  };
}

function lastMoment(outage: Outage): Pick<OutageMoment, 'cause' | 'policyRevision'> {
  return outage.moments?.at(-1) ?? outage;
}
