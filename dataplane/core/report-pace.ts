/**
 * How fast a backlog goes up (promise I12) without hurting admissions (I10).
 *
 * P1  Where the thread has room, batch follows batch. Where it is busy the reporter rests between
 *     two, and the longer the busier it stays: at most four times what a batch takes.
 * P2  It never rests so long that the backlog grows: what comes in goes up.
 * P3  Batches grow while control takes them quickly, and shrink when it does not, or refuses one for
 *     its form: down to a single entry, so that what is refused is known.
 */

export type ReportPace = { readonly restMs: number; readonly eventsMax: number };

const EVENTS_MIN = 50;
const EVENTS_AT_START = 500;
/** The thread has this part of its time in use: whoever asks now waits for others. */
const BUSY_USE = 0.75;
const REST_MS_MAX = 250;
const REST_BATCHES_MAX = 4;
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
  const isBusy = loopUse >= BUSY_USE && backlog.now < backlog.before;
  const restMs = isBusy
    ? Math.min(
        REST_MS_MAX,
        tookMs * REST_BATCHES_MAX,
        Math.max(pace.restMs * 2, Math.ceil(tookMs / 2)),
      )
    : Math.floor(pace.restMs / 2);
  return { restMs, eventsMax };
}

/** Control gave no answer, or asked to be left alone for a while. */
export function paceAfterFailure(pace: ReportPace): ReportPace {
  return { ...pace, eventsMax: Math.max(EVENTS_MIN, pace.eventsMax >> 1) };
}

/** Control refuses the form of a batch: half of it, so that the entry is found. */
export function paceAfterRefusal(pace: ReportPace, sent: number): ReportPace {
  return { ...pace, eventsMax: Math.max(1, Math.min(pace.eventsMax, sent) >> 1) };
}
