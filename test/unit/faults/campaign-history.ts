/** Histories written by hand, and what an honest disk would have after them. */
import type { RecordedEvent, RecordedOperation } from '../../faults/check/recorded.ts';
import { History, type CallEnd, type CallRequest } from '../../faults/history/history.ts';
import { eventHash } from '../../../shared/platform/entry-hash.ts';
import { FIRST_PREVIOUS_HASH } from '../../../shared/wire/operation.ts';

export const KEY = 'work-1';
export const ID = 'op_1';

export const ok = (
  answer: Partial<{ operationId: string; replayed: boolean; attempt: number }> = {},
): CallEnd => ({
  kind: 'ok',
  answer: { operationId: ID, replayed: false, attempt: 0, ...answer },
});
export const fail = (code: string): CallEnd => ({ kind: 'fail', code });
export const info: CallEnd = { kind: 'info', code: 'no_answer_reset' };

export const admit: CallRequest = { kind: 'admit', key: KEY, amount: 7 };
export const start: CallRequest = { kind: 'start_attempt', key: KEY, token: 'a' };
export const begin: CallRequest = { kind: 'begin_effect', key: KEY, effect: 'charge', token: 'b' };
export const settle: CallRequest = {
  kind: 'settle_effect',
  key: KEY,
  effect: 'charge',
  outcome: 'succeeded',
  result: 'receipt',
};
export const save: CallRequest = { kind: 'save_checkpoint', key: KEY, checkpoint: 'half' };
export const report: CallRequest = {
  kind: 'report_outcome',
  key: KEY,
  outcome: 'succeeded',
  result: 'done',
};
export const cancel: CallRequest = { kind: 'cancel', key: KEY };
export const fence = (epoch: number): CallRequest => ({
  kind: 'check_fence',
  resource: 'shard/1',
  epoch,
});

/** One call after the other; `null` is one that never got an answer. */
export function historyOf(...calls: readonly (readonly [CallRequest, CallEnd | null])[]): History {
  const history = new History();
  for (const [request, end] of calls) {
    const call = history.invoke(request);
    if (end !== null) history.end(call, end);
  }
  return history;
}

/** All of it acknowledged, from admission to outcome. */
export const wholeStory: readonly (readonly [CallRequest, CallEnd])[] = [
  [admit, ok()],
  [start, ok({ attempt: 1 })],
  [save, ok({ attempt: 1 })],
  [begin, ok({ attempt: 1 })],
  [settle, ok({ attempt: 1 })],
  [report, ok({ attempt: 1 })],
];

const at = {
  attempt: 1,
  begunAtMs: 1,
  leaseEpoch: null,
  idempotent: false,
  fencing: 'none',
} as const;

export function operation(change: Partial<RecordedOperation> = {}): RecordedOperation {
  return {
    operationId: ID,
    idempotencyKey: KEY,
    attributes: { amount: 7 },
    state: 'accepted',
    reason: null,
    attempt: 0,
    effects: [],
    checkpoint: null,
    outcome: null,
    ...change,
  };
}

/** What the whole story leaves. */
export function finished(change: Partial<RecordedOperation> = {}): RecordedOperation {
  return operation({
    state: 'succeeded',
    attempt: 1,
    checkpoint: 'half',
    effects: [{ ...at, name: 'charge', state: 'succeeded', settledAtMs: 2, result: 'receipt' }],
    outcome: {
      outcome: 'succeeded',
      provenance: 'asserted',
      result: 'done',
      reason: null,
      attempt: 1,
      atMs: 3,
      late: false,
    },
    ...change,
  });
}

/** A sound chain of entries. */
export function chainOf(
  ...entries: readonly Pick<RecordedEvent, 'kind' | 'operationId' | 'body'>[]
): RecordedEvent[] {
  let hash = FIRST_PREVIOUS_HASH;
  return entries.map((entry, index) => {
    const { kind, operationId, body } = entry;
    const whole = { seq: index + 1, atMs: 1, kind, operationId, outageId: null, body };
    hash = eventHash(hash, whole);
    return { ...whole, hash };
  });
}
