/** What the sidecar shows of itself: probes, status, health, budget, gauges read at a scrape. */
import { VERSION } from '../shared/core/version.ts';
import { HealthMemory } from '../shared/core/health-memory.ts';
import type { HeldLease } from '../shared/core/lease.ts';
import type { Instant } from '../shared/core/time.ts';
import type { Clock } from '../shared/platform/clock.ts';
import type { Check, OperationsRoutes } from '../shared/platform/http/operations-routes.ts';
import type { Metrics } from '../shared/platform/metrics.ts';
import type { Task } from '../shared/platform/task-group.ts';
import type { HostHealth } from '../shared/wire/fleet-health.ts';
import type { Health } from '../shared/wire/health.ts';
import type { OutageBudget, SidecarStatus } from '../shared/wire/sidecar-api.ts';
import { DISK_PRESSURES } from './core/disk-pressure.ts';
import {
  actionBudgets,
  configBudgets,
  labelledBudgets,
  ruleBudgets,
  type BudgetAt,
} from './core/outage-budget.ts';
import { sidecarHealth } from './health.ts';
import type { DiskWatch } from './journal/disk-watch.ts';
import type { Journal } from './journal/journal.ts';
import type { SIDECAR_METRICS } from './metrics.ts';
import type { Upstream } from './upstream/build-upstream.ts';
import {
  expiredConfig,
  staleRules,
  tallyWork,
  type AuthorityNow,
  type Reconciling,
} from './work-health.ts';

/** As true as the times of health are. */
const HEALTH_LOOK_MS = 1_000;

export type SidecarMetrics = Metrics<typeof SIDECAR_METRICS>;

export class SidecarView {
  readonly #hostName: string;
  readonly #controlLossAfterMs: number;
  readonly #clock: Clock;
  readonly #journal: Journal;
  readonly #disk: DiskWatch;
  readonly #upstream: Upstream;
  readonly #metrics: SidecarMetrics;
  readonly #reconciling: Reconciling | undefined;
  readonly #memory = new HealthMemory();
  #stopping = false;

  constructor(parts: {
    hostName: string;
    controlLossAfterMs: number;
    clock: Clock;
    journal: Journal;
    disk: DiskWatch;
    upstream: Upstream;
    metrics: SidecarMetrics;
    reconciling?: Reconciling;
  }) {
    this.#hostName = parts.hostName;
    this.#controlLossAfterMs = parts.controlLossAfterMs;
    this.#clock = parts.clock;
    this.#journal = parts.journal;
    this.#disk = parts.disk;
    this.#upstream = parts.upstream;
    this.#metrics = parts.metrics;
    this.#reconciling = parts.reconciling;
    this.#upstream.useHealth(() => this.#report());
    this.#metrics.set('holdfast_build_info', 1, { version: VERSION, daemon: 'sidecar' });
    this.#metrics.beforeScrape(() => this.#scrape());
  }

  /** From now on it is not ready: no new work is to be sent here. */
  stopping(): void {
    this.#stopping = true;
  }

