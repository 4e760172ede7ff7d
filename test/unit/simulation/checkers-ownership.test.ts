/** I6, I7: every lie that the checkers name is found; and the search for an order itself. */
import { expect, test } from 'vitest';
import { i06Fencing } from '../../simulation/checkers/i06-fencing.ts';
import { i07OneOwner } from '../../simulation/checkers/i07-one-owner.ts';
import { linearize, type Step } from '../../simulation/checkers/linearizable.ts';
import { RESOURCE, eventAt, expectLawful, lawfulStory, lied, type Liar } from './lawful-story.ts';
import { SmallHistory } from './small-history.ts';

const nothing: Liar = () => undefined;

test('I6, T1: an epoch that was given before is found, whatever happened to control', () => {
  const story = lawfulStory();
  story.granted('host-2', RESOURCE, 5);
  expect(lied(i06Fencing, nothing, story)).toMatch(
    /orders\/7 was granted to host-2 under epoch 5, after host-1 had it under 5/,
  );
});

test('I6, T1: a resource that changes hands under its epoch', () => {
  const story = lawfulStory();
  const before = { epoch: 5, host: 'host-1', endsBootMs: 1 };
  story.granted('host-2', RESOURCE, 5, 'renewed', before);
  expect(lied(i06Fencing, nothing, story)).toMatch(
    /orders\/7 went to host-2 under epoch 5, and its holder before had 5/,
  );
});

test('I6, T2: a host that holds an older epoch than before', () => {
  const story = lawfulStory();
  story.believes('host-1', RESOURCE, 4, 1_000);
  expect(lied(i06Fencing, nothing, story)).toMatch(
    /host-1 holds orders\/7 under epoch 4, and held it under 5/,
  );
});

test('I6, T3: a token below one that was accepted', () => {
  const story = lawfulStory();
  const check = { kind: 'check_fence', resource: RESOURCE, epoch: 5 } as const;
  const body = { resource: RESOURCE, highestEpoch: 5, accepted: true };
  story.call('host-1', check, { kind: 'ok', status: 200, body });
  expect(lied(i06Fencing, nothing, story)).toMatch(/no order explains the checks of tokens/);
});

test('I6, T4: work under a token below the highest that the journal has', () => {
  const story = lawfulStory();
  story.entry('host-1', 'register_written', { key: 'r', resource: RESOURCE, epoch: 5 });
  expect(lied(i06Fencing, nothing, story)).toMatch(
    /\(register_written of orders\/7\) acts under epoch 5 of orders\/7, where 6 had been recorded/,
  );
  const forgotten: Liar = ({ final }) => {
    const journal = final.journals[0];
    if (journal !== undefined) journal.fences[RESOURCE] = 1;
  };
  expect(lied(i06Fencing, forgotten)).toMatch(/keeps fence 1 of orders\/7 at the end/);
});

test('I6, T5: a register that is read as it never was, or overwritten unseen', () => {
  const story = lawfulStory();
  const read = { kind: 'register', register: 'orders/7/done' } as const;
  const problem = { kind: 'refused', status: 404, detail: '', problem: {} } as const;
  story.call('host-1', read, { ...problem, code: 'register_not_found' });
  expect(lied(i06Fencing, nothing, story)).toMatch(
    /no order explains register app orders\/7\/done/,
  );
  const unseen = lawfulStory();
  const put = {
    kind: 'put_register',
    register: 'orders/7/done',
    resource: RESOURCE,
  } as const;
  const body = { key: 'orders/7/done', resource: RESOURCE, epoch: 6, version: 99, value: 2 };
  unseen.call(
    'host-1',
    { ...put, epoch: 6, replaces: 3, value: 2 },
    { kind: 'ok', status: 200, body },
  );
  expect(lied(i06Fencing, nothing, unseen)).toMatch(/write of 2 over 3 \(event \d+\): version 99/);
});

test('I6, T6: a target that takes a lower token', () => {
  const stale: Liar = (history) => {
    eventAt(history, 'effect_arrived').highestEpochBefore = 9;
  };
  expect(lied(i06Fencing, stale)).toMatch(/took effect charge of op-\d+ under epoch 5, after 9/);
});

const step = (
  sentSeq: number,
  endedSeq: number | null,
  from: number,
  to: number,
): Step<number> => ({
  sentSeq,
  endedSeq,
  apply: (state) => (state === from ? to : null),
});

