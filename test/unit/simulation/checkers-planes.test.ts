/** I10, I11, I12: every lie that the checkers name is found. */
import { expect, test } from 'vitest';
import { ChecksMade, judge } from '../../simulation/checkers/index.ts';
import { i10PlanesApart } from '../../simulation/checkers/i10-planes-apart.ts';
import { i11Revisions } from '../../simulation/checkers/i11-revisions.ts';
import { i12Reports } from '../../simulation/checkers/i12-reports.ts';
import type { Refusal } from '../../../shared/wire/operation.ts';
import { POLICY, eventAt, lawfulStory, lied, operationOf, type Liar } from './lawful-story.ts';
import { TERMS, type SmallHistory } from './small-history.ts';

const nothing: Liar = () => undefined;

function refused(change: Partial<Refusal>): SmallHistory {
  const story = lawfulStory();
  const refusal: Refusal = {
    refusalId: 'ref-2',
    app: 'app',
    idempotencyKey: 'key-9',
    principal: 'agent:a',
    action: 'orders.place',
    resourceId: 'orders/1',
    reason: 'control_unreachable',
    message: 'no',
    policyRevision: 1,
    rule: 'place',
    basis: 'cached',
    stalenessMs: 10,
    leaseEpoch: null,
    outageId: null,
    atMs: story.now('host-1').wallMs,
    ...change,
  };
  story.refuse('host-1', refusal);
  return story;
}

test('I10, P1: control is asked about nothing that is bounded', () => {
  const asked: Liar = (history) =>
    operationOf(history, 'key-1', (operation) => {
      operation.basis = 'fresh';
    });
  expect(lied(i10PlanesApart, asked)).toMatch(/control was asked, and rule place is bounded/);
  expect(lied(i10PlanesApart, nothing, refused({}))).toMatch(
    /refused orders\.place \(control_unreachable\): rule place is bounded/,
  );
});

test('I10, P2: only control’s own word takes authority away', () => {
  const withdrawn = refused({ reason: 'control_rejected' });
  expect(lied(i10PlanesApart, nothing, withdrawn)).toMatch(
    /as withdrawn by control, and control had refused this host nothing/,
  );
  const said: Liar = (history) => {
    eventAt(history, 'message_answered', 1).status = 401;
  };
  expect(lied(i10PlanesApart, said, withdrawn)).toBe('');
});

const stopped = (reason: string, change: object = {}): SmallHistory => {
  const story = lawfulStory();
  const { operationId } = story.admit(
    'host-1',
    'key-8',
    { principal: 'agent:a', action: 'orders.refund', ...change },
    { revision: 1, stalenessMs: 10 },
  );
  story.entry('host-1', 'cancelled', { state: 'cancelled', reason, attempt: 0 }, operationId);
  return story;
};

test('I10, P3: work is stopped as its record says, while an outage is open', () => {
  expect(lied(i10PlanesApart, nothing, stopped('control_lost'))).toMatch(
    /became cancelled \(control_lost\) while no outage was open/,
  );
  expect(lied(i10PlanesApart, nothing, stopped('authority_revoked'))).toMatch(
    /became cancelled \(authority_revoked\), and control had refused this host nothing/,
  );
  const finishes: Liar = (history) =>
    operationOf(history, 'key-8', (operation) => {
      operation.onControlLoss = 'finish';
    });
  expect(lied(i10PlanesApart, finishes, stopped('control_lost'))).toMatch(
    /and its record says onControlLoss: finish/,
  );
});

test('I10, P3: a blip stops no work', () => {
  const stoppedAfter = (ms: number): SmallHistory => {
    const story = lawfulStory();
    const { operationId } = story.admit(
      'host-1',
      'key-8',
      { principal: 'agent:a', action: 'orders.refund' },
      { revision: 1, stalenessMs: 10 },
    );
    const authority = { policyRevision: 1, stalenessMs: 100 };
    const fromMs = story.now('host-1').wallMs;
    const outage = { outageId: 'out-2', fromMs, toMs: null, ...authority };
    story.outage('host-1', { ...outage, cause: 'timeout', detail: 'no answer' });
    story.pass(ms);
    const body = { state: 'cancelled', reason: 'control_lost', attempt: 0 };
    story.entry('host-1', 'cancelled', body, operationId);
    return story;
  };
  expect(lied(i10PlanesApart, nothing, stoppedAfter(8_000))).toMatch(
    /8000 ms into an outage: 10000 ms are configured/,
  );
  expect(lied(i10PlanesApart, nothing, stoppedAfter(10_000))).toBe('');
});

