/** I8, I9: every lie that the checkers name is found. */
import { expect, test } from 'vitest';
import type { Effect } from '../../../shared/wire/operation.ts';
import { i08EveryEnd } from '../../simulation/checkers/i08-every-end.ts';
import { i09OneEffect } from '../../simulation/checkers/i09-one-effect.ts';
import {
  PLACE,
  eventAt,
  lawfulStory,
  lied,
  operationOf,
  type Liar,
  type Writable,
} from './lawful-story.ts';

type Body = Writable<Record<string, unknown>>;

/** The bodies of the entries of that kind, in order. */
function bodiesOf(history: Parameters<Liar>[0], kind: string): Body[] {
  const events = history.final.journals[0]?.events ?? [];
  return events.flatMap((event) => (event.kind === kind ? [event.body] : []));
}

const change =
  (kind: string, write: (body: Body) => void, nth = 0): Liar =>
  (history) => {
    const body = bodiesOf(history, kind)[nth];
    if (body === undefined) throw new Error(`no entry ${kind} number ${nth}`);
    write(body);
  };

const effectIn = (body: Body): Writable<Effect> => body['effect'] as Writable<Effect>;

test.for<[string, Liar, RegExp]>([
  [
    'E1: no rest after the faults',
    ({ final }) => {
      final.liveness.isSettled = false;
      final.liveness.unsettled = ['op-7 of host-1 is executing'];
    },
    /there is no rest: op-7 of host-1 is executing/,
  ],
  [
    'E2: a step that the table does not have',
    change('succeeded', (body) => {
      body['state'] = 'expired';
    }),
    /was executing, and succeeded made it expired/,
  ],
  [
    'E2: a record that its entries do not make',
    (history) =>
      operationOf(history, 'key-1', (operation) => {
        operation.state = 'failed';
      }),
    /is recorded as failed, and its entries make it succeeded/,
  ],
  [
    'E2: an operation that nothing admits',
    ({ final }) => {
      const journal = final.journals[0];
      if (journal !== undefined)
        journal.events = journal.events.filter(({ kind }) => kind !== 'admitted');
    },
    /has entries and none that admits it/,
  ],
  [
    'E2: an effect that its entries do not make',
    (history) => {
      const journal = history.final.journals[0];
      if (journal !== undefined)
        journal.events = journal.events.filter(({ kind }) => kind !== 'effect_settled');
    },
    /effect charge of op-\d+ is succeeded, and its entries make it begun/,
  ],
  [
    'E3: success with an effect that nobody reported',
    (history) => {
      const journal = history.final.journals[0];
      if (journal !== undefined)
        journal.events = journal.events.filter(({ kind }) => kind !== 'effect_settled');
      change('succeeded', (body) => {
        for (const effect of (body['effects'] ?? []) as Writable<Effect>[]) effect.state = 'begun';
      })(history);
    },
    /ended as succeeded \(null\), and effect charge is begun/,
  ],
  [
    'E3: what is not known is called failed',
    change('unknown', (body) => {
      body['state'] = 'failed';
    }),
    /was executing, and unknown made it failed/,
  ],
  [
    'E3: unknown without a reason',
    change('unknown', (body) => {
      body['reason'] = null;
    }),
    /became unknown without a reason/,
  ],
])('I8, %s', ([, lie, expected]) => {
  expect(lied(i08EveryEnd, lie)).toMatch(expected);
});

test('I8, E1: an operation that outlives its deadline', () => {
  const story = lawfulStory();
  const at = { revision: 1, stalenessMs: 20, leaseEpoch: 6 };
  story.admit('host-1', 'key-5', PLACE, at);
  story.pass(179_000);
  story.state('host-1', 1, 20);
  expect(lied(i08EveryEnd, () => undefined, story)).toBe('');
  story.pass(2_000);
  story.state('host-1', 1, 20);
  expect(lied(i08EveryEnd, () => undefined, story)).toMatch(
    /op-\d+ of host-1 is accepted, 12\d+ ms after its deadline/,
  );
});

/** The worker of `key-2` was lost; its app is asked, and says that nothing was done. */
function probed(): ReturnType<typeof lawfulStory> {
  const story = lawfulStory();
  const [, operationId = ''] = story.operationIds('host-1');
  const asking = { strategy: 'probe', by: null, unitRandom: 0 } as const;
  story.apply('host-1', operationId, { kind: 'begin_try', ...asking });
  const outcome = 'failed' as const;
  const { atMs: askedMs } = story;
  story.say({ kind: 'probe_answered', host: 'host-1', operationId, number: 1, askedMs, outcome });
  const said = { verdict: outcome, detail: 'it answered failed', result: null, evidence: null };
  story.apply('host-1', operationId, { kind: 'end_try', number: 1, ...said, isFinal: false });
  return story;
}

test('I8, E5: what a probe settled was said, and is what was done', () => {
  expect(lied(i08EveryEnd, () => undefined, probed())).toBe('');
  const unsaid: Liar = (history) => void (eventAt(history, 'probe_answered').outcome = 'unknown');
  expect(lied(i08EveryEnd, unsaid, probed())).toMatch(
    /op-\d+ failed as verified, and whoever was asked said unknown/,
  );
  const silent: Liar = (history) => {
    history.events = history.events.filter(({ kind }) => kind !== 'probe_answered');
  };
  expect(lied(i08EveryEnd, silent, probed())).toMatch(/whoever was asked said nothing/);
  const done: Liar = (history) => {
    const { operationId } = eventAt(history, 'probe_answered');
    const arrived = eventAt(history, 'effect_arrived');
    Object.assign(arrived, { operationId, effect: 'purge', verdict: 'taken' });
  };
  expect(lied(i08EveryEnd, done, probed())).toMatch(/failed as verified, and \w+ has done purge/);
});

