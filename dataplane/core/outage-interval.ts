/**
 * An outage: from the first sync that control did not answer to the first that it did. A refusal
 * neither opens nor closes one: control was reached, but nothing was synced.
 */
import type { WallMs } from '../../shared/core/time.ts';
import type { Outage, OutageCause } from '../../shared/wire/operation.ts';

const DETAIL_LENGTH_MAX = 500;

export type OutageStart = {
  readonly outageId: string;
  readonly fromMs: WallMs;
  readonly cause: OutageCause;
  readonly detail: string;
  readonly policyRevision: number | null;
  readonly stalenessMs: number | null;
};

export function openOutage(start: OutageStart): Outage {
  return { ...start, detail: start.detail.slice(0, DETAIL_LENGTH_MAX), toMs: null };
}

/** A wall clock that went back meanwhile makes an outage look short, never negative. */
export function closeOutage(outage: Outage, nowMs: WallMs): Outage {
  return { ...outage, toMs: Math.max(outage.fromMs, nowMs) };
}
