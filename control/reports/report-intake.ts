/**
 * Takes in the journals of hosts (I12): in order, once, chained, and projected in the same
 * transaction.
 *
 * Everything that was acknowledged is stored as it came. What cannot be read is stored too, listed,
 * and does not stop what follows it: one bad record must not hide a whole outage.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import { entryHash } from '../../shared/platform/entry-hash.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import type { Signer } from '../../shared/platform/signatures.ts';
import { giveWay, runInSlices } from '../../shared/platform/slices.ts';
import type { Steps } from '../../shared/core/steps.ts';
import { FIRST_PREVIOUS_HASH, type Outage, type Refusal } from '../../shared/wire/operation.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { STATEMENT_TYPES, type ReportAnswer } from '../../shared/wire/statements.ts';
import {
  projectEvent,
  type EventSource,
  type ProjectedOperation,
  type ReadEvent,
} from '../core/operation-projection.ts';
import { OutageTallies } from '../core/outage-tally.ts';
import { checkContinuity, type ReportPosition } from '../core/report-continuity.ts';
import type { HostCaller } from '../hosts/host-authenticator.ts';
import type { ControlMetrics } from '../metrics.ts';
import type {
  AuditDraft,
  ControlStore,
  HostRecord,
  ReportWrite,
  StoredEvent,
} from '../store/control-store.ts';
import type { DivergenceFinder } from './divergence-finder.ts';
import { projectApprovals, saysOfApproval } from './approval-projection.ts';
import { readEvent, storable, type ReportedEvent } from './event-reader.ts';

type Ports = {
  readonly store: ControlStore;
  readonly clock: Clock;
  readonly signer: Signer;
  readonly metrics: Metrics<ControlMetrics>;
  readonly logger: Logger;
  /** There are new events. */
  readonly finder: Pick<DivergenceFinder, 'wake'>;
};

const TRIES_MAX = 4;

export class ReportIntake {
  readonly #ports: Ports;
  /** By host, the conflict last told: a host repeats its report, and the trail says it once. */
  readonly #conflicts = new Map<string, string>();

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  /** The signed `ReportAnswer`; `report_gap`, `report_conflict`, or `host_epoch_stale`. */
  async take(caller: HostCaller, events: readonly ReportedEvent[]): Promise<string> {
    const { signer, metrics } = this.#ports;
    try {
      const { ackedSeq, outcome } = await this.#take(caller, events);
      const { nonce } = caller.claims;
      const answer: ReportAnswer = { nonce, hostId: caller.host.hostId, ackedSeq };
      const statement = await signer.sign(STATEMENT_TYPES.report, answer);
      metrics.add('holdfast_control_reports_total', { outcome });
      return statement;
    } catch (error) {
      const outcome = error instanceof HoldfastError ? error.code : 'failed';
      metrics.add('holdfast_control_reports_total', { outcome });
      throw error;
    }
  }

