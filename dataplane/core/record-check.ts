/**
 * Whether the newest state of an operation, as its table has it, is what the entries of the chain
 * say. The chain proves itself; the tables beside it do not.
 */
import { stateAtAdmission } from '../../shared/core/admission.ts';
import type { EventKind, OperationState } from '../../shared/wire/operation.ts';
import { SETTLED_STATES, type StoredOperation } from './operation-record.ts';

type Body = Readonly<Record<string, unknown>>;

/** What the entries read so far say of one operation. */
export type ExpectedOperation = {
  readonly lastSeq: number;
  readonly state: OperationState;
  readonly reason: unknown;
  readonly attempt: unknown;
  /** The entry that ended it; `undefined` where that may lie before the tail. */
  readonly settledSeq: number | null | undefined;
};

export function expectAfter(
  known: ExpectedOperation | undefined,
  entry: { readonly seq: number; readonly kind: EventKind; readonly body: Body },
): ExpectedOperation {
  const { seq, kind, body } = entry;
  if (kind === 'admitted') {
    const admitted = stateAtAdmission(body);
    return { lastSeq: seq, state: admitted, reason: null, attempt: 0, settledSeq: null };
  }
  const state = body['state'] as OperationState;
  const settledBefore = known?.settledSeq;
  return {
    lastSeq: seq,
    state,
    reason: body['reason'],
    attempt: body['attempt'],
    settledSeq: settledBefore === null && SETTLED_STATES.has(state) ? seq : settledBefore,
  };
}

/** Columns by which the record is found. */
export type OperationColumns = {
  readonly operationId: string;
  readonly app: string;
  readonly state: string;
  readonly onControlLoss: string;
  readonly deadlineAtMs: number;
  readonly settledSeq: number | null;
};

/** The first difference, as the end of a sentence about the operation; `null` where all agrees. */
export function recordProblem(
  expected: ExpectedOperation,
  { settledSeq, ...columns }: OperationColumns,
  record: StoredOperation,
): string | null {
  for (const name of ['state', 'reason', 'attempt'] as const) {
    if (record[name] !== expected[name])
      return `has ${name} ${JSON.stringify(record[name])} and its last entry says ${JSON.stringify(expected[name])}`;
  }
  for (const [name, value] of Object.entries(columns)) {
    if (record[name as keyof typeof columns] !== value)
      return `is filed under another ${name} than it has`;
  }
  if (expected.settledSeq !== undefined && expected.settledSeq !== settledSeq)
    return `says that entry ${settledSeq} ended it, and it was ${expected.settledSeq}`;
  return null;
}
