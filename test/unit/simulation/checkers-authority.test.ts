/** I3, I4, I5: every lie that the checkers name is found. */
import { expect, test } from 'vitest';
import { i03Authority } from '../../simulation/checkers/i03-authority.ts';
import { i04Fresh } from '../../simulation/checkers/i04-fresh.ts';
import { i05Staleness } from '../../simulation/checkers/i05-staleness.ts';
import {
  PLACE,
  POLICY,
  eventAt,
  expectLawful,
  lawfulStory,
  lied,
  operationOf,
  type Liar,
} from './lawful-story.ts';
import { SmallHistory } from './small-history.ts';

const inRecord =
  (key: string, change: Parameters<typeof operationOf>[2]): Liar =>
  (history) =>
    operationOf(history, key, change);

test.for<[string, Liar, RegExp]>([
  [
    'B1: the revision refuses it',
    inRecord('key-1', (operation) => {
      operation.attributes = { amount: 501 };
    }),
    /admitted by rule place of revision 1, and it refuses it: denied/,
  ],
  [
    'B1: a principal that the policy does not know',
    inRecord('key-1', (operation) => {
      operation.principal = 'agent:revoked';
    }),
    /it refuses it: unknown_principal/,
  ],
  [
    'B1: another rule decides it',
    inRecord('key-1', (operation) => {
      operation.rule = 'refund';
    }),
    /its rule place decides it/,
  ],
  [
    'B1: it needs another lease',
    inRecord('key-1', (operation) => {
      operation.leaseResource = null;
    }),
    /it needs the lease of orders\/7/,
  ],
  [
    'B1: its terms are not those of its rule',
    inRecord('key-1', (operation) => {
      operation.onWorkerLoss = 'fail';
    }),
    /it says onWorkerLoss "retry", and the record "fail"/,
  ],
  [
    'B2: a revision that nobody published',
    inRecord('key-1', (operation) => {
      operation.policyRevision = 2;
    }),
    /names revision 2, which was not published by then/,
  ],
  [
    'B3: fresh without a question to control',
    (history) => {
      for (const event of history.events)
        if (event.kind === 'message_sent' && event.purpose === 'decision') event.purpose = 'other';
    },
    /says that control decided it, and control was not asked/,
  ],
  [
    'B4: an outage is open and not named',
    ({ final }) => {
      for (const event of final.journals[0]?.events ?? [])
        if (event.kind === 'refused') event.outageId = null;
    },
    /\(refused\) names no outage while out-1 had been open/,
  ],
  [
    'B4: an outage is named that is not open',
    ({ final }) => {
      for (const event of final.journals[0]?.events ?? [])
        if (event.kind === 'admitted') event.outageId = 'out-1';
    },
    /\(admitted\) names out-1 while none was open/,
  ],
  [
    'B4: a refusal that says another outage than its entry',
    ({ final }) => {
      for (const { kind, body } of final.journals[0]?.events ?? [])
        if (kind === 'refused') (body['refusal'] as { outageId: unknown }).outageId = null;
    },
    /names out-1, and the refusal in it none/,
  ],
  [
    'B6: begun before it was approved',
    ({ final }) => {
      const journal = final.journals[0];
      if (journal !== undefined)
        journal.events = journal.events.filter(({ kind }) => kind !== 'approved');
    },
    /was begun in entry \d+ before anybody had approved it/,
  ],
  [
    'B6: approved by fewer than the rule wants',
    ({ final }) => {
      for (const { kind, body } of final.journals[0]?.events ?? [])
        if (kind === 'approved') (body['approval'] as { votes: unknown[] }).votes.pop();
    },
    /was approved by 1 of 2/,
  ],
  [
    'B6: approved by somebody who did not',
    ({ final }) => void final.control.approvals[0]?.votes.pop(),
    /by somebody who did not/,
  ],
  [
    'B6: a wait that is longer than its rule gives it',
    inRecord('key-4', (operation) => {
      if (operation.approval !== undefined) operation.approval.expiresAtMs += 1;
    }),
    /waits 300001 ms for its approval, and its rule gives it 300000 ms/,
  ],
  [
    'B6: approved after the wait was over',
    ({ final }) => {
      for (const event of final.journals[0]?.events ?? [])
        if (event.kind === 'approved') event.atMs += 600_000;
    },
    /ms after its wait was over/,
  ],
])('I3, %s', ([, lie, expected]) => {
  expect(lied(i03Authority, lie)).toMatch(expected);
});

/** Operations that only count: admitted, and ended or not. */
function admitted(count: number, change: (index: number) => object = () => ({})): SmallHistory {
  const story = new SmallHistory();
  story.publish(1, {
    ...POLICY,
    rules: POLICY.rules.map((rule) => (rule.name === 'place' ? { ...rule, ...change(0) } : rule)),
  });
  for (let index = 0; index < count; index += 1) {
    const at = { revision: 1, stalenessMs: 20, leaseEpoch: 5 };
    const { operationId } = story.admit('host-1', `key-${index}`, PLACE, at);
    if (index % 2 === 0) story.apply('host-1', operationId, { kind: 'cancel', reason: 'no need' });
  }
  return story;
}

