/**
 * The leases of this host: the book (`core/lease-book.ts`), its file, and those who wait for an
 * answer.
 *
 * H1  A new epoch is on disk before anybody may act under it; the file of mere renewals is written
 *     without waiting for the disk, because a reboot ends the leases anyway.
 * H2  A process that restarts within the boot keeps its leases; in another boot they have ended.
 * H3  When the wall and the boot clock move apart (a suspend, a step, a restored machine), every
 *     lease ends here at once and control is asked; it is looked at on every reading, not only on
 *     the tick.
 */
import { join } from 'node:path';
import Type from 'typebox';
import type { HeldLease } from '../../shared/core/lease.ts';
import { clockDivergenceMs, type Instant } from '../../shared/core/time.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Task } from '../../shared/platform/task-group.ts';
import type { SyncAnswer } from '../../shared/wire/statements.ts';
import { LeaseBook, type LeaseRef, type LeaseRequest } from '../core/lease-book.ts';
import type { UpstreamMetrics } from '../upstream/upstream-metrics.ts';
import type { LeaseAuthority, LeaseStatus } from './authority-view.ts';
import { StateFile } from './state-file.ts';

export const CLOCK_DIVERGENCE_MS_MAX = 2_000;
const TICK_MS = 1_000;

const InstantSchema = Type.Object({
  wallMs: Type.Number(),
  bootMs: Type.Number(),
  bootId: Type.String(),
});
const ref = { resource: Type.String(), epoch: Type.Integer() };
const LeasesSchema = Type.Object({
  leases: Type.Array(
    Type.Object({
      ...ref,
      bootId: Type.String(),
      endsBootMs: Type.Number(),
      drainEndsBootMs: Type.Optional(Type.Number()),
      ttlMs: Type.Integer(),
    }),
  ),
  epochs: Type.Array(Type.Object(ref)),
  highestEpoch: Type.Integer(),
  storedAt: InstantSchema,
});

export type LeaseKeeperOptions = {
  readonly directory: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: UpstreamMetrics;
};

