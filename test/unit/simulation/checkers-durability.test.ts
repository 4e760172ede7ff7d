/** I1, I2: every lie that the checkers name is found. */
import { expect, test } from 'vitest';
import { i01Durable } from '../../simulation/checkers/i01-durable.ts';
import { i02Once } from '../../simulation/checkers/i02-once.ts';
import type { CallEnd } from '../../simulation/history.ts';
import { lawfulStory, lied, eventAt, PLACE, type Liar } from './lawful-story.ts';

const first = 0;

test.for<[string, Liar, RegExp]>([
  [
    'D1: an operation that was answered is gone',
    ({ final }) => void final.journals[first]?.operations.shift(),
    /answered admit of app and its journal has no operation op-/,
  ],
  ...(
    [
      ['attempt_started', /no attempt 1 of op-/],
      ['effect_begun', /no beginning of effect charge by attempt 1/],
      ['effect_settled', /no result succeeded .* of effect charge/],
      ['succeeded', /no outcome succeeded/],
      ['register_written', /no entry \d+ that is register_written/],
    ] as const
  ).map(([kind, expected]): [string, Liar, RegExp] => [
    `D1: what was answered has no entry ${kind}`,
    ({ final }) => {
      const journal = final.journals[first];
      if (journal === undefined) return;
      journal.events = journal.events.filter((event) => event.kind !== kind);
    },
    expected,
  ]),
  [
    'D1: an accepted token is forgotten',
    ({ final }) => {
      const journal = final.journals[first];
      if (journal !== undefined) journal.fences['orders/7'] = 5;
    },
    /no fence of orders\/7 at 6: it has 5/,
  ],
  [
    'D1: a refusal that was answered is not recorded',
    ({ final }) => void final.journals[first]?.refusals.shift(),
    /no refusal ref-1/,
  ],
  [
    'D2: an operation that nobody asked for',
    (history) => {
      history.events = history.events.filter(
        (event) =>
          !(
            event.kind === 'call_sent' &&
            event.request.kind === 'admit' &&
            event.request.key === 'key-1'
          ),
      );
    },
    /\(admitted of op-\d+\) was asked for by no call/,
  ],
  [
    'D2: what was refused is recorded',
    (history) => {
      const problem = {};
      const refused = {
        kind: 'refused',
        status: 403,
        code: 'denied',
        detail: '',
        problem,
      } as const;
      eventAt(history, 'call_ended').end = refused;
    },
    /\(admitted of op-\d+\) was asked for by no call/,
  ],
  [
    'D2: a result that the worker did not report',
    (history) => {
      for (const event of history.events)
        if (event.kind === 'call_sent' && event.request.kind === 'settle_effect')
          event.request.outcome = 'failed';
    },
    /\(effect_settled of op-\d+\) was asked for by no call/,
  ],
  [
    'D3: an entry is missing',
    ({ final }) => void final.journals[first]?.events.splice(3, 1),
    /entry 5 of host-1 follows entry 3/,
  ],
  [
    'D3: an entry was changed',
    ({ final }) => {
      const event = final.journals[first]?.events[2];
      if (event !== undefined) event.atMs += 1;
    },
    /entry 3 of host-1 is not what was hashed/,
  ],
  [
    'D3: the end is missing',
    ({ final }) => void final.journals[first]?.events.pop(),
    /ends at entry \d+ and its head says/,
  ],
  [
    'D3: a start finds damage after a mere crash',
    (history) => {
      eventAt(history, 'daemon_started', 1).outcome = 'quarantined';
    },
    /found its journal damaged/,
  ],
  [
    'D3: the files are damaged',
    ({ final }) => {
      const journal = final.journals[first];
      if (journal !== undefined) journal.damage = 'a page does not read';
    },
    /is damaged at the end/,
  ],
])('I1, %s', ([, lie, expected]) => {
  expect(lied(i01Durable, lie)).toMatch(expected);
});

test('I1: a call without an answer may have happened, or not', () => {
  const unanswered: Liar = (history) => {
    eventAt(history, 'call_ended').end = { kind: 'info', why: 'timeout', detail: '' };
  };
  expect(lied(i01Durable, unanswered)).toBe('');
  const forgotten: Liar = (history) => {
    unanswered(history);
    const journal = history.final.journals[first];
    journal?.operations.shift();
  };
  expect(lied(i01Durable, forgotten)).not.toMatch(/answered admit/);
});

test('I1: what an old copy took away is excused', () => {
  const restored: Liar = (history) => {
    const node = 'host-1';
    const at = { seq: 10_000, atMs: 1_000_000 };
    const detail = {};
    const fault = 'host_backup_restored' as const;
    history.events.push({
      kind: 'fault',
      fault,
      stage: 'once',
      faultId: 1,
      nodes: [node],
      detail,
      ...at,
    });
    history.final.journals[first]?.operations.splice(0);
  };
  expect(lied(i01Durable, restored)).toBe('');
});

