/** The parts of the store port that tell what was in force when, and what diverged from it. */
import type { Divergence, DivergenceState } from '../../shared/wire/divergences.ts';
import type { InForce, Notice } from '../core/authority-timeline.ts';
import type { TimeScale } from '../core/control-time.ts';
import type { DecisionEntry } from '../core/reported-decision.ts';
import type { Anchor } from '../core/sync-anchors.ts';
import type { AuditDraft, Page, PageRequest, WriteOutcome } from './control-store.ts';

type HostOfEpoch = { readonly hostId: string; readonly hostEpoch: number };

export interface TimelineStore {
  /** Ascending. */
  scales(): Promise<readonly TimeScale[]>;
  addScale(scale: TimeScale): Promise<WriteOutcome>;
  /** The latest moment of control's time that anything stored names; 0 where there is none. */
  lastKnownMs(): Promise<number>;
  append(entries: readonly InForce[]): Promise<WriteOutcome>;
  /** Those of one host and those of every host, ascending; the newest `limit`. */
  inForce(hostId: string, limit: number): Promise<readonly InForce[]>;
  /** By host, the newest of its own, where that is newer than what is in force for every host. */
  stagings(): Promise<ReadonlyMap<string, InForce>>;
  notices(): Promise<readonly Notice[]>;
  /** A new one, or the end of one that is known. */
  putNotice(notice: Notice, audit: AuditDraft): Promise<WriteOutcome>;
  /** May be lost with a crash; only the newest `keptMax` of a host stay. */
  keepAnchors(host: HostOfEpoch, anchors: readonly Anchor[], keptMax: number): Promise<void>;
  /** Ascending. */
  anchors(host: HostOfEpoch): Promise<readonly Anchor[]>;
}

export type DecisionRow = DecisionEntry & {
  readonly hostEpoch: number;
  readonly operationId: string | null;
  readonly outageId: string | null;
};

export type DivergenceFilter = {
  readonly hostId: string | null;
  readonly outageId: string | null;
  readonly state: DivergenceState | null;
};

/** That all events up to `place` were here by that moment of control's time. */
export type ReceiptMark = { readonly atMs: number; readonly place: number };

export interface DivergenceStore {
  /** Up to where events were looked at, and the newest there is. */
  progress(): Promise<{ readonly place: number; readonly newest: number }>;
  /** Of the events after `place`, at most `window` looked at; `toPlace` is the last of them. */
  decisionsAfter(
    place: number,
    bounds: { readonly window: number; readonly limit: number },
  ): Promise<{ readonly rows: readonly DecisionRow[]; readonly toPlace: number }>;
  /** What was found, and that it was looked for up to there. What a person has settled stays. */
  record(write: {
    readonly fromPlace: number;
    readonly toPlace: number;
    readonly found: readonly Divergence[];
    readonly mark: ReceiptMark | null;
  }): Promise<WriteOutcome>;
  /** Goes back to before what may have come after that moment. */
  rewindTo(atMs: number): Promise<void>;
  /** Newest first, by when it was found. */
  list(filter: DivergenceFilter, page: PageRequest): Promise<Page<Divergence>>;
  fetch(divergenceId: string): Promise<Divergence | null>;
  /** Over the record that was read. */
  settle(write: {
    readonly record: Divergence;
    readonly replaces: Divergence;
    readonly audit: readonly AuditDraft[];
  }): Promise<WriteOutcome>;
  countByState(): Promise<Readonly<Record<string, number>>>;
  /** Those whose host is still to be told to stop. */
  pendingStops(limit: number): Promise<readonly Divergence[]>;
}
