/**
 * Whether the newest state of an operation, as its table has it, is what the entries of the chain
 * say. The chain proves itself; the tables beside it do not.
 */
import { canonicalJson } from '../../shared/core/canonical-json.ts';
import type { Effect, EventKind } from '../../shared/wire/operation.ts';
import { shown, type StoredOperation } from './operation-record.ts';

type Body = Readonly<Record<string, unknown>>;

/** What the entries read so far say of one operation. */
export type ExpectedOperation = {
  readonly lastSeq: number;
  readonly state: unknown;
  readonly reason: unknown;
  readonly attempt: unknown;
  /** As it was admitted, and the effects since; `null` where the admission lies before the tail. */
  readonly admitted: Body | null;
  readonly effects: readonly Effect[];
  readonly checkpoint: unknown;
  readonly outcome: unknown;
};

/** Fields that change after admission. */
const CHANGING = new Set([
  'state',
  'reason',
  'updatedAtMs',
  'settledAtMs',
  'attempt',
  'attemptStartedAtMs',
  'attemptLeaseEpoch',
  'effects',
  'checkpoint',
  'outcome',
]);

export function expectAfter(
  known: ExpectedOperation | undefined,
  entry: { readonly seq: number; readonly kind: EventKind; readonly body: Body },
): ExpectedOperation {
  const { seq: lastSeq, kind, body } = entry;
  if (kind === 'admitted') {
    const admitted = body['operation'] as Body;
    const { state, reason, attempt } = admitted;
    const { checkpoint, outcome } = admitted;
    return { lastSeq, state, reason, attempt, admitted, effects: [], checkpoint, outcome };
  }
  const { state, reason, attempt, checkpoint, outcome } = body;
  const before = (body['effects'] as readonly Effect[] | undefined) ?? known?.effects ?? [];
  const effect = body['effect'] as Effect | undefined;
  return {
    lastSeq,
    state,
    reason,
    attempt,
    admitted: known?.admitted ?? null,
    effects: effect === undefined ? before : withEffect(before, effect),
    checkpoint: checkpoint === undefined ? known?.checkpoint : checkpoint,
    outcome: outcome === undefined ? known?.outcome : outcome,
  };
}

function withEffect(effects: readonly Effect[], effect: Effect): readonly Effect[] {
  const isKnown = effects.some(({ name }) => name === effect.name);
  if (!isKnown) return [...effects, effect];
  return effects.map((one) => (one.name === effect.name ? effect : one));
}

/** Columns by which the record is found. */
export type OperationColumns = {
  readonly operationId: string;
  readonly app: string;
  readonly idempotencyKey: string;
  readonly state: string;
  readonly onControlLoss: string;
  readonly deadlineAtMs: number;
};

/** The first difference, as the end of a sentence about the operation; `null` where all agrees. */
export function recordProblem(
  expected: ExpectedOperation,
  columns: OperationColumns,
  record: StoredOperation,
): string | null {
  for (const name of ['state', 'reason', 'attempt'] as const) {
    if (record[name] !== expected[name])
      return `has ${name} ${JSON.stringify(record[name])} and its last entry says ${JSON.stringify(expected[name])}`;
  }
  for (const [name, value] of Object.entries(columns)) {
    if (record[name as keyof OperationColumns] !== value)
      return `is filed under another ${name} than its record has`;
  }
  if (expected.admitted === null) return null;
  for (const [name, value] of Object.entries(expected.admitted)) {
    if (CHANGING.has(name) || isSame(record[name as keyof StoredOperation], value)) continue;
    return `has another ${name} than it was admitted with`;
  }
  for (const name of ['checkpoint', 'outcome'] as const) {
    if (!isSame(record[name], expected[name])) return `has another ${name} than its entries say`;
  }
  if (!isSame(record.effects.map(shown), expected.effects))
    return 'has other effects than its entries say';
  return null;
}

export function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  return a !== undefined && b !== undefined && canonicalJson(a) === canonicalJson(b);
}
