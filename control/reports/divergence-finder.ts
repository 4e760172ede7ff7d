/**
 * Makes decisions that hosts have reported again under what was in force at their instant. It runs
 * behind the intake: a report is acknowledged before, and waits for nothing here.
 *
 * F1  The place up to which it has looked is stored together with what it found: nothing is left out
 *     over a restart, and what is found twice is the same divergence.
 * F2  It works in pages and slices, with memory that does not grow with the backlog.
 * F3  What fails is tried again and shown; the intake goes on.
 */
import type { CompiledPolicy } from '../../shared/core/policy.ts';
import { SECOND_MS, MINUTE_MS } from '../../shared/core/time.ts';
import type { Clock, Timer } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import { checkPublishedPolicySteps } from '../../shared/platform/policy-gate.ts';
import { giveWay, runInSlices } from '../../shared/platform/slices.ts';
import type { Divergence, Reevaluation } from '../../shared/wire/divergences.ts';
import { givenOutMs, type InForce } from '../core/authority-timeline.ts';
import { placeDecision, type PlacingBounds } from '../core/decision-instant.ts';
import { reevaluate } from '../core/divergence.ts';
import { foundDivergence } from '../core/found-divergence.ts';
import { CLOCK_SKEW_SECONDS, TOKEN_LIFETIME_SECONDS_MAX } from '../core/host-request.ts';
import { reportedDecision } from '../core/reported-decision.ts';
import type { Anchor } from '../core/sync-anchors.ts';
import type { ControlMetrics } from '../metrics.ts';
import type { NoticeBoard } from '../notices/notice-board.ts';
import { Pacer } from '../policy/pacer.ts';
import type { ControlStore } from '../store/control-store.ts';
import type { DecisionRow } from '../store/divergence-store.ts';
import type { ControlTime } from './control-time.ts';

const WINDOW_EVENTS = 2_000;
const PAGE_DECISIONS = 200;
const ENTRIES_MAX = 1_000;
const POLICIES_KEPT = 8;
const MARK_EVERY_MS = MINUTE_MS;
const RETRY_MS = 5 * SECOND_MS;
/** Two readings of a boot clock: a resume is seen up to 20 ms late, and the kernel tells hundredths. */
const READING_MS = 60;
/** A journal turns writes away that would wait for seconds. */
const QUEUE_MS_MAX = MINUTE_MS;

type Ports = {
  readonly store: ControlStore;
  readonly time: ControlTime;
  readonly notices: NoticeBoard;
  readonly clock: Clock;
  readonly config: { readonly drift: number };
  readonly metrics: Metrics<ControlMetrics>;
  readonly logger: Logger;
};

type HostKnown = { readonly entries: readonly InForce[]; readonly anchors: readonly Anchor[] };

export class DivergenceFinder {
  readonly #ports: Ports;
  readonly #bounds: PlacingBounds;
  readonly #policies = new Map<number, CompiledPolicy | null>();
  #running: Promise<void> | null = null;
  #isAsked = false;
  #isClosed = false;
  #retry: Timer | null = null;
  #failure: string | null = null;
  #markedMs = Number.NEGATIVE_INFINITY;

