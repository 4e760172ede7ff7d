/**
 * Grants, renews and takes back leases: reads what one sync needs, lets `core/lease-sync.ts`
 * decide, writes all of it in one conditional transaction, and decides again when somebody else was
 * faster.
 *
 * I6  rests on three things here: the counter only rises, the floor is on disk before an epoch
 *     above it is given, and what hosts have seen moves the counter past it before anything is
 *     granted.
 * I7  after a start rests on T5: grants wait for a term, or until every host that was enrolled then
 *     has been heard under the enrolment it had. Being lost is no excuse for a host: in a copy all
 *     hosts look lost. Only what answers an answer of this run counts: a request that was sent
 *     before a copy was put back may come, or come again, after it.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { SyncAnswer, SyncRequest } from '../../shared/wire/statements.ts';
import type { ControlConfig } from '../config.ts';
import { judgeSeenEpoch, plausibleEpoch } from '../core/floors.ts';
import { decideLeaseSync, type LeaseSync } from '../core/lease-sync.ts';
import {
  grantorTermMs,
  viewLease,
  type Holder,
  type LeaseRecord,
  type LeaseView,
  type Lessor as LessorTerms,
  type Recovery,
} from '../core/lease-transition.ts';
import type { ControlMetrics } from '../metrics.ts';
import type { AuditDraft, LeaseStore, SyncedHost } from '../store/control-store.ts';
import type { AssignmentTable } from './assignment-table.ts';
import type { FloorKeeper } from './floor-keeper.ts';

type Ports = {
  readonly store: LeaseStore;
  readonly assignments: AssignmentTable;
  readonly floors: FloorKeeper;
  readonly clock: Clock;
  readonly metrics: Metrics<ControlMetrics>;
  readonly logger: Logger;
  readonly config: ControlConfig;
};

type Start = {
  readonly run: number;
  readonly runId: string;
  readonly recovery: Recovery;
  /** Of the leases that the store had at the start; 0 where there were none. */
  readonly longestTermMs: number;
  /** Enrolled then. */
  readonly hosts: readonly { readonly hostId: string; readonly hostEpoch: number }[];
  /** The counter in the store then, before this run raised it. */
  readonly storedEpoch: number;
};

/**
 * One conflict means that another sync was faster; so many in a row mean that something is wrong.
 */
const TRIES_MAX = 8;

export class Lessor {
  readonly #ports: Ports;
  readonly #start: Start;
  /** Host epochs by host. */
  readonly #unheard: Map<string, number>;
  /** What holders last said is left to end of a lease that they drain. */
  readonly #unfinished = new Map<string, number>();
  #recovery: Recovery;
  #rollbackSinceMs: number;

  constructor(ports: Ports, start: Start) {
    this.#ports = ports;
    this.#start = start;
    this.#recovery = start.recovery;
    this.#rollbackSinceMs = start.recovery.startedBootMs;
    this.#unheard = new Map(start.hosts.map(({ hostId, hostEpoch }) => [hostId, hostEpoch]));
  }

  /** The terms as of now, for decisions and for views; `speaking` counts as heard. */
  terms(speaking: Holder | null = null): LessorTerms {
    const { clock, config, floors } = this.#ports;
    const { run, longestTermMs } = this.#start;
    const { leaseTtlMs: ttlMs, drift, lockDelayMs } = config;
    return {
      now: clock.now(),
      run,
      recovery: this.#recovery,
      ttlMs,
      drift,
      lockDelayMs,
      longestTermMs: Math.max(longestTermMs, grantorTermMs({ ttlMs, drift })),
      heldSinceMs: this.#heldSinceMs(speaking),
      disownedEpoch: floors.disownedEpoch,
    };
  }

  #heldSinceMs(speaking: Holder | null): number | null {
    if (this.#recovery.kind === 'rollback') return this.#rollbackSinceMs;
    const isLast = speaking !== null && this.#isAwaited(speaking);
    return this.#unheard.size - (isLast ? 1 : 0) > 0 ? this.#recovery.startedBootMs : null;
  }

