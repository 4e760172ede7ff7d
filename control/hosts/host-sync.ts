/**
 * The regular exchange with a host: its state vector in, what it lacks out, signed and bound to its
 * request.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import type { Signer } from '../../shared/platform/signatures.ts';
import {
  STATEMENT_TYPES,
  type LeaseToken,
  type SyncAnswer,
  type SyncRequest,
} from '../../shared/wire/statements.ts';
import type { ControlConfig } from '../config.ts';
import { plausibleRevision } from '../core/floors.ts';
import { foldReport, isOtherThan } from '../core/host-facts.ts';
import type { ApprovalDesk } from '../approvals/approval-desk.ts';
import type { Placement } from '../leases/placement.ts';
import type { Allotter } from '../leases/allotter.ts';
import type { Lessor } from '../leases/lessor.ts';
import type { FloorKeeper } from '../leases/floor-keeper.ts';
import type { ControlMetrics } from '../metrics.ts';
import type { HostBook } from '../policy/host-book.ts';
import type { RolloutDriver } from '../policy/rollout-driver.ts';
import type { ControlStore, HostRecord, SyncedHost } from '../store/control-store.ts';
import type { HealthBook } from './health-book.ts';
import type { SilenceWatch } from './silence-watch.ts';
import type { NoticeDesk } from '../notices/notice-desk.ts';
import type { AnchorKeeper } from '../reports/anchor-keeper.ts';
import type { ControlTime } from '../reports/control-time.ts';
import type { StopOrders } from '../reports/stop-orders.ts';
import type { HostCaller } from './host-authenticator.ts';

type Ports = {
  readonly store: ControlStore;
  readonly lessor: Lessor;
  readonly driver: RolloutDriver;
  readonly book: HostBook;
  readonly healthBook: HealthBook;
  readonly placement: Placement;
  readonly silences: Pick<SilenceWatch, 'heard'>;
  readonly allotter: Allotter;
  readonly time: ControlTime;
  readonly anchors: AnchorKeeper;
  readonly stops: StopOrders;
  readonly approvals: ApprovalDesk;
  readonly noticeDesk: NoticeDesk;
  readonly floors: FloorKeeper;
  readonly clock: Clock;
  readonly signer: Signer;
  readonly controlId: string;
  readonly config: ControlConfig;
  readonly metrics: Metrics<ControlMetrics>;
  readonly logger: Logger;
};

export class HostSync {
  readonly #ports: Ports;

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  /** The signed `SyncAnswer`. */
  async sync(caller: HostCaller, request: SyncRequest): Promise<string> {
    const { lessor, placement, signer, controlId, config, metrics, driver, book } = this.#ports;
    const { host, claims } = caller;
    const heardMs = this.#ports.time.nowMs();
    try {
      const target = await driver.target(host.hostId);
      const known = book.facts(host.hostId);
      const facts = foldReport(known, request, {
        targetRevision: target,
        nowMs: this.#ports.clock.now().wallMs,
      });
      const state = { ...(await this.#stateOf(caller, request)), facts };
      const isOfThisRun = request.runId === lessor.runId;
      const leases = await lessor.sync(state, request.leases, {
        isNews: isNews(host, state) || isOtherThan(known, facts),
        isOfThisRun,
      });
      this.#ports.anchors.note(host, request, heardMs);
      book.note(host, facts, this.#ports.clock.now());
      this.#ports.healthBook.note(host.hostId, request.health, this.#ports.clock.now());
      driver.noteSync(facts);
      placement.heard(host.hostId);
      this.#ports.silences.heard(host.hostId);
      const allotments = await this.#allot(caller, request, isOfThisRun);
      const stop = await this.#ports.stops.forHost(host.hostId);
      const answer: SyncAnswer = {
        nonce: claims.nonce,
        hostId: host.hostId,
        controlId,
        runId: lessor.runId,
        // Read after the commit: as new as it can be when it leaves.
        policyRevision: await driver.target(host.hostId),
        leases: leases.leases,
        lost: leases.lost,
        pending: leases.pending,
        ...(leases.drain === undefined || leases.drain.length === 0 ? {} : { drain: leases.drain }),
        ...(allotments === undefined ? {} : { allotments }),
        approvals: [...(await this.#ports.approvals.statementsFor(host))],
        // Last of what is read: none that was given before this answer is left out of it.
        notices: await this.#ports.noticeDesk.forHost(host, request.notices),
        ...(await this.#tokens(caller, request, leases.leases)),
        ...(stop.length === 0 ? {} : { stop: [...stop] }),
        drift: config.drift,
        asksHealth: true,
        ackedSeq: host.ackedSeq,
      };
      const statement = await signer.sign(STATEMENT_TYPES.sync, answer);
      metrics.add('holdfast_control_syncs_total', { outcome: 'ok' });
      return statement;
    } catch (error) {
      metrics.add('holdfast_control_syncs_total', { outcome: 'failed' });
      throw error;
    }
  }

  async #allot(
    { host, claims }: HostCaller,
    { allotments }: SyncRequest,
    isOfThisRun: boolean,
  ): Promise<SyncAnswer['allotments']> {
    const { allotter } = this.#ports;
    if (allotments !== undefined) return allotter.sync(host, claims.nonce, allotments);
    if (isOfThisRun) allotter.heardWithout(host);
    return undefined;
  }

  /** Only for those that are asked for: each is a signature. */
  async #tokens(
    { host }: HostCaller,
    { leases: { tokens: wanted = [] } }: SyncRequest,
    leases: SyncAnswer['leases'],
  ): Promise<Pick<SyncAnswer, 'tokens'>> {
    if (wanted.length === 0) return {};
    const { clock, signer, controlId } = this.#ports;
    const names = new Set(wanted);
    const iat = Math.floor(clock.now().wallMs / 1_000);
    const tokens = leases
      .filter(({ resource }) => names.has(resource))
      .map(async ({ resource, epoch, ttlMs }) => {
        const granted: LeaseToken = {
          controlId,
          hostId: host.hostId,
          resource,
          epoch,
          iat,
          ttlMs,
        };
        return { resource, token: await signer.sign(STATEMENT_TYPES.lease, granted) };
      });
    return { tokens: await Promise.all(tokens) };
  }

  async #stateOf({ host }: HostCaller, request: SyncRequest): Promise<SyncedHost> {
    const { clock, store, floors, metrics, logger } = this.#ports;
    const newest = (await store.policy.currentNumber()) ?? 0;
    // One that it could not put in force was given to it as well.
    const { highWater, policyRejected, activationDeaths } = request;
    let seen = 0;
    for (const told of [highWater, policyRejected, activationDeaths]) {
      const reported = told?.policyRevision ?? 0;
      const plausible = plausibleRevision(reported, Math.max(newest, floors.policyRevision));
      if (plausible === null) {
        metrics.add('holdfast_control_implausible_reports_total', { kind: 'policy_revision' });
        logger.warn({ hostId: host.hostId, reported, newest }, 'revision of a host is implausible');
      }
      seen = Math.max(seen, plausible ?? 0);
    }
    return {
      hostId: host.hostId,
      hostEpoch: host.hostEpoch,
      atMs: clock.now().wallMs,
      sidecarVersion: request.sidecarVersion,
      policyRevision: request.policyRevision,
      policyRejected: request.policyRejected,
      highWater: { policyRevision: seen, epoch: request.highWater.epoch },
      journalSeq: request.journal.seq,
      operations: request.journal.operations,
    };
  }
}

/**
 * Whether it says what a restart must know. When it was last heard, its counts and the position of
 * its journal may be a second old then: it says them again.
 */
function isNews(known: HostRecord, now: SyncedHost): boolean {
  return (
    known.lastSyncAtMs === null ||
    known.policyRevision !== now.policyRevision ||
    known.sidecarVersion !== now.sidecarVersion ||
    known.policyRejected?.policyRevision !== now.policyRejected?.policyRevision ||
    known.highWater.policyRevision < now.highWater.policyRevision ||
    known.highWater.epoch < now.highWater.epoch
  );
}
