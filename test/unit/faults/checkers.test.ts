/** The checkers of the fault campaigns must catch each lie, and find none in the truth. */
import { describe, expect, test } from 'vitest';
import { checkFences } from '../../faults/check/check-fences.ts';
import { EMPTY_CHAIN, checkChain, checkEntries } from '../../faults/check/check-journal.ts';
import { checkOperations } from '../../faults/check/check-operations.ts';
import type { RecordedOperation } from '../../faults/check/recorded.ts';
import type { CallEnd, CallRequest } from '../../faults/history/history.ts';
import {
  ID,
  KEY,
  admit,
  begin,
  cancel,
  chainOf,
  fail,
  fence,
  finished,
  historyOf,
  info,
  ok,
  operation,
  report,
  start,
  wholeStory,
} from './campaign-history.ts';

type Told = readonly (readonly [CallRequest, CallEnd | null])[];

function kindsOf(told: Told, recorded: readonly RecordedOperation[]): string[] {
  return checkOperations(historyOf(...told).calls, recorded).map(({ kind }) => kind);
}

describe('the truth is no lie', () => {
  test.each<[string, Told, RecordedOperation[]]>([
    ['all of it acknowledged and there', wholeStory, [finished()]],
    ['no answer, and nothing happened', [[admit, info]], []],
    ['no answer, and it happened', [[admit, info]], [operation()]],
    ['never answered at all', [[admit, null]], [operation()]],
    ['refused, and not there', [[admit, fail('denied')]], []],
    [
      'refused at first, accepted by a retry',
      [
        [admit, fail('journal_busy')],
        [admit, ok()],
      ],
      [operation()],
    ],
    [
      'the same key again',
      [
        [admit, ok()],
        [admit, ok({ replayed: true })],
      ],
      [operation()],
    ],
    [
      'further than was acknowledged: answers were lost',
      [
        [admit, ok()],
        [start, info],
        [begin, info],
      ],
      [operation({ state: 'executing', attempt: 1, effects: [{ ...effect('begun') }] })],
    ],
    [
      'cancelled',
      [
        [admit, ok()],
        [cancel, ok()],
      ],
      [operation({ state: 'cancelled', reason: 'asked' })],
    ],
  ])('%s', (_, told, recorded) => {
    expect(kindsOf(told, recorded)).toEqual([]);
  });
});

describe('I1: what was acknowledged and is not there is lost', () => {
  test.each<[string, Told, RecordedOperation[]]>([
    ['an admission', [[admit, ok()]], []],
    [
      'an admission that only a later step acknowledged',
      [
        [admit, info],
        [start, ok({ attempt: 1 })],
      ],
      [],
    ],
    ['an attempt', wholeStory.slice(0, 2), [operation()]],
    ['a checkpoint', wholeStory.slice(0, 3), [operation({ state: 'executing', attempt: 1 })]],
    ['a begun effect', wholeStory, [finished({ effects: [] })]],
    ['the result of an effect', wholeStory, [finished({ effects: [effect('begun')] })]],
    ['an outcome', wholeStory, [finished({ outcome: null, state: 'executing' })]],
    [
      'a cancellation',
      [
        [admit, ok()],
        [cancel, ok()],
      ],
      [operation()],
    ],
    [
      'and taken as new when it is asked again',
      [
        [admit, ok()],
        [admit, ok({ replayed: false })],
      ],
      [operation()],
    ],
  ])('%s', (_, told, recorded) => {
    expect(kindsOf(told, recorded)).toContain('lost');
  });
});

