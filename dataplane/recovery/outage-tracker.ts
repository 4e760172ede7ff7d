/**
 * Opens and closes outages as the syncs go (DESIGN 4, "Lose control", "Come back").
 *
 * O1  The first call to control that gets no answer opens one: a sync, or a fresh decision whose
 *     refusal must not be the one thing that no outage explains. Only a successful sync closes it.
 *     There is at most one at a time.
 * O2  It is journaled before anybody here sees it, so that no record names an outage that the
 *     journal does not have. When the journal cannot take it (its disk is full), the outage is in
 *     force all the same and is journaled as soon as that works: that control is away must be known
 *     all the same.
 * O3  One that was open when the sidecar ended is resumed under its id, and stays open until a sync
 *     succeeds. How long control has been out of reach is then counted anew from the start: the
 *     boot clock of the time between is not known to have been without contact.
 */
import { makeId } from '../../shared/core/ids.ts';
import { elapsedMs, type Instant } from '../../shared/core/time.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Random } from '../../shared/platform/random.ts';
import type { Outage, OutageCause } from '../../shared/wire/operation.ts';
import type { OutageAuthority } from '../authority/authority-view.ts';
import { closeOutage, openOutage } from '../core/outage-interval.ts';
import type { JournalFeed } from '../journal/journal-feed.ts';
import type { UpstreamMetrics } from '../upstream/upstream-metrics.ts';

const ID_BYTES = 16;

export type OutageChange = { readonly kind: 'opened' | 'closed'; readonly outage: Outage };

export type AuthorityAt = {
  readonly policyRevision: number | null;
  readonly stalenessMs: number | null;
};

export type OutageTrackerOptions = {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: UpstreamMetrics;
  readonly feed: Pick<JournalFeed, 'recordOutage' | 'openOutage'>;
  /** What was in force when it began. */
  readonly authority: (now: Instant) => AuthorityAt;
};

type Open = { readonly outage: Outage; readonly since: Instant; readonly isJournaled: boolean };

export class OutageTracker implements OutageAuthority {
  readonly #options: OutageTrackerOptions;
  readonly #listeners = new Set<(change: OutageChange) => void>();
  #open: Open | null = null;
  #opening: Promise<void> | null = null;

  constructor(options: OutageTrackerOptions) {
    this.#options = options;
  }

  /** O3. */
  open(): void {
    const outage = this.#options.feed.openOutage();
    if (outage !== null) {
      this.#open = { outage, since: this.#options.clock.now(), isJournaled: true };
      this.#options.logger.warn(
        { outageId: outage.outageId, fromMs: outage.fromMs },
        'resuming the outage that was open when the sidecar ended',
      );
    }
    this.#options.metrics.set('holdfast_outage_open', outage === null ? 0 : 1);
  }

  current(): Outage | null {
    return this.#open?.outage ?? null;
  }

  outOfReachMs(now: Instant): number | null {
    return this.#open === null ? null : (elapsedMs(this.#open.since, now) ?? 0);
  }

  /** Told after the change is journaled and visible. */
  onChange(listener: (change: OutageChange) => void): void {
    this.#listeners.add(listener);
  }

  /** Resolves when the outage is open. Calls that fail at the same time open one together. */
  async callFailed(failure: { cause: OutageCause; detail: string }): Promise<void> {
    this.#opening ??= this.#makeSureOfOne(failure).finally(() => {
      this.#opening = null;
    });
    await this.#opening;
  }

  async #makeSureOfOne(failure: { cause: OutageCause; detail: string }): Promise<void> {
    const { clock, random, logger, metrics } = this.#options;
    if (this.#open !== null) {
      if (!this.#open.isJournaled) {
        this.#open = {
          ...this.#open,
          isJournaled: await this.#record('outage_opened', this.#open.outage),
        };
      }
      return;
    }
    const since = clock.now();
    const outage = openOutage({
      outageId: makeId('out', since.wallMs, random.bytes(ID_BYTES)),
      fromMs: since.wallMs,
      ...failure,
      ...this.#options.authority(since),
    });
    const isJournaled = await this.#record('outage_opened', outage);
    this.#open = { outage, since, isJournaled };
    metrics.add('holdfast_outages_total', { cause: failure.cause });
    metrics.set('holdfast_outage_open', 1);
    logger.warn(
      { outageId: outage.outageId, ...failure },
      'control is out of reach: outage opened',
    );
    this.#tell({ kind: 'opened', outage });
  }

  async syncSucceeded(): Promise<void> {
    if (this.#open === null) return;
    const { clock, logger, metrics } = this.#options;
    const { outage: opened, isJournaled } = this.#open;
    const now = clock.now();
    const outOfReachMs = this.outOfReachMs(now);
    const outage = closeOutage(opened, now.wallMs);
    if (isJournaled || (await this.#record('outage_opened', opened)))
      await this.#record('outage_closed', outage);
    this.#open = null;
    metrics.set('holdfast_outage_open', 0);
    logger.info({ outageId: outage.outageId, outOfReachMs }, 'control is back: outage closed');
    this.#tell({ kind: 'closed', outage });
  }

  /** O2. */
  async #record(kind: 'outage_opened' | 'outage_closed', outage: Outage): Promise<boolean> {
    try {
      await this.#options.feed.recordOutage(kind, outage);
      return true;
    } catch (error) {
      this.#options.logger.error(
        { err: error, outageId: outage.outageId, kind },
        'an outage could not be journaled',
      );
      return false;
    }
  }

  #tell(change: OutageChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}
