/**
 * The parts of fleet budgets that this host holds, and what it asks for. Pure: `now` is handed in.
 *
 * B1  A part ends here at `sent + ttl × (1 − drift) − margin`, before control counts it as over; in
 *     another boot all of them have ended.
 * B2  Only the answer to the newest request counts, and what it says replaces what was held. The
 *     host never gives up by itself: it holds less when control says so, and says so to control
 *     with its next request.
 * B3  A rate that grows begins with an empty bucket: what it had gathered elsewhere stays there.
 * B5  Where parts end before their time, the host speaks as of no answer: what it used of them is
 *     then not given back by saying nothing of it.
 * B4  What is wanted falls by half with each quiet request, so that a pause gives nothing up at
 *     once.
 */
import { holderEndMs } from '../../shared/core/lease.ts';
import { LIMIT_KINDS, SYNC_ALLOTMENTS_MAX, type LimitKind } from '../../shared/core/limit-kinds.ts';
import type { Instant } from '../../shared/core/time.ts';
import type {
  AllotmentAsk,
  AllotmentGrant,
  AllotmentRequest,
} from '../../shared/wire/allotments.ts';
import type { LimitSubject } from './limits.ts';

export type Share = Omit<AllotmentGrant, 'ttlMs'> & {
  readonly bootId: string;
  readonly endsBootMs: number;
  /** B3. */
  readonly sinceBootMs: number;
};

type Demand = {
  readonly subject: LimitSubject;
  readonly kind: LimitKind;
  /** Since the last request. */
  asked: number;
  refused: number;
  /** Of the last request: what it wanted above what was in use. */
  wanted: number;
  sinceBootMs: number;
  /** Control knows that more is wanted than it gives. */
  isTold: boolean;
};

/** What was used, for control to know. */
export type UsageOf = {
  inUse(subject: LimitSubject): number;
  usedOf(subject: LimitSubject, windowNumber: number): number;
  deadlineMs(rule: string): number;
};

/** A little more than was needed, so that not every request comes too late. */
const HEADROOM = 1.25;

export class AllotmentBook {
  readonly #shares = new Map<string, Share>();
  #demands = new Map<string, Demand>();
  #applied: string | null = null;

