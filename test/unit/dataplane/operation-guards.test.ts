/** Each guard of a step by itself: where one is taken away, a test here fails. */
import { describe, expect, test } from 'vitest';
import type { LifecycleEvent, StoredOperation } from '../../../dataplane/core/operation-record.ts';
import { applyLifecycleEvent } from '../../../dataplane/core/operation-lifecycle.ts';
import {
  NOW,
  begin,
  effect,
  executing,
  operation,
  report,
  settle,
  start,
} from '../../fakes/stored-operation.ts';

const save: LifecycleEvent = { kind: 'save_checkpoint', attempt: 1, checkpoint: 'half' };
const owned = { leaseResource: 'orders/1', leaseEpoch: 7, ownershipMode: 'fenced' } as const;

function codeOf(record: StoredOperation, event: LifecycleEvent): string {
  const result = applyLifecycleEvent(record, event, NOW);
  return result.ok ? 'ok' : result.code;
}

type Case = readonly [what: string, StoredOperation, LifecycleEvent, code: string];

describe('I2, I8: a step that may not be taken is refused by its own guard', () => {
  const cases: readonly Case[] = [
    [
      'a second start while the first executes, where a retry would be allowed',
      executing({ onWorkerLoss: 'retry' }),
      start({ key: 'other' }),
      'attempt_in_progress',
    ],
    ['I7: a start without the lease', operation(owned), start(), 'lease_lost'],
    [
      'I7: an effect without the lease',
      executing({ ...owned, attemptLeaseEpoch: 7 }),
      begin(),
      'lease_lost',
    ],
    [
      'an effect of an operation that has ended',
      operation({ state: 'failed', attempt: 1 }),
      begin(),
      'operation_settled',
    ],
    [
      'the result of an effect that another attempt began',
      executing({ attempt: 2, effects: [effect({ attempt: 1 })] }),
      settle({ attempt: 2 }),
      'attempt_stale',
    ],
    [
      'the outcome of an attempt that was taken over',
      executing({ attempt: 2 }),
      report({ attempt: 1 }),
      'attempt_stale',
    ],
    [
      'the outcome of an attempt that never began',
      executing(),
      report({ attempt: 2 }),
      'attempt_not_found',
    ],
    [
      'a checkpoint of a paused operation',
      operation({ state: 'paused', attempt: 1 }),
      save,
      'operation_paused',
    ],
    [
      'a checkpoint of one that has ended',
      operation({ state: 'succeeded', attempt: 1 }),
      save,
      'operation_settled',
    ],
    [
      'a checkpoint of one that waits for its next attempt',
      operation({ state: 'accepted', attempt: 1 }),
      save,
      'operation_not_executing',
    ],
  ];
  test.each(cases)('%s', (_what, record, event, code) => {
    expect(codeOf(record, event)).toBe(code);
  });

  test('I7: without the lease it says that the lease is not held, not that the epoch changed', () => {
    const record = executing({ ...owned, attemptLeaseEpoch: 7 });
    const result = applyLifecycleEvent(record, begin(), NOW);
    expect(result).toMatchObject({ detail: expect.stringContaining('does not hold') as string });
  });
});

describe('I2: what was said already is answered again, and changes nothing', () => {
  const twice = (record: StoredOperation, event: LifecycleEvent) => {
    const first = applyLifecycleEvent(record, event, NOW);
    if (!first.ok) throw new Error(first.detail);
    return { first, second: applyLifecycleEvent(first.operation, event, NOW) };
  };

  test.each([
    ['an outcome', executing(), report({ result: { receipt: 1 } })],
    ['a cancellation', operation(), { kind: 'cancel', reason: 'no longer wanted' }],
  ] as const)('%s', (_what, record, event) => {
    const { first, second } = twice(record, event);
    expect(second).toMatchObject({ ok: true, replayed: true, note: null });
    expect(second.ok && second.operation).toEqual(first.operation);
  });
});
