/** The part of the store's port that is about approvals. */
import type { ApprovalRequest, RequestState } from '../../shared/wire/approval.ts';
import type { AuditDraft, Page, PageRequest, WriteOutcome } from './control-store.ts';

export type ApprovalRecord = {
  readonly request: ApprovalRequest;
  readonly version: number;
};

export type ApprovalWrite = {
  readonly request: ApprovalRequest;
  /** What it was decided on; `null` for a new one. */
  readonly replacesVersion: number | null;
  /** The newest that control signed about it; left out where there is no new one. */
  readonly statement?: string;
};

export type ApprovalFilter = {
  readonly state: RequestState | null;
  /** What is pending has expired by then. */
  readonly nowMs: number;
};

export interface ApprovalStore {
  fetch(requestId: string): Promise<ApprovalRecord | null>;
  /** All requests of these operations, also those that were superseded. */
  ofOperations(operationIds: readonly string[]): Promise<readonly ApprovalRecord[]>;
  /** Newest first. */
  list(filter: ApprovalFilter, page: PageRequest): Promise<Page<ApprovalRequest>>;
  write(write: ApprovalWrite, audit: readonly AuditDraft[]): Promise<WriteOutcome>;
  /** What a host is to be told, as it was signed, in the order of asking. */
  undelivered(
    host: { readonly hostId: string; readonly hostEpoch: number },
    limit: number,
  ): Promise<readonly string[]>;
  /** That wait for a decision; `principal`: of this one alone. */
  countPending(nowMs: number, principal?: string): Promise<number>;
}