  /** What was kept on disk. */
  load(
    kept: { readonly applied: string | null; readonly shares: readonly Share[] },
    now: Instant,
  ): void {
    // B5.
    if (kept.shares.some(({ bootId }) => bootId !== now.bootId)) return;
    this.#applied = kept.applied;
    for (const share of kept.shares) {
      this.#shares.set(idOf(share), share);
      this.#demands.set(idOf(share), {
        subject: subjectOf(share),
        kind: share.kind,
        asked: 0,
        refused: 0,
        wanted: share.units,
        sinceBootMs: share.sinceBootMs,
        isTold: false,
      });
    }
  }

  /** A copy, to be changed and stored before it is used. Demands are shared: they only count. */
  continueFrom(other: AllotmentBook): void {
    this.#applied = other.#applied;
    for (const [id, share] of other.#shares) this.#shares.set(id, share);
    this.#demands = other.#demands;
  }

  kept(): { applied: string | null; shares: Share[] } {
    return { applied: this.#applied, shares: [...this.#shares.values()] };
  }

  /** B1; `null` where none is held, `units` 0 where control has none to give. */
  share(subject: LimitSubject, kind: LimitKind, now: Instant): Share | null {
    const share = this.#shares.get(idOf(budgetOf(subject, kind))) ?? null;
    if (share === null || share.bootId !== now.bootId) return null;
    return now.bootMs < share.endsBootMs ? share : null;
  }

  keysOf(rule: string, per: string): string[] {
    const shares = [...this.#shares.values()];
    return shares.filter((share) => share.rule === rule && share.per === per).map(({ key }) => key);
  }

  /** `true` where control should be asked soon: it does not know of it yet. */
  note(subject: LimitSubject, admitted: boolean, now: Instant): boolean {
    let isNews = false;
    for (const kind of LIMIT_KINDS) {
      if (subject.terms[kind] === null) continue;
      const id = idOf(budgetOf(subject, kind));
      const demand = this.#demands.get(id) ?? {
        subject,
        kind,
        asked: 0,
        refused: 0,
        wanted: 0,
        sinceBootMs: now.bootMs,
        isTold: false,
      };
      if (!this.#demands.has(id) && this.#demands.size >= SYNC_ALLOTMENTS_MAX) continue;
      this.#demands.set(id, demand);
      demand.asked += 1;
      if (admitted) continue;
      demand.refused += 1;
      if (!demand.isTold) isNews = true;
      demand.isTold = true;
    }
    return isNews;
  }

  /** B5: authority is withdrawn, or the clocks cannot be trusted. */
  endAll(): boolean {
    const isAny = this.#shares.size > 0;
    this.#shares.clear();
    this.#applied = null;
    return isAny;
  }

  request(usage: UsageOf, now: Instant): AllotmentRequest {
    const items: AllotmentAsk[] = [];
    for (const [id, demand] of this.#demands) {
      const ask = this.#ask(demand, usage, now);
      items.push(ask);
      demand.wanted = Math.max(0, ask.wants - ask.inUse);
      demand.asked = 0;
      demand.refused = 0;
      demand.sinceBootMs = now.bootMs;
      const isHeld = ask.units > 0 || ask.inUse > 0;
      if (!isHeld && ask.wants === 0) this.#demands.delete(id);
    }
    return { applied: this.#applied, items };
  }

  #ask(demand: Demand, usage: UsageOf, now: Instant): AllotmentAsk {
    const { subject, kind, asked, refused, wanted, sinceBootMs } = demand;
    const share = this.share(subject, kind, now);
    const window = kind === 'quota' ? (share?.window ?? null) : null;
    const inUse =
      kind === 'concurrency'
        ? usage.inUse(subject)
        : window === null
          ? 0
          : usage.usedOf(subject, window);
    const passedMs = Math.max(1_000, now.bootMs - sinceBootMs);
    const windowMs = subject.terms.rate?.windowMs ?? 1;
    const needs = {
      rate: Math.ceil((asked * HEADROOM * windowMs) / passedMs),
      concurrency: refused,
      quota: asked * 2,
    }[kind];
    const extra = Math.max(needs, Math.floor(wanted / 2));
    const { rule } = subject;
    const deadlineMs = usage.deadlineMs(rule);
    const said = { units: share?.units ?? 0, inUse, wants: inUse + extra, window, deadlineMs };
    return { ...budgetOf(subject, kind), ...said };
  }

  /** B2. `nonce`: of the request that was answered. */
  apply(
    grants: readonly AllotmentGrant[],
    answered: {
      readonly nonce: string;
      readonly sentAt: Instant;
      readonly now: Instant;
      readonly drift: number;
    },
  ): void {
    const { nonce, sentAt, now, drift } = answered;
    this.#applied = nonce;
    for (const { ttlMs, ...grant } of grants) {
      const id = idOf(grant);
      const before = this.#shares.get(id);
      const isMore = before === undefined || before.units < grant.units || !isLive(before, sentAt);
      this.#shares.set(id, {
        ...grant,
        bootId: sentAt.bootId,
        endsBootMs: holderEndMs(sentAt.bootMs, ttlMs, drift),
        // From now and not from the sending: another host may have had it in between.
        sinceBootMs: isMore ? now.bootMs : before.sinceBootMs,
      });
      const demand = this.#demands.get(id);
      if (demand !== undefined && grant.units >= demand.wanted) demand.isTold = false;
    }
    for (const [id, share] of this.#shares)
      if (!isLive(share, sentAt) && !this.#demands.has(id)) this.#shares.delete(id);
  }
}

/** As much of it as a request needs. */
function subjectOf({ rule, per, key, windowMs }: Share): LimitSubject {
  const rate = { count: 1, windowMs: Math.max(1, windowMs) };
  const none = { burst: null, concurrency: null, quota: null };
  return { rule, key, terms: { ...none, rate, per, scope: 'fleet' } };
}

function isLive(share: Share, now: Instant): boolean {
  return share.bootId === now.bootId && now.bootMs < share.endsBootMs;
}

function budgetOf(
  { rule, terms: { per }, key }: LimitSubject,
  kind: LimitKind,
): Pick<AllotmentAsk, 'rule' | 'per' | 'key' | 'kind'> {
  return { rule, per, key, kind };
}

function idOf({ rule, per, key, kind }: ReturnType<typeof budgetOf>): string {
  return [kind, rule, per, key].join('\n');
}
