/**
 * The parts of fleet budgets that this host holds: the book (`core/allotment-book.ts`), its file, and
 * what admission sees of them. No admission asks control (I10): what is held is used, and what is
 * wanted goes up with the next sync.
 *
 * H1  The file is written before what it says is acted upon or told to control. It survives the
 *     process, not the power: in another boot all parts have ended.
 * H2  When the wall and the boot clock move apart, every part ends at once, as leases do: a machine
 *     that was put back may hold what was given to others since.
 */
import { join } from 'node:path';
import Type from 'typebox';
import { clockDivergenceMs, type Instant } from '../../shared/core/time.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import { AllotmentGrantSchema, type AllotmentRequest } from '../../shared/wire/allotments.ts';
import { LIMIT_KINDS, type LimitKind } from '../../shared/core/limit-kinds.ts';
import type { LimitTerms } from '../../shared/core/policy.ts';
import type { SyncAnswer } from '../../shared/wire/statements.ts';
import { AllotmentBook, type Share, type UsageOf } from '../core/allotment-book.ts';
import type { HeldPart } from '../core/outage-budget.ts';
import { absentBudget, type LimitBudget, type LimitSubject } from '../core/limits.ts';
import { CLOCK_DIVERGENCE_MS_MAX } from './lease-keeper.ts';
import { StateFile } from './state-file.ts';

const { ttlMs: _, ...grantFields } = AllotmentGrantSchema.properties;
const SharesSchema = Type.Object({
  applied: Type.Union([Type.String(), Type.Null()]),
  shares: Type.Array(
    Type.Object({
      ...grantFields,
      bootId: Type.String(),
      endsBootMs: Type.Number(),
      sinceBootMs: Type.Number(),
    }),
  ),
  storedAt: Type.Object({
    wallMs: Type.Number(),
    bootMs: Type.Number(),
    bootId: Type.String(),
  }),
});

export type AllotmentFile = Pick<StateFile<typeof SharesSchema>, 'read' | 'writeLazily'>;

export function allotmentFile(directory: string): AllotmentFile {
  return new StateFile(join(directory, 'allotments.json'), SharesSchema);
}

export type AllotmentKeeperOptions = {
  readonly file: AllotmentFile;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The longest deadline that the rule in force here allows. */
  readonly deadlineMs: (rule: string) => number;
  /** Whether the policy in force has budgets of the fleet. */
  readonly hasFleetRules: () => boolean;
};

export class AllotmentKeeper {
  readonly #options: AllotmentKeeperOptions;
  #book = new AllotmentBook();
  #usage: Omit<UsageOf, 'deadlineMs'> = { inUse: () => 0, usedOf: () => 0 };
  #lastLook: Instant;
  #kick: () => void = () => undefined;

  constructor(options: AllotmentKeeperOptions) {
    this.#options = options;
    this.#lastLook = options.clock.now();
  }

  /** Whom to tell that control should be asked soon. */
  onKick(kick: () => void): void {
    this.#kick = kick;
  }

  useUsage(usage: Omit<UsageOf, 'deadlineMs'>): void {
    this.#usage = usage;
  }

  open(): void {
    const read = this.#options.file.read();
    if (read.kind === 'damaged') {
      const { detail } = read;
      this.#options.logger.error({ detail }, 'the stored parts of fleet budgets are damaged');
    } else if (read.kind === 'read') {
      this.#book.load(read.value, this.#options.clock.now());
      this.#lastLook = read.value.storedAt;
      this.#look();
    }
  }

  budget(subject: LimitSubject): { budget: LimitBudget; sinceBootMs: number } {
    const now = this.#look();
    const { terms } = subject;
    const shares = new Map<LimitKind, Share>();
    const absent: { kind: LimitKind; why: string }[] = [];
    const endsBootMs: Record<LimitKind, number | null> = {
      quota: null,
      concurrency: null,
      rate: null,
    };
    for (const kind of LIMIT_KINDS) {
      if (terms[kind] === null) continue;
      const share = this.#book.share(subject, kind, now);
      const why = this.#whyAbsent(subject, share);
      if (share !== null && why === null) shares.set(kind, share);
      else absent.push({ kind, why: why ?? '' });
      endsBootMs[kind] = share?.endsBootMs ?? null;
    }
    const [rate, quota] = [shares.get('rate'), shares.get('quota')];
    const budget: LimitBudget = {
      ...absentBudget(terms, ''),
      rate:
        rate === undefined
          ? null
          : { count: rate.units, windowMs: rate.windowMs, burst: rate.burst },
      concurrency: shares.get('concurrency')?.units ?? null,
      quota: quota === undefined ? null : quotaOf(quota, now),
      absent,
      endsBootMs,
    };
    return { budget, sinceBootMs: rate?.sinceBootMs ?? now.bootMs };
  }