test('I10, P4: authority that is young enough admits', () => {
  const expired = { reason: 'policy_expired' };
  expect(lied(i10PlanesApart, nothing, refused({ ...expired, stalenessMs: 20_000 }))).toMatch(
    /authority was 20000 ms old, and rule place allows 20000 ms/,
  );
  expect(lied(i10PlanesApart, nothing, refused({ ...expired, stalenessMs: 20_001 }))).toBe('');
});

test('I10, P5: an admission waits for nobody but the disk', () => {
  const story = lawfulStory();
  const body = { principal: 'agent:a', action: 'orders.place' };
  const code = 'denied';
  const end = { kind: 'refused', status: 403, code, detail: '', problem: {} } as const;
  story.call('host-1', { kind: 'admit', key: 'key-7', body }, end, { tookMs: 1_500 });
  expect(lied(i10PlanesApart, nothing, story)).toMatch(
    /host-1 took 1500 ms to decide key key-7, which needs nothing from control/,
  );
});

test('I11, N1: a number that names two documents', () => {
  const story = lawfulStory();
  story.publish(1, { ...POLICY, description: 'another' });
  expect(lied(i11Revisions, nothing, story)).toMatch(/revision 1 was published again/);
});

test('I11, N1: unless all of control was put back, and hosts were silent for a term', () => {
  const again = (isWhole: boolean, afterMs: number) => {
    const story = lawfulStory();
    const of = { faultId: 1, nodes: ['control'], detail: { copiedAtMs: 0, isWhole } };
    story.say({ kind: 'fault', fault: 'control_backup_restored', stage: 'once', ...of });
    story.started('control', 2);
    story.pass(afterMs);
    story.publish(1, { ...POLICY, description: 'another' });
    return lied(i11Revisions, nothing, story);
  };
  const { leaseTtlMs } = TERMS;
  expect(again(true, leaseTtlMs)).toBe('');
  expect(again(true, leaseTtlMs - 1)).toMatch(/revision 1 was published again/);
  expect(again(false, leaseTtlMs)).toMatch(/revision 1 was published again/);
});

test('I11, N2: a revision that goes back, or that nobody published', () => {
  const story = lawfulStory();
  story.publish(2, { ...POLICY, description: 'newer' });
  story.state('host-1', 2, 20);
  story.started('host-1', 2);
  story.state('host-1', 1, 20);
  expect(lied(i11Revisions, nothing, story)).toMatch(/has revision 1 in force, and had 2 before/);
  story.state('host-1', 7, 20);
  expect(lied(i11Revisions, nothing, story)).toMatch(
    /revision 7 in force, which was never published/,
  );
});

test('I11, N3: what was refused is not put in force, and nothing twice', () => {
  const story = lawfulStory();
  story.publish(2, { ...POLICY, description: 'newer' });
  story.entry('host-1', 'policy_rejected', { policyRevision: 2 });
  story.entry('host-1', 'policy_activated', { policyRevision: 2 });
  expect(lied(i11Revisions, nothing, story)).toMatch(
    /put revision 2 in force, which it had refused/,
  );
  story.entry('host-1', 'policy_activated', { policyRevision: 1 });
  expect(lied(i11Revisions, nothing, story)).toMatch(/put revision 1 in force after 2/);
});

test('I11, N4: a sidecar that ends by itself', () => {
  const story = lawfulStory();
  const how = { start: 1, clock: story.now('host-1'), how: 'ended', point: null } as const;
  story.say({ kind: 'daemon_ended', node: 'host-1', ...how, detail: 'policy' });
  expect(lied(i11Revisions, nothing, story)).toMatch(/host-1 ended by itself \(policy\)/);
});

