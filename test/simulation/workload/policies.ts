/** The policy documents of a run: one shape, whose settings differ from revision to revision. */
import type { PolicyDocument } from '../../../shared/wire/policy-document.ts';
import type { FakeRandom } from '../../fakes/fake-random.ts';

export const SHARDS = ['1', '2', '3'] as const;

/** What an app may ask for, by the name of the rule that is for it. */
export const WORK = {
  capture: { action: 'payments.capture', owned: 'orders' },
  post: { action: 'books.post', owned: 'books' },
  notify: { action: 'mails.send', owned: null },
  wipe: { action: 'tenants.delete', owned: null },
  transfer: { action: 'money.transfer', owned: null },
  report: { action: 'reports.build', owned: null },
  // Asked for in bursts only (`edges.ts`).
  sample: { action: 'samples.take', owned: null },
  share: { action: 'shares.take', owned: null },
} as const;

/** Asked for by the drills only (`drills.ts`), as an app whose work nobody else takes. */
export const DRILLED = {
  step: 'drills.step',
  guard: 'drills.guard',
  meter: 'drills.meter',
  moment: 'drills.moment',
  risky: 'drills.risky',
} as const;
export const DRILLED_VALUE = 'drills.note';
export const DRILLED_STALENESS_MS = 45_000;
export type WorkKind = keyof typeof WORK;

/** Each effect goes to the target of its name. */
export const EFFECTS: Readonly<Record<WorkKind, readonly string[]>> = {
  capture: ['charge', 'receipt'],
  post: ['book'],
  notify: ['send'],
  wipe: ['erase'],
  transfer: ['move'],
  report: ['render', 'store'],
  sample: [],
  share: [],
};

/** Long enough to be lived through, short enough to pass within a run. */
const pick = <T>(random: FakeRandom, of: readonly [T, ...T[]]): T =>
  of[random.below(of.length)] as T;

/** Soon and often: what was said not to have been done is not done any more. */
const ASKED = {
  strategy: 'probe',
  interval: '10s',
  attempts: 3,
  probe: { url: 'http://apps.test/outcome', timeout: '3s' },
} as const;

const DRILLED_STALENESS = `${DRILLED_STALENESS_MS}ms`;
/** The same in every revision, so that a drill knows what is to come of each of its calls. */
const DRILL_RULES: PolicyDocument['rules'] = [
  {
    name: 'drill-step',
    actions: [DRILLED.step],
    permit: [{ expression: 'true' }],
    onControlLoss: 'finish',
    onWorkerLoss: 'retry',
    heartbeatTimeout: '15s',
    effects: { once: {}, again: { idempotent: true } },
  },
  {
    name: 'drill-guard',
    actions: [DRILLED.guard],
    permit: [{ expression: 'true' }],
    ownership: { lease: 'drills/{resource.attributes.shard}', mode: 'strict' },
    onControlLoss: 'finish',
    onWorkerLoss: 'unknown',
    heartbeatTimeout: '5m',
    effects: { once: { fencing: 'enforced' } },
  },
  {
    name: 'drill-meter',
    actions: [DRILLED.meter],
    permit: [{ expression: 'true' }],
    limits: { quota: '3/2m' },
  },
  {
    name: 'drill-moment',
    actions: [DRILLED.moment],
    permit: [{ expression: 'true' }],
    maxStaleness: DRILLED_STALENESS,
  },
];