  routes(): OperationsRoutes {
    return {
      live: () => [check('process', true, 'answers')],
      ready: () => this.#ready(),
      started: () => {
        // Come up it has: a supervisor that restarts it would change nothing.
        if (this.#journal.quarantine !== null)
          return [check('journal', true, this.#standstill() ?? '')];
        const hostId = this.#upstream.identity()?.hostId;
        return [
          check('journal', true, 'open'),
          check('enrolled', hostId !== undefined, hostId ?? 'waiting for control'),
        ];
      },
      expose: (accept) => this.#metrics.expose(accept),
    };
  }

  /** Control is not asked about: a sidecar that can serve from what it holds is ready. */
  #ready(): Check[] {
    const policy = this.#upstream.policy.activePolicy();
    const { quarantine } = this.#journal;
    return [
      check('running', !this.#stopping, this.#stopping ? 'stopping' : 'running'),
      check(
        'journal',
        quarantine === null,
        quarantine === null ? 'open' : `${this.#standstill()}: ${quarantine}`,
      ),
      check(
        'policy',
        policy !== null,
        policy === null ? 'no policy has been received yet' : `revision ${policy.policyRevision}`,
      ),
    ];
  }

  /** In a word, why the journal takes nothing. */
  #standstill(): string | null {
    if (this.#journal.quarantine === null) return null;
    return this.#journal.isReadOnly ? 'read-only' : 'quarantined';
  }

  status(): SidecarStatus {
    const upstream = this.#upstream;
    const active = upstream.policy.activePolicy();
    const now = this.#clock.now();
    const statuses = upstream.leases.statuses();
    const held = statuses.filter(({ lease }) => lease !== null && isInTime(lease, now)).length;
    return {
      hostId: upstream.identity()?.hostId ?? null,
      hostName: this.#hostName,
      version: VERSION,
      control: upstream.status(),
      policy: {
        activeRevision: active?.policyRevision ?? null,
        digest: active?.policyDigest ?? null,
        activatedAtMs: active?.activatedAtMs ?? null,
        stalenessMs: upstream.policy.stalenessMs(now),
        rejected: upstream.policy.rejectedPolicy(),
      },
      leases: { held, wanted: statuses.length - held },
      journal: {
        ...this.#journal.head(),
        ackedSeq: this.#journal.ackedSeq(),
        operations: { ...this.#journal.operationCounts() },
      },
    };
  }

  health(): Health {
    const now = this.#clock.now();
    const nowMs = now.wallMs;
    const seen = this.#look(now);
    return {
      ...seen,
      controlPlane: this.#memory.note('controlPlane', seen.controlPlane, nowMs),
      dataPlane: this.#memory.note('dataPlane', seen.dataPlane, nowMs),
    };
  }

  /** Looks where nobody asks, so that a change is dated when it happened, not when it was seen. */
  readonly healthTask: Task = {
    name: 'health',
    run: async (signal) => {
      while (!signal.aborted) {
        try {
          this.health();
        } catch {
          // A journal that cannot be read is told to whoever asks; work goes on as far as it can.
        }
        await this.#clock.sleep(HEALTH_LOOK_MS, signal);
      }
    },
  };

  #look(now: Instant): Health {
    const { quarantine, isReadOnly } = this.#journal;
    const authority = this.#authority(now);
    return sidecarHealth({
      status: this.status(),
      quarantine,
      isReadOnly,
      disk: this.#disk.state(),
      writeWait: { ms: this.#journal.expectedWaitMs(), isShedding: this.#journal.isShedding() },
      reportsStopped: this.#upstream.reportsStopped(),
      work: tallyWork(this.#journal, now, this.#reconciling),
      expiredConfig: expiredConfig(authority, now),
      revoked: this.#upstream.policy.revoked()?.reason ?? null,
      staleRules: staleRules(authority),
      notices: this.#upstream.notices.status(),
      queueLength: this.#journal.queueLength(),
      nowMs: now.wallMs,
    });
  }

  /** For control, with the next sync. */
  #report(): HostHealth {
    const now = this.#clock.now();
    const authority = this.#authority(now);
    const { bounded, expired } = staleRules(authority);
    return {
      ...tallyWork(this.#journal, now, this.#reconciling),
      staleRules: { count: expired, of: bounded },
      expiredConfig: expiredConfig(authority, now),
    };
  }

  #authority(now: Instant): AuthorityNow {
    const { policy } = this.#upstream;
    return {
      active: policy.activePolicy(),
      stalenessMs: policy.stalenessMs(now),
      isRevoked: policy.revoked() !== null,
    };
  }

  budget(): OutageBudget {
    const now = this.#clock.now();
    const active = this.#upstream.policy.activePolicy();
    const stalenessMs = this.#upstream.policy.stalenessMs(now);
    const at: BudgetAt = {
      now,
      stalenessMs,
      isRevoked: this.#upstream.policy.revoked() !== null,
      held: this.#upstream.leases
        .statuses()
        .flatMap(({ lease }) => (lease === null ? [] : [lease])),
      parts: ({ name, terms: { limits } }) =>
        limits === null ? [] : this.#upstream.allotments.partsOf(name, limits),
      controlLossAfterMs: this.#controlLossAfterMs,
    };
    return {
      atMs: now.wallMs,
      policyRevision: active?.policyRevision ?? null,
      stalenessMs,
      items: active === null ? [] : ruleBudgets(active.compiled, at),
      actions: active === null ? [] : actionBudgets(active.compiled, at),
      config: active === null ? [] : configBudgets(active.document, at),
    };
  }

  #scrape(): void {
    const metrics = this.#metrics;
    metrics.reset('holdfast_operations');
    for (const [state, count] of Object.entries(this.#journal.operationCounts())) {
      metrics.set('holdfast_operations', count, { state });
    }
    metrics.set('holdfast_journal_quarantined', this.#journal.quarantine === null ? 0 : 1);
    metrics.set('holdfast_journal_seq', this.#journal.head().seq);
    metrics.set('holdfast_journal_reported_seq', this.#journal.ackedSeq());
    metrics.set('holdfast_journal_queue_commands', this.#journal.queueLength());
    metrics.set('holdfast_journal_write_wait_seconds', this.#journal.expectedWaitMs() / 1_000);
    this.#scrapeDisk();
    metrics.reset('holdfast_outage_budget_seconds');
    for (const { action, admissionMs } of labelledBudgets(this.budget().actions)) {
      metrics.set('holdfast_outage_budget_seconds', admissionMs / 1_000, { action });
    }
  }

  #scrapeDisk(): void {
    const { pressure, freeBytes, ballastBytes } = this.#disk.state();
    if (freeBytes !== null) this.#metrics.set('holdfast_disk_free_bytes', freeBytes);
    this.#metrics.set('holdfast_journal_ballast_bytes', ballastBytes);
    for (const state of DISK_PRESSURES)
      this.#metrics.set('holdfast_disk_pressure', state === pressure ? 1 : 0, { state });
  }
}

/** One that has ended stays known for its grace, and to be renewed. */
function isInTime(lease: HeldLease, now: Instant): boolean {
  return lease.bootId === now.bootId && now.bootMs < lease.endsBootMs;
}

function check(name: string, ok: boolean, detail: string): Check {
  return { name, ok, detail };
}
