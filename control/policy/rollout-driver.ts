/**
 * Carries a roll-out on: knows which host is to run which revision, looks at the hosts once a
 * second, and writes each step before anybody is served by it (I11).
 *
 * D1  What a step is, `core/rollout.ts` decides; what trouble is, `core/canary-verdict.ts`. Steps are
 *     written one at a time.
 * D2  Time is counted on the boot clock of this run, between two looks. What passed while control
 *     was down makes a stage longer, and hosts are silent only from the start of this run on.
 * D3  A halt is stored first and the return after it, so that a control which ends in between goes
 *     on with the return at its next start.
 */
import type { Clock, Timer } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { Rollout, RolloutStatus } from '../../shared/wire/rollout.ts';
import type { ControlConfig } from '../config.ts';
import { judgeTrials, type Trial, type Trouble } from '../core/canary-verdict.ts';
import type { HostFacts } from '../core/host-facts.ts';
import { placeOf, pickHosts } from '../core/rollout-plan.ts';
import {
  endReturn,
  haltRollout,
  isUnderWay,
  orderRollout,
  stagesSoFar,
  stepRollout,
  targetRevision,
  type Order,
  type Progress,
} from '../core/rollout.ts';
import type { ControlMetrics } from '../metrics.ts';
import type { ControlTime } from '../reports/control-time.ts';
import type { ControlStore, RolloutWrite } from '../store/control-store.ts';
import type { BundleFeed } from './bundle-feed.ts';
import type { HostBook } from './host-book.ts';
import type { PolicyPublisher } from './policy-publisher.ts';
import { describeWait } from './rollout-texts.ts';
import type { StagingLog } from './staging-log.ts';

const LOOK_INTERVAL_MS = 1_000;
/** How often the time that was counted is stored: what was not is counted again after a restart. */
const STORED_EVERY_MS = 10_000;

/** As the audit trail names what control does by itself. */
export const CONTROL_ACTOR = 'control';

type Ports = {
  readonly store: ControlStore;
  readonly publisher: PolicyPublisher;
  readonly book: HostBook;
  readonly feed: BundleFeed;
  readonly time: ControlTime;
  readonly stagings: StagingLog;
  readonly clock: Clock;
  readonly config: ControlConfig;
  readonly metrics: Metrics<ControlMetrics>;
  readonly logger: Logger;
};

export class RolloutDriver {
  readonly #ports: Ports;
  #rollout: Rollout | null = null;
  /** As it is in the store: what a write replaces. */
  #stored: Rollout | null = null;
  #picked: ReadonlySet<string> = new Set();
  #timer: Timer | null = null;
  #lookedAtMs: number;
  #queue: Promise<void> = Promise.resolve();
  #isClosed = false;
  /** Why the document of before is not back in force. */
  #failure: string | null = null;

  constructor(ports: Ports) {
    this.#ports = ports;
    this.#lookedAtMs = ports.clock.now().bootMs;
  }

  async open(): Promise<void> {
    this.#rollout = await this.#ports.store.rollouts.newest();
    this.#stored = this.#rollout;
    this.#pick();
    this.#schedule();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  /** The newest, whether or not it has ended. */
  get rollout(): Rollout | null {
    return this.#rollout;
  }

  /** `null` where every host is to run the newest revision. */
  get underWay(): Rollout | null {
    return this.#rollout !== null && isUnderWay(this.#rollout) ? this.#rollout : null;
  }

  /** The revision that a host is to run; `null` before the first. */
  async target(hostId: string): Promise<number | null> {
    const newest = await this.#ports.store.policy.currentNumber();
    const rollout = this.underWay;
    // Not published yet, or followed by another already.
    if (rollout === null || newest !== rollout.policyRevision) return newest;
    return this.#targetOf(rollout, hostId, this.#ports.book.facts(hostId));
  }

  #targetOf(rollout: Rollout, hostId: string, facts: HostFacts | null): number {
    return targetRevision(rollout, {
      isPicked: this.#picked.has(hostId),
      highWaterRevision: facts?.highWaterRevision ?? 0,
      offeredRevision: facts?.offered?.policyRevision ?? null,
    });
  }

