/**
 * One budget of the fleet, divided among hosts so that it is never overspent (I3), whatever is lost,
 * delayed, restarted or put back. Pure.
 *
 * A1  What a host may hold counts as given until it says, as of the newest answer, that it holds
 *     less: an answer may be on its way, or have been lost, and an old request may come late. What
 *     it says of another window says nothing of this one.
 * A2  A part ends here later than at its host: from when it was answered, by the drift and the
 *     margin (`shared/core/lease.ts`). One that an earlier run gave lasts a whole term of this one.
 * A3  Operations may outlast the part under which they were admitted. So a part of a concurrency
 *     goes on to count for the longest of their deadlines after its end, and a host that is heard
 *     counts with at least what it has under way.
 * A4  A unit of a quota counts as spent in its window, unless its host gives it back within it.
 * A5  Nothing more is given while there may be parts that this store does not know: after a start
 *     until every host has spoken as of an answer of this run, or a term is over; after a rollback
 *     for a term; of a quota, until a window begins. What a host says that it holds is then
 *     believed, and renewed.
 * A6  A host that wants more gets half of what is left. Where another starves, one that needs less
 *     than it holds gives back the rest, and one that needs more keeps a fair part at the most.
 */
import { grantorEndMs } from '../../shared/core/lease.ts';
import { windowAt, type QuotaWindow } from '../../shared/core/quota-window.ts';
import { DURATION_MS_MAX, SECOND_MS, type Instant } from '../../shared/core/time.ts';
import type { AllotmentAsk, AllotmentGrant } from '../../shared/wire/allotments.ts';
import type { LimitKind } from '../../shared/core/limit-kinds.ts';

/** As the policy in force has it. */
export type Budget = {
  readonly rule: string;
  readonly per: AllotmentAsk['per'];
  readonly key: string;
  readonly kind: LimitKind;
  readonly units: number;
  /** Of a rate. */
  readonly burst: number;
  readonly windowMs: number;
  readonly ttlMs: number;
  readonly deadlineMs: number;
};

export type Part = {
  readonly hostId: string;
  readonly hostEpoch: number;
  /** A1. */
  readonly units: number;
  readonly inUse: number;
  readonly wants: number;
  /** Of a quota. */
  readonly window: number | null;
  /** A2; `endsBootMs` is of `run`. */
  readonly run: number;
  readonly endsBootMs: number;
  readonly termMs: number;
  /** A3. */
  readonly tailMs: number;
  /** The nonce of the request that was answered last. */
  readonly answered: string;
  readonly heardBootMs: number;
  readonly heardAtMs: number;
};

export type BudgetState = { readonly window: QuotaWindow | null; readonly parts: readonly Part[] };

export type Grantor = {
  readonly now: Instant;
  readonly run: number;
  readonly startedBootMs: number;
  /** A5: since when parts may be unknown; `null` where none can be. */
  readonly heldSinceMs: number | null;
  readonly drift: number;
};

export type Asking = {
  readonly hostId: string;
  readonly hostEpoch: number;
  readonly nonce: string;
  readonly applied: string | null;
  readonly ask: AllotmentAsk;
};

/** A host that has not been heard for so long starves no longer: nobody gives anything up for it. */
const STARVES_MS = 30 * SECOND_MS;

/**
 * No rule allows a longer deadline; a host may say so all the same, and must not move what is stored beyond
 * what can be read back.
 */
export function plausibleAsk(ask: AllotmentAsk): AllotmentAsk {
  return { ...ask, deadlineMs: Math.min(ask.deadlineMs, DURATION_MS_MAX) };
}

