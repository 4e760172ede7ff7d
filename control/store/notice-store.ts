/** The part of the store port that keeps the sequence of notices, and which hosts have them. */
import type { NoticeEntry, NoticePosition } from '../../shared/wire/notices.ts';
import type { Notice } from '../core/authority-timeline.ts';
import type { AuditDraft, WriteOutcome } from './control-store.ts';

export type NoticeWrite = {
  /** Ascending; the first follows the newest that is stored. */
  readonly entries: readonly NoticeEntry[];
  /** What the timeline of authority is to say; `null` where nothing changes. */
  readonly notice: Notice | null;
  readonly audit: readonly AuditDraft[];
};

export type NoticeHolder = { readonly hostEpoch: number; readonly position: NoticePosition };

export interface NoticeStore {
  /** All of it, ascending. */
  log(): Promise<readonly NoticeEntry[]>;
  append(write: NoticeWrite): Promise<WriteOutcome>;
  /** By host: up to where it has last said that it has them. */
  holders(): Promise<ReadonlyMap<string, NoticeHolder>>;
  /** May be lost with a crash: the host says it with its next sync. */
  keepHolder(hostId: string, holder: NoticeHolder): Promise<void>;
}
