/** What clients are told, beside what is on the disks: every lie that the checkers name is found. */
import { expect, test } from 'vitest';
import type { AdmitRequest } from '../../../shared/wire/operation.ts';
import type { CallRequest } from '../../simulation/history.ts';
import { i01Durable } from '../../simulation/checkers/i01-durable.ts';
import { i03Authority } from '../../simulation/checkers/i03-authority.ts';
import { i07OneOwner } from '../../simulation/checkers/i07-one-owner.ts';
import { i08EveryEnd } from '../../simulation/checkers/i08-every-end.ts';
import { i09OneEffect } from '../../simulation/checkers/i09-one-effect.ts';
import { i12Reports } from '../../simulation/checkers/i12-reports.ts';
import {
  PLACE,
  POLICY,
  RESOURCE,
  eventAt,
  expectLawful,
  lawfulStory,
  lied,
  operationOf,
  type Liar,
} from './lawful-story.ts';
import { SmallHistory } from './small-history.ts';

const nothing: Liar = () => undefined;
const ok = (body: unknown) => ({ kind: 'ok', status: 200, body }) as const;
const AT = { revision: 1, stalenessMs: 20, leaseEpoch: 6 };

/** An operation that has begun, in a story of its own at the end of the lawful one. */
function begun(): { story: SmallHistory; operationId: string; seen: (state: string) => void } {
  const story = lawfulStory();
  const { operationId } = story.admit('host-1', 'key-9', PLACE, AT);
  const ends = story.now('host-1').bootMs + 20_000;
  const ownership = { owned: true, epoch: 6, inGrace: false, endsBootMs: ends } as const;
  story.apply('host-1', operationId, {
    kind: 'start_attempt',
    supersede: false,
    key: 'k',
    ownership,
  });
  const start = { kind: 'start_attempt', operationId, key: 'k', supersede: false } as const;
  story.call('host-1', start, ok({ operationId, attempt: 1, leaseEpoch: 6 }));
  const seen = (state: string): void => {
    const attempt = state === 'accepted' ? 0 : 1;
    story.call('host-1', { kind: 'operation', operationId }, ok({ operationId, state, attempt }));
  };
  return { story, operationId, seen };
}

test('I1, D4: what is read is as the journal has it', () => {
  const { story, seen } = begun();
  seen('executing');
  expectLawful(i01Durable, story);
});

test('I1, D4: an operation that is shown as it was before what was answered', () => {
  const { story, seen } = begun();
  seen('accepted');
  expect(lied(i01Durable, nothing, story)).toMatch(
    /showed op-\d+ as accepted, attempt 0, and attempt_started \(entry \d+\) had been answered before/,
  );
});

test('I1, D7: an attempt that is not given what was saved last', () => {
  const { story, operationId } = begun();
  const saved = { kind: 'save_checkpoint', attempt: 1, checkpoint: { at: 3 } } as const;
  story.apply('host-1', operationId, saved);
  story.apply('host-1', operationId, { kind: 'lose_worker', attempt: 1 });
  const ends = story.now('host-1').bootMs + 20_000;
  const ownership = { owned: true, epoch: 6, inGrace: false, endsBootMs: ends } as const;
  const start = { kind: 'start_attempt', supersede: false, key: 'l' } as const;
  story.apply('host-1', operationId, { ...start, ownership });
  const given = (checkpoint: unknown) => ok({ operationId, attempt: 2, leaseEpoch: 6, checkpoint });
  story.call('host-1', { ...start, operationId }, given({ at: 3 }));
  expectLawful(i01Durable, story);
  story.call('host-1', { ...start, operationId }, given(null));
  expect(lied(i01Durable, nothing, story)).toMatch(
    /gave attempt 2 of op-\d+ the checkpoint null, and \{"at":3\} had been saved/,
  );
});

test.for<[string, string, Liar]>([
  [
    'effect',
    'result succeeded \\{"paid":20\\} of effect charge',
    ({ final }) => {
      for (const { kind, body } of final.journals[0]?.events ?? [])
        if (kind === 'effect_settled') Object.assign(body['effect'] as object, { result: null });
    },
  ],
  [
    'operation',
    'outcome succeeded null',
    ({ final }) => {
      for (const { kind, body } of final.journals[0]?.events ?? [])
        if (kind === 'succeeded') Object.assign(body['outcome'] as object, { result: 'other' });
    },
  ],
])('I1, D1: a result of an %s that is not the one that was answered', ([, what, lie]) => {
  expect(lied(i01Durable, lie)).toMatch(new RegExp(`its journal has no ${what}`));
});

