/** The part of the store that knows outages; see `control-store.ts` for what holds of all parts. */
import type { FleetOutage } from '../../shared/wire/fleet-outages.ts';
import type { EndedRun, HeardHost, OwnOutage } from '../core/own-outages.ts';
import type { OutageTally } from '../core/outage-tally.ts';
import type { Page, PageRequest, WriteOutcome } from './control-store.ts';

export type OutageFilter = {
  readonly hostId: string | null;
  readonly isOpen: boolean | null;
  readonly seenBy: FleetOutage['seenBy'] | null;
};

export interface OutageStore {
  /** Newest first, as far as ids tell. */
  list(filter: OutageFilter, page: PageRequest): Promise<Page<FleetOutage>>;
  /** An id is of one host's making: two may have chosen the same, and both are meant. */
  fetch(outageId: string): Promise<readonly FleetOutage[]>;
  tally(outage: { outageId: string; hostId: string | null }): Promise<OutageTally>;
  /** Of the same host or of control, at some time of it; without itself. */
  overlapping(outage: FleetOutage, limit: number): Promise<readonly FleetOutage[]>;
  /** Those that control has seen by itself, made or changed. */
  put(outages: readonly OwnOutage[]): Promise<WriteOutcome>;
  /** Of hosts, that have not ended. */
  openSilences(): Promise<readonly OwnOutage[]>;
  /** Hosts that were heard last before `beforeMs`, and have no silence that is open. */
  silentHosts(beforeMs: number, limit: number): Promise<readonly HeardHost[]>;
  /** The run before this one; `null` where there was none. */
  noteRun(run: { readonly run: number; readonly atMs: number }): Promise<EndedRun | null>;
  /** That the run goes on, or ends. May be lost with a crash for a second. */
  noteAlive(run: {
    readonly run: number;
    readonly atMs: number;
    readonly isEnd: boolean;
  }): Promise<WriteOutcome>;
}