  #isAwaited({ hostId, hostEpoch }: Holder): boolean {
    return this.#unheard.get(hostId) === hostEpoch;
  }

  get runId(): string {
    return this.#start.runId;
  }

  get recovery(): Recovery & { readonly isOver: boolean } {
    const terms = this.terms();
    const endMs = (terms.heldSinceMs ?? terms.recovery.startedBootMs) + terms.longestTermMs;
    // Without leases of before there is nothing to wait for, unless it is not known what there was.
    const waits = terms.heldSinceMs !== null || this.#start.longestTermMs > 0;
    return { ...terms.recovery, isOver: !waits || terms.now.bootMs >= endMs };
  }

  /**
   * How long no revision may be published (I11): a copy of the whole directory shows nothing of it, so
   * after every start only hosts know which numbers have been given. 0: not at all. That leases of
   * before had a longer term makes it no longer.
   */
  publicationWaitMs(): number {
    if (this.#unheard.size === 0) return 0;
    const { now, ttlMs, drift } = this.terms();
    return Math.max(0, this.#rollbackSinceMs + grantorTermMs({ ttlMs, drift }) - now.bootMs);
  }

  view(record: LeaseRecord): LeaseView & { readonly unfinished: number | null } {
    const unfinished = this.#unfinished.get(record.resource) ?? null;
    const view = viewLease(record, this.terms());
    return { ...view, unfinished: view.handover?.mode === 'drain' ? unfinished : null };
  }

  /**
   * `host_epoch_stale` where the host was enrolled again since it spoke. `isNews`: what it says of
   * itself is to be on disk before it is answered. `isOfThisRun`: it has had an answer of this run.
   */
  async sync(
    host: SyncedHost,
    asked: SyncRequest['leases'],
    { isNews, isOfThisRun }: { readonly isNews: boolean; readonly isOfThisRun: boolean },
  ): Promise<Pick<SyncAnswer, 'leases' | 'lost' | 'pending' | 'drain'>> {
    const { store, floors, config, assignments } = this.#ports;
    const holder: Holder = { hostId: host.hostId, hostEpoch: host.hostEpoch };
    const assigned = assignments.assignedTo(host.hostId);
    const resources = new Set([...namedIn(asked), ...assigned]);
    if (this.#recovery.kind === 'rollback' && this.recovery.isOver) floors.endRecovery();
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const before = await store.forSync(host.hostId, [...resources], {
        ...this.terms(),
        countsHeld: asked.acquire.length > 0 || assigned.length > 0,
      });
      const seen = this.#seenEpoch(host, before.highestEpoch);
      const decision = decideLeaseSync(
        before.leases,
        {
          holder,
          leases: asked,
          heldCount: before.heldCount,
          heldMax: config.leasesPerHostMax,
          highestEpoch: Math.max(before.highestEpoch, floors.epochAtStart, seen),
          assigned,
          placed: assignments.placedOf(asked.acquire),
        },
        this.terms(isOfThisRun ? holder : null),
      );
      const highest = decision.highestEpoch;
      // Before the commit, or a crash after it could give the same epoch again from an older copy.
      if (highest > before.highestEpoch) floors.reserve({ epoch: highest });
      const audit = auditOf(decision, host);
      const outcome = await store.applySync({
        host: { ...host, highWater: { ...host.highWater, epoch: seen } },
        leases: decision.writes,
        epochs: { replaces: before.highestEpoch, highest },
        audit,
        isLazy:
          !isNews &&
          audit.length === 0 &&
          highest === before.highestEpoch &&
          decision.writes.every(({ isExtension }) => isExtension),
      });
      if (outcome === 'host_changed') {
        throw new HoldfastError('host_epoch_stale', `host ${host.hostId} was enrolled again since`);
      }
      if (outcome === 'conflict') continue;
      if (highest > before.highestEpoch) floors.mark(highest);
      if (isOfThisRun && this.#isAwaited(holder)) this.#unheard.delete(holder.hostId);
      this.#account(asked, decision);
      return decision;
    }
    throw new HoldfastError(
      'overloaded',
      'the leases of this sync were changed by others meanwhile',
      {
        retry_after_ms: 1_000,
      },
    );
  }

  #account(asked: SyncRequest['leases'], decision: LeaseSync): void {
    const { metrics, assignments } = this.#ports;
    for (const { resource, unfinished } of asked.draining ?? []) {
      this.#unfinished.set(resource, unfinished);
    }
    const counts = new Map<string, number>();
    for (const { kind, resource } of decision.transitions) {
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
      if (kind !== 'renewed' && kind !== 'pending') {
        this.#unfinished.delete(resource);
        assignments.ownersChanged();
      }
    }
    for (const [transition, count] of counts) {
      metrics.add('holdfast_control_lease_transitions_total', { transition }, count);
    }
  }

  /**
   * What the host has seen, as far as it can be real; one that this store does not know means that
   * grants were lost.
   */
  #seenEpoch(host: SyncedHost, highestEpoch: number): number {
    const { metrics, logger, floors, clock } = this.#ports;
    const reported = host.highWater.epoch;
    const { epochAtStart } = floors;
    const { wallMs } = clock.now();
    const seen = plausibleEpoch(reported, Math.max(highestEpoch, epochAtStart), wallMs);
    if (seen === null) {
      metrics.add('holdfast_control_implausible_reports_total', { kind: 'epoch' });
      logger.warn(
        { hostId: host.hostId, reported, highestEpoch },
        'epoch of a host is implausible',
      );
      return 0;
    }
    const { storedEpoch: storedAtStart } = this.#start;
    const judged = judgeSeenEpoch(seen, { storedAtStart, epochAtStart, highest: highestEpoch });
    if (judged === 'above') {
      // What this run granted is disowned too, and lasts as long as a lease given now.
      this.#rollbackSinceMs = clock.now().bootMs;
      this.#enterRollback(host.hostId, seen, seen);
    } else if (judged === 'lost_before' && this.#recovery.kind !== 'rollback') {
      this.#enterRollback(host.hostId, seen, epochAtStart);
    }
    return seen;
  }

  #enterRollback(hostId: string, seenEpoch: number, disownedEpoch: number): void {
    const { metrics, logger, floors } = this.#ports;
    floors.disown(disownedEpoch);
    if (this.#recovery.kind === 'rollback') return;
    this.#recovery = { kind: 'rollback', startedBootMs: this.#recovery.startedBootMs };
    metrics.add('holdfast_control_rollbacks_total');
    logger.error({ hostId, seenEpoch }, 'a host has seen grants that this store does not know');
  }
}

function namedIn({ acquire, renew, release }: SyncRequest['leases']): string[] {
  return [...acquire, ...[...renew, ...release].map(({ resource }) => resource)];
}

const AUDITED: ReadonlySet<string> = new Set([
  'granted',
  'released',
  'revoked',
  'transfer_given_up',
] satisfies LeaseSync['transitions'][number]['kind'][]);

/**
 * Renewals are not in the trail: they change no right, and there is one for each lease every few
 * seconds.
 */
function auditOf(decision: LeaseSync, host: SyncedHost): AuditDraft[] {
  return decision.transitions.flatMap(({ kind, resource, epoch, replaces }) => {
    if (!AUDITED.has(kind)) return [];
    const { atMs, hostId } = host;
    const detail = { epoch, replaces, hostEpoch: host.hostEpoch };
    return [{ atMs, actor: `host:${hostId}`, action: `lease.${kind}`, target: resource, detail }];
  });
}