function controlled(request: CallRequest, body: unknown): SmallHistory {
  const story = lawfulStory();
  story.call('control', request, ok(body), { client: 'admin' });
  return story;
}
const restored: Liar = (history) => {
  const fault = { kind: 'fault', fault: 'control_backup_restored', stage: 'once' } as const;
  const at = { seq: 90_000, atMs: 90_000_000, faultId: 1, nodes: ['control'], detail: {} };
  history.events.push({ ...fault, ...at });
};

test('I1, D5: a publication that control answered and does not have', () => {
  const request = { kind: 'publish_policy', replaces: 1, document: {} } as never;
  const story = controlled(request, { policyRevision: 2, policyDigest: 'sha256:2' });
  expect(lied(i01Durable, nothing, story)).toMatch(
    /control answered that revision 2 is published, and its store has none of that number/,
  );
  expect(lied(i01Durable, restored, story)).toBe('');
  const kept: Liar = ({ final }) =>
    void final.control.revisions.push({ policyRevision: 2, policyDigest: 'sha256:2' });
  expect(lied(i01Durable, kept, story)).toBe('');
});

test('I1, D5: what was on its way when a copy was put back is of before; what the copy answers is not', () => {
  const putBack = lawfulStory();
  putBack.say({
    kind: 'fault',
    fault: 'control_backup_restored',
    stage: 'once',
    faultId: 1,
    nodes: ['control'],
    detail: {},
  });
  putBack.pass(6);
  const request = { kind: 'publish_policy', replaces: 1, document: {} } as never;
  const published = ok({ policyRevision: 2, policyDigest: 'sha256:2' });
  putBack.call('control', request, published, { client: 'admin' });
  expectLawful(i01Durable, putBack);
  putBack.pass(10_000);
  putBack.started('control', 2, 2);
  putBack.call('control', request, published, { client: 'admin' });
  expect(lied(i01Durable, nothing, putBack)).toMatch(
    /control answered that revision 2 is published, and its store has none of that number/,
  );
});

test('I1, D5: a vote that control answered and does not have', () => {
  const requestId = 'apr_key4';
  const request = { kind: 'approve', requestId, verb: 'approve', digest: 'd' } as const;
  const story = controlled(request, {});
  expect(lied(i01Durable, nothing, story)).toBe('');
  const forgotten: Liar = ({ final }) => {
    for (const one of final.control.approvals) Object.assign(one, { votes: [], state: 'pending' });
  };
  expect(lied(i01Durable, forgotten, story)).toMatch(
    /control answered approve of apr_key4, and its store has it as pending without that vote/,
  );
  story.call('control', { ...request, verb: 'withdraw' }, ok({}), { client: 'admin' });
  expect(lied(i01Durable, forgotten, story)).toBe('');
});

