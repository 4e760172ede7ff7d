import { expect, test } from 'vitest';
import type { EventDraft, History } from '../../simulation/history.ts';
import { answeredOf, callsOf, mayHaveHappened } from '../../simulation/history-view.ts';

const clock = { wallMs: 1, bootMs: 1, bootId: 'boot-1' };

function historyOf(drafts: readonly EventDraft[]): History {
  const events = drafts.map((draft, seq) => ({ ...draft, seq, atMs: seq * 10 }));
  return { events } as unknown as History;
}

function sent(callId: number): EventDraft {
  const request = { kind: 'held_leases' } as const;
  return { kind: 'call_sent', callId, client: 'app', to: 'host-1', request, repeats: null };
}

test('a call without an end may have happened, as one whose end nobody knows', () => {
  const history = historyOf([
    sent(1),
    sent(2),
    sent(3),
    sent(4),
    { kind: 'call_ended', callId: 3, clock, end: { kind: 'info', why: 'cut', detail: '' } },
    {
      kind: 'call_ended',
      callId: 1,
      clock,
      end: { kind: 'ok', status: 200, body: { items: [] } },
    },
    {
      kind: 'call_ended',
      callId: 2,
      clock,
      end: { kind: 'refused', status: 404, code: 'not_found', detail: '', problem: {} },
    },
  ]);
  const calls = callsOf(history, 'held_leases');
  expect(calls.map((call) => mayHaveHappened(call))).toEqual([true, false, true, true]);
  expect(calls.map(({ ended }) => ended?.seq ?? null)).toEqual([5, 6, 4, null]);
  expect(answeredOf(history, 'held_leases').map(({ callId, body }) => [callId, body])).toEqual([
    [1, { items: [] }],
  ]);
});
