/** What is on the disk, in the shape in which it is compared with a history. */
import type { JournalEvent, Operation } from '../../../shared/wire/operation.ts';

export type RecordedOperation = Pick<
  Operation,
  | 'operationId'
  | 'idempotencyKey'
  | 'attributes'
  | 'state'
  | 'reason'
  | 'attempt'
  | 'effects'
  | 'checkpoint'
  | 'outcome'
>;

export type RecordedEvent = Omit<JournalEvent, 'previousHash'>;

export type Recorded = {
  readonly operations: readonly RecordedOperation[];
  readonly fences: ReadonlyMap<string, number>;
};
