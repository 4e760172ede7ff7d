/**
 * What was in force for which host, and when, in control's time.
 *
 * L1  In force for a host is what the newest entry says that names it, or every host.
 * L2  A notice holds from its beginning to its end, whenever it was recorded.
 */
import type { NoticeKind } from '../../shared/wire/divergences.ts';

export const IN_FORCE_CAUSES = [
  'published',
  'staged',
  'completed',
  'halted',
  'returned',
  'rolled_back',
] as const;
export type InForceCause = (typeof IN_FORCE_CAUSES)[number];

export type InForce = {
  readonly atMs: number;
  /** `null`: every host. */
  readonly hostId: string | null;
  readonly policyRevision: number;
  readonly cause: InForceCause;
};

export type Notice = {
  readonly noticeId: string;
  readonly kind: NoticeKind;
  /** What it is about: a principal, `app:NAME` or `host:ID`, an action, a resource. */
  readonly subject: string;
  readonly reason: string;
  readonly fromMs: number;
  /** `null`: until it is lifted. */
  readonly untilMs: number | null;
};

/** What was in force from a moment on. */
export type Authority = {
  readonly atMs: number;
  /** `null` before the first revision. */
  readonly policyRevision: number | null;
  readonly notices: readonly Notice[];
};

/**
 * What was in force at some moment of the interval, in order; the first as of its beginning.
 * `entries` are those of the host and of every host, ascending.
 */
export function authorityDuring(
  timeline: { readonly entries: readonly InForce[]; readonly notices: readonly Notice[] },
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
): readonly Authority[] {
  const { entries, notices } = timeline;
  const moments = new Set([fromMs]);
  const consider = (ms: number | null): void => {
    if (ms !== null && ms > fromMs && ms <= toMs) moments.add(ms);
  };
  for (const { atMs } of entries) consider(atMs);
  for (const notice of notices) {
    consider(notice.fromMs);
    consider(notice.untilMs);
  }
  return [...moments]
    .toSorted((a, b) => a - b)
    .map((atMs) => ({
      atMs,
      policyRevision: entries.findLast((entry) => entry.atMs <= atMs)?.policyRevision ?? null,
      notices: notices.filter((notice) => holdsAt(notice, atMs)),
    }));
}

function holdsAt({ fromMs, untilMs }: Notice, atMs: number): boolean {
  return fromMs <= atMs && (untilMs === null || atMs < untilMs);
}

/** When a revision was first given out to this host, or to every host; `null`: not known here. */
export function givenOutMs(entries: readonly InForce[], policyRevision: number): number | null {
  return entries.find((entry) => entry.policyRevision === policyRevision)?.atMs ?? null;
}