  async #take(caller: HostCaller, events: readonly ReportedEvent[]) {
    const forged = await runInSlices(firstForged(events), giveWay);
    if (forged !== null) {
      const what = 'has a hash that is not that of its content';
      throw await this.#conflict(caller.host, forged, what);
    }
    const { hostId, hostEpoch } = caller.host;
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const host = await this.#ports.store.hosts.fetch(hostId);
      if (host === null || host.hostEpoch !== hostEpoch) {
        throw new HoldfastError('host_epoch_stale', `host ${hostId} was enrolled again since`);
      }
      const taken = await this.#append(host, events);
      if (taken !== null) return taken;
    }
    throw new HoldfastError(
      'overloaded',
      'reports of this host arrive faster than they are stored',
      {
        retry_after_ms: 1_000,
      },
    );
  }

  /** `null` where another report of this host was stored meanwhile. */
  async #append(host: HostRecord, events: readonly ReportedEvent[]) {
    const { store, clock, logger, metrics } = this.#ports;
    const { hostId, hostEpoch, acked } = host;
    const fromSeq = events[0]?.seq ?? acked.seq;
    const storedHashes =
      fromSeq < acked.seq
        ? await store.reports.hashesOf(host, { fromSeq, toSeq: acked.seq })
        : new Map<number, string>();
    const continuity = checkContinuity(acked, events, {
      hostEpoch,
      firstHash: FIRST_PREVIOUS_HASH,
      storedHashes,
    });
    switch (continuity.kind) {
      case 'duplicate':
        return { ackedSeq: acked.seq, outcome: 'duplicate' };
      case 'gap':
        throw new HoldfastError(
          'report_gap',
          `expected seq ${continuity.expectedSeq}, got ${continuity.gotSeq}: send from there`,
        );
      case 'conflict':
        throw await this.#conflict(host, continuity.seq, continuity.detail);
      case 'accept':
    }
    const fresh = events.slice(continuity.fromIndex);
    const last = fresh.at(-1);
    if (last === undefined) return { ackedSeq: acked.seq, outcome: 'duplicate' };
    const receivedAtMs = clock.now().wallMs;
    const projection = await this.#project(host, fresh, receivedAtMs);
    const position: ReportPosition = { hostEpoch, seq: last.seq, hash: last.hash };
    const outcome = await store.reports.append({
      hostId,
      hostEpoch,
      follows: acked,
      position,
      receivedAtMs,
      ...projection,
      audit: lossEntry(host, continuity.lost, receivedAtMs),
    });
    if (outcome === 'conflict') return null;
    this.#ports.finder.wake();
    const unreadable = projection.events.filter(({ problem }) => problem !== null);
    metrics.add(
      'holdfast_control_report_events_total',
      { readable: 'yes' },
      fresh.length - unreadable.length,
    );
    metrics.add('holdfast_control_report_events_total', { readable: 'no' }, unreadable.length);
    for (const { event, problem } of unreadable) {
      logger.warn(
        { hostId, seq: event.seq, kind: event.kind, problem },
        'reported event cannot be read',
      );
    }
    if (continuity.lost !== null) {
      logger.error(
        { hostId, hostEpoch, ...continuity.lost },
        'events of a host were never reported',
      );
    }
    return { ackedSeq: position.seq, outcome: 'stored' };
  }

  async #project(host: HostRecord, reported: readonly ReportedEvent[], receivedAtMs: number) {
    const { store } = this.#ports;
    const ids = new Set<string>();
    for (const { operationId } of reported) if (operationId !== null) ids.add(operationId);
    const known = new Map(await store.reports.operations([...ids]));
    const { hostId, hostEpoch } = host;
    const steps = projectSteps(reported, known, { hostId, hostEpoch });
    const { ofApprovals, ...projection } = await runInSlices(steps, giveWay);
    const source = { hostId, hostEpoch, receivedAtMs };
    const approvals = await projectApprovals(store.approvals, ofApprovals, source);
    return { ...projection, approvals };
  }

  async #conflict(host: HostRecord, seq: number, detail: string): Promise<HoldfastError> {
    const { logger, store, clock } = this.#ports;
    const { hostId, hostName, hostEpoch, acked } = host;
    logger.error({ hostId, seq, detail }, 'report contradicts the chain');
    const told = `${hostEpoch} ${seq} ${detail}`;
    if (this.#conflicts.get(hostId) !== told) {
      await store.reports.recordRefused({
        atMs: clock.now().wallMs,
        actor: `host:${hostId}`,
        action: 'report.conflict',
        target: hostName,
        detail: { hostEpoch, seq, ackedSeq: acked.seq, problem: detail },
      });
      this.#conflicts.set(hostId, told);
    }
    return new HoldfastError('report_conflict', `event ${seq} ${detail}`);
  }
}

/** So many events between two looks at the time. */
const EVENTS_BETWEEN_PAUSES = 32;

/**
 * Each event's hash is over its own content: what was changed on the way or at rest does not pass.
 * The number of the first that does not.
 */
function* firstForged(events: readonly ReportedEvent[]): Steps<number | null> {
  for (const [index, event] of events.entries()) {
    if (index % EVENTS_BETWEEN_PAUSES === 0) yield;
    if (entryHash(event.previousHash, event) !== event.hash) return event.seq;
  }
  return null;
}

type Projection = Pick<
  ReportWrite,
  'events' | 'operations' | 'refusals' | 'outages' | 'tallies'
> & {
  readonly ofApprovals: readonly ReadEvent[];
};

/** `known` are the operations that the events are about, as they are stored. */
function* projectSteps(
  reported: readonly ReportedEvent[],
  known: Map<string, ProjectedOperation>,
  source: EventSource,
): Steps<Projection> {
  const changed = new Map<string, ProjectedOperation>();
  const refusals: Refusal[] = [];
  const outages: Outage[] = [];
  const tallies = new OutageTallies();
  const ofApprovals: ReadEvent[] = [];
  const events: StoredEvent[] = [];
  for (const [index, event] of reported.entries()) {
    if (index % EVENTS_BETWEEN_PAUSES === 0) yield;
    const reading = readEvent(event);
    if (!reading.ok) {
      events.push({ event: storable(event), problem: reading.problem });
      continue;
    }
    const operation = known.get(event.operationId ?? '');
    const projected = projectEvent(operation, reading.event, source);
    const problem = projected.kind === 'unreadable' ? projected.problem : null;
    events.push({ event, problem });
    if (problem === null)
      tallies.count(event, projected.kind === 'refusal' ? projected.refusal.count : 1);
    if (projected.kind === 'operation') {
      known.set(projected.operation.operationId, projected.operation);
      changed.set(projected.operation.operationId, projected.operation);
      if (saysOfApproval(reading.event)) ofApprovals.push(reading.event);
    } else if (projected.kind === 'refusal') refusals.push(projected.refusal);
    else if (projected.kind === 'outage') outages.push(projected.outage);
  }
  const operations = [...changed.values()];
  return { events, operations, refusals, outages, tallies: tallies.all, ofApprovals };
}

function lossEntry(
  host: HostRecord,
  lost: { from: number; to: number } | null,
  atMs: number,
): AuditDraft[] {
  if (lost === null) return [];
  const { hostId, hostEpoch } = host;
  return [
    {
      atMs,
      actor: `host:${hostId}`,
      action: 'report.lost',
      target: host.hostName,
      detail: { hostEpoch, fromSeq: lost.from, toSeq: lost.to },
    },
  ];
}