  /**
   * Publishes what `commit` publishes as the beginning of this roll-out. It is in force here before
   * the revision is in the store: no host is to see the one without the other.
   */
  begin<T>(rollout: Rollout, commit: () => Promise<T>): Promise<T> {
    return this.#alone(async () => {
      this.refuseWhileUnderWay();
      const before = this.#rollout;
      this.#rollout = rollout;
      try {
        const committed = await commit();
        this.#noteWritten(rollout);
        return committed;
      } catch (error) {
        this.#rollout = before;
        throw error;
      }
    });
  }

  /** The same, for a publication to all hosts that ends a roll-out, or follows one that has ended. */
  follow<T>(
    commit: (underWay: RolloutWrite['replaces']) => Promise<{ answer: T; ended: Rollout | null }>,
  ): Promise<T> {
    return this.#alone(async () => {
      const { answer, ended } = await commit(this.underWay === null ? null : this.#stored);
      if (ended !== null) this.#noteWritten(ended);
      return answer;
    });
  }

  refuseWhileUnderWay(): void {
    const rollout = this.underWay;
    if (rollout === null) return;
    throw new HoldfastError(
      'rollout_in_progress',
      `revision ${rollout.policyRevision} is being rolled out (${rollout.state}): wait for its end, promote it, or halt it`,
      { policyRevision: rollout.policyRevision },
    );
  }

  #noteWritten(rollout: Rollout): void {
    this.#rollout = rollout;
    this.#stored = rollout;
    this.#lookedAtMs = this.#ports.clock.now().bootMs;
    this.#pick();
    this.#schedule();
  }

  /** A host has said something: what is urgent is not left to the next look. */
  noteSync(facts: HostFacts): void {
    const rollout = this.underWay;
    if (rollout === null || facts.rejected?.policyRevision !== rollout.policyRevision) return;
    void this.look();
  }

  status(): RolloutStatus | null {
    const rollout = this.#rollout;
    if (rollout === null) return null;
    const progress = this.#progress(rollout);
    const waitingFor = describeWait(rollout, progress);
    return { ...rollout, selected: progress.selected, activated: progress.activated, waitingFor };
  }

  /** What a person orders: `rollout_ended` where it does not fit. */
  async order(order: Order, by: { actor: string; policyRevision: number | null }): Promise<void> {
    const { clock } = this.#ports;
    await this.#alone(async () => {
      const rollout = this.#rollout;
      if (rollout === null) {
        throw new HoldfastError('not_found', 'no revision was ever rolled out in stages');
      }
      if (by.policyRevision !== null && by.policyRevision !== rollout.policyRevision) {
        throw new HoldfastError(
          'revision_conflict',
          `the request is about revision ${by.policyRevision}, and revision ${rollout.policyRevision} is the one that was rolled out last`,
          { policyRevision: rollout.policyRevision },
        );
      }
      const ordered = orderRollout(rollout, order, clock.now().wallMs);
      if (ordered.kind === 'refused') throw new HoldfastError('rollout_ended', ordered.detail);
      if (!ordered.isChanged) return;
      if (order.kind === 'halt') await this.#halt(ordered.rollout, by.actor, 'ordered');
      else await this.#write(ordered.rollout, by.actor, `policy.rollout.${ORDERED[order.kind]}`);
    });
  }

  /** Looks at the hosts and takes the steps that are due. */
  async look(): Promise<void> {
    try {
      await this.#alone(() => this.#look());
    } catch (error) {
      this.#ports.logger.error({ err: error }, 'a step of the roll-out failed; it is tried again');
    }
  }

  async #look(): Promise<void> {
    const { clock, logger } = this.#ports;
    const rollout = this.underWay;
    const now = clock.now();
    const watchedMs = now.bootMs - this.#lookedAtMs;
    this.#lookedAtMs = now.bootMs;
    if (rollout === null || this.#isClosed) return;
    this.#pick();
    if (rollout.state === 'halted') {
      await this.#putBack(rollout);
      return;
    }
    const trouble = this.#judge(rollout);
    if (trouble !== null) {
      logger.error({ policyRevision: rollout.policyRevision, ...trouble }, 'roll-out in trouble');
      await this.#halt(haltRollout(rollout, trouble.detail), CONTROL_ACTOR, trouble.kind);
      return;
    }
    const at = { watchedMs, nowMs: now.wallMs };
    const { rollout: next, event } = stepRollout(rollout, this.#progress(rollout), at);
    if (event === 'stage' || event === 'completed') {
      await this.#write(next, CONTROL_ACTOR, `policy.rollout.${event}`);
    } else if (event === 'time' && next.bakedMs - (this.#stored?.bakedMs ?? 0) < STORED_EVERY_MS) {
      this.#rollout = next;
    } else if (event !== 'none') {
      await this.#write(next, CONTROL_ACTOR, null);
    }
  }

  /** D3. */
  async #halt(rollout: Rollout, actor: string, cause: string): Promise<void> {
    const { metrics, logger } = this.#ports;
    await this.#write(rollout, actor, 'policy.rollout.halted');
    metrics.add('holdfast_control_rollout_halts_total', { cause });
    const { policyRevision, reason } = rollout;
    logger.error({ policyRevision, reason, cause }, 'roll-out halted: the document before returns');
    await this.#putBack(rollout);
  }

  async #putBack(rollout: Rollout): Promise<void> {
    const { store, publisher, clock, logger } = this.#ports;
    const { baseRevision, policyRevision } = rollout;
    try {
      const base = await store.policy.fetch(baseRevision);
      if (base === null) throw new Error(`revision ${baseRevision} is not in the store`);
      const prepared = await publisher.prepare(publisher.checkDocument(base.policy), {
        kind: 'replaces',
        policyRevision,
      });
      let ended = rollout;
      await publisher.commit(prepared, {
        actor: CONTROL_ACTOR,
        comment: `roll-out of revision ${policyRevision} halted: ${rollout.reason ?? ''}`.slice(
          0,
          500,
        ),
        action: 'policy.returned',
        detail: { documentOf: baseRevision, halted: policyRevision },
        besides: (revision) => {
          ended = endReturn(rollout, revision.policyRevision, clock.now().wallMs);
          return { rollout: { record: ended, replaces: this.#stored } };
        },
      });
      this.#noteWritten(ended);
      this.#ports.feed.wake();
      this.#failure = null;
    } catch (error) {
      // Tried again at the next look, and said once; meanwhile nobody else is given the revision.
      const failure = error instanceof Error ? error.message : String(error);
      if (failure === this.#failure) return;
      this.#failure = failure;
      logger.error({ err: error, policyRevision, baseRevision }, 'the return is not published yet');
    }
  }

  async #write(rollout: Rollout, actor: string, action: string | null): Promise<void> {
    const { store, feed, clock, logger } = this.#ports;
    const { policyRevision, baseRevision, state, stage, reason } = rollout;
    const detail = { state, stage, baseRevision, reason };
    const target = `policy/${policyRevision}`;
    const entry = { atMs: clock.now().wallMs, actor, target, detail };
    const written = { record: rollout, replaces: this.#stored };
    const audit = action === null ? [] : [{ ...entry, action }];
    const atMs = this.#ports.time.nowMs();
    const inForce =
      state === 'completed'
        ? [{ atMs, hostId: null, policyRevision, cause: 'completed' as const }]
        : [];
    if ((await store.rollouts.write(written, audit, inForce)) === 'conflict') {
      // Another control took a step: go on from there.
      this.#rollout = await store.rollouts.newest();
      this.#stored = this.#rollout;
      throw new HoldfastError('rollout_ended', 'the roll-out was changed meanwhile: look again');
    }
    this.#rollout = rollout;
    this.#stored = rollout;
    this.#pick();
    if (action === null) return;
    logger.info({ policyRevision, ...detail, actor, action }, 'the roll-out was changed');
    feed.wake();
  }

  #judge(rollout: Rollout): Trouble | null {
    const { book, config, clock } = this.#ports;
    const { policyRevision: candidate, baseRevision: base } = rollout;
    const now = clock.now();
    const trials: Trial[] = [];
    const others = { hosts: 0, silent: 0 };
    for (const [hostId, host] of book.hosts()) {
      const silentMs = book.silentMs(hostId, now);
      if (this.#isTrial(hostId, host.facts, candidate)) {
        trials.push({ hostId, hostName: host.hostName, facts: host.facts, silentMs });
        continue;
      }
      others.hosts += 1;
      if (silentMs >= config.hostLostAfterMs) others.silent += 1;
    }
    return judgeTrials({ candidate, base }, trials, others, config.hostLostAfterMs);
  }

  #isTrial(hostId: string, facts: HostFacts, candidate: number): boolean {
    return (
      this.#picked.has(hostId) ||
      facts.offered?.policyRevision === candidate ||
      facts.highWaterRevision >= candidate
    );
  }

  #progress(rollout: Rollout): Progress {
    const { book, config, clock } = this.#ports;
    const now = clock.now();
    const progress = { selected: 0, behind: 0, activated: 0, proving: 0 };
    for (const [hostId, { facts }] of book.hosts()) {
      if (!this.#isTrial(hostId, facts, rollout.policyRevision)) continue;
      progress.selected += 1;
      const silentMs = book.silentMs(hostId, now);
      if (facts.policyRevision === rollout.policyRevision) {
        progress.activated += 1;
        if (silentMs < config.hostLateAfterMs) progress.proving += 1;
      } else if (silentMs < config.hostLostAfterMs) progress.behind += 1;
    }
    return progress;
  }

  /** Of the hosts in contact: one that is away cannot try anything. */
  #pick(): void {
    const { book, config, clock } = this.#ports;
    const rollout = this.underWay;
    if (rollout === null) {
      this.#picked = new Set();
      this.#ports.stagings.forget();
      return;
    }
    const now = clock.now();
    const candidates = [...book.hosts().keys()].flatMap((hostId) =>
      book.silentMs(hostId, now) < config.hostLostAfterMs
        ? [{ hostId, labels: book.labels(hostId), place: placeOf(rollout.policyRevision, hostId) }]
        : [],
    );
    this.#picked = pickHosts(stagesSoFar(rollout), candidates);
    const targets = [...book.hosts()].filter(
      ([hostId, { facts }]) => this.#targetOf(rollout, hostId, facts) === rollout.policyRevision,
    );
    this.#ports.stagings.note(rollout, new Set(targets.map(([hostId]) => hostId)));
  }

  #schedule(): void {
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#isClosed || this.underWay === null) return;
    this.#timer = this.#ports.clock.startTimer(LOOK_INTERVAL_MS, () => {
      void this.look().finally(() => this.#schedule());
    });
  }

  /** D1. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(work);
    this.#queue = run.then(
      () => {},
      () => {},
    );
    return run;
  }
}

const ORDERED = { promote: 'promoted', pause: 'paused', resume: 'resumed' } as const;