export function decideAllotment(
  budget: Budget,
  state: BudgetState,
  asking: Asking,
  grantor: Grantor,
): { readonly state: BudgetState; readonly grant: AllotmentGrant } {
  const { ask } = asking;
  const { now } = grantor;
  const window = budget.kind === 'quota' ? windowAt(state.window, budget.windowMs, now) : null;
  const isHers = (part: Part): boolean =>
    part.hostId === asking.hostId && part.hostEpoch === asking.hostEpoch;
  const before = state.parts.find(isHers);
  const others = state.parts.filter(
    (part) => !isHers(part) && (reserved(part, window, grantor) > 0 || isHeard(part, grantor)),
  );
  const isCurrent = budget.kind !== 'quota' || ask.window === window?.number;
  const inUse = isCurrent ? ask.inUse : 0;
  const held = isCurrent ? ask.units : 0;
  // A1.
  const isNewest = before !== undefined && isCurrent && asking.applied === before.answered;
  const known = before === undefined || isNewest ? 0 : reserved(before, window, grantor);
  const floor = Math.max(held, known, budget.kind === 'rate' ? 0 : inUse);
  const free =
    budget.units - floor - others.reduce((sum, part) => sum + reserved(part, window, grantor), 0);
  const wants = Math.min(ask.wants, budget.units);
  const mayGive = mayGrant(budget, window, others, grantor);
  const hungry = others
    .filter((part) => isHeard(part, grantor))
    .map((part) => Math.max(0, part.wants - reserved(part, window, grantor)))
    .filter((lack) => lack > 0);
  const units = divide(
    budget,
    { held, inUse, wants },
    {
      free: mayGive ? free : Math.min(0, free),
      starving: mayGive ? hungry.length : 0,
      lack: hungry.reduce((sum, lack) => sum + lack, 0),
    },
  );
  const ttlMs =
    window === null ? budget.ttlMs : Math.max(0, Math.floor(window.ends.bootMs - now.bootMs));
  const deadlineMsMax = Math.max(budget.deadlineMs, ask.deadlineMs);
  const termMs = grantorEndMs(0, ttlMs, grantor.drift);
  const isLive = before !== undefined && reserved(before, window, grantor) > 0;
  const part: Part = {
    hostId: asking.hostId,
    hostEpoch: asking.hostEpoch,
    units: Math.max(floor, units),
    inUse,
    wants,
    window: window?.number ?? null,
    run: grantor.run,
    endsBootMs: now.bootMs + termMs,
    termMs,
    // What began under a longer one may still go on.
    tailMs: Math.max(tailOf(budget, ask.deadlineMs, grantor), isLive ? before.tailMs : 0),
    answered: asking.nonce,
    heardBootMs: now.bootMs,
    heardAtMs: now.wallMs,
  };
  const { rule, per, key, kind, windowMs } = budget;
  const burst = kind === 'rate' ? burstShare(budget, units) : 0;
  const lasts = { ttlMs, window: part.window, deadlineMsMax };
  const grant = { rule, per, key, kind, units, burst, windowMs, ...lasts };
  return { state: { window, parts: [...others, part] }, grant };
}

/** A3. */
function tailOf({ kind, deadlineMs }: Budget, alsoMs: number, { drift }: Grantor): number {
  return kind === 'concurrency' ? grantorEndMs(0, Math.max(deadlineMs, alsoMs), drift) : 0;
}

/** How much of the budget counts as given to this host. */
export function reserved(part: Part, window: QuotaWindow | null, grantor: Grantor): number {
  // A4.
  if (window !== null) return part.window === window.number ? part.units : 0;
  return grantor.now.bootMs < freeAtMs(part, grantor) ? part.units : 0;
}

/** A2, A3: when what the host holds can be given to another, if it is not heard again. */
export function freeAtMs(part: Part, grantor: Grantor): number {
  return partEndMs(part, grantor) + part.tailMs;
}

/** A2. */
export function partEndMs(part: Part, { run, startedBootMs }: Grantor): number {
  return part.run === run ? part.endsBootMs : startedBootMs + part.termMs;
}

function isHeard({ run, heardBootMs }: Part, grantor: Grantor): boolean {
  return run === grantor.run && grantor.now.bootMs - heardBootMs < STARVES_MS;
}

/** A5. */
function mayGrant(
  budget: Budget,
  window: QuotaWindow | null,
  others: readonly Part[],
  grantor: Grantor,
): boolean {
  const { heldSinceMs, now, drift } = grantor;
  if (heldSinceMs === null) return true;
  if (window !== null) return window.ends.bootMs - window.lengthMs >= heldSinceMs;
  const terms = others.map((part) => part.termMs + part.tailMs);
  const newTermMs = grantorEndMs(0, budget.ttlMs, drift) + tailOf(budget, 0, grantor);
  return now.bootMs >= heldSinceMs + Math.max(newTermMs, ...terms);
}

/** A6: what the host is to hold from now on. */
function divide(
  budget: Budget,
  { held, inUse, wants }: { held: number; inUse: number; wants: number },
  { free, starving, lack }: { free: number; starving: number; lack: number },
): number {
  const { kind } = budget;
  const least = smallestPart(budget);
  const room = Math.max(0, free);
  const isPressed = starving > 0 && room < lack;
  const fair = Math.max(least, Math.floor(budget.units / (starving + 1)));
  // The policy may have become smaller than what was given. What is under way, or spent, counts as
  // given anyway.
  let keeps = free < 0 ? Math.max(0, held + free) : Math.max(held, kind === 'rate' ? 0 : inUse);
  if (isPressed) keeps = Math.min(keeps, Math.min(fair, wants > 0 ? Math.max(least, wants) : 0));
  const most = isPressed ? Math.min(wants, fair) : wants;
  const half = Math.max(least, Math.ceil(room / 2));
  const units = keeps + Math.min(Math.max(0, most - keeps), room, half);
  return units < least ? 0 : units;
}

/** A part of a rate with a burst below one could never admit anything. */
function smallestPart({ kind, units, burst }: Budget): number {
  return kind === 'rate' ? Math.max(1, Math.ceil(units / burst)) : 1;
}

/** Rounded down, so that all of them together are never more than the burst of the rule. */
export function burstShare({ units: all, burst }: Budget, units: number): number {
  return Math.floor((burst * units) / all);
}
