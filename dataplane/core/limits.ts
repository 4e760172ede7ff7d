/**
 * How much is admitted: pure arithmetic. Reasons in order of precedence, what takes longest to come
 * back first: `allotment_absent`, `quota_exhausted`, `concurrency_limited`, `rate_limited`.
 *
 * L1  Nothing is spent unless everything has room: a verdict is for all limits of a rule together.
 * L2  A bucket that nobody has seen was empty when the process started. So a loop of restarts gains
 *     nothing, and a full bucket may be forgotten: it is then made anew as full as it was.
 * L3  A bucket whose terms change keeps its tokens, up to the new burst; what came before came at
 *     the old rate.
 * L4  A part of a fleet's budget that has ended, or was never given, admits nothing.
 */
import type { LimitTerms } from '../../shared/core/policy.ts';
import { burstOf } from '../../shared/core/rate.ts';
import { windowAt, type QuotaWindow } from '../../shared/core/quota-window.ts';
import { SECOND_MS, formatDurationMs, type Instant } from '../../shared/core/time.ts';
import type { LimitKind } from '../../shared/core/limit-kinds.ts';
import type { LimitState } from '../../shared/wire/limits.ts';
import type { DecisionInput } from '../../shared/wire/policy-document.ts';

export type RateBudget = {
  readonly count: number;
  readonly windowMs: number;
  readonly burst: number;
};

/** What this host may use now: of a host's limit all of it, of a fleet's the part that it holds. */
export type LimitBudget = {
  readonly rate: RateBudget | null;
  readonly concurrency: number | null;
  /** `window`: the one in which control gave it; `null` where this host counts its own. */
  readonly quota: {
    readonly count: number;
    readonly windowMs: number;
    readonly window: Pick<QuotaWindow, 'number' | 'ends'> | null;
  } | null;
  /** L4. */
  readonly absent: readonly { readonly kind: LimitKind; readonly why: string }[];
  /** When the parts end for this host; `null` for a host's own limit. */
  readonly endsBootMs: Readonly<Record<LimitKind, number | null>>;
};

export type Bucket = { readonly tokens: number; readonly atBootMs: number };

/** What was used of the budget of one rule and key. */
export type LimitUse = {
  /** `null`: never seen, or forgotten. */
  readonly bucket: Bucket | null;
  readonly window: QuotaWindow | null;
  /** Accepted operations that have not ended. */
  readonly inUse: number;
  /** L2: since when an unseen bucket has filled. */
  readonly sinceBootMs: number;
};

export type LimitCode =
  | 'allotment_absent'
  | 'quota_exhausted'
  | 'concurrency_limited'
  | 'rate_limited';

export type LimitVerdict =
  | { readonly ok: true; readonly bucket: Bucket | null; readonly window: QuotaWindow | null }
  | {
      readonly ok: false;
      readonly code: LimitCode;
      readonly kind: LimitKind;
      readonly retryAfterMs: number;
      readonly detail: string;
      /** As it is now, dated by the clocks of this boot (W3): to be kept. */
      readonly window: QuotaWindow | null;
    };

/** Whose budget: what the limit is counted by. */
export type LimitSubject = {
  readonly rule: string;
  readonly terms: LimitTerms;
  readonly key: string;
};

/** Rounding of a binary fraction must not make a whole token wait. */
const TOKEN = 1 - 1e-9;
/** When an operation ends is not known; a share is asked for with the next sync. */
const ASK_AGAIN_MS = SECOND_MS;

export function limitSubject(
  rule: string,
  terms: LimitTerms,
  input: Pick<DecisionInput, 'principal' | 'action'> & {
    readonly resource?: { readonly id: string } | undefined;
  },
): LimitSubject {
  const { per } = terms;
  const key = per === 'rule' ? '' : per === 'resource' ? (input.resource?.id ?? '') : input[per];
  return { rule, terms, key };
}

