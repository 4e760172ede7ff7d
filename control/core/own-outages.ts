/**
 * What control has seen of outages by itself.
 *
 * O1  Control was down from the end of the run before, or from when that run was last known to go on,
 *     to its own start: each start closes one.
 * O2  A host is silent when it has not synced for `lateAfter` while this control ran. That it could
 *     not, while control was down, is no silence of the host; but one that stays away is silent from
 *     when it was last heard.
 * O3  A wall clock that went back makes an outage look short, never negative.
 */
import type { WallMs } from '../../shared/core/time.ts';

export type OwnOutage = {
  readonly outageId: string;
  /** `null`: of control itself. */
  readonly hostId: string | null;
  readonly fromMs: WallMs;
  readonly toMs: WallMs | null;
  readonly detail: string;
};

export type EndedRun = {
  readonly run: number;
  readonly aliveAtMs: WallMs;
  /** `null` where it did not say that it ends. */
  readonly endedAtMs: WallMs | null;
};

/** O1. */
export function controlDown(
  before: EndedRun,
  startedAtMs: WallMs,
): Omit<OwnOutage, 'outageId'> & { readonly toMs: WallMs } {
  const { run, aliveAtMs, endedAtMs } = before;
  const fromMs = endedAtMs ?? aliveAtMs;
  const detail =
    endedAtMs === null
      ? `run ${run} of control ended without a word; when it was last known to go on is the beginning`
      : `run ${run} of control was stopped`;
  return { hostId: null, fromMs, toMs: Math.max(fromMs, startedAtMs), detail };
}

export type HeardHost = { readonly hostId: string; readonly lastSyncAtMs: WallMs };

/** O2: hosts that were heard last before this are silent; `null` while nobody can be yet. */
export function silentBeforeMs(at: {
  readonly nowMs: WallMs;
  readonly runForMs: number;
  readonly lateAfterMs: number;
}): WallMs | null {
  return at.runForMs < at.lateAfterMs ? null : at.nowMs - at.lateAfterMs;
}

export function silenceOf({ hostId, lastSyncAtMs }: HeardHost): Omit<OwnOutage, 'outageId'> {
  const detail = 'the host has not synced, for whatever reason; what it reports later says more';
  return { hostId, fromMs: lastSyncAtMs, toMs: null, detail };
}

/** O3. */
export function ended(outage: OwnOutage, nowMs: WallMs): OwnOutage {
  return { ...outage, toMs: Math.max(outage.fromMs, nowMs) };
}
