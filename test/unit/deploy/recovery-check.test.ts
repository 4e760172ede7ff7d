/** That the demo's comparison of the recovery view finds what is wrong, and names the entry. */
import { expect, test } from 'vitest';
import {
  recoveryProblems,
  type Known,
  type Told,
} from '../../../deploy/examples/orders/recovery-check.ts';
import type { EventKind, Operation, Outage } from '../../../shared/wire/operation.ts';
import type { ReportedOperationDetail } from '../../../shared/wire/control-api.ts';
import { operation } from '../../fakes/stored-operation.ts';

const OUTAGE: Outage = {
  outageId: 'out_1',
  fromMs: 1_000_000,
  toMs: 2_000_000,
  cause: 'refused',
  detail: 'ECONNREFUSED',
  policyRevision: 1,
  stalenessMs: 10,
  openedSeq: 10,
  closedSeq: 20,
};

/** An operation, and the entries that control was reported of it. */
type Story = readonly [operation: Operation, events: readonly (readonly [EventKind, number])[]];

const story = (id: string, change: Partial<Operation>, events: Story[1]): Story => {
  const key = `capture.${id}`;
  return [{ ...operation({ operationId: id, idempotencyKey: key }), ...change }, events];
};
const done = { state: 'succeeded' } as const;
const during = { outageId: 'out_1', admittedAtMs: 1_500_000 };

const STORIES: readonly Story[] = [
  story('finished-before', done, [
    ['admitted', 1],
    ['succeeded', 2],
  ]),
  story('got-on', done, [
    ['admitted', 3],
    ['attempt_started', 11],
    ['succeeded', 12],
  ]),
  story('waited', done, [
    ['admitted', 4],
    ['paused', 13],
    ['resumed', 21],
    ['succeeded', 22],
  ]),
  story('during', { ...done, ...during }, [
    ['admitted', 14],
    ['succeeded', 15],
  ]),
  story('nobody-knows', { state: 'unknown', ...during }, [
    ['admitted', 16],
    ['unknown', 17],
  ]),
  story('after', { ...done, admittedAtMs: 2_100_000 }, [
    ['admitted', 23],
    ['succeeded', 24],
  ]),
];
const REFUSAL = {
  refusalId: 'ref_1',
  app: 'demo',
  idempotencyKey: 'refund.o-9',
  principal: 'agent:billing',
  action: 'payments.refund',
  resourceId: 'o-9',
  reason: 'control_unreachable',
  message: 'rule refund needs fresh authority',
  policyRevision: 1,
  rule: 'refund',
  basis: null,
  stalenessMs: 5,
  leaseEpoch: null,
  outageId: 'out_1',
  atMs: 1_600_000,
};

const told = (id: string): Operation => {
  const found = STORIES.find(([{ operationId }]) => operationId === id)?.[0];
  if (found === undefined) throw new Error(id);
  return found;
};
const reported = ([{ resource, ...rest }, events]: Story): ReportedOperationDetail =>
  ({
    ...rest,
    resourceId: resource.id,
    lastSeq: events.at(-1)?.[1] ?? 0,
    events: events.map(([kind, seq]) => ({ kind, seq })),
  }) as unknown as ReportedOperationDetail;
const charged = (operationId: string, atMs = 1_550_000) => ({
  effect: 'charge',
  operationId,
  order: operationId,
  amount: 5,
  fencingToken: null,
  atMs,
});

const TOLD: Told = {
  outage: OUTAGE,
  tally: {
    acceptedBefore: 2,
    advancedDuring: 1,
    admittedDuring: 2,
    executedDuring: 2,
    refusedDuring: 1,
    refusedByReason: { control_unreachable: 1 },
    stoppedDuring: 1,
    unknownDuring: 1,
    needsReconciliation: 1,
    unreported: 0,
  },
  acceptedBefore: [told('got-on'), told('waited')],
  continued: [told('got-on'), told('during'), told('nobody-knows')],
  stopped: [told('waited')],
  refused: [REFUSAL],
  needsReconciliation: [told('nobody-knows')],
};
const KNOWN: Known = {
  outages: [{ ...OUTAGE, hostId: 'host_1' }],
  operations: STORIES.map(reported),
  refusals: [{ ...REFUSAL, hostId: 'host_1' }],
  revisions: [{ policyRevision: 1, publishedAtMs: 1 }],
  ledger: ['finished-before', 'got-on', 'waited', 'during', 'after'].map((id) => charged(id)),
};
const ledger = KNOWN.ledger ?? [];

test('what agrees has no problem', () => {
  expect(recoveryProblems(TOLD, KNOWN)).toEqual([]);
});

/** What was altered, and what must be said of it. */
const LIES: readonly (readonly [string, Partial<Told>, Partial<Known>, RegExp])[] = [
  [
    'an entry left out',
    { continued: TOLD.continued.slice(1) },
    {},
    /^continued: got-on is missing/,
  ],
  [
    'an entry in the wrong list',
    { stopped: [told('waited'), told('during')] },
    {},
    /^stopped: during does not belong there/,
  ],
  [
    'an entry told twice',
    { acceptedBefore: [...TOLD.acceptedBefore, told('waited')] },
    {},
    /^accepted before: an entry is listed twice/,
  ],
  [
    'a state that is not the one at control',
    { stopped: [{ ...told('waited'), state: 'cancelled' }] },
    {},
    /^stopped: waited has state "cancelled" here and "succeeded" at control/,
  ],
  [
    'an operation that control does not know',
    {},
    { operations: KNOWN.operations.filter(({ operationId }) => operationId !== 'waited') },
    /^stopped: waited is not known to control/,
  ],
  [
    'a success that the target did not see',
    {},
    { ledger: ledger.filter(({ operationId }) => operationId !== 'during') },
    /^continued: during is succeeded and the ledger has 0 entries/,
  ],
  [
    'an effect that was done twice',
    {},
    { ledger: [...ledger, charged('got-on')] },
    /^continued: got-on is succeeded and the ledger has 2 entries/,
  ],
  [
    'an unknown one that was done twice',
    {},
    { ledger: [...ledger, charged('nobody-knows'), charged('nobody-knows')] },
    /^needs reconciliation: nobody-knows is unknown and the ledger has 2 entries/,
  ],
  [
    'a refusal of what had been done',
    {},
    { ledger: [...ledger, { ...charged('o-9'), effect: 'refund' }] },
    /^refused: ref_1 had been done/,
  ],
  ['a refusal left out', { refused: [] }, {}, /^refused: ref_1 is missing/],
  [
    'a refusal with another reason',
    { refused: [{ ...REFUSAL, reason: 'denied' }] },
    {},
    /^refused: ref_1 is .*denied/,
  ],
  [
    'a revision that was never published',
    {},
    { revisions: [] },
    /^continued: during was decided under revision 1, which control never published/,
  ],
  [
    'a revision from the future',
    {},
    { revisions: [{ policyRevision: 1, publishedAtMs: 1_400_000 }] },
    /^accepted before: waited was decided under revision 1 before control published it/,
  ],
  [
    'another end of the outage',
    { outage: { ...OUTAGE, toMs: 1_900_000 } },
    {},
    /^outage out_1 is .*1900000/,
  ],
  [
    'a count that is not that of its list',
    { tally: { ...TOLD.tally, admittedDuring: 7 } },
    {},
    /^continued: 8 are counted and 3 are listed/,
  ],
];
test.each(LIES)('%s is found and named', (_, lie, other, said) => {
  const problems = recoveryProblems({ ...TOLD, ...lie }, { ...KNOWN, ...other });
  expect(problems).toContainEqual(expect.stringMatching(said));
});
