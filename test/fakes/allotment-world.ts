/**
 * A fleet that shares one budget: the real keepers of each host over its own clock, and
 * control's real decisions, under a network that delays and loses. Time is true time; the clock of
 * each host runs at its own rate within the drift.
 */
import type { LimitTerms } from '../../shared/core/policy.ts';
import { burstOf } from '../../shared/core/rate.ts';
import type { Instant } from '../../shared/core/time.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import { createLogger } from '../../shared/platform/logger.ts';
import type { AllotmentGrant, AllotmentRequest } from '../../shared/wire/allotments.ts';
import type { LimitKind } from '../../shared/core/limit-kinds.ts';
import type { SyncAnswer } from '../../shared/wire/statements.ts';
import {
  decideAllotment,
  type Budget,
  type BudgetState,
  type Grantor,
} from '../../control/core/allotments.ts';
import { AllotmentKeeper, type AllotmentFile } from '../../dataplane/authority/allotment-keeper.ts';
import { countedQuota, type QuotaNote } from '../../dataplane/core/quota-note.ts';
import { LimitKeeper, type Reservation } from '../../dataplane/operations/limit-keeper.ts';

export const DRIFT = 0.01;
export const DEADLINE_MS = 15_000;
const TTL_MS = 10_000;
const REQUEST_TIMEOUT_MS = 2_000;
const START_WALL_MS = Date.UTC(2030, 0, 1);

const INPUT = { principal: 'agent:a', action: 'x' };
const RULE = 'shared';

export const FLEET_TERMS: Readonly<Record<LimitKind, LimitTerms>> = {
  rate: terms({ rate: { count: 20, windowMs: 10_000 }, burst: 6 }),
  concurrency: terms({ concurrency: 6 }),
  quota: terms({ quota: { count: 12, windowMs: 60_000 } }),
};

function terms(limits: Partial<LimitTerms>): LimitTerms {
  const none = { rate: null, burst: null, concurrency: null, quota: null };
  return { ...none, per: 'rule', scope: 'fleet', ...limits };
}

export function budgetOf(kind: LimitKind): Budget {
  const limits = FLEET_TERMS[kind];
  const shape = limits[kind];
  const { count, windowMs } =
    typeof shape === 'number'
      ? { count: shape, windowMs: 0 }
      : (shape ?? { count: 0, windowMs: 0 });
  const lasts = { ttlMs: TTL_MS, deadlineMs: DEADLINE_MS };
  const burst = burstOf(limits);
  return { rule: RULE, per: 'rule', key: '', kind, units: count, burst, windowMs, ...lasts };
}

type Network = { readonly askMs: number; readonly answerMs: number; readonly isLost: boolean };
type Running = { readonly reservation: Reservation; readonly untilBootMs: number };

export type Admission = { readonly atMs: number; readonly host: number; readonly window: number };

class ModelHost {
  readonly id: string;
  readonly clock: Clock;
  readonly #kind: LimitKind;
  /** What its disk holds of them. */
  readonly #file: AllotmentFile;
  #allotments: AllotmentKeeper;
  #limits: LimitKeeper;
  /** What its journal holds. */
  #note: QuotaNote | null = null;
  running: Running[] = [];
  pending: { readonly nonce: string; readonly sentAt: Instant; readonly untilMs: number } | null =
    null;
  #nonces = 0;

  constructor(parts: { id: string; kind: LimitKind; clock: Clock }) {
    this.id = parts.id;
    this.clock = parts.clock;
    this.#kind = parts.kind;
    let kept: ReturnType<AllotmentFile['read']> = { kind: 'absent' };
    this.#file = {
      read: () => kept,
      writeLazily: (value) => void (kept = { kind: 'read', value: structuredClone(value) }),
    };
    [this.#allotments, this.#limits] = this.#open();
  }

