/**
 * Opens and closes outages as the syncs go (DESIGN 4, "Lose control", "Come back").
 *
 * O1  The first call to control that gets no answer opens one: a sync, or a fresh decision whose
 *     refusal must not be the one thing that no outage explains. Only a successful sync closes it.
 *     There is at most one at a time.
 * O2  It is journaled before anybody here sees it, so that no record names an outage that the
 *     journal does not have. When the journal cannot take it (its disk is full), the outage is in
 *     force all the same and is journaled as soon as that works: that control is away must be known
 *     all the same. So is the end of one; until then what is journaled names it still. What is
 *     journaled takes its turn: while an entry that opens or closes an outage is on its way to a slow
 *     disk, what is asked of the journal after it stands behind it, and names the outage or none
 *     accordingly (`outageId`). Who is refused by a limit, and answered before the record, can hear an
 *     id that way before the journal has it.
 * O3  One that was open when the sidecar ended is resumed under its id, and stays open until a sync
 *     succeeds. How long control has been out of reach is then counted anew from the start: the
 *     boot clock of the time between is not known to have been without contact.
 * O4  What changes while it is open (how control is missed, the revision in force, a restart of this
 *     sidecar) is a moment of it, journaled at once. Only syncs say how control is missed: a fresh
 *     decision has another time-out, and the two would take turns.
 */
import { makeId } from '../../shared/core/ids.ts';
import { elapsedMs, type Instant } from '../../shared/core/time.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Random } from '../../shared/platform/random.ts';
import type { Outage, OutageCause, OutageMoment } from '../../shared/wire/operation.ts';
import type { OutageAuthority } from '../authority/authority-view.ts';
import {
  closeOutage,
  momentOfFailure,
  momentOfRestart,
  openOutage,
  withMoment,
  type AuthorityAt,
  type OutageEventKind,
} from '../core/outage-interval.ts';
import type { JournalFeed } from '../journal/journal-feed.ts';
import type { UpstreamMetrics } from '../upstream/upstream-metrics.ts';

const ID_BYTES = 16;

export type OutageChange = { readonly kind: 'opened' | 'closed'; readonly outage: Outage };

export type OutageTrackerOptions = {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: UpstreamMetrics;
  readonly feed: Pick<JournalFeed, 'recordOutage' | 'openOutage'>;
  /** What is in force. */
  readonly authority: (now: Instant) => AuthorityAt;
};

type Failure = { readonly cause: OutageCause; readonly detail: string };

type Open = {
  readonly outage: Outage;
  readonly since: Instant;
  /** What the journal does not have yet. */
  readonly unwritten: 'outage_opened' | 'outage_changed' | null;
};

export class OutageTracker implements OutageAuthority {
  readonly #options: OutageTrackerOptions;
  readonly #listeners = new Set<(change: OutageChange) => void>();
  #open: Open | null = null;
  /** O2: as the journal has it once all that it was asked for is written. */
  #outageId: string | null = null;
  /** O2: it is over, and the journal has it open. */
  #unclosed: Outage | null = null;
  #opening: Promise<void> | null = null;
  #closing: Promise<void> | null = null;
  #writing: Promise<void> | null = null;

  constructor(options: OutageTrackerOptions) {
    this.#options = options;
  }

  /** O3. */
  async open(): Promise<void> {
    const { clock, feed, logger, metrics } = this.#options;
    const outage = feed.openOutage();
    metrics.set('holdfast_outage_open', outage === null ? 0 : 1);
    if (outage === null) return;
    const now = clock.now();
    this.#open = { outage, since: now, unwritten: null };
    this.#outageId = outage.outageId;
    logger.warn(
      { outageId: outage.outageId, fromMs: outage.fromMs },
      'resuming the outage that was open when the sidecar ended',
    );
    await this.#note(momentOfRestart(outage, this.#authorityAt(now)));
  }

  current(): Outage | null {
    return this.#open?.outage ?? null;
  }

  outageId(): string | null {
    return this.#outageId;
  }

  outOfReachMs(now: Instant): number | null {
    return this.#open === null ? null : (elapsedMs(this.#open.since, now) ?? 0);
  }

  /** Told after the change is journaled and visible. */
  onChange(listener: (change: OutageChange) => void): void {
    this.#listeners.add(listener);
  }

