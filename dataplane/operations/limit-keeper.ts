/**
 * What has been used of every limit on this host: the shell around `core/limits.ts`.
 *
 * K1  Room is taken before an admission goes to the journal and given back where the journal records
 *     none: declined, or a key that was known (I2). All of it is synchronous, so that requests at
 *     the same time cannot take the same room.
 * K2  Every accepted operation is counted under its rule, principal, action and resource until it
 *     has ended, whatever the policy said when it was admitted: a rule that gets a limit, or another
 *     `per`, counts what is under way. `unknown` is an end here as everywhere (I8): nobody works on
 *     it, and ten lost workers must not hold up a rule until a person comes.
 * K3  Memory is bounded by keys. What is forgotten is idle, so nothing is lifted by forgetting it;
 *     where nothing is idle a key that is new is refused.
 */
import { assert } from '../../shared/core/assert.ts';
import type { LimitTerms } from '../../shared/core/policy.ts';
import type { QuotaWindow } from '../../shared/core/quota-window.ts';
import { MINUTE_MS, SECOND_MS, formatDurationMs, type Instant } from '../../shared/core/time.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import { LIMITS_SHOWN_MAX, type LimitState, type Limits } from '../../shared/wire/limits.ts';
import type { DecisionInput } from '../../shared/wire/policy-document.ts';
import {
  bucketAt,
  hostBudget,
  isIdle,
  judgeLimits,
  limitSubject,
  limitsState,
  type Bucket,
  type LimitBudget,
  type LimitCode,
  type LimitSubject,
  type LimitUse,
} from '../core/limits.ts';
import type { QuotaNote, UnendedOperation } from '../core/quota-note.ts';

export const KEYS_PER_RULE_MAX = 10_000;
const KEYS_MAX = 100_000;
/** So many of the keys that were used longest ago are looked at for one that is idle. */
const IDLE_LOOKS_MAX = 16;

type Input = Pick<DecisionInput, 'principal' | 'action'> & {
  readonly resource?: { readonly id: string } | undefined;
};
type Entry = {
  readonly subject: LimitSubject;
  budget: LimitBudget;
  bucket: Bucket | null;
  window: QuotaWindow | null;
};

/** For each `per`, by its key. */
type UseCounts = Readonly<Record<LimitTerms['per'], Map<string, number>>>;

type Look = {
  readonly subject: LimitSubject;
  readonly budget: LimitBudget;
  readonly use: LimitUse;
  readonly entry: Entry | null;
};

export type LimitRefusal = {
  readonly code: LimitCode;
  readonly detail: string;
  readonly retryAfterMs: number;
  readonly state: LimitState;
};
/** Room that was taken for one operation. */
export type Reservation = {
  readonly rule: string;
  readonly input: Input;
  readonly entry: Entry | null;
  readonly hasToken: boolean;
  /** Goes into the journal together with the admission. */
  readonly quota: QuotaNote | null;
};
export type Taken =
  | { readonly ok: true; readonly reservation: Reservation }
  | { readonly ok: false; readonly refusal: LimitRefusal };

/** What control has granted of budgets of the whole fleet. */
export type FleetBudgets = {
  /** What this host may use now of the subject, and since when. */
  budget(subject: LimitSubject, now: Instant): { budget: LimitBudget; sinceBootMs: number };
  /** Something was asked for, and admitted or refused. */
  note(subject: LimitSubject, admitted: boolean, now: Instant): void;
};

export class LimitKeeper {
  readonly #clock: Clock;
  readonly #startedBootMs: number;
  readonly #fleet: FleetBudgets;
  /** Rule, then `keyOf`; what was used longest ago comes first. */
  readonly #rules = new Map<string, Map<string, Entry>>();
  #keys = 0;
  /** By rule: K2. */
  readonly #inUse = new Map<string, UseCounts>();

  constructor(parts: {
    clock: Clock;
    fleet: FleetBudgets;
    quotas: readonly QuotaNote[];
    unended: Iterable<UnendedOperation>;
  }) {
    this.#clock = parts.clock;
    this.#fleet = parts.fleet;
    this.#startedBootMs = parts.clock.now().bootMs;
    for (const { rule, principal, action, resourceId } of parts.unended)
      this.#count(rule, { principal, action, resource: { id: resourceId } }, 1);
    for (const { rule, per, key, scope, window } of parts.quotas) {
      const terms = { ...NO_LIMITS, per, scope };
      const subject = { rule, terms, key };
      this.#keep({ subject, budget: hostBudget(terms), bucket: null, window });
    }
  }

