/** The part of the store that reads parked events again; see `control-store.ts` for what holds of all. */
import type { Outage, Refusal } from '../../shared/wire/operation.ts';
import type { ReportEntry } from '../../shared/wire/report-lines.ts';
import type { ProjectedOperation } from '../core/operation-projection.ts';
import type { OutageTally } from '../core/outage-tally.ts';
import type { AuditDraft, WriteOutcome } from './control-store.ts';

export type PlacedEvent = ReportEntry & {
  readonly place: number;
  readonly hostId: string;
  readonly hostEpoch: number;
  readonly previousHash: string;
  readonly isParked: boolean;
};

export type RereadWrite = {
  /** Nothing more has come of these hosts than when this was decided. */
  readonly positions: ReadonlyMap<string, { readonly hostEpoch: number; readonly seq: number }>;
  /** Places of events that could be read. */
  readonly places: readonly number[];
  readonly operations: readonly ProjectedOperation[];
  readonly refusals: readonly (Refusal & { readonly hostId: string })[];
  readonly outages: readonly (Outage & { readonly hostId: string })[];
  /** By host. */
  readonly tallies: ReadonlyMap<string, ReadonlyMap<string, OutageTally>>;
};

export interface ParkedStore {
  /** In the order in which they came in. */
  parkedAfter(place: number, limit: number): Promise<readonly PlacedEvent[]>;
  /** All there is of an operation, parked or not, in the order of its hosts' journals. */
  eventsOf(operationId: string, limit: number): Promise<readonly PlacedEvent[]>;
  positions(hostIds: readonly string[]): Promise<RereadWrite['positions']>;
  apply(write: RereadWrite): Promise<WriteOutcome>;
  note(audit: AuditDraft): Promise<WriteOutcome>;
}
