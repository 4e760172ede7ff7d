/**
 * What the rest of the sidecar needs of the journal beside operations themselves: its head, its
 * events in order for the reports upward, and the facts of outages and policy that belong in the
 * same chain.
 */
import type { OutageEventKind } from '../core/outage-interval.ts';
import type { Outage } from '../../shared/wire/operation.ts';
import type { Report } from '../../shared/wire/report-lines.ts';

export type JournalHead = { readonly seq: number; readonly hash: string };

export interface JournalFeed {
  /** The newest committed entry; `seq` 0 and 64 zeros before the first. */
  head(): JournalHead;
  /** Operations by state, as committed. */
  operationCounts(): Readonly<Record<string, number>>;
  /** Entries up to this one are held by control. */
  ackedSeq(): number;
  /**
   * Entries after `seq`, in order, at most `limit`, as they stand in the journal. Where the one after
   * `seq` was pruned the first is another, and what is before it is not known.
   */
  reportAfter(seq: number, limit: number): Report;
  /**
   * Durable when it resolves; a lower value than the present one is ignored. One that is beyond the
   * newest entry proves a loss: the journal then takes nothing more.
   */
  acknowledge(seq: number): Promise<void>;
  /** As it was recorded: with its entries, and with its tally when it is closed. */
  recordOutage(kind: OutageEventKind, outage: Outage): Promise<Outage>;
  recordPolicy(
    kind: 'policy_activated' | 'policy_rejected',
    fact: { policyRevision: number; reason?: string },
  ): Promise<void>;
  /**
   * The outage that was open when the journal was last written, to be resumed under its id after a
   * restart.
   */
  openOutage(): Outage | null;
  /** Called after each commit that added entries. */
  onCommit(listener: () => void): void;
}
