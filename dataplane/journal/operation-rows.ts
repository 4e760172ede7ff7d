/** Rows of `operation_records` as the operations that they stand for. */
import { UNSAID } from '../../shared/core/admission.ts';
import type { Admission } from '../../shared/wire/operation.ts';
import { storedAsAdmitted } from '../core/new-admission.ts';
import type { StoredOperation } from '../core/operation-record.ts';

export const OPERATION_COLUMNS = 'record, operation_id, at_ms, outage_id, admission';

type OperationRow = {
  readonly record: string | null;
  readonly operation_id: string;
  readonly at_ms: number;
  readonly outage_id: string | null;
  readonly admission: string;
};

/** What records of earlier builds do not say. */
function withLaterFacts(operation: StoredOperation): StoredOperation {
  if ((operation as Partial<StoredOperation>).onRevoke !== undefined) return operation;
  return { ...operation, onRevoke: UNSAID.onRevoke, recheck: UNSAID.recheck };
}

/** Of a row with `OPERATION_COLUMNS`. */
export function operationOfRow(row: Readonly<Record<string, unknown>>): StoredOperation {
  const { record, operation_id, at_ms, outage_id, admission } = row as OperationRow;
  if (record !== null) return withLaterFacts(JSON.parse(record) as StoredOperation);
  return storedAsAdmitted(JSON.parse(admission) as Admission, {
    operationId: operation_id,
    atMs: at_ms,
    outageId: outage_id,
  });
}
