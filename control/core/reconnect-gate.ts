/**
 * How many hosts are taken back at a time (DESIGN 4, "Come back"): a token bucket for syncs of hosts
 * that are not in contact, and the places that the others are told to come back in.
 *
 * Q1  A host in contact pays nothing: whoever was let in stays in while it keeps syncing.
 * Q2  No renewal is lost by waiting here: a host whose lease is about to end is let in whatever the
 *     bucket holds, and goes into debt for it; one with more time is never told to wait past half of
 *     what is left (I7: the lease would end in time all the same, and its work with it).
 * Q3  In order: renewals about to end, renewals, other syncs, bundles, reports. Each of them leaves a
 *     larger part of the bucket to those before it.
 * Q4  Those who are sent away get places one after the other at the rate of the bucket, so that they
 *     do not come back together. None is told to wait longer than `WAIT_MS_MAX`.
 * Q5  What is remembered is three numbers, however many come.
 * Q6  No more than `atOnceMax` of them are under way at a time: where control is slower than its rate,
 *     what it has not answered yet says so, and others do not wait behind a crowd.
 */
export type GateTerms = {
  readonly ratePerSecond: number;
  readonly burst: number;
  readonly atOnceMax: number;
};

export type GateState = {
  readonly tokens: number;
  readonly atBootMs: number;
  /** Q4: the last place that was given. */
  readonly promisedBootMs: number;
};

export type GateCaller =
  | {
      readonly kind: 'sync';
      readonly isInContact: boolean;
      /** Until the first lease that it renews ends; `null` where it renews none. */
      readonly leaseEndsMs: number | null;
      /** Q6: of such syncs, without this one. */
      readonly underWay: number;
    }
  | { readonly kind: 'bundle' | 'report' };

export type GateVerdict = {
  readonly state: GateState;
  readonly answer:
    | {
        readonly admitted: true;
        readonly as: 'in_contact' | 'urgent' | 'returning' | 'undisturbed';
      }
    | { readonly admitted: false; readonly retryAfterMs: number };
};

/** A host with so little left may not find the bucket full once more. */
export const URGENT_MS = 10_000;
export const WAIT_MS_MAX = 60_000;
/** Of the burst, what each leaves to those before it. */
const RESERVE = { renewal: 0, sync: 0.25, bundle: 0.25, report: 0.5 } as const;
/** Places are given a little slower than tokens come, so that whoever comes in its place finds one. */
const PLACES_PER_TOKEN = 0.9;
/** Further apart where control is slower than its rate. */
const BUSY_FACTOR = 4;
const SPREAD_MS = 5_000;
const LEAST_WAIT_MS = 1_000;
const AT_ONCE_MAX = 32;

/** A burst that no small fleet ever meets. */
export function gateTerms(ratePerSecond: number): GateTerms {
  const burst = Math.max(16, Math.ceil(ratePerSecond / 2));
  return { ratePerSecond, burst, atOnceMax: AT_ONCE_MAX };
}

export function gateAtStart(terms: GateTerms, bootMs: number): GateState {
  return { tokens: terms.burst, atBootMs: bootMs, promisedBootMs: bootMs };
}

/** `unitRandom` is in [0, 1). */
export function judgeCaller(
  state: GateState,
  terms: GateTerms,
  caller: GateCaller,
  at: { readonly bootMs: number; readonly unitRandom: number },
): GateVerdict {
  const filled = refill(state, terms, at.bootMs);
  if (caller.kind !== 'sync') {
    const isQuiet = filled.tokens > terms.burst * RESERVE[caller.kind];
    return isQuiet ? letIn(filled, 'undisturbed') : sendAway(filled, queueWaitMs(filled, at));
  }
  if (caller.isInContact) return letIn(filled, 'in_contact');
  const { leaseEndsMs, underWay } = caller;
  if (leaseEndsMs !== null && leaseEndsMs <= URGENT_MS) return letIn(pay(filled, terms), 'urgent');
  const reserve = terms.burst * (leaseEndsMs === null ? RESERVE.sync : RESERVE.renewal);
  const isServed = underWay < terms.atOnceMax;
  if (isServed && filled.tokens >= 1 && filled.tokens > reserve)
    return letIn(pay(filled, terms), 'returning');
  const apartMs = (1_000 / (terms.ratePerSecond * PLACES_PER_TOKEN)) * (isServed ? 1 : BUSY_FACTOR);
  return givePlace(filled, { apartMs, leaseEndsMs }, at);
}

function refill(state: GateState, { ratePerSecond, burst }: GateTerms, bootMs: number): GateState {
  const gained = (Math.max(0, bootMs - state.atBootMs) * ratePerSecond) / 1_000;
  return { ...state, tokens: Math.min(burst, state.tokens + gained), atBootMs: bootMs };
}

/** Q2: the debt is bounded, or those who come after would wait for ever. */
function pay(state: GateState, { burst }: GateTerms): GateState {
  return { ...state, tokens: Math.max(-burst, state.tokens - 1) };
}

/** Q4, Q2. */
function givePlace(
  state: GateState,
  { apartMs, leaseEndsMs }: { readonly apartMs: number; readonly leaseEndsMs: number | null },
  at: { readonly bootMs: number; readonly unitRandom: number },
): GateVerdict {
  const placeBootMs = Math.max(at.bootMs, state.promisedBootMs) + apartMs;
  const waitMs = placeBootMs - at.bootMs;
  if (leaseEndsMs !== null && waitMs > leaseEndsMs / 2)
    return sendAway(state, (leaseEndsMs / 4) * (1 + at.unitRandom));
  // All places of a minute are given: somewhere in its second half there will be others.
  if (waitMs > WAIT_MS_MAX) return sendAway(state, (WAIT_MS_MAX / 2) * (1 + at.unitRandom));
  return sendAway({ ...state, promisedBootMs: placeBootMs }, waitMs);
}

/** After the last who was given a place. */
function queueWaitMs(
  state: GateState,
  at: { readonly bootMs: number; readonly unitRandom: number },
): number {
  const queueMs = Math.max(0, state.promisedBootMs - at.bootMs);
  return Math.min(WAIT_MS_MAX, queueMs + LEAST_WAIT_MS) + SPREAD_MS * at.unitRandom;
}

function letIn(
  state: GateState,
  as: (GateVerdict['answer'] & { admitted: true })['as'],
): GateVerdict {
  return { state, answer: { admitted: true, as } };
}

function sendAway(state: GateState, waitMs: number): GateVerdict {
  return { state, answer: { admitted: false, retryAfterMs: Math.max(1, Math.ceil(waitMs)) } };
}