test.for<[string, Liar]>([
  ['principal', (history) => operationOf(history, 'key-1', (one) => (one.principal = 'agent:b'))],
  ['action', (history) => operationOf(history, 'key-1', (one) => (one.action = 'orders.take'))],
  ['resource', (history) => operationOf(history, 'key-1', (one) => (one.resource.id = 'orders/2'))],
  ['attributes', (history) => operationOf(history, 'key-1', (one) => (one.attributes = {}))],
])('I3, B7: a record whose %s is not what was asked', ([, lie]) => {
  expect(lied(i03Authority, lie)).toMatch(/is recorded as \{.*\}, and what was asked was \{/);
});

test('I3, B8: an app that is shown what another asked for, and an operator who may see it', () => {
  const { story, operationId } = begun();
  const read = { kind: 'operation', operationId } as const;
  const shown = ok({ operationId, state: 'executing', attempt: 1 });
  story.call('host-1', read, shown, { client: 'ops' });
  expectLawful(i03Authority, story);
  story.call('host-1', read, shown, { client: 'desk' });
  expect(lied(i03Authority, nothing, story)).toMatch(
    /host-1 answered operation of desk about op-\d+, which is of app/,
  );
});

test.for<[string, (rule: { approval?: unknown }) => void, RegExp]>([
  [
    'more approvers',
    (rule) => (rule.approval = { required: 3, from: 'role:security', ttl: '5m' }),
    /used an approval of 2 \(security\) under revision 2, which wants 3 \(security\)/,
  ],
  [
    'another role',
    (rule) => (rule.approval = { required: 1, from: 'role:treasury', ttl: '5m' }),
    /used an approval of 2 \(security\) under revision 2, which wants 1 \(treasury\)/,
  ],
  ['fewer approvers', (rule) => (rule.approval = { required: 1, from: 'role:security' }), /^$/],
  ['none', (rule) => delete rule.approval, /^$/],
])('I3, B6: an approval that is used under a revision that wants %s', ([, change, expected]) => {
  const document = structuredClone(POLICY);
  for (const rule of document.rules) if (rule.name === 'refund') change(rule);
  const story = lawfulStory();
  story.publish(2, document);
  const later: Liar = (history) => {
    for (const { kind, body } of history.final.journals[0]?.events ?? [])
      if (kind === 'approved') Object.assign(body['approval'] as object, { decidedUnder: 2 });
  };
  expect(lied(i03Authority, later, story)).toMatch(expected);
});

function refusedAs(code: string, body: AdmitRequest, key = 'key-r'): SmallHistory {
  const story = lawfulStory();
  const said = { kind: 'refused', status: 403, detail: '', problem: {}, code } as const;
  story.call('host-1', { kind: 'admit', key, body }, said);
  return story;
}

test.for<[string, AdmitRequest, AdmitRequest]>([
  ['denied', PLACE, { ...PLACE, attributes: { amount: 900 } }],
  ['no_rule', PLACE, { ...PLACE, action: 'orders.unheard' }],
  ['unknown_principal', PLACE, { ...PLACE, principal: 'agent:nobody' }],
])('I3, B9: %s is said where a revision decides so, and nowhere else', ([code, good, bad]) => {
  expect(lied(i03Authority, nothing, refusedAs(code, bad))).toBe('');
  expect(lied(i03Authority, nothing, refusedAs(code, good))).toMatch(
    new RegExp(`host-1 refused key key-r as ${code}, and no revision decides so`),
  );
});

test('I3, B9: a quota that is said to be used, and was not', () => {
  expect(lied(i03Authority, nothing, refusedAs('quota_exhausted', PLACE))).toMatch(
    /refused key key-r as its quota was used, and 1 of 3 were within 60000 ms/,
  );
  const story = lawfulStory();
  for (const key of ['key-5', 'key-6']) {
    const { operationId } = story.admit('host-1', key, PLACE, AT);
    story.apply('host-1', operationId, { kind: 'cancel', reason: 'not wanted' });
  }
  const said = { kind: 'refused', status: 429, detail: '', problem: {} } as const;
  const more = { kind: 'admit', key: 'key-r', body: PLACE } as const;
  story.call('host-1', more, { ...said, code: 'quota_exhausted' });
  expect(lied(i03Authority, nothing, story)).toBe('');
});

test('I7, W6: a lease that is renewed after it was to stop', () => {
  const written = (longer: boolean): SmallHistory => {
    const story = new SmallHistory();
    story.started('control', 1, 1);
    const before = { epoch: 5, host: 'host-1', endsBootMs: story.now().bootMs + 30_400 };
    if (longer) story.pass(5_000);
    story.granted('host-1', RESOURCE, 5, longer ? 'renewed' : 'handover', before);
    return story;
  };
  const toStop: Liar = (history) => {
    const { before } = eventAt(history, 'lease_written');
    if (before !== null) before.handover = { mode: 'stop', by: 'operator:ann' } as never;
  };
  expect(lied(i07OneOwner, toStop, written(true))).toMatch(
    /control renewed orders\/7 for host-1 under epoch 5, after operator:ann had ended it/,
  );
  expect(lied(i07OneOwner, toStop, written(false))).toBe('');
  expect(lied(i07OneOwner, nothing, written(true))).toBe('');
});

/** The worker is silent for so long, and is taken as lost. */
function lost(silentMs: number): SmallHistory {
  const { story, operationId } = begun();
  const beat = { kind: 'heartbeat', operationId, attempt: 1 } as const;
  story.call('host-1', beat, ok({ operationId, attempt: 1 }));
  story.pass(silentMs);
  story.apply('host-1', operationId, { kind: 'lose_worker', attempt: 1 });
  return story;
}

test('I7, W4: what a start found in a copy was not granted before it', () => {
  const story = new SmallHistory();
  story.started('control', 1, 1);
  for (const host of ['host-1', 'host-2']) story.exchange(host, 'sync');
  story.started('control', 2, 2);
  const end = { start: 2, clock: story.now(), how: 'crashed', point: null, detail: null } as const;
  story.say({ kind: 'daemon_ended', node: 'control', ...end });
  story.granted('host-1', RESOURCE, 7);
  story.started('control', 3, 3);
  expect(lied(i07OneOwner, nothing, story)).toBe('');
  story.granted('host-1', RESOURCE, 8);
  expect(lied(i07OneOwner, nothing, story)).toMatch(/had not spoken as of an answer of this run/);
});

test('I8, E4: a worker that is taken as lost before its time', () => {
  expectLawful(i08EveryEnd, lost(30_000));
  expect(lied(i08EveryEnd, nothing, lost(29_900))).toMatch(
    /takes the worker of op-\d+ as lost 299\d\d ms after it was heard, and its rule gives it 30000 ms/,
  );
});

test('I8, E4: a deadline that passes before it is there', () => {
  const expired = (afterMs: number): SmallHistory => {
    const story = lawfulStory();
    const { operationId } = story.admit('host-1', 'key-9', PLACE, AT);
    story.pass(60_000);
    story.apply('host-1', operationId, { kind: 'pass_deadline' });
    const at = story.operation('host-1', operationId);
    Object.assign(at, { deadlineAtMs: at.deadlineAtMs + afterMs });
    return story;
  };
  expect(lied(i08EveryEnd, nothing, expired(0))).toBe('');
  expect(lied(i08EveryEnd, nothing, expired(500))).toMatch(
    /became expired \(deadline_passed\) 490 ms before its time/,
  );
});

test('I8, E4: a caller that is told too early that the deadline has passed', () => {
  const told = (afterMs: number): SmallHistory => {
    const { story, operationId } = begun();
    story.pass(afterMs);
    const begin = { kind: 'begin_effect', operationId, attempt: 1, effect: 'charge' } as const;
    const said = { kind: 'refused', status: 410, detail: '', problem: {} } as const;
    story.call('host-1', { ...begin, key: null }, { ...said, code: 'deadline_passed' });
    return story;
  };
  expect(lied(i08EveryEnd, nothing, told(60_000))).toBe('');
  expect(lied(i08EveryEnd, nothing, told(50_000))).toMatch(
    /refused begin_effect of op-\d+ as past its deadline, which was 99\d\d ms ahead/,
  );
});

test('I9, R5: an attempt that is given to two workers, and to one that asks again', () => {
  const { story, operationId } = begun();
  const start = { kind: 'start_attempt', operationId, key: 'k', supersede: false } as const;
  const given = ok({ operationId, attempt: 1, leaseEpoch: 6 });
  story.call('host-1', start, given);
  expectLawful(i09OneEffect, story);
  story.call('host-1', { ...start, key: 'other' }, given);
  expect(lied(i09OneEffect, nothing, story)).toMatch(
    /host-1 gave attempt 1 of op-\d+ to app other, and had given it to app k/,
  );
});

test('I9, R5: a claim that is given what another worker has', () => {
  const { story, operationId } = begun();
  const items = [{ operation: { operationId }, attempt: { attempt: 1 } }];
  const claim = { kind: 'claim', key: 'c', actions: ['*'], limit: 1 } as const;
  story.call('host-1', claim, ok({ items }));
  expect(lied(i09OneEffect, nothing, story)).toMatch(
    /gave attempt 1 of op-\d+ to app c, and had given it to app k/,
  );
});

test('I9, R6: an effect of two names, and a name of two effects', () => {
  const named = (effect: string, attempt: number, idempotencyKey: string) => {
    const operationId = 'op-of-nobody';
    const begin = { kind: 'begin_effect', operationId, attempt, effect, key: null } as const;
    return [begin, ok({ effect: {}, replayed: false, leaseEpoch: null, idempotencyKey })] as const;
  };
  const story = lawfulStory();
  story.call('host-1', ...named('charge', 1, 'op.charge'));
  story.call('host-1', ...named('charge', 2, 'op.charge'));
  story.call('host-1', ...named('receipt', 2, 'op.receipt'));
  expectLawful(i09OneEffect, story);
  story.call('host-1', ...named('charge', 3, 'op.3.charge'));
  expect(lied(i09OneEffect, nothing, story)).toMatch(
    /named effect charge of op-of-nobody op\.3\.charge, and had named it op\.charge/,
  );
  story.call('host-1', ...named('refund', 3, 'op.receipt'));
  expect(lied(i09OneEffect, nothing, story)).toMatch(
    /named effect refund of op-of-nobody op\.receipt, as it named effect receipt of op-of-nobody/,
  );
});

test.for<[string, Liar, RegExp]>([
  [
    'whose an operation is',
    ({ final }) => void Object.assign(final.control.operations[0] ?? {}, { principal: 'agent:b' }),
    /is \{.*agent:a.*\}; control knows \{.*agent:b/,
  ],
  [
    'by what authority it was decided',
    ({ final }) => void Object.assign(final.control.operations[0] ?? {}, { basis: 'fresh' }),
    /is \{.*cached.*\}; control knows \{.*fresh/,
  ],
  [
    'why something was refused',
    ({ final }) => void Object.assign(final.control.refusals[0] ?? {}, { rule: 'place' }),
    /refusal ref-1 of host-1 is \[.*\]; control knows \[.*place/,
  ],
])('I12, U2, U3: control knows otherwise %s', ([, lie, expected]) => {
  expectLawful(i12Reports);
  expect(lied(i12Reports, lie)).toMatch(expected);
});