test('I3, B5: no more under way, and no more in a window, than the rule allows', () => {
  expectLawful(i03Authority, admitted(3));
  const four = admitted(4, () => ({ limits: { concurrency: 1 } }));
  expect(lied(i03Authority, () => undefined, four)).toMatch(/is the 2th under way of place rule:/);
  expect(lied(i03Authority, () => undefined, admitted(4))).toMatch(/is the 4th in one window/);
});

test('I3, B5: a budget of the fleet is not overspent', () => {
  const fleet = { limits: { quota: '1/1m', scope: 'fleet' } };
  expectLawful(
    i03Authority,
    admitted(2, () => fleet),
  );
  expect(
    lied(
      i03Authority,
      () => undefined,
      admitted(3, () => fleet),
    ),
  ).toMatch(/is the 3th within 60000 ms of place rule:/);
});

test.for<[string, Liar, RegExp]>([
  [
    'F1: a fresh rule decided from cache',
    inRecord('key-2', (operation) => {
      operation.basis = 'cached';
    }),
    /rule delete of revision 1 is of class fresh, and the record was decided from cache/,
  ],
  [
    'F1: an effect begun without control’s word',
    ({ final }) => {
      for (const { kind, body } of final.journals[0]?.events ?? [])
        if (kind === 'effect_begun') delete body['recheck'];
    },
    /effect purge of op-\d+ on host-1 began \(entry \d+\) without control's word/,
  ],
  [
    'F1: an effect begun on a word that control did not give',
    (history) => {
      for (const event of history.events)
        if (event.kind === 'message_sent' && event.purpose === 'decision') event.purpose = 'other';
    },
    /effect purge of op-\d+ .* without control's word/,
  ],
  [
    'F2: a refusal that is not recorded',
    (history) => {
      for (const event of history.events)
        if (event.kind === 'call_ended' && event.end.kind === 'refused')
          delete event.end.problem['refusalId'];
    },
    /the refusal of key key-3 by host-1 for want of control is not recorded/,
  ],
  [
    'F2: a hang',
    (history) => {
      let isLater = false;
      for (const event of history.events) {
        if (event.kind === 'call_sent' && event.request.kind === 'admit')
          isLater ||= event.request.key === 'key-3';
        else if (isLater) event.atMs += 30_000;
      }
    },
    /heard nothing for 32000 ms: 2000 ms are configured/,
  ],
])('I4, %s', ([, lie, expected]) => {
  expect(lied(i04Fresh, lie)).toMatch(expected);
});

test.for<[string, Liar, RegExp]>([
  [
    'S1: a host makes its authority younger than it is',
    (history) => {
      const state = eventAt(history, 'host_state', 1);
      state.stalenessMs = 5;
    },
    /host-1 says that its authority is 5 ms old/,
  ],
  [
    'S1: a host has an age without any sync',
    (history) => {
      history.events = history.events.filter(({ kind }) => kind !== 'message_answered');
    },
    /host-1 says that its authority is/,
  ],
  [
    'S1: a record makes it younger',
    (history) => {
      for (const event of history.events)
        if (event.kind === 'message_sent' && event.purpose === 'sync') event.clock.bootMs -= 9_000;
    },
    /says that it was decided from cache 20 ms old, and it was at least/,
  ],
  [
    'S2: decided past maxStaleness',
    inRecord('key-1', (operation) => {
      operation.stalenessMs = 20_001;
    }),
    /decided from cache 20001 ms old, and rule place allows 20000 ms/,
  ],
  [
    'S3: served as good one millisecond past it',
    (history) => {
      configValueIn(history).stalenessMs = 60_001;
    },
    /served config value checkout.banner as policy, "sale", and at 60001 ms revision 1 says default, expired, ""/,
  ],
  [
    'S3: another value than the revision has',
    (history) => {
      configValueIn(history).value = 'no sale';
    },
    /as policy, "no sale", and at \d+ ms revision 1 says policy, "sale"/,
  ],
  [
    'S1: a config value that is older than it says',
    (history) => {
      for (const event of history.events)
        if (event.kind === 'message_sent' && event.purpose === 'sync') event.clock.bootMs -= 61_000;
    },
    /as good at an age of at least 6\d+ ms: it allows 60000 ms/,
  ],
])('I5, %s', ([, lie, expected]) => {
  expect(lied(i05Staleness, lie)).toMatch(expected);
});

function configValueIn(history: Parameters<Liar>[0]): { stalenessMs: number; value: unknown } {
  const [value] = history.events.flatMap((event) =>
    event.kind === 'call_ended' &&
    event.end.kind === 'ok' &&
    (event.end.body as { source?: string }).source !== undefined
      ? [event.end.body]
      : [],
  );
  return value as { stalenessMs: number; value: unknown };
}

test('I5: an age across a reboot is told by the wall clock, unless somebody set it', () => {
  const story = lawfulStory();
  story.pass(30_000);
  story.reboot('host-1');
  story.state('host-1', 1, 500);
  expect(lied(i05Staleness, () => undefined, story)).toMatch(/its authority is 500 ms old/);
  const wasSet: Liar = (history) => {
    const at = { seq: 0.5, atMs: eventAt(history, 'host_state', 2).atMs - 1 };
    const fault = { fault: 'wall_step', stage: 'once', faultId: 1, nodes: ['host-1'] } as const;
    history.events.push({ kind: 'fault', ...fault, nodes: [...fault.nodes], detail: {}, ...at });
  };
  expect(lied(i05Staleness, wasSet, story)).toBe('');
});