export class LeaseKeeper implements LeaseAuthority {
  readonly #options: LeaseKeeperOptions;
  readonly #file: StateFile<typeof LeasesSchema>;
  readonly #book = new LeaseBook();
  readonly #waiting = new Map<string, Set<() => void>>();
  #lastLook: Instant;
  #kick: () => void = () => undefined;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
    this.#file = new StateFile(join(options.directory, 'leases.json'), LeasesSchema);
    this.#lastLook = options.clock.now();
  }

  /** Whom to tell that control should be asked soon. */
  onKick(kick: () => void): void {
    this.#kick = kick;
  }

  open(): void {
    const read = this.#file.read();
    if (read.kind === 'read') {
      this.#book.load(read.value, this.#options.clock.now());
      // The machine may have been suspended or restored while nobody looked.
      this.#lastLook = read.value.storedAt;
      this.#look();
    } else if (read.kind === 'damaged') {
      this.#options.logger.error(
        { detail: read.detail },
        'the stored leases are damaged; they count as ended',
      );
    }
    this.#showGauges();
  }

  lease(resource: string): HeldLease | undefined {
    this.#look();
    return this.#book.heldLease(resource);
  }

  statuses(): readonly LeaseStatus[] {
    this.#look();
    const held = this.#book.held().map(({ resource }) => this.#status(resource));
    const wanted = this.#book
      .wanted()
      .filter(({ resource }) => this.#book.heldLease(resource) === undefined);
    return [...held, ...wanted.map(({ resource }) => this.#status(resource))];
  }

  want(resource: string): void {
    if (this.#book.want(resource, this.#look())) this.#kick();
  }

  release(resource: string): void {
    if (!this.#book.release(resource)) return;
    this.#options.logger.info({ resource }, 'lease released');
    this.#options.metrics.add('holdfast_lease_losses_total', { reason: 'released' });
    this.#store({ durably: false });
    this.#wake(resource);
    this.#kick();
  }

  settled(resource: string, timeoutMs: number): Promise<LeaseStatus> {
    if (this.#isSettled(resource)) return Promise.resolve(this.#status(resource));
    return new Promise((resolve) => {
      const waiters = this.#waiting.get(resource) ?? new Set();
      this.#waiting.set(resource, waiters);
      const finish = (): void => {
        timer.cancel();
        waiters.delete(look);
        if (waiters.size === 0) this.#waiting.delete(resource);
        resolve(this.#status(resource));
      };
      const look = (): void => {
        if (this.#isSettled(resource)) finish();
      };
      const timer = this.#options.clock.startTimer(timeoutMs, finish);
      waiters.add(look);
    });
  }

  /** A fencing token that was seen at a guarded write on this host. */
  noteEpoch(seen: LeaseRef): void {
    if (this.#book.noteEpoch(seen)) this.#store({ durably: false });
  }

  highestEpoch(): number {
    return this.#book.highestEpoch();
  }

  draining(): readonly HeldLease[] {
    return this.#book.draining();
  }

  /** Operations under leases that drain, for control to see. */
  noteUnfinished(unfinished: ReadonlyMap<string, number>): void {
    this.#book.noteUnfinished(unfinished);
  }

  shortestTtlMs(): number | null {
    return this.#book.shortestTtlMs(this.#look());
  }

  firstEndMs(): number | null {
    return this.#book.firstEndMs(this.#look());
  }

  request(): LeaseRequest {
    return this.#book.request(this.#look());
  }

  /** What control answered to `asked`, which was sent at `sentAt`. */
  apply(answer: SyncAnswer, asked: LeaseRequest, sentAt: Instant): void {
    const { logger, metrics } = this.#options;
    const now = this.#look();
    const drainedBefore = new Set(this.#book.draining().map(({ resource }) => resource));
    const changes = this.#book.apply(answer, asked, { sentAt, now });
    for (const { resource, epoch } of this.#book.draining()) {
      if (!drainedBefore.has(resource)) logger.info({ resource, epoch }, 'lease is to be drained');
    }
    // H3, for what happened while the answer was on its way.
    if (isDiverged(sentAt, now)) this.#book.endAll(now);
    for (const refused of changes.refused) {
      metrics.add('holdfast_lease_losses_total', { reason: 'epoch_regressed' });
      logger.error(refused, 'lease refused: its epoch is below one that was seen for the resource');
    }
    for (const { resource, epoch, reason } of changes.lost) {
      metrics.add('holdfast_lease_losses_total', { reason });
      logger.warn({ resource, epoch, reason }, 'lease lost');
    }
    // Control waits for the word that this host has stopped.
    if (changes.lost.some(({ reason }) => reason === 'revoked')) this.#kick();
    // H1.
    const isIdle = !changes.mustBeDurable && answer.leases.length === 0;
    const isStored = isIdle || this.#store({ durably: changes.mustBeDurable });
    if (!isStored) this.#book.renounce(changes.granted);
    for (const { resource, epoch } of isStored ? changes.granted : []) {
      metrics.add('holdfast_leases_granted_total');
      logger.info({ resource, epoch }, 'lease granted');
    }
    for (const resource of this.#waiting.keys()) this.#wake(resource);
    this.#showGauges();
  }

  /** Control said that this host has no authority: what it granted ends at once. */
  revoke(): void {
    const ended = this.#book.endAll(this.#look());
    if (ended.length === 0) return;
    const { logger, metrics } = this.#options;
    metrics.add('holdfast_lease_losses_total', { reason: 'revoked' }, ended.length);
    logger.warn({ leases: ended.length }, 'leases end with the authority of this host');
    this.#store({ durably: false });
    this.#showGauges();
  }

  /** H3: a tick, so that a divergence is seen on a host where nobody asks. */
  readonly task: Task = {
    name: 'lease-clock',
    run: async (signal) => {
      while (!signal.aborted) {
        this.#look();
        this.#showGauges();
        await this.#options.clock.sleep(TICK_MS, signal);
      }
    },
  };

  #look(): Instant {
    const now = this.#options.clock.now();
    const earlier = this.#lastLook;
    this.#lastLook = now;
    if (!isDiverged(earlier, now)) return now;
    const divergenceMs = clockDivergenceMs(earlier, now);
    const ended = this.#book.endAll(now);
    this.#options.logger.warn(
      { divergenceMs, leases: ended.length },
      'wall and boot clock moved apart; leases end until control confirms them',
    );
    this.#options.metrics.add('holdfast_clock_divergences_total');
    this.#options.metrics.add(
      'holdfast_lease_losses_total',
      { reason: 'clock_divergence' },
      ended.length,
    );
    this.#store({ durably: false });
    this.#kick();
    return now;
  }

  #isSettled(resource: string): boolean {
    const lease = this.#book.heldLease(resource);
    if (lease !== undefined && this.#look().bootMs < lease.endsBootMs) return true;
    const wanted = this.#book.wantedEntry(resource);
    return wanted === undefined ? lease === undefined : wanted.reason !== null;
  }

  #status(resource: string): LeaseStatus {
    const wanted = this.#book.wantedEntry(resource);
    return {
      resource,
      lease: this.#book.heldLease(resource) ?? null,
      reason: wanted?.reason ?? null,
      holder: wanted?.holder ?? null,
    };
  }

  #wake(resource: string): void {
    for (const look of this.#waiting.get(resource) ?? []) look();
  }

  #store({ durably }: { durably: boolean }): boolean {
    const value = {
      leases: [...this.#book.held()],
      epochs: [...this.#book.epochs()],
      highestEpoch: this.#book.highestEpoch(),
      storedAt: this.#options.clock.now(),
    };
    try {
      if (durably) this.#file.writeDurably(value);
      else this.#file.writeLazily(value);
      return true;
    } catch (error) {
      this.#options.logger.error({ err: error }, 'leases could not be stored');
      return false;
    }
  }

  #showGauges(): void {
    const { bootMs } = this.#options.clock.now();
    const held = this.#book.held().filter(({ endsBootMs }) => bootMs < endsBootMs).length;
    this.#options.metrics.set('holdfast_leases_held', held);
  }
}

function isDiverged(earlier: Instant, now: Instant): boolean {
  return Math.abs(clockDivergenceMs(earlier, now)) > CLOCK_DIVERGENCE_MS_MAX;
}