test('an order is found wherever there is one, and only there', () => {
  const order = (steps: readonly Step<number>[]) => linearize(steps, 0, String).kind;
  // One after the other.
  expect(order([step(0, 1, 0, 1), step(2, 3, 1, 2)])).toBe('yes');
  expect(order([step(0, 1, 1, 2), step(2, 3, 0, 1)])).toBe('no');
  // At the same time: either may be first.
  expect(order([step(0, 3, 1, 2), step(1, 2, 0, 1)])).toBe('yes');
  // Without an answer: it may have happened, late as well, or never.
  expect(order([step(0, null, 0, 1), step(2, 3, 1, 2)])).toBe('yes');
  expect(order([step(0, null, 0, 1), step(2, 3, 0, 5)])).toBe('yes');
  expect(order([step(0, null, 0, 1), step(2, 3, 0, 5), step(4, 5, 1, 2)])).toBe('no');
  expect(order([step(2, null, 0, 1), step(0, 1, 1, 2)])).toBe('no');
});

test('an order among many calls at once is found within the bound', () => {
  const steps = Array.from({ length: 40 }, (_, index) =>
    step(index, 100 + index, 39 - index, 40 - index),
  );
  expect(linearize(steps, 0, String).kind).toBe('yes');
});

test('I7, W1: two hosts that believe in the same moment', () => {
  const story = lawfulStory();
  story.believes('host-1', RESOURCE, 5, 10_000);
  story.pass(100);
  story.exchange('host-2', 'sync');
  story.believes('host-2', RESOURCE, 6, 10_000);
  story.pass(100);
  story.believes('host-1', RESOURCE, 5, 9_800);
  expect(lied(i07OneOwner, nothing, story)).toMatch(
    /host-1 \(epoch 5\) and host-2 \(epoch 6\) both hold/,
  );
  const drifting: Liar = (history) => {
    const clock = { wallMs: 1, bootMs: 1, bootId: 'a' };
    const at = { seq: 0, atMs: 0, node: 'host-1', before: clock, after: clock };
    history.events.push({ kind: 'clock_changed', rate: 1.05, ...at });
  };
  expect(lied(i07OneOwner, drifting, story)).not.toMatch(/both hold orders\/7 at/);
  story.believes('host-2', RESOURCE, 5, 1_000);
  expect(lied(i07OneOwner, drifting, story)).toMatch(/both hold orders\/7 under epoch 5/);
});

test('I7, W2: a holder that counts from the answer', () => {
  const story = lawfulStory();
  story.exchange('host-1', 'sync', 4_000);
  story.believes('host-1', RESOURCE, 5, 29_600);
  expect(lied(i07OneOwner, nothing, story)).toMatch(
    /for 29600 ms more; its last sync was sent 4000 ms/,
  );
});

function takenOver(at: { readonly afterMs: number; readonly isHeard: boolean }): SmallHistory {
  const story = new SmallHistory();
  story.started('control', 1, 1);
  for (const host of ['host-1', 'host-2']) story.exchange(host, 'sync');
  for (const host of ['host-1', 'host-2']) story.exchange(host, 'sync');
  story.granted('host-1', RESOURCE, 5);
  const endsBootMs = story.now().bootMs + 30_400;
  story.pass(at.afterMs);
  if (at.isHeard) story.exchange('host-2', 'sync');
  story.granted('host-2', RESOURCE, 6, 'granted', { epoch: 5, host: 'host-1', endsBootMs });
  return story;
}

test('I7, W3: a lease that is given on before its end, or before its lock delay', () => {
  expectLawful(i07OneOwner, takenOver({ afterMs: 31_400, isHeard: true }));
  const early = takenOver({ afterMs: 31_399 - 20, isHeard: true });
  expect(lied(i07OneOwner, nothing, early)).toMatch(/control gave orders\/7 to host-2 1 ms before/);
  const short: Liar = (history) => {
    const { after } = eventAt(history, 'lease_written');
    after.termMs = 29_000;
  };
  expect(lied(i07OneOwner, short)).toMatch(
    /control counts the lease of orders\/7 by host-1 for 29000/,
  );
});

test('I7, W4: a grant right after a start, before everybody was heard', () => {
  const story = new SmallHistory();
  for (const host of ['host-1', 'host-2']) story.exchange(host, 'sync');
  story.started('control', 2, 2);
  story.exchange('host-1', 'sync');
  story.exchange('host-1', 'sync');
  story.granted('host-1', RESOURCE, 7);
  expect(lied(i07OneOwner, nothing, story)).toMatch(
    /and host-2 had not spoken as of an answer of this run/,
  );
  const heard = new SmallHistory();
  for (const host of ['host-1', 'host-2']) heard.exchange(host, 'sync');
  heard.started('control', 2, 2);
  for (const host of ['host-1', 'host-2', 'host-2', 'host-1']) heard.exchange(host, 'sync');
  heard.granted('host-1', RESOURCE, 7);
  expectLawful(i07OneOwner, heard);
});