  /** Of the parts that are in time and not used up, by key: what a loss of control would end. */
  partsOf(rule: string, terms: LimitTerms): HeldPart[] {
    const now = this.#look();
    const keys = new Set(this.#book.keysOf(rule, terms.per));
    return [...keys].flatMap((key) => {
      const subject = { rule, terms, key };
      const { budget } = this.budget(subject);
      if (budget.absent.length > 0 || this.#isUsedUp(subject, budget)) return [];
      const ends = LIMIT_KINDS.flatMap((kind) => {
        const endsBootMs = budget.endsBootMs[kind];
        return endsBootMs === null || endsBootMs <= now.bootMs ? [] : [{ key, kind, endsBootMs }];
      });
      return ends.toSorted((a, b) => a.endsBootMs - b.endsBootMs).slice(0, 1);
    });
  }

  #isUsedUp(subject: LimitSubject, { quota }: LimitBudget): boolean {
    if (quota === null || quota.window === null) return false;
    return this.#usage.usedOf(subject, quota.window.number) >= quota.count;
  }

  note(subject: LimitSubject, admitted: boolean, now: Instant): void {
    if (this.#book.note(subject, admitted, now)) this.#kick();
  }

  /**
   * For the next sync, also where nothing is wanted: control waits to hear so after a start. `null`
   * where there are no such budgets: a control of before there were any would not understand it.
   */
  request(): AllotmentRequest | null {
    const { deadlineMs, hasFleetRules } = this.#options;
    const request = this.#book.request({ ...this.#usage, deadlineMs }, this.#look());
    return request.items.length > 0 || hasFleetRules() ? request : null;
  }

  /** What control answered to the request that was sent at `sentAt`. */
  apply({ allotments, nonce, drift }: SyncAnswer, sentAt: Instant): void {
    if (allotments === undefined) return;
    const now = this.#look();
    // H1: what could not be stored was not received.
    const next = new AllotmentBook();
    next.continueFrom(this.#book);
    next.apply(allotments, { nonce, sentAt, now, drift });
    if (Math.abs(clockDivergenceMs(sentAt, now)) > CLOCK_DIVERGENCE_MS_MAX) next.endAll();
    if (this.#store(next)) this.#book = next;
  }

  /** Control said that this host has no authority. */
  revoke(): void {
    this.#end('authority was withdrawn');
  }

  #whyAbsent({ rule }: LimitSubject, share: Share | null): string | null {
    if (share === null) return 'control has been asked and has not answered yet';
    if (share.units === 0) return 'others hold all of it; control is asked with each sync';
    const { kind, deadlineMsMax } = share;
    if (kind === 'concurrency' && this.#options.deadlineMs(rule) > deadlineMsMax)
      return 'the rule allows longer deadlines than it was given for; control is asked with each sync';
    return null;
  }

  /** H2. */
  #look(): Instant {
    const now = this.#options.clock.now();
    const divergenceMs = clockDivergenceMs(this.#lastLook, now);
    this.#lastLook = now;
    if (Math.abs(divergenceMs) > CLOCK_DIVERGENCE_MS_MAX)
      this.#end(`the wall and the boot clock moved apart by ${divergenceMs} ms`);
    return now;
  }

  #end(why: string): void {
    if (!this.#book.endAll()) return;
    this.#options.logger.warn({ why }, 'parts of fleet budgets end until control gives them anew');
    this.#store(this.#book);
    this.#kick();
  }

  #store(book: AllotmentBook): boolean {
    try {
      this.#options.file.writeLazily({ ...book.kept(), storedAt: this.#options.clock.now() });
      return true;
    } catch (error) {
      this.#options.logger.error({ err: error }, 'parts of fleet budgets could not be stored');
      return false;
    }
  }
}

function quotaOf(share: Share, now: Instant): LimitBudget['quota'] {
  const { units, windowMs, window, endsBootMs, bootId } = share;
  const wallMs = now.wallMs + (endsBootMs - now.bootMs);
  const ends = { wallMs, bootMs: endsBootMs, bootId };
  return { count: units, windowMs, window: { number: window ?? 0, ends } };
}