  /** `kill -9` and a start: what is on disk is what is left. */
  restart(): void {
    this.pending = null;
    [this.#allotments, this.#limits] = this.#open();
  }

  #open(): [AllotmentKeeper, LimitKeeper] {
    const allotments = new AllotmentKeeper({
      file: this.#file,
      clock: this.clock,
      logger: createLogger({ name: 'test', level: 'silent' }),
      deadlineMs: () => DEADLINE_MS,
      hasFleetRules: () => true,
    });
    allotments.open();
    const limits = new LimitKeeper({
      clock: this.clock,
      fleet: allotments,
      quotas: this.#note === null ? [] : [this.#note],
      unended: this.running.map(() => ({ rule: RULE, ...INPUT, resourceId: '' })),
    });
    allotments.useUsage({
      inUse: (subject) => limits.inUse(subject),
      usedOf: (subject, window) => limits.usedOf(subject, window),
    });
    return [allotments, limits];
  }

  /** The window it was counted in, 0 where there is none; `null` where it was refused. */
  admit(): number | null {
    const now = this.clock.now();
    const taken = this.#limits.take(RULE, FLEET_TERMS[this.#kind], INPUT, now);
    if (!taken.ok) return null;
    const { reservation } = taken;
    const { quota } = reservation;
    if (quota !== null)
      this.#note = { ...quota, window: countedQuota(this.#note?.window ?? null, quota.window) };
    this.running.push({ reservation, untilBootMs: now.bootMs + DEADLINE_MS });
    return quota?.window.number ?? 0;
  }

  end(count: number): void {
    for (const { reservation } of this.running.splice(0, count))
      this.#limits.ended({ rule: RULE, ...reservation.input });
  }

  expire(): void {
    const { bootMs } = this.clock.now();
    const isOver = ({ untilBootMs }: Running): boolean => untilBootMs <= bootMs;
    const over = this.running.filter(isOver);
    this.running = this.running.filter((one) => !isOver(one));
    for (const { reservation } of over) this.#limits.ended({ rule: RULE, ...reservation.input });
  }

  send(atMs: number): { nonce: string; request: AllotmentRequest } | null {
    if (this.pending !== null && atMs < this.pending.untilMs) return null;
    const request = this.#allotments.request();
    if (request === null) return null;
    this.#nonces += 1;
    const nonce = `${this.id}-${this.#nonces}`;
    const sentAt = this.clock.now();
    this.pending = { nonce, sentAt, untilMs: atMs + REQUEST_TIMEOUT_MS };
    return { nonce, request };
  }

  receive(nonce: string, grants: readonly AllotmentGrant[], atMs: number): void {
    if (this.pending?.nonce !== nonce || atMs >= this.pending.untilMs) return;
    const { sentAt } = this.pending;
    this.pending = null;
    const answer = { nonce, drift: DRIFT, allotments: [...grants] };
    this.#allotments.apply(answer as unknown as SyncAnswer, sentAt);
  }
}

type Due = { readonly atMs: number; readonly run: () => void };

export class AllotmentWorld {
  readonly admissions: Admission[] = [];
  readonly hosts: readonly ModelHost[];
  readonly #budget: Budget;
  #due: Due[] = [];
  #nowMs = 0;
  #state: BudgetState = { window: null, parts: [] };
  #copies: BudgetState[] = [];
  #run = 1;
  #startedMs = 0;
  #isRollback = false;
  #isUp = true;
  #unheard = new Set<string>();
  readonly #answered = new Map<string, string>();
  #wallOffsetMs = 0;
  /** Operations that have not ended, at the worst moment. */
  mostRunning = 0;
  /** Units admitted in a window that was over by control's clock. */
  late = 0;

