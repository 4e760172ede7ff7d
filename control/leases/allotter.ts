/**
 * Divides budgets of the fleet among hosts, with each sync: reads what is given, lets
 * `core/allotments.ts` decide, writes all of it in one conditional transaction, and decides again
 * when another sync was faster. The grant leaves only after the commit.
 *
 * It is the newest revision whose budgets are divided; a host that still runs an older one gets its
 * part of these. Not in the audit trail, as renewals of leases are not: there is one for each budget
 * and host every few seconds.
 */
import { grantorEndMs } from '../../shared/core/lease.ts';
import type { CompiledPolicy, CompiledRule } from '../../shared/core/policy.ts';
import { burstOf } from '../../shared/core/rate.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../shared/core/time.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import type {
  Allotment,
  AllotmentAsk,
  AllotmentGrant,
  AllotmentRequest,
} from '../../shared/wire/allotments.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { ControlConfig } from '../config.ts';
import {
  decideAllotment,
  plausibleAsk,
  freeAtMs,
  partEndMs,
  reserved,
  type Budget,
  type BudgetState,
  type Grantor,
} from '../core/allotments.ts';
import type { Holder } from '../core/lease-transition.ts';
import type { ControlMetrics } from '../metrics.ts';
import type {
  AllotmentStore,
  BudgetRecord,
  BudgetWrite,
  Page,
  PageRequest,
} from '../store/control-store.ts';
import type { Lessor } from './lessor.ts';

type Ports = {
  readonly store: AllotmentStore;
  readonly lessor: Lessor;
  readonly policy: () => Promise<{ readonly compiled: CompiledPolicy } | null>;
  readonly clock: Clock;
  readonly metrics: Metrics<ControlMetrics>;
  readonly config: ControlConfig;
  /** Enrolled when this run began. */
  readonly hosts: readonly Holder[];
};

/** As authority that is cached may be used for so long; a lost host keeps its part no longer. */
const TTL_MS_MAX = HOUR_MS;
const TRIES_MAX = 8;
const FORGET_EVERY_MS = MINUTE_MS;
const FORGOTTEN_AT_ONCE_MAX = 1_000;

export class Allotter {
  readonly #ports: Ports;
  /** A5: who may hold what this store does not know. Host epochs by host. */
  readonly #unheard: Map<string, number>;
  /** The nonce that each host was answered last by this run. */
  readonly #answered = new Map<string, string>();
  #forgotBootMs = 0;

  constructor(ports: Ports) {
    this.#ports = ports;
    this.#unheard = new Map(ports.hosts.map(({ hostId, hostEpoch }) => [hostId, hostEpoch]));
  }

  /** It holds none, and knows of none. */
  heardWithout(holder: Holder): void {
    this.#noteHeard(holder);
  }

  /**
   * One grant for each that is asked for. A host counts as heard when it speaks as of an answer of
   * this run: what came before may be a request that was sent before it got what it holds.
   */
  async sync(
    holder: Holder,
    nonce: string,
    { applied, items }: AllotmentRequest,
  ): Promise<AllotmentGrant[]> {
    const { store, metrics } = this.#ports;
    const asks = distinct(items).map(plausibleAsk);
    if (applied !== null && applied === this.#answered.get(holder.hostId)) this.#noteHeard(holder);
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const rules = await this.#limitedRules();
      const records = await store.forSync(asks.map(budgetOf));
      const grantor = this.#grantor();
      const writes: BudgetWrite[] = [];
      const grants = records.map((record, index): AllotmentGrant => {
        const ask = asks[index];
        if (ask === undefined) throw new Error('the store answers each that it is asked for');
        const budget = budgetIn(rules, ask) ?? noBudget(ask);
        const asking = { ...holder, nonce, applied, ask };
        const { state, grant } = decideAllotment(budget, record.state, asking, grantor);
        writes.push({
          record: { budget: record.budget, state },
          replacesVersion: record.version,
          ...lifeOf(state, grantor),
        });
        return grant;
      });
      if ((await store.apply(writes, grantor.run)) === 'conflict') continue;
      this.#answered.set(holder.hostId, nonce);
      for (const { units } of grants)
        metrics.add('holdfast_control_allotments_total', { outcome: units > 0 ? 'some' : 'none' });
      await this.#forgetEnded(grantor);
      return grants;
    }
    throw new HoldfastError(
      'overloaded',
      'the budgets of this sync were changed by others meanwhile',
      { retry_after_ms: SECOND_MS },
    );
  }

  /** As it counts now; `hostName` is for the caller to add. */
  async list(page: PageRequest): Promise<Page<Omit<Allotment, 'hostName'>>> {
    const rules = await this.#limitedRules();
    const { items, nextCursor } = await this.#ports.store.list(page);
    const grantor = this.#grantor();
    return { items: items.flatMap((record) => viewOf(record, rules, grantor)), nextCursor };
  }