test('I8, E5: a try that nobody recorded before it was made', () => {
  const unrecorded: Liar = (history) => void (eventAt(history, 'probe_answered').number = 2);
  expect(lied(i08EveryEnd, unrecorded, probed())).toMatch(
    /host-1 asked about op-\d+ in try 2, which it has not recorded/,
  );
});

test('I8, E5: a question that was under way while its host was put back to a copy from before it', () => {
  const restored =
    (askedMs: (restoredMs: number) => number): Liar =>
    (history) => {
      const answered = eventAt(history, 'probe_answered');
      const { atMs } = answered;
      const fault = { fault: 'host_backup_restored', stage: 'once', faultId: 1 } as const;
      const of = { nodes: ['host-1'], detail: {}, seq: answered.seq, atMs };
      history.events.splice(answered.seq, 0, { kind: 'fault', ...fault, ...of });
      Object.assign(answered, { number: 2, atMs: atMs + 400, askedMs: askedMs(atMs) });
    };
  const before = restored((restoredMs) => restoredMs - 100);
  expect(lied(i08EveryEnd, before, probed())).not.toMatch(/which it has not recorded/);
  const after = restored((restoredMs) => restoredMs + 100);
  expect(lied(i08EveryEnd, after, probed())).toMatch(/in try 2, which it has not recorded/);
});

test.for<[string, Liar, RegExp]>([
  [
    'R1: an attempt out of number',
    change('attempt_started', (body) => {
      body['attempt'] = 2;
    }),
    /attempt 2 follows attempt 0/,
  ],
  [
    'R1: an effect begun by an attempt that is over',
    change('effect_begun', (body) => {
      effectIn(body).attempt = 0;
    }),
    /attempt 0 began charge, and 1 is the newest/,
  ],
  [
    'R1: the outcome of an attempt that is over',
    change('succeeded', (body) => {
      (body['outcome'] as { attempt: number }).attempt = 0;
    }),
    /the outcome is of attempt 0, and 1 is the newest/,
  ],
  [
    'R2: a recorded success that changes',
    ({ final }) => {
      const journal = final.journals[0];
      const settled = journal?.events.find(({ kind }) => kind === 'effect_settled');
      if (journal === undefined || settled === undefined) return;
      const other = structuredClone(settled);
      effectIn(other.body).state = 'failed';
      journal.events.push(other);
    },
    /effect charge was succeeded and became failed/,
  ],
  [
    'R2: a recorded success that is begun again',
    ({ final }) => {
      const journal = final.journals[0];
      const begun = journal?.events.find(({ kind }) => kind === 'effect_begun');
      if (journal !== undefined && begun !== undefined) journal.events.push(structuredClone(begun));
    },
    /effect charge was begun again, and it had succeeded/,
  ],
  [
    'R2: a caller that is told to run again what has succeeded',
    (history) => {
      for (const event of history.events) {
        if (event.kind !== 'call_ended' || event.end.kind !== 'ok') continue;
        const body = event.end.body as { replayed?: boolean };
        if (body.replayed === true) body.replayed = false;
      }
    },
    /let effect charge of op-\d+ begin again, after its result had been recorded/,
  ],
  [
    'R3: what was begun and not reported is begun again',
    ({ final }) => {
      const journal = final.journals[0];
      const at = journal?.events.findIndex(({ kind }) => kind === 'effect_begun') ?? 0;
      const begun = journal?.events[at];
      if (begun !== undefined) journal?.events.splice(at + 1, 0, structuredClone(begun));
    },
    /effect charge was begun again, and it was begun/,
  ],
  [
    'R3: put back for another attempt with an effect open',
    ({ final }) => {
      const journal = final.journals[0];
      const at = journal?.events.findIndex(({ kind }) => kind === 'effect_begun') ?? 0;
      const begun = journal?.events[at];
      if (begun === undefined) return;
      const body = { state: 'accepted', reason: 'worker_lost', attempt: 1 };
      journal?.events.splice(at + 1, 0, { ...structuredClone(begun), kind: 'worker_lost', body });
    },
    /is to be run again, and effect charge is begun/,
  ],
  [
    'R4: a target that two attempts asked',
    (history) => {
      const arrived = eventAt(history, 'effect_arrived');
      history.events.push({ ...arrived, attempt: 2, seq: arrived.seq + 0.5 });
    },
    /was asked for effect charge of op-\d+ by attempts 1 and 2, and it is not idempotent/,
  ],
])('I9, %s', ([, lie, expected]) => {
  expect(lied(i09OneEffect, lie)).toMatch(expected);
});

test('I9, R1: an older attempt is told so', () => {
  const story = lawfulStory();
  const [operationId = ''] = story.operationIds('host-1');
  const ok = { kind: 'ok', status: 200 } as const;
  const start = { kind: 'start_attempt', operationId, key: 'z', supersede: true } as const;
  story.call('host-1', start, { ...ok, body: { operationId, attempt: 2 } });
  const beat = { kind: 'heartbeat', operationId, attempt: 1 } as const;
  story.call('host-1', beat, { ...ok, body: {} });
  expect(lied(i09OneEffect, () => undefined, story)).toMatch(
    /took heartbeat of attempt 1 of op-\d+ after attempt 2 had begun/,
  );
});

test('I9, R4: what was reported as failed may be asked for again', () => {
  const lie: Liar = (history) => {
    const arrived = eventAt(history, 'effect_arrived');
    history.events.push({ ...arrived, attempt: 2, seq: arrived.seq + 0.5 });
    for (const body of bodiesOf(history, 'effect_settled')) effectIn(body).state = 'failed';
  };
  expect(lied(i09OneEffect, lie)).toBe('');
});