  /** Resolves when the outage is open. Calls that fail at the same time open one together. */
  async callFailed(failure: Failure): Promise<void> {
    this.#opening ??= this.#makeSureOfOne(failure).finally(() => {
      this.#opening = null;
    });
    await this.#opening;
  }

  /** O4. */
  async syncFailed(failure: Failure): Promise<void> {
    await this.callFailed(failure);
    if (this.#open === null) return;
    const at = this.#authorityAt(this.#options.clock.now());
    const moment = momentOfFailure(this.#open.outage, failure, at);
    if (moment === null) return;
    const { outageId } = this.#open.outage;
    this.#options.logger.warn(
      { outageId, ...failure },
      moment.kind === 'cause_changed'
        ? 'control is out of reach in another way'
        : 'the revision in force has changed while control is out of reach',
    );
    await this.#note(moment);
  }

  async #makeSureOfOne(failure: Failure): Promise<void> {
    // Control was reached after that one was opened: what fails now is in another.
    if (this.#closing !== null) await this.#closing;
    if (this.#open !== null) return this.#write();
    if (this.#unclosed !== null) await this.#closeLate();
    const { clock, random, logger, metrics } = this.#options;
    const since = clock.now();
    const outage = openOutage({
      outageId: makeId('out', since.wallMs, random.bytes(ID_BYTES)),
      fromMs: since.wallMs,
      ...failure,
      ...this.#options.authority(since),
    });
    const recorded = await this.#recordOpening(outage);
    const unwritten = recorded === null ? 'outage_opened' : null;
    this.#open = { outage: recorded ?? outage, since, unwritten };
    metrics.add('holdfast_outages_total', { cause: failure.cause });
    metrics.set('holdfast_outage_open', 1);
    logger.warn(
      { outageId: outage.outageId, ...failure },
      'control is out of reach: outage opened',
    );
    this.#tell({ kind: 'opened', outage: this.#open.outage });
    return undefined;
  }

  async syncSucceeded(): Promise<void> {
    if (this.#open === null && this.#unclosed === null) return;
    this.#closing = this.#close().finally(() => {
      this.#closing = null;
    });
    await this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#open === null) return this.#closeLate();
    const { clock, logger, metrics } = this.#options;
    const now = clock.now();
    const outOfReachMs = this.outOfReachMs(now);
    if (this.#open.unwritten === 'outage_opened') await this.#write();
    const { outage: opened, unwritten } = this.#open;
    const closed = closeOutage(opened, now.wallMs);
    this.#outageId = this.#unclosed?.outageId ?? null;
    const recorded =
      unwritten === 'outage_opened' ? null : await this.#record('outage_closed', closed);
    const outage = recorded ?? closed;
    this.#open = null;
    if (recorded === null && unwritten !== 'outage_opened') this.#isUnclosed(closed);
    metrics.set('holdfast_outage_open', 0);
    const { outageId, tally } = outage;
    logger.info({ outageId, outOfReachMs, tally }, 'control is back: outage closed');
    this.#tell({ kind: 'closed', outage });
    return undefined;
  }

  /** O2: behind the end of the one before it. */
  async #recordOpening(outage: Outage): Promise<Outage | null> {
    if (this.#unclosed !== null) return null;
    this.#outageId = outage.outageId;
    return this.#record('outage_opened', outage);
  }

  #isUnclosed(outage: Outage): void {
    this.#unclosed = outage;
    this.#outageId = outage.outageId;
  }

  /** O2: with the next sync, and before another is opened. */
  async #closeLate(): Promise<void> {
    const outage = this.#unclosed;
    if (outage === null) return;
    this.#unclosed = null;
    this.#outageId = null;
    if ((await this.#record('outage_closed', outage)) === null) this.#isUnclosed(outage);
  }

  #authorityAt(now: Instant): AuthorityAt & { atMs: number } {
    return { atMs: now.wallMs, ...this.#options.authority(now) };
  }

  async #note(moment: OutageMoment): Promise<void> {
    if (this.#open === null) return;
    const { outage, isKept } = withMoment(this.#open.outage, moment);
    const unwritten = this.#open.unwritten ?? (isKept ? 'outage_changed' : null);
    this.#open = { ...this.#open, outage, unwritten };
    await this.#write();
  }

  /** O2: what the journal could not take before, or does not have yet. One write at a time. */
  async #write(): Promise<void> {
    this.#writing ??= this.#writeOnce().finally(() => {
      this.#writing = null;
    });
    await this.#writing;
  }

  async #writeOnce(): Promise<void> {
    if (this.#unclosed !== null) await this.#closeLate();
    const written = this.#open;
    if (written === null || written.unwritten === null) return;
    const { unwritten, outage } = written;
    const recorded = await (unwritten === 'outage_opened'
      ? this.#recordOpening(outage)
      : this.#record(unwritten, outage));
    if (recorded === null || this.#open === null) return;
    const isAll = this.#open.outage === written.outage;
    this.#open = {
      ...this.#open,
      outage: isAll ? recorded : this.#open.outage,
      unwritten: isAll ? null : 'outage_changed',
    };
  }

  /** O2: as the journal has it now; `null` where it could not take it. */
  async #record(kind: OutageEventKind, outage: Outage): Promise<Outage | null> {
    try {
      return await this.#options.feed.recordOutage(kind, outage);
    } catch (error) {
      this.#options.logger.error(
        { err: error, outageId: outage.outageId, kind },
        'an outage could not be journaled',
      );
      return null;
    }
  }

  #tell(change: OutageChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}