/** Cut off by its log at entry 17, which the next start tells; then what `more` says. */
const damaged =
  (detail: string, more: Liar = () => undefined): Liar =>
  (history) => {
    const start = eventAt(history, 'daemon_started', 1);
    const before = { seq: 10_000, atMs: 1_000_000 };
    const after = { seq: 10_001, atMs: 1_010_000 };
    const cut = { how: 'log_cut', headSeq: 17 };
    const fault = 'journal_damaged' as const;
    const of = { stage: 'once' as const, faultId: 1, nodes: ['host-1'] };
    history.events.push({ kind: 'fault', fault, ...of, detail: cut, ...before });
    history.events.push({ ...start, outcome: 'quarantined', start: 9, detail, ...after });
    history.final.journals[first]?.operations.splice(0);
    more(history);
  };
const TOLD =
  'quarantined (lost): the journal ends at entry 4 and journal.head is at entry 17. More';

test('I1, D6: what is told as lost is excused, and all of it has to be told', () => {
  expect(lied(i01Durable, damaged(TOLD))).toBe('');
  expect(lied(i01Durable, damaged(TOLD.replace('17', '16')))).toMatch(
    /does not say that its journal had come to entry 17/,
  );
  const silently = damaged(TOLD, (history) => {
    const start = history.events.at(-1);
    if (start?.kind === 'daemon_started') start.outcome = 'serving';
  });
  expect(lied(i01Durable, silently)).toMatch(/answered admit of app and its journal has no/);
});

test('I1, D6: nothing is admitted while a journal is quarantined', () => {
  const answered = (end: CallEnd): Liar =>
    damaged(TOLD, (history) => {
      const request = { kind: 'admit', key: 'key-9', body: PLACE } as const;
      const { clock } = eventAt(history, 'call_ended');
      const call = { callId: 999, client: 'app', to: 'host-1', request, repeats: null };
      history.events.push({ kind: 'call_sent', ...call, seq: 10_002, atMs: 1_020_000 });
      history.events.push({
        kind: 'call_ended',
        callId: 999,
        clock,
        end,
        seq: 10_003,
        atMs: 1_020_010,
      });
    });
  const refused = (code: string): CallEnd => {
    const problem = { refusalId: undefined };
    return { kind: 'refused', status: 503, code, detail: '', problem };
  };
  expect(lied(i01Durable, answered(refused('journal_quarantined')))).toBe('');
  expect(lied(i01Durable, answered(refused('internal')))).toMatch(/admission with internal/);
  const admitted = { kind: 'ok', status: 201, body: { operationId: 'op-9' } } as const;
  expect(lied(i01Durable, answered(admitted))).toMatch(
    /quarantined and answered an admission with ok/,
  );
});

const again = (
  story: ReturnType<typeof lawfulStory>,
  operationId: string,
  status: number,
): void => {
  const operation = { ...story.operation('host-1', operationId) };
  const request = { kind: 'admit', key: 'key-1', body: PLACE } as const;
  story.call('host-1', request, { kind: 'ok', status, body: operation });
};

test('I2, O1: one key is answered with one operation, once as new', () => {
  const story = lawfulStory();
  const [own = '', other = ''] = story.operationIds('host-1');
  again(story, own, 200);
  expect(lied(i02Once, () => undefined, story)).toBe('');
  again(story, own, 201);
  expect(lied(i02Once, () => undefined, story)).toMatch(/admitted as new 2 times/);
  again(story, other, 200);
  expect(lied(i02Once, () => undefined, story)).toMatch(/answered with op-\d+ and op-\d+/);
});

test('I2, O2: a payload is answered with its own operation', () => {
  const story = lawfulStory();
  const [own = ''] = story.operationIds('host-1');
  const request = { kind: 'admit', key: 'key-1', body: { ...PLACE, deadlineMs: 5 } } as const;
  const code = 'idempotency_key_reused';
  story.call('host-1', request, { kind: 'refused', status: 422, code, detail: '', problem: {} });
  expect(lied(i02Once, () => undefined, story)).toBe('');
  const body = story.operation('host-1', own);
  story.call('host-1', request, { kind: 'ok', status: 200, body });
  expect(lied(i02Once, () => undefined, story)).toMatch(/for a payload that is not its own/);
});

test('I2, O2: reuse is said only of a key that was used otherwise', () => {
  const story = lawfulStory();
  const request = { kind: 'admit', key: 'key-1', body: PLACE } as const;
  const code = 'idempotency_key_reused';
  story.call('host-1', request, { kind: 'refused', status: 422, code, detail: '', problem: {} });
  expect(lied(i02Once, () => undefined, story)).toMatch(/nobody used it with one/);
});

test('I2, O3: a journal has a key once', () => {
  const doubled: Liar = ({ final }) => {
    const [, second] = final.journals[first]?.operations ?? [];
    if (second !== undefined) second.idempotencyKey = 'key-1';
  };
  expect(lied(i02Once, doubled)).toMatch(/has op-\d+ and op-\d+ under key app key-1/);
});