/** What a rule says, as a budget that this host has to itself. */
export function hostBudget(terms: LimitTerms): LimitBudget {
  const { rate, quota, concurrency } = terms;
  return {
    rate: rate === null ? null : { ...rate, burst: burstOf(terms) },
    concurrency,
    quota: quota === null ? null : { ...quota, window: null },
    absent: [],
    endsBootMs: { rate: null, concurrency: null, quota: null },
  };
}

/** L4. */
export function absentBudget(terms: LimitTerms, why: string): LimitBudget {
  const absent = (['quota', 'concurrency', 'rate'] as const)
    .filter((kind) => terms[kind] !== null)
    .map((kind) => ({ kind, why }));
  return { ...hostBudget(terms), rate: null, concurrency: null, quota: null, absent };
}

/** L2, L3: `terms` are those under which it has filled since it was looked at last. */
export function bucketAt(
  bucket: Bucket | null,
  { count, windowMs, burst }: RateBudget,
  at: { readonly bootMs: number; readonly sinceBootMs: number },
): Bucket {
  const from = bucket ?? { tokens: 0, atBootMs: at.sinceBootMs };
  const gained = (Math.max(0, at.bootMs - from.atBootMs) * count) / windowMs;
  return { tokens: Math.min(burst, from.tokens + gained), atBootMs: at.bootMs };
}

/** The window in which an operation would be counted now. */
export function quotaWindowAt(
  quota: NonNullable<LimitBudget['quota']>,
  last: QuotaWindow | null,
  now: Instant,
): QuotaWindow {
  const { window, windowMs } = quota;
  if (window === null) return windowAt(last, windowMs, now);
  const used = last?.number === window.number ? last.used : 0;
  return { ...window, lengthMs: windowMs, used };
}

/** L1. Spends nothing by itself: what it gives back is the use after this operation. */
export function judgeLimits(
  subject: LimitSubject,
  budget: LimitBudget,
  use: LimitUse,
  now: Instant,
): LimitVerdict {
  const [absent] = budget.absent;
  if (absent !== undefined) {
    const { kind, why } = absent;
    const detail = `this host holds no part of the ${kind} that ${named(subject)} has for the fleet: ${why}`;
    const retryAfterMs = ASK_AGAIN_MS;
    return { ok: false, code: 'allotment_absent', kind, retryAfterMs, detail, window: use.window };
  }
  const { quota, concurrency, rate } = budget;
  const window = quota === null ? use.window : quotaWindowAt(quota, use.window, now);
  if (quota !== null && window !== null && window.used >= quota.count) {
    const retryAfterMs = Math.max(1, window.ends.bootMs - now.bootMs);
    const detail = `${named(subject)} allows ${quota.count} in ${formatDurationMs(quota.windowMs)}${ofFleet(subject)}, and they are used: the next window begins in ${formatDurationMs(retryAfterMs)}`;
    return { ok: false, code: 'quota_exhausted', kind: 'quota', retryAfterMs, detail, window };
  }
  if (concurrency !== null && use.inUse >= concurrency) {
    const [operations, have] =
      concurrency === 1 ? ['1 operation', 'has'] : [`${concurrency} operations`, 'have'];
    const detail = `${named(subject)} allows ${operations} that ${have} not ended${ofFleet(subject)}, and there are ${use.inUse}: ask again when one has ended`;
    const limited = { code: 'concurrency_limited', kind: 'concurrency' } as const;
    return { ok: false, ...limited, retryAfterMs: ASK_AGAIN_MS, detail, window };
  }
  if (rate === null) return { ok: true, bucket: use.bucket, window: spent(window, quota) };
  const bucket = bucketAt(use.bucket, rate, { bootMs: now.bootMs, sinceBootMs: use.sinceBootMs });
  if (bucket.tokens < TOKEN) {
    const retryAfterMs = Math.max(1, Math.ceil(((1 - bucket.tokens) * rate.windowMs) / rate.count));
    const detail = `${named(subject)} allows ${rate.count} in ${formatDurationMs(rate.windowMs)}${ofFleet(subject)}: there is room for the next in ${formatDurationMs(retryAfterMs)}`;
    return { ok: false, code: 'rate_limited', kind: 'rate', retryAfterMs, detail, window };
  }
  const tokens = Math.max(0, bucket.tokens - 1);
  return { ok: true, bucket: { ...bucket, tokens }, window: spent(window, quota) };
}