describe('what nobody asked for is invented', () => {
  test.each<[string, Told, RecordedOperation[]]>([
    ['an operation', [], [operation()]],
    ['an attempt', [[admit, ok()]], [operation({ state: 'executing', attempt: 1 })]],
    ['an effect', wholeStory.slice(0, 3), [started({ effects: [effect('begun')] })]],
    [
      'a result',
      wholeStory.slice(0, 4),
      [started({ effects: [{ ...effect('succeeded'), result: 'receipt' }] })],
    ],
    ['a checkpoint', wholeStory.slice(0, 2), [started()]],
    ['an outcome', wholeStory.slice(0, 5), [finished()]],
    ['an end', [[admit, ok()]], [operation({ state: 'expired', reason: 'deadline_passed' })]],
    ['a cancellation', [[admit, ok()]], [operation({ state: 'cancelled' })]],
  ])('%s', (_, told, recorded) => {
    expect(kindsOf(told, recorded)).toContain('invented');
  });
});

describe('I2, I9: what happens twice is doubled', () => {
  test('two operations under one key', () => {
    const twice = [operation(), operation({ operationId: 'op_2' })];
    expect(kindsOf([[admit, ok()]], twice)).toContain('doubled');
  });

  test('two answers that both say it was accepted just now', () => {
    const history = historyOf();
    const [first, second] = [history.invoke(admit), history.invoke(admit)];
    history.end(first, ok());
    history.end(second, ok());
    const kinds = checkOperations(history.calls, [operation()]).map(({ kind }) => kind);
    expect(kinds).toEqual(['doubled']);
  });

  test('an attempt too many', () => {
    expect(kindsOf(wholeStory.slice(0, 3), [started({ attempt: 2 })])).toContain('doubled');
  });

  test('an effect that is recorded twice', () => {
    const { effects } = finished();
    expect(kindsOf(wholeStory, [finished({ effects: [...effects, ...effects] })])).toContain(
      'doubled',
    );
  });
});

describe('another id than before', () => {
  test('recorded under another', () => {
    expect(kindsOf([[admit, ok()]], [operation({ operationId: 'op_2' })])).toContain('changed_id');
  });

  test('answered with another when it is asked again', () => {
    const told: Told = [
      [admit, ok()],
      [admit, ok({ operationId: 'op_2', replayed: true })],
    ];
    expect(kindsOf(told, [operation()])).toContain('changed_id');
  });

  test('an attempt of another', () => {
    const told: Told = [
      [admit, ok()],
      [start, ok({ operationId: 'op_2', attempt: 1 })],
    ];
    const recorded = operation({ state: 'executing', attempt: 1 });
    expect(kindsOf(told, [recorded])).toContain('changed_id');
  });
});

describe('told differently', () => {
  test.each<[string, Told, RecordedOperation[]]>([
    ['refused, and there', [[admit, fail('journal_full')]], [operation()]],
    ['another payload', [[admit, ok()]], [operation({ attributes: { amount: 8 } })]],
    [
      'a refused effect, and there',
      [...wholeStory.slice(0, 3), [begin, fail('deadline_passed')]],
      [started({ effects: [effect('begun')] })],
    ],
    [
      'a refused outcome, and there',
      [...wholeStory.slice(0, 5), [report, fail('operation_settled')]],
      [finished()],
    ],
    ['a state that is not its outcome', wholeStory, [finished({ state: 'failed' })]],
  ])('%s', (_, told, recorded) => {
    expect(kindsOf(told, recorded)).toContain('told_differently');
  });

  test('another result than was reported', () => {
    const [charged] = finished().effects;
    const recorded = finished({ effects: [{ ...charged!, result: 'another receipt' }] });
    expect(kindsOf(wholeStory, [recorded])).toEqual(['invented']);
    expect(kindsOf(wholeStory, [finished({ checkpoint: 'another' })])).toEqual(['invented']);
  });
});