  constructor(ports: Ports) {
    this.#ports = ports;
    this.#bounds = {
      drift: ports.config.drift,
      readingMs: READING_MS,
      queueMsMax: QUEUE_MS_MAX,
      transitMsMax: (TOKEN_LIFETIME_SECONDS_MAX + 2 * CLOCK_SKEW_SECONDS) * SECOND_MS,
    };
    ports.notices.onRewound(() => this.wake());
  }

  /** There is something new. */
  wake(): void {
    this.#isAsked = true;
    if (this.#running !== null || this.#isClosed) return;
    this.#running = this.#run().finally(() => {
      this.#running = null;
      if (this.#isAsked && this.#failure === null) this.wake();
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#retry?.cancel();
    await this.#running;
  }

  async progress(): Promise<Reevaluation> {
    const { place, newest } = await this.#ports.store.divergences.progress();
    return { behindEvents: Math.max(0, newest - place), failure: this.#failure };
  }

  async #run(): Promise<void> {
    const pacer = new Pacer(this.#ports.clock);
    try {
      do this.#isAsked = false;
      while (!this.#isClosed && ((await this.#page(pacer)) || this.#isAsked));
      this.#failure = null;
    } catch (error) {
      // F3.
      const failure = error instanceof Error ? error.message : String(error);
      const { clock, logger } = this.#ports;
      if (failure !== this.#failure)
        logger.error({ err: error }, 'decisions are not made again; it is tried again');
      this.#failure = failure;
      if (!this.#isClosed) this.#retry = clock.startTimer(RETRY_MS, () => this.wake());
    }
  }

  /** F1; whether there is more. */
  async #page(pacer: Pacer): Promise<boolean> {
    const { store, time } = this.#ports;
    const nowMs = time.nowMs();
    const { place, newest } = await store.divergences.progress();
    if (place >= newest) return false;
    const { rows, toPlace } = await store.divergences.decisionsAfter(place, {
      window: WINDOW_EVENTS,
      limit: PAGE_DECISIONS,
    });
    const hosts = new Map<string, HostKnown>();
    const found: Divergence[] = [];
    for (const row of rows) {
      const divergence = await this.#lookAt(row, hosts, nowMs);
      if (divergence !== null) found.push(divergence);
      await pacer.breathe();
    }
    const isMarked = nowMs - this.#markedMs >= MARK_EVERY_MS;
    const mark = isMarked ? { atMs: nowMs, place: newest } : null;
    const written = { fromPlace: place, toPlace, found, mark };
    // A conflict: a notice has taken it back meanwhile, and the next page begins there.
    if ((await store.divergences.record(written)) === 'ok') {
      if (isMarked) this.#markedMs = nowMs;
      this.#count(found);
    }
    return true;
  }

  async #lookAt(
    row: DecisionRow,
    hosts: Map<string, HostKnown>,
    nowMs: number,
  ): Promise<Divergence | null> {
    const { metrics, notices, time, clock } = this.#ports;
    const told = (outcome: string) =>
      metrics.add('holdfast_control_reevaluations_total', { outcome });
    const reported = reportedDecision(row);
    if (reported.kind !== 'decided') {
      told(reported.kind);
      return null;
    }
    const { recorded, moment } = reported;
    const { entries, anchors } = await this.#known(row, hosts);
    const { policyRevision } = recorded;
    const given = givenOutMs(entries, policyRevision);
    const known = { anchors, scales: time.scales, givenOutMs: given, nowMs };
    const placed = placeDecision(moment, known, this.#bounds);
    const policies = await this.#policiesFor(entries, placed, policyRevision);
    const timeline = { entries, notices: notices.notices() };
    const found = reevaluate(recorded, timeline, placed, (one) => policies.get(one) ?? null);
    if (!('certainty' in found)) {
      told(found.kind);
      return null;
    }
    told(found.certainty);
    const refusal = row.body['refusal'] as { readonly refusalId?: string } | undefined;
    return foundDivergence(recorded, found, placed, {
      operationId: row.operationId,
      refusalId: row.kind === 'refused' ? (refusal?.refusalId ?? null) : null,
      outageId: row.outageId,
      claimedAtMs: row.atMs,
      foundAtMs: clock.now().wallMs,
    });
  }

  async #known(row: DecisionRow, hosts: Map<string, HostKnown>): Promise<HostKnown> {
    const key = `${row.hostId} ${row.hostEpoch}`;
    const held = hosts.get(key);
    if (held !== undefined) return held;
    const { timeline } = this.#ports.store;
    const known = {
      entries: await timeline.inForce(row.hostId, ENTRIES_MAX),
      anchors: await timeline.anchors(row),
    };
    hosts.set(key, known);
    return known;
  }

  /** Those that may have been in force, and the one that it was decided by. */
  async #policiesFor(
    entries: readonly InForce[],
    { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
    own: number,
  ): Promise<ReadonlyMap<number, CompiledPolicy | null>> {
    const before = entries.findLastIndex(({ atMs }) => atMs <= fromMs);
    const during = entries.slice(Math.max(0, before)).filter(({ atMs }) => atMs <= toMs);
    const needed = new Set([own, ...during.map(({ policyRevision }) => policyRevision)]);
    const policies = new Map<number, CompiledPolicy | null>();
    for (const revision of needed) policies.set(revision, await this.#policy(revision));
    return policies;
  }

  async #policy(policyRevision: number): Promise<CompiledPolicy | null> {
    let policy = this.#policies.get(policyRevision);
    if (policy === undefined) {
      const stored = await this.#ports.store.policy.fetch(policyRevision);
      const check =
        stored === null
          ? null
          : await runInSlices(checkPublishedPolicySteps(stored.policy), giveWay);
      policy = check?.ok === true ? check.compiled : null;
    }
    // The one that was used last is forgotten last.
    this.#policies.delete(policyRevision);
    this.#policies.set(policyRevision, policy);
    for (const oldest of this.#policies.keys()) {
      if (this.#policies.size <= POLICIES_KEPT) break;
      this.#policies.delete(oldest);
    }
    return policy;
  }

  #count(found: readonly Divergence[]): void {
    const { metrics, logger } = this.#ports;
    for (const { kind } of found) metrics.add('holdfast_control_divergences_total', { kind });
    const [first] = found;
    if (first === undefined) return;
    const { divergenceId, hostId } = first;
    logger.warn({ count: found.length, divergenceId, hostId }, 'decisions of hosts diverge');
  }
}