function spent(window: QuotaWindow | null, quota: LimitBudget['quota']): QuotaWindow | null {
  return window === null || quota === null ? window : { ...window, used: window.used + 1 };
}

/** Whether to forget it changes nothing (L2): the bucket is full and the window over. */
export function isIdle(budget: LimitBudget, use: LimitUse, now: Instant): boolean {
  if (use.window !== null && now.bootMs < use.window.ends.bootMs + use.window.lengthMs)
    return false;
  if (use.bucket === null || budget.rate === null) return true;
  const at = { bootMs: now.bootMs, sinceBootMs: use.sinceBootMs };
  return bucketAt(use.bucket, budget.rate, at).tokens >= budget.rate.burst;
}

/** A read-only look, for views, decisions and explanations: it spends nothing. */
export function limitsState(
  subject: LimitSubject,
  budget: LimitBudget,
  use: LimitUse,
  now: Instant,
): LimitState[] {
  const { terms } = subject;
  const states: LimitState[] = [];
  const add = (
    kind: LimitKind,
    fact: Pick<LimitState, 'limit' | 'used' | 'resetsMs' | 'windowMs' | 'budget'>,
  ): void => {
    const { rule, key } = subject;
    const endsBootMs = budget.endsBootMs[kind];
    states.push({
      rule,
      kind,
      per: terms.per,
      key,
      scope: terms.scope,
      ...fact,
      remaining: Math.max(0, fact.limit - fact.used),
      shareEndsMs: endsBootMs === null ? null : Math.max(0, endsBootMs - now.bootMs),
    });
  };
  if (terms.quota !== null) {
    const { count: total, windowMs } = terms.quota;
    const { quota } = budget;
    const window = quota === null ? null : quotaWindowAt(quota, use.window, now);
    add('quota', {
      limit: quota?.count ?? 0,
      used: window?.used ?? 0,
      resetsMs: window === null ? null : Math.max(0, Math.ceil(window.ends.bootMs - now.bootMs)),
      windowMs,
      budget: total,
    });
  }
  if (terms.concurrency !== null) {
    const limit = budget.concurrency ?? 0;
    const fact = { limit, used: use.inUse, resetsMs: null, windowMs: null };
    add('concurrency', { ...fact, budget: terms.concurrency });
  }
  if (terms.rate !== null) add('rate', rateState(terms, budget.rate, use, now));
  return states;
}

function rateState(
  terms: LimitTerms,
  rate: RateBudget | null,
  use: LimitUse,
  now: Instant,
): Pick<LimitState, 'limit' | 'used' | 'resetsMs' | 'windowMs' | 'budget'> {
  const { windowMs } = terms.rate ?? { windowMs: 0 };
  const budget = burstOf(terms);
  if (rate === null) return { limit: 0, used: 0, resetsMs: null, windowMs, budget };
  const at = { bootMs: now.bootMs, sinceBootMs: use.sinceBootMs };
  const { tokens } = bucketAt(use.bucket, rate, at);
  const limit = Math.floor(rate.burst);
  const missing = rate.burst - tokens;
  const resetsMs = Math.ceil((missing * rate.windowMs) / rate.count);
  const used = limit - Math.min(limit, Math.floor(tokens + 1e-9));
  return { limit, used, resetsMs, windowMs, budget };
}

function named({ rule, terms: { per }, key }: LimitSubject): string {
  return per === 'rule' ? `rule ${rule}` : `rule ${rule}, for ${per} ${key || '(none)'},`;
}

function ofFleet({ terms: { scope } }: LimitSubject): string {
  return scope === 'fleet' ? ' as its part of the fleet’s budget' : '';
}
