/**
 * How fast a backlog goes up (promise I12) without hurting admissions (I10).
 *
 * P1  Where the thread has half of its time to spare, batch follows batch. Beyond, the reporter rests
 *     between two, and the longer the busier the thread is: up to four times what a batch takes.
 * P2  It never rests so long that the backlog grows: what comes in goes up.
 * P3  Batches grow while control takes them quickly, and shrink when it does not, or refuses one for
 *     its form: down to a single entry, so that what is refused is known.
 */

export type ReportPace = { readonly restMs: number; readonly eventsMax: number };

const EVENTS_MIN = 50;
const EVENTS_AT_START = 500;
/** Of its time the thread has so much in use, and the rest is so many times what a batch took. */
const RESTS = [
  { use: 0.5, batches: 0 },
  { use: 0.75, batches: 1 },
  { use: 1, batches: 4 },
] as const;
const REST_MS_MAX = 250;
/** Longer, and control is held up, or the network is: less at once is then no slower. */
const SLOW_MS = 500;

export const PACE_AT_START: ReportPace = { restMs: 0, eventsMax: EVENTS_AT_START };

export type BatchTaken = {
  readonly tookMs: number;
  /** Part of the time since the last batch in which the thread was at work. */
  readonly loopUse: number;
  /** Entries that control had not got, before this batch and before the one before. */
  readonly backlog: { readonly now: number; readonly before: number };
  readonly eventsMax: number;
};

export function paceAfterBatch(pace: ReportPace, taken: BatchTaken): ReportPace {
  const { tookMs, loopUse, backlog } = taken;
  const isSlow = tookMs > SLOW_MS;
  const eventsMax = isSlow
    ? Math.max(EVENTS_MIN, pace.eventsMax >> 1)
    : Math.min(taken.eventsMax, Math.max(EVENTS_MIN, pace.eventsMax * 2));
  const wantedMs = Math.min(REST_MS_MAX, tookMs * restInBatches(loopUse));
  // P2. Half of the way at a time: one look at the thread is not the whole truth.
  const isGrowing = backlog.now >= backlog.before;
  const restMs = Math.floor((pace.restMs + (isGrowing ? 0 : wantedMs)) / 2);
  return { restMs, eventsMax };
}

function restInBatches(use: number): number {
  for (let at = 1; at < RESTS.length; at += 1) {
    const [from, to] = [RESTS[at - 1], RESTS[at]];
    if (from === undefined || to === undefined || use > to.use) continue;
    const part = Math.max(0, use - from.use) / (to.use - from.use);
    return from.batches + part * (to.batches - from.batches);
  }
  return RESTS.at(-1)?.batches ?? 0;
}

/** Control gave no answer, or asked to be left alone for a while. */
export function paceAfterFailure(pace: ReportPace): ReportPace {
  return { ...pace, eventsMax: Math.max(EVENTS_MIN, pace.eventsMax >> 1) };
}

/** Control refuses the form of a batch: half of it, so that the entry is found. */
export function paceAfterRefusal(pace: ReportPace, sent: number): ReportPace {
  return { ...pace, eventsMax: Math.max(1, Math.min(pace.eventsMax, sent) >> 1) };
}