test.for<[string, Liar, RegExp]>([
  [
    'U1: an entry that is taken as held, and is not',
    ({ final }) => void final.control.events['id-host-1']?.splice(3, 1),
    /control does not hold entry 4 \(\w+\) of host-1, which takes it as held/,
  ],
  [
    'U1: another entry under its number',
    ({ final }) => {
      const event = final.control.events['id-host-1']?.[3];
      if (event !== undefined) event.hash = '0'.repeat(64);
    },
    /control holds another entry 4 of host-1/,
  ],
  [
    'U1: an entry twice',
    ({ final }) => {
      const events = final.control.events['id-host-1'];
      const [first] = events ?? [];
      if (first !== undefined) events?.push(first);
    },
    /control holds entry 1 of host-1 twice/,
  ],
  [
    'U2: an end that never arrives',
    ({ final }) => {
      const journal = final.journals[0];
      if (journal !== undefined) journal.ackedSeq = 1;
      final.control.events['id-host-1']?.pop();
    },
    /of host-1, which has come to rest/,
  ],
  [
    'U2: control knows an operation otherwise',
    ({ final }) => {
      const [operation] = final.control.operations;
      if (operation !== undefined) operation.state = 'executing';
    },
    /of host-1 is .*succeeded.*; control knows .*executing/,
  ],
  [
    'U2: control knows nothing of it',
    ({ final }) => void final.control.operations.shift(),
    /; control knows nothing/,
  ],
  [
    'U3: a refusal that control does not know',
    ({ final }) => void final.control.refusals.shift(),
    /control does not know refusal ref-1 \(control_unreachable\)/,
  ],
  [
    'U3: an outage that control takes to be open',
    ({ final }) => {
      const [outage] = final.control.outages;
      if (outage !== undefined) outage.toMs = null;
    },
    /outage out-1 of host-1 is over, and control knows it otherwise/,
  ],
  [
    'U3: an entry that control cannot read',
    ({ final }) => {
      const at = { hostId: 'id-host-1', hostEpoch: 1, operationId: null, atMs: 1, receivedAtMs: 1 };
      final.control.unreadable.push({ ...at, seq: 4, kind: 'x', problem: 'no', bodyText: '' });
    },
    /control cannot read entry 4 of id-host-1: no/,
  ],
  [
    'U4: a position that goes back',
    (history) => {
      eventAt(history, 'host_state', 1).ackedSeq = 0;
    },
    /takes entries up to 0 as held by control; it has \d+, and took 1 as held before/,
  ],
])('I12, %s', ([, lie, expected]) => {
  expect(lied(i12Reports, lie)).toMatch(expected);
});

test('a promise that nothing was held against in a whole campaign is named', () => {
  const made = new ChecksMade();
  expect(made.idle()).toHaveLength(12);
  made.add(judge(lawfulStory().end()));
  expect(made.idle()).toEqual([]);
  made.add({ verdicts: [{ promise: 'I1', checks: 0, violations: [] }], violations: [] });
  expect(made.rows()).toHaveLength(12);
});

test('I11, N2: a revision that a host did not survive twice is given up by design', () => {
  const story = lawfulStory();
  story.publish(2, { ...POLICY, description: 'newer' });
  story.state('host-1', 2, 20);
  const quarantined = { policyRevision: 2, reason: 'quarantined: it ended 2 times' };
  story.entry('host-1', 'policy_rejected', quarantined);
  const die = (afterMs: number, start: number): void => {
    story.started('host-1', start);
    story.pass(afterMs);
    const end = { clock: story.now(), how: 'crashed', point: null, detail: null } as const;
    story.say({ kind: 'daemon_ended', node: 'host-1', start, ...end });
  };
  die(60_000, 2);
  die(60_000, 3);
  story.state('host-1', 1, 20);
  expect(lied(i11Revisions, nothing, story)).toMatch(/has revision 1 in force, and had 2 before/);
  const again = lawfulStory();
  again.publish(2, { ...POLICY, description: 'newer' });
  again.state('host-1', 2, 20);
  again.entry('host-1', 'policy_rejected', quarantined);
  for (const start of [2, 3]) {
    again.started('host-1', start);
    again.pass(100);
    const end = { clock: again.now(), how: 'crashed', point: null, detail: null } as const;
    again.say({ kind: 'daemon_ended', node: 'host-1', start, ...end });
  }
  again.state('host-1', 1, 20);
  expect(lied(i11Revisions, nothing, again)).toBe('');
});