  /** K1. `limits` is `null` where the rule has none. */
  take(rule: string, limits: LimitTerms | null, input: Input, now: Instant): Taken {
    if (limits === null) {
      this.#count(rule, input, 1);
      const reservation = { rule, input, entry: null, hasToken: false, quota: null };
      return { ok: true, reservation };
    }
    const { subject, budget, use, entry } = this.#look(rule, limits, input, now);
    const verdict = judgeLimits(subject, budget, use, now);
    if (entry !== null) entry.window = verdict.window;
    if (limits.scope === 'fleet') this.#fleet.note(subject, verdict.ok, now);
    if (!verdict.ok) {
      const states = limitsState(subject, budget, use, now);
      return { ok: false, refusal: { ...verdict, state: stateOf(states, verdict.kind) } };
    }
    const { bucket, window } = verdict;
    const kept = entry ?? { subject, budget, bucket, window };
    if (entry === null && !this.#hasRoom(rule, now))
      return { ok: false, refusal: tooMany(subject, budget, use, now) };
    Object.assign(kept, { budget, bucket, window });
    this.#keep(kept);
    this.#count(rule, input, 1);
    const quota = budget.quota === null || window === null ? null : noteOf(subject, window);
    const hasToken = budget.rate !== null;
    return { ok: true, reservation: { rule, input, entry: kept, hasToken, quota } };
  }

  /** K1: nothing came of it. */
  giveBack({ rule, input, entry, hasToken, quota }: Reservation): void {
    this.#count(rule, input, -1);
    if (entry === null) return;
    const { bucket, window, budget } = entry;
    if (hasToken && bucket !== null && budget.rate !== null)
      entry.bucket = { ...bucket, tokens: Math.min(budget.rate.burst, bucket.tokens + 1) };
    if (quota !== null && window?.number === quota.window.number)
      entry.window = { ...window, used: Math.max(0, window.used - 1) };
  }

  /** An accepted operation has ended, in whatever way. */
  ended(operation: Input & { readonly rule: string }): void {
    this.#count(operation.rule, operation, -1);
  }

  /** What had ended as unknown is to be run again. */
  reopened(operation: Input & { readonly rule: string }): void {
    this.#count(operation.rule, operation, 1);
  }

  /** What an admission would meet now: it spends nothing. */
  preview(
    rule: string,
    limits: LimitTerms,
    input: Input,
  ): { states: LimitState[]; refusal: { code: LimitCode; detail: string } | null } {
    const now = this.#clock.now();
    const { subject, budget, use } = this.#look(rule, limits, input, now);
    const verdict = judgeLimits(subject, budget, use, now);
    return {
      states: limitsState(subject, budget, use, now),
      refusal: verdict.ok ? null : { code: verdict.code, detail: verdict.detail },
    };
  }

  /** Of the rules given, which are those of the policy in force. */
  limits(rules: readonly { readonly name: string; readonly limits: LimitTerms }[]): Limits {
    const now = this.#clock.now();
    const items = rules.flatMap(({ name, limits }) =>
      [...this.#keysOf(name, limits)].flatMap((key) => {
        const { subject, budget, use } = this.#lookAt({ rule: name, terms: limits, key }, now);
        return limitsState(subject, budget, use, now);
      }),
    );
    const shown = items.toSorted((a, b) => share(a) - share(b)).slice(0, LIMITS_SHOWN_MAX);
    return { items: shown, count: items.length, truncated: shown.length < items.length };
  }

  /** Accepted operations of a rule and key that have not ended. */
  inUse({ rule, terms: { per }, key }: LimitSubject): number {
    return this.#inUse.get(rule)?.[per].get(key) ?? 0;
  }

  /** Units of the window that were used, as far as anybody looked. */
  usedOf(subject: LimitSubject, windowNumber: number): number {
    const window = this.#rules.get(subject.rule)?.get(keyOf(subject))?.window ?? null;
    return window?.number === windowNumber ? window.used : 0;
  }