describe('I6: fencing tokens', () => {
  const kinds = (told: Told, epoch: number): string[] =>
    checkFences(historyOf(...told).calls, new Map([['shard/1', epoch]])).map(({ kind }) => kind);

  test('remembered as accepted, or one that may have been', () => {
    expect(kinds([[fence(3), ok()]], 3)).toEqual([]);
    expect(
      kinds(
        [
          [fence(3), ok()],
          [fence(5), info],
        ],
        5,
      ),
    ).toEqual([]);
  });

  test('lost, invented, and gone back', () => {
    expect(kinds([[fence(3), ok()]], 2)).toEqual(['lost']);
    expect(kinds([[fence(3), ok()]], 4)).toEqual(['invented']);
    expect(
      kinds(
        [
          [fence(3), ok()],
          [fence(2), ok()],
        ],
        3,
      ),
    ).toEqual(['went_back']);
  });

  test('two at the same time may come in either order', () => {
    const history = historyOf();
    const [first, second] = [history.invoke(fence(3)), history.invoke(fence(2))];
    history.end(first, ok());
    history.end(second, ok());
    expect(checkFences(history.calls, new Map([['shard/1', 3]]))).toEqual([]);
  });
});

describe('the journal', () => {
  const admitted = { kind: 'admitted', operationId: ID, body: { idempotencyKey: KEY } } as const;
  const begun = {
    kind: 'effect_begun',
    operationId: ID,
    body: { effect: { name: 'charge' } },
  } as const;
  const kinds = (lies: readonly { readonly kind: string }[]): string[] =>
    lies.map(({ kind }) => kind);

  test('a sound chain leads to its head', () => {
    const events = chainOf(admitted, begun);
    const { lies, head } = checkChain(events, EMPTY_CHAIN);
    expect(lies).toEqual([]);
    expect(head).toEqual({ seq: 2, hash: events[1]?.hash });
    expect(checkEntries(events, [operation()])).toEqual([]);
  });

  test('an entry that is gone is a gap', () => {
    const [first, , third] = chainOf(admitted, begun, begun);
    expect(kinds(checkChain([first!, third!], EMPTY_CHAIN).lies)).toEqual(['gap']);
    expect(kinds(checkChain([third!], EMPTY_CHAIN).lies)).toEqual(['gap']);
  });

  test('an entry that was changed, or follows another than it says, breaks the chain', () => {
    const [first, second] = chainOf(admitted, begun);
    const changed = { ...second!, atMs: 2 };
    expect(kinds(checkChain([first!, changed], EMPTY_CHAIN).lies)).toEqual(['broken_chain']);
    const other = { seq: 1, hash: 'f'.repeat(64) };
    expect(kinds(checkChain([second!], other).lies)).toEqual(['broken_chain']);
  });

  test('entries and operations that disagree', () => {
    expect(kinds(checkEntries(chainOf(begun), [operation()]))).toEqual(['lost']);
    expect(kinds(checkEntries(chainOf(admitted), []))).toEqual(['lost']);
  });

  test('a key that was admitted twice, and an effect that was begun twice', () => {
    const again = {
      ...admitted,
      operationId: 'op_2',
    };
    expect(kinds(checkEntries(chainOf(admitted, again), [operation()]))).toContain('doubled');
    expect(kinds(checkEntries(chainOf(admitted, begun, begun), [operation()]))).toEqual([
      'doubled',
    ]);
  });
});

test('after a cut an acknowledgement proves nothing, and after it is healed it does', () => {
  const history = historyOf();
  const [before, after] = [history.invoke(admit), history.invoke(admitOf('work-2'))];
  history.end(before, ok());
  history.cut();
  history.end(after, ok());
  history.heal();
  history.end(history.invoke(admitOf('work-3')), ok({ operationId: 'op_3' }));
  expect(history.endsAfterCut).toBe(1);
  const lost = checkOperations(history.calls, []).map(({ about }) => about);
  expect(lost).toEqual([KEY, 'work-3']);
});

function admitOf(key: string): CallRequest {
  return { kind: 'admit', key, amount: 7 };
}

function effect(state: 'begun' | 'succeeded'): RecordedOperation['effects'][number] {
  const [charged] = finished().effects;
  return state === 'begun'
    ? { ...charged!, state, settledAtMs: null, result: null }
    : { ...charged!, state };
}

/** An attempt and a checkpoint. */
function started(change: Partial<RecordedOperation> = {}): RecordedOperation {
  return operation({ state: 'executing', attempt: 1, checkpoint: 'half', ...change });
}