  async #limitedRules(): Promise<ReadonlyMap<string, CompiledRule>> {
    const rules = (await this.#ports.policy())?.compiled.rules ?? [];
    return new Map(
      rules.flatMap((rule) => (rule.terms.limits?.scope === 'fleet' ? [[rule.name, rule]] : [])),
    );
  }

  #grantor(): Grantor {
    const { lessor, config } = this.#ports;
    const { now, run, recovery, heldSinceMs: leasesHeldSinceMs } = lessor.terms();
    const { startedBootMs, kind } = recovery;
    const isAwaiting = this.#unheard.size > 0;
    const heldSinceMs = kind === 'rollback' ? leasesHeldSinceMs : isAwaiting ? startedBootMs : null;
    return { now, run, startedBootMs, heldSinceMs, drift: config.drift };
  }

  #noteHeard({ hostId, hostEpoch }: Holder): void {
    if (this.#unheard.get(hostId) === hostEpoch) this.#unheard.delete(hostId);
  }

  async #forgetEnded({ run, startedBootMs, now }: Grantor): Promise<void> {
    if (now.bootMs - this.#forgotBootMs < FORGET_EVERY_MS) return;
    this.#forgotBootMs = now.bootMs;
    const at = { run, startedBootMs, nowBootMs: now.bootMs, limit: FORGOTTEN_AT_ONCE_MAX };
    await this.#ports.store.forgetEnded(at);
  }
}

function budgetOf({ rule, per, key, kind }: AllotmentAsk): BudgetRecord['budget'] {
  return { rule, per, key, kind };
}

/** A budget that is named twice is asked for once: both would be decided on the same state. */
function distinct(items: readonly AllotmentAsk[]): AllotmentAsk[] {
  return [...new Map(items.map((item) => [JSON.stringify(budgetOf(item)), item])).values()];
}

/** `null` where the policy in force has no such budget. */
function budgetIn(
  rules: ReadonlyMap<string, CompiledRule>,
  asked: BudgetRecord['budget'],
): Budget | null {
  const rule = rules.get(asked.rule);
  const limits = rule?.terms.limits ?? null;
  if (rule === undefined || limits === null || limits.per !== asked.per) return null;
  const { rate, quota, concurrency } = limits;
  const { maxStalenessMs, maxDeadlineMs } = rule.terms;
  const shape = {
    rate,
    quota,
    concurrency: concurrency === null ? null : { count: concurrency, windowMs: 0 },
  }[asked.kind];
  if (shape === null) return null;
  return {
    ...asked,
    units: shape.count,
    burst: burstOf(limits),
    windowMs: shape.windowMs,
    ttlMs: Math.min(maxStalenessMs, TTL_MS_MAX),
    deadlineMs: maxDeadlineMs,
  };
}

/** Nothing is given of it, and what is held is counted until it is over. */
function noBudget(ask: AllotmentAsk): Budget {
  const { rule, per, key, kind, deadlineMs } = ask;
  const lasts = { windowMs: SECOND_MS, ttlMs: TTL_MS_MAX, deadlineMs };
  return { rule, per, key, kind, units: 0, burst: 1, ...lasts };
}

/** Until when anything of it counts, on this run's clock and as a length. */
function lifeOf(
  { window, parts }: BudgetState,
  grantor: Grantor,
): { endsBootMs: number; termMs: number } {
  const nowMs = grantor.now.bootMs;
  const ends = parts.map((part) => freeAtMs(part, grantor));
  const windowEndMs = window === null ? 0 : window.ends.bootMs + window.lengthMs;
  const endsBootMs = Math.max(nowMs + MINUTE_MS, windowEndMs, ...ends);
  return { endsBootMs, termMs: grantorEndMs(0, endsBootMs - nowMs, grantor.drift) };
}

function viewOf(
  { budget, state }: BudgetRecord,
  rules: ReadonlyMap<string, CompiledRule>,
  grantor: Grantor,
): Omit<Allotment, 'hostName'>[] {
  const { now } = grantor;
  return state.parts.map((part) => {
    const endMs = freeAtMs(part, grantor);
    const isOver = reserved(part, state.window, grantor) === 0;
    const isEnding = budget.kind === 'concurrency' && now.bootMs >= partEndMs(part, grantor);
    return {
      ...budget,
      budget: budgetIn(rules, budget)?.units ?? null,
      hostId: part.hostId,
      hostEpoch: part.hostEpoch,
      units: part.units,
      inUse: part.inUse,
      wants: part.wants,
      state: isOver ? 'over' : isEnding ? 'ending' : 'held',
      remainingMs: isOver ? 0 : Math.max(0, Math.ceil(endMs - now.bootMs)),
      heardAtMs: part.heardAtMs,
    };
  });
}