  #look(rule: string, limits: LimitTerms, input: Input, now: Instant): Look {
    return this.#lookAt(limitSubject(rule, limits, input), now);
  }

  #lookAt(subject: LimitSubject, now: Instant): Look {
    const entry = this.#rules.get(subject.rule)?.get(keyOf(subject)) ?? null;
    const { budget, sinceBootMs: givenBootMs } =
      subject.terms.scope === 'fleet'
        ? this.#fleet.budget(subject, now)
        : { budget: hostBudget(subject.terms), sinceBootMs: 0 };
    // A part may be older than this process, which does not know what the one before it has used.
    const sinceBootMs = Math.max(givenBootMs, this.#startedBootMs);
    const use = {
      bucket: entry === null ? null : currentBucket(entry, sinceBootMs, now),
      window: entry?.window ?? null,
      inUse: this.inUse(subject),
      sinceBootMs,
    };
    return { subject, budget, use, entry };
  }

  /** Keys of which anything is known. */
  #keysOf(rule: string, { per, scope }: LimitTerms): Set<string> {
    const keys = new Set<string>(per === 'rule' ? [''] : []);
    for (const { subject } of this.#rules.get(rule)?.values() ?? [])
      if (subject.terms.per === per && subject.terms.scope === scope) keys.add(subject.key);
    for (const key of this.#inUse.get(rule)?.[per].keys() ?? []) keys.add(key);
    return keys;
  }

  /** K3: for a key that is new. */
  #hasRoom(rule: string, now: Instant): boolean {
    const size = this.#rules.get(rule)?.size ?? 0;
    if (size >= KEYS_PER_RULE_MAX && !this.#forgetIdle(rule, now)) return false;
    if (this.#keys < KEYS_MAX) return true;
    return [...this.#rules.keys()].some((other) => this.#forgetIdle(other, now));
  }

  #keep(entry: Entry): void {
    const { rule } = entry.subject;
    let entries = this.#rules.get(rule);
    if (entries === undefined) {
      entries = new Map();
      this.#rules.set(rule, entries);
    }
    const key = keyOf(entry.subject);
    if (!entries.delete(key)) this.#keys += 1;
    entries.set(key, entry);
  }

  #forgetIdle(rule: string, now: Instant): boolean {
    const entries = this.#rules.get(rule);
    if (entries === undefined) return false;
    let looks = 0;
    let forgotten = false;
    for (const [key, entry] of entries) {
      if (looks === IDLE_LOOKS_MAX) break;
      looks += 1;
      if (!isIdle(entry.budget, useOf(entry), now)) continue;
      entries.delete(key);
      this.#keys -= 1;
      forgotten = true;
    }
    if (entries.size === 0) this.#rules.delete(rule);
    return forgotten;
  }

  /** K2. */
  #count(rule: string, { principal, action, resource }: Input, change: 1 | -1): void {
    let counts = this.#inUse.get(rule);
    if (counts === undefined) {
      counts = { rule: new Map(), principal: new Map(), action: new Map(), resource: new Map() };
      this.#inUse.set(rule, counts);
    }
    changeCount(counts.rule, '', change);
    changeCount(counts.principal, principal, change);
    changeCount(counts.action, action, change);
    changeCount(counts.resource, resource?.id ?? '', change);
    if (counts.rule.size === 0) this.#inUse.delete(rule);
  }
}

function changeCount(counts: Map<string, number>, key: string, change: 1 | -1): void {
  const next = (counts.get(key) ?? 0) + change;
  if (next > 0) counts.set(key, next);
  else counts.delete(key);
}

const NO_LIMITS: LimitTerms = {
  rate: null,
  burst: null,
  concurrency: null,
  quota: null,
  per: 'rule',
  scope: 'host',
};

function keyOf({ terms: { per, scope }, key }: LimitSubject): string {
  return `${scope} ${per}:${key}`;
}

function noteOf(
  { rule, terms: { per, scope }, key }: LimitSubject,
  window: QuotaWindow,
): QuotaNote {
  return { rule, per, key, scope, window };
}

/** What a part of the fleet's budget had gathered before it was given is not its own. */
function currentBucket(
  { bucket, budget, subject }: Entry,
  sinceBootMs: number,
  now: Instant,
): Bucket | null {
  if (bucket === null || bucket.atBootMs < sinceBootMs) return null;
  // A part that became smaller counts as smaller since it was looked at last.
  if (subject.terms.scope === 'fleet') return bucket;
  // Up to now it has filled at the rate that it had.
  if (budget.rate === null) return bucket;
  return bucketAt(bucket, budget.rate, { bootMs: now.bootMs, sinceBootMs });
}

function useOf({ bucket, window }: Entry): LimitUse {
  return { bucket, window, inUse: 0, sinceBootMs: 0 };
}

function stateOf(states: readonly LimitState[], kind: LimitState['kind']): LimitState {
  const state = states.find((one) => one.kind === kind);
  assert(state !== undefined, `the limits have a ${kind}`);
  return state;
}

/** How much of it is left. */
function share({ limit, remaining }: LimitState): number {
  return limit === 0 ? 0 : remaining / limit;
}

/** K3. */
function tooMany(
  subject: LimitSubject,
  budget: LimitBudget,
  use: LimitUse,
  now: Instant,
): LimitRefusal {
  const states = limitsState(subject, budget, use, now);
  const state = states.find(({ kind }) => kind !== 'concurrency') ?? states[0];
  assert(state !== undefined, 'a rule with limits has at least one');
  const code = state.kind === 'quota' ? 'quota_exhausted' : 'rate_limited';
  const retryAfterMs = Math.max(SECOND_MS, Math.min(state.windowMs ?? 0, MINUTE_MS));
  const { rule, terms, key } = subject;
  const detail =
    `rule ${rule} limits each ${terms.per}, and this host counts as many as it can ` +
    `(${KEYS_PER_RULE_MAX} of a rule, ${KEYS_MAX} in all): ${key} has to wait until another has ` +
    `been quiet, ask again in ${formatDurationMs(retryAfterMs)}`;
  return { code, detail, retryAfterMs, state };
}
