/**
 * The journal as the upstream parts see it, in memory: it survives a restart of them, not of the
 * test.
 */
import { eventHash } from '../../shared/platform/entry-hash.ts';
import {
  FIRST_PREVIOUS_HASH,
  type EventKind,
  type JournalEvent,
  type Outage,
} from '../../shared/wire/operation.ts';
import type { Report } from '../../shared/wire/report-lines.ts';
import type { OutageEventKind } from '../../dataplane/core/outage-interval.ts';
import type { JournalFeed, JournalHead } from '../../dataplane/journal/journal-feed.ts';

export class MemoryJournalFeed implements JournalFeed {
  events: JournalEvent[] = [];
  /** Entries up to this one were removed by retention. */
  prunedSeq = 0;
  acknowledged = 0;
  /** What control was said to hold, where that proves a loss. */
  behindControl: number | null = null;
  /** Set, every write fails with it. */
  failure: Error | null = null;
  readonly #listeners: (() => void)[] = [];
  #openOutage: Outage | null = null;

  head(): JournalHead {
    const last = this.events.at(-1);
    return { seq: last?.seq ?? 0, hash: last?.hash ?? FIRST_PREVIOUS_HASH };
  }

  operationCounts(): Readonly<Record<string, number>> {
    return { accepted: 1 };
  }

  ackedSeq(): number {
    return this.acknowledged;
  }

  reportAfter(seq: number, limit: number): Report {
    const from = Math.max(seq, this.prunedSeq);
    const entries = this.events.filter((event) => event.seq > from).slice(0, limit);
    return {
      previousHash: this.events.find((event) => event.seq === from)?.hash ?? FIRST_PREVIOUS_HASH,
      entries: entries.map(({ body, previousHash: _previousHash, ...entry }) => ({
        ...entry,
        bodyText: JSON.stringify(body),
      })),
    };
  }

  async acknowledge(seq: number): Promise<void> {
    await Promise.resolve();
    if (seq > this.head().seq) this.behindControl = seq;
    else this.acknowledged = Math.max(this.acknowledged, seq);
  }

  async recordOutage(kind: OutageEventKind, outage: Outage): Promise<Outage> {
    await this.#write(kind, { outage });
    this.#openOutage = kind === 'outage_closed' ? null : outage;
    return outage;
  }

  async recordPolicy(
    kind: 'policy_activated' | 'policy_rejected',
    fact: { policyRevision: number; reason?: string },
  ): Promise<void> {
    await this.#write(kind, fact);
  }

  openOutage(): Outage | null {
    return this.#openOutage;
  }

  onCommit(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Adds `count` entries in one commit. */
  commit(count = 1, kind: EventKind = 'fence_advanced', over: Record<string, unknown> = {}): void {
    for (let added = 0; added < count; added += 1) this.#append(kind, { added, ...over });
    for (const tell of this.#listeners) tell();
  }

  kinds(): readonly EventKind[] {
    return this.events.map(({ kind }) => kind);
  }

  async #write(kind: EventKind, body: Record<string, unknown>): Promise<void> {
    await Promise.resolve();
    if (this.failure !== null) throw this.failure;
    this.#append(kind, body);
    for (const tell of this.#listeners) tell();
  }

  #append(kind: EventKind, body: Record<string, unknown>): void {
    const { seq, hash: previousHash } = this.head();
    const entry = { seq: seq + 1, atMs: 0, kind, operationId: null, outageId: null, body };
    this.events.push({ ...entry, previousHash, hash: eventHash(previousHash, entry) });
  }
}