export function policyOf(random: FakeRandom, stretch = 1): PolicyDocument {
  const last = (seconds: number): string => `${seconds * stretch}s`;
  const most = pick(random, [300, 500, 800]);
  return {
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    defaults: {
      maxStaleness: last(pick(random, [120, 240, 480])),
      deadline: last(240),
      maxDeadline: last(480),
    },
    principals: {
      'agent:billing': { roles: ['agent'] },
      'user:ann': { roles: ['security'] },
      'user:ben': { roles: ['security'] },
    },
    rules: [
      {
        name: 'capture',
        actions: [WORK.capture.action],
        permit: [{ expression: `attributes.amount <= ${most}`, message: `at most ${most}` }],
        ownership: {
          lease: 'orders/{resource.attributes.shard}',
          mode: 'fenced',
          grace: last(pick(random, [60, 120])),
        },
        onControlLoss: 'finish',
        onWorkerLoss: 'unknown',
        heartbeatTimeout: last(20),
        onUnknown: ASKED,
        effects: {
          charge: { idempotent: false, fencing: 'enforced' },
          receipt: { idempotent: true, fencing: 'enforced' },
        },
      },
      {
        name: 'post',
        actions: [WORK.post.action],
        permit: [{ expression: `attributes.amount <= ${most}` }],
        ownership: { lease: 'books/{resource.attributes.shard}', mode: 'strict' },
        onControlLoss: 'finish',
        onWorkerLoss: 'retry',
        heartbeatTimeout: last(20),
        effects: { book: { idempotent: true, fencing: 'enforced' } },
      },
      ...unownedRules(random, most, last),
      {
        name: 'sample',
        actions: [WORK.sample.action],
        permit: [{ expression: 'true' }],
        limits: { concurrency: 2, quota: `3/${last(120)}` },
        onWorkerLoss: 'retry',
        heartbeatTimeout: last(15),
      },
      {
        name: 'share',
        actions: [WORK.share.action],
        permit: [{ expression: 'true' }],
        limits: { quota: `4/${last(120)}`, scope: 'fleet' },
        onWorkerLoss: 'retry',
        heartbeatTimeout: last(15),
      },
      ...DRILL_RULES,
      {
        name: 'drill-risky',
        actions: [DRILLED.risky],
        permit: [{ expression: 'true' }],
        // By what else the revision says: who approved one may be too few for the next.
        approval: { required: most === 300 ? 2 : 1, from: 'role:security', ttl: '2m' },
      },
    ],
    config: {
      [DRILLED_VALUE]: { value: 'good', maxStaleness: DRILLED_STALENESS, onExpiry: 'error' },
      'shop.banner': {
        value: `sale ${random.below(1_000)}`,
        maxStaleness: last(pick(random, [90, 180])),
        onExpiry: 'error',
      },
      'shop.weights': {
        value: { a: random.below(100) },
        maxStaleness: last(120),
        onExpiry: 'default',
        default: { a: 0 },
      },
    },
  };
}

function unownedRules(
  random: FakeRandom,
  most: number,
  last: (seconds: number) => string,
): PolicyDocument['rules'] {
  const onControlLoss = pick(random, ['finish', 'pause', 'abort'] as const);
  return [
    {
      name: 'notify',
      actions: [WORK.notify.action],
      permit: [{ expression: 'true' }],
      limits: { concurrency: 20 },
      onWorkerLoss: 'retry',
      heartbeatTimeout: last(15),
      effects: { send: { idempotent: true } },
    },
    {
      name: 'wipe',
      actions: [WORK.wipe.action],
      permit: [{ expression: `attributes.amount <= ${most}` }],
      freshness: 'fresh',
      recheck: 'commit',
      onControlLoss,
      onWorkerLoss: 'unknown',
      heartbeatTimeout: last(20),
      onUnknown: ASKED,
      effects: { erase: {} },
    },
    {
      name: 'transfer',
      actions: [WORK.transfer.action],
      permit: [{ expression: 'attributes.amount <= 900' }],
      approval: {
        required: 1,
        from: 'role:security',
        ttl: last(pick(random, [120, 240])),
        onControlLoss: pick(random, ['wait', 'fail'] as const),
      },
      onWorkerLoss: 'fail',
      effects: { move: {} },
    },
    {
      name: 'report',
      actions: [WORK.report.action],
      permit: [{ expression: `attributes.amount != ${most}` }],
      onControlLoss,
      onRevoke: 'pause',
      onWorkerLoss: 'retry',
      heartbeatTimeout: last(15),
      effects: { render: { idempotent: true }, store: { idempotent: true } },
    },
  ];
}

/** One under which risky work wants so many approvers; every third one wants two. */
export function policyWanting(approvers: number, random: FakeRandom): PolicyDocument {
  for (;;) {
    const document = policyOf(random);
    const rule = document.rules.find(({ actions }) => actions.includes(DRILLED.risky));
    if (rule?.approval?.required === approvers) return document;
  }
}

/** What no gate may let through. */
export function brokenPolicy(random: FakeRandom, stretch = 1): PolicyDocument {
  const document = policyOf(random, stretch);
  const [first, ...others] = document.rules;
  if (first === undefined) return document;
  switch (random.below(3)) {
    case 0:
      return { ...document, rules: [] };
    case 1:
      return {
        ...document,
        rules: [{ ...first, permit: [{ expression: 'attributes.amount <=' }] }, ...others],
      };
    default:
      return { ...document, rules: [first, first, ...others] };
  }
}