  constructor(kind: LimitKind, clockRates: readonly number[]) {
    this.#budget = budgetOf(kind);
    this.hosts = clockRates.map((rate, index) => {
      const now = (): Instant => {
        const passedMs = Math.floor(this.#nowMs * rate);
        return { wallMs: START_WALL_MS + passedMs, bootMs: 1_000 + passedMs, bootId: 'boot' };
      };
      const clock = { now } as unknown as Clock;
      return new ModelHost({ id: `host_${index}`, kind, clock });
    });
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  pass(durationMs: number): void {
    const endMs = this.#nowMs + durationMs;
    for (;;) {
      const next = this.#due.toSorted((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined || next.atMs > endMs) break;
      this.#due = this.#due.filter((one) => one !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
    }
    this.#nowMs = endMs;
    for (const host of this.hosts) host.expire();
  }

  admit(index: number, count: number): number {
    let admitted = 0;
    const host = this.#host(index);
    for (let i = 0; i < count; i += 1) {
      for (const one of this.hosts) one.expire();
      const window = host.admit();
      if (window === null) continue;
      admitted += 1;
      this.admissions.push({ atMs: this.#nowMs, host: index, window });
      const open = this.#state.window;
      const isOver =
        open !== null && window === open.number && this.#now().bootMs >= open.ends.bootMs;
      if (isOver) this.late += 1;
    }
    const running = this.hosts.reduce((sum, one) => sum + one.running.length, 0);
    this.mostRunning = Math.max(this.mostRunning, running);
    return admitted;
  }

  end(index: number, count: number): void {
    this.#host(index).end(count);
  }

  restartHost(index: number): void {
    this.#host(index).restart();
  }

  sync(index: number, { askMs, answerMs, isLost }: Network): void {
    const host = this.#host(index);
    const sent = host.send(this.#nowMs);
    if (sent === null) return;
    const { nonce, request } = sent;
    this.#due.push({
      atMs: this.#nowMs + askMs,
      run: () => {
        const grants = this.#answer(host.id, nonce, request);
        if (grants === null || isLost) return;
        const atMs = this.#nowMs + answerMs;
        this.#due.push({ atMs, run: () => host.receive(nonce, grants, this.#nowMs) });
      },
    });
  }

  /** Control stops. `copy`: it comes up with an older copy; `isSeen`: and knows that it is one. */
  stopControl(): void {
    this.#isUp = false;
  }

  copyStore(): void {
    this.#copies.push(this.#state);
  }

  startControl(from: { readonly copy: boolean; readonly isSeen: boolean }): void {
    this.#isUp = true;
    this.#run += 1;
    this.#startedMs = this.#nowMs;
    this.#answered.clear();
    this.#unheard = new Set(this.hosts.map(({ id }) => id));
    const [oldest] = this.#copies;
    this.#isRollback = from.copy && from.isSeen && oldest !== undefined;
    if (from.copy && oldest !== undefined) this.#state = oldest;
  }

  /** The wall clock of control is set. */
  stepWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  #now(): Instant {
    const wallMs = START_WALL_MS + this.#wallOffsetMs + this.#nowMs;
    return { wallMs, bootMs: 50_000 + this.#nowMs, bootId: 'control' };
  }

  #answer(hostId: string, nonce: string, request: AllotmentRequest): AllotmentGrant[] | null {
    if (!this.#isUp) return null;
    if (request.applied !== null && request.applied === this.#answered.get(hostId))
      this.#unheard.delete(hostId);
    this.#answered.set(hostId, nonce);
    const startedBootMs = 50_000 + this.#startedMs;
    const grantor: Grantor = {
      now: this.#now(),
      run: this.#run,
      startedBootMs,
      heldSinceMs: this.#isRollback || this.#unheard.size > 0 ? startedBootMs : null,
      drift: DRIFT,
    };
    return request.items.map((ask) => {
      const asking = { hostId, hostEpoch: 1, nonce, applied: request.applied, ask };
      const { state, grant } = decideAllotment(this.#budget, this.#state, asking, grantor);
      this.#state = state;
      return grant;
    });
  }

  #host(index: number): ModelHost {
    const host = this.hosts[index % this.hosts.length];
    if (host === undefined) throw new Error('there is no host');
    return host;
  }
}