test('I7, W5: an effect that is begun after somebody else was given the resource', () => {
  const story = lawfulStory();
  const rival: Liar = (history) => {
    const granted = eventAt(history, 'lease_written');
    history.events.push({ ...granted, seq: granted.seq + 0.5, epoch: 8, host: 'host-2' });
  };
  expect(lied(i07OneOwner, rival, story)).toMatch(
    /host-1 began effect charge of op-\d+ under epoch 5 of orders\/7, and host-2 had been given epoch 8/,
  );
});

test('I7, W5: an effect that is begun later than the newest sync allows', () => {
  expect(lied(i07OneOwner, lateSyncs)).toMatch(
    /host-1 began effect charge of op-\d+ under its lease of orders\/7, 297\d+ ms after its last sync/,
  );
});

const lateSyncs: Liar = (history) => {
  for (const event of history.events)
    if (event.kind === 'message_sent' && event.purpose === 'sync') event.clock.bootMs -= 29_700;
};

function setClock(history: Parameters<Liar>[0], node: string, seq: number): void {
  const before = { wallMs: 1, bootMs: 1, bootId: 'a' };
  const after = { wallMs: 90_001, bootMs: 90_001, bootId: 'a' };
  history.events.push({ kind: 'clock_changed', seq, atMs: 0, node, before, after, rate: 1 });
}

test('I7, W5: that another clock was set, or its own before, excuses no late effect', () => {
  const set: Liar = (history) => {
    setClock(history, 'host-2', 0);
    setClock(history, 'host-1', 0);
    lateSyncs(history);
  };
  expect(lied(i07OneOwner, set)).toMatch(/297\d+ ms after its last sync/);
});

test('I7, W5: its own clock, set while it was asked, says nothing of how late it was', () => {
  const set: Liar = (history) => {
    const begun = history.events.findIndex(
      (event) => event.kind === 'call_sent' && event.request.kind === 'begin_effect',
    );
    setClock(history, 'host-1', begun + 0.5);
    lateSyncs(history);
  };
  expect(lied(i07OneOwner, set)).not.toMatch(/began effect/);
});

test('I7, W1: two owners before any clock was set are found all the same', () => {
  const story = lawfulStory();
  story.believes('host-2', RESOURCE, 6, 1_000);
  story.believes('host-1', RESOURCE, 5, 1_000);
  const set: Liar = (history) => setClock(history, 'host-1', 100_000);
  expect(lied(i07OneOwner, set, story)).toMatch(/both hold orders\/7 at/);
});

test('I7, W1: a suspend moves no clock of before it, and a jump is none for a suspend after it', () => {
  const story = lawfulStory();
  story.believes('host-2', RESOURCE, 6, 1_000);
  story.believes('host-1', RESOURCE, 5, 1_000);
  const moved =
    (...kinds: ('clock_jump' | 'suspend')[]): Liar =>
    (history) => {
      const faults = kinds.map((fault, index) => {
        const at = { seq: 0.6 + index / 10, atMs: 0, faultId: index, detail: {} };
        const told = { kind: 'fault', stage: 'once', fault } as const;
        return { ...told, nodes: ['host-1'], ...at };
      });
      history.events.unshift(...faults);
      setClock(history, 'host-1', 0.5);
    };
  expect(lied(i07OneOwner, moved('suspend', 'clock_jump'), story)).toMatch(
    /both hold orders\/7 at/,
  );
  expect(lied(i07OneOwner, moved('clock_jump', 'suspend'), story)).not.toMatch(/both hold orders/);
});

test('I6, T1: what a start finds in an old copy of the store is not given then', () => {
  const story = lawfulStory();
  const end = { start: 1, clock: story.now(), how: 'crashed', point: null, detail: null } as const;
  story.granted('host-2', RESOURCE, 9);
  story.say({ kind: 'daemon_ended', node: 'control', ...end });
  story.granted('host-1', RESOURCE, 5);
  story.started('control', 2, 2);
  expect(lied(i06Fencing, nothing, story)).toBe('');
  story.granted('host-1', RESOURCE, 8);
  expect(lied(i06Fencing, nothing, story)).toMatch(/under epoch 8, after host-2 had it under 9/);
});
