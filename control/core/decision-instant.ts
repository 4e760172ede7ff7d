/**
 * When a host decided something, in control's time. What its wall clock claims plays no part.
 *
 * I1  The interval holds the true instant, while clocks drift within the declared bound and control's
 *     store was not put back.
 * I2  Every anchor of the same boot of the host bounds it from both sides: by the time between the two
 *     on the host's boot clock, within drift, and by how long the request of that sync took.
 * I3  Every anchor bounds it by the order of the journal: an entry that the sync counts was decided
 *     before it came, and one that it does not count was not committed before it was built.
 * I4  Nobody decides by a revision before it was given out.
 * I5  Nothing is carried over from one scale of control's time to another but the order.
 */
import type { TimeScale } from './control-time.ts';
import type { Anchor, HostClock } from './sync-anchors.ts';

export type Placed = {
  /** Not before, not after; both are possible. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly by: 'boot_clock' | 'journal_order';
};

export type DecisionMoment = {
  readonly seq: number;
  /** `null` where the record does not say it. */
  readonly clock: HostClock | null;
};

export type PlacingBounds = {
  readonly drift: number;
  /** How far two readings of a boot clock may be from what they say they are, together. */
  readonly readingMs: number;
  /** From a decision to the commit of its entry: more than a journal lets anybody wait. */
  readonly queueMsMax: number;
  /** Of a request that no later sync has timed: an older token is refused. */
  readonly transitMsMax: number;
};

type Range = { readonly fromMs: number; readonly toMs: number };
const ALWAYS: Range = { fromMs: Number.NEGATIVE_INFINITY, toMs: Number.POSITIVE_INFINITY };

export function placeDecision(
  decision: DecisionMoment,
  known: {
    readonly anchors: readonly Anchor[];
    /** Ascending. */
    readonly scales: readonly TimeScale[];
    /** I4: when what it was decided by was first given out; `null` where that is not known. */
    readonly givenOutMs: number | null;
    readonly nowMs: number;
  },
  bounds: PlacingBounds,
): Placed {
  let range: Range = { fromMs: known.givenOutMs ?? ALWAYS.fromMs, toMs: known.nowMs };
  let by: Placed['by'] = 'journal_order';
  for (const anchor of known.anchors) {
    const scale = scaleOf(anchor, known.scales);
    range = both(range, withinScale(byOrder(decision, anchor, bounds), scale));
    const timed = byClock(decision, anchor, bounds);
    if (timed === null) continue;
    by = 'boot_clock';
    range = both(range, withinScale(timed, scale));
  }
  const fromMs = Math.floor(range.fromMs);
  const toMs = Math.ceil(range.toMs);
  // Only clocks outside of what was declared contradict each other: then all in between is possible.
  return { fromMs: Math.min(fromMs, toMs), toMs: Math.max(fromMs, toMs), by };
}

/** I2. */
function byClock({ clock }: DecisionMoment, anchor: Anchor, bounds: PlacingBounds): Range | null {
  if (clock === null || anchor.clock === null || clock.bootId !== anchor.clock.bootId) return null;
  const { drift, readingMs } = bounds;
  const builtFromMs = anchor.heardMs - transitMs(anchor, bounds);
  const passedMs = clock.bootMs - anchor.clock.bootMs;
  const shortMs = passedMs / (1 + drift);
  const longMs = passedMs / (1 - drift);
  return {
    fromMs: builtFromMs + Math.min(shortMs, longMs) - readingMs,
    toMs: anchor.heardMs + Math.max(shortMs, longMs) + readingMs,
  };
}

/** I3. */
function byOrder({ seq }: DecisionMoment, anchor: Anchor, bounds: PlacingBounds): Range {
  if (anchor.seq >= seq) return { ...ALWAYS, toMs: anchor.heardMs };
  const builtFromMs = anchor.heardMs - transitMs(anchor, bounds);
  return { ...ALWAYS, fromMs: builtFromMs - bounds.queueMsMax };
}

/** The host has timed the exchange, with its own clock. */
function transitMs(anchor: Anchor, { drift, readingMs, transitMsMax }: PlacingBounds): number {
  if (anchor.transitMsMax === null) return transitMsMax;
  return anchor.transitMsMax / (1 - drift) + readingMs;
}

type LivedScale = Range & {
  /** Until then it is known to have gone on. */
  readonly livedToMs: number;
};

/** I5: what reaches out of the scale says no more than that it is outside of it. */
function withinScale({ fromMs, toMs }: Range, scale: LivedScale): Range {
  return {
    fromMs: fromMs < scale.fromMs ? ALWAYS.fromMs : Math.min(fromMs, scale.toMs),
    toMs: toMs > scale.livedToMs ? ALWAYS.toMs : Math.max(toMs, scale.fromMs - 1),
  };
}

function scaleOf({ heardMs }: Anchor, scales: readonly TimeScale[]): LivedScale {
  const at = scales.findLastIndex(({ fromMs }) => fromMs <= heardMs);
  const next = scales[at + 1];
  return {
    fromMs: scales[at]?.fromMs ?? ALWAYS.fromMs,
    toMs: next?.fromMs ?? ALWAYS.toMs,
    livedToMs: next?.lastBeforeMs ?? ALWAYS.toMs,
  };
}

function both(a: Range, b: Range): Range {
  return { fromMs: Math.max(a.fromMs, b.fromMs), toMs: Math.min(a.toMs, b.toMs) };
}
