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

export function policyOf(random: FakeRandom): PolicyDocument {
  const most = pick(random, [300, 500, 800]);
  return {
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    defaults: {
      maxStaleness: pick(random, ['2m', '4m', '8m']),
      deadline: '4m',
      maxDeadline: '8m',
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
          grace: pick(random, ['1m', '2m']),
        },
        onControlLoss: 'finish',
        onWorkerLoss: 'unknown',
        heartbeatTimeout: '20s',
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
        heartbeatTimeout: '20s',
        effects: { book: { idempotent: true, fencing: 'enforced' } },
      },
      ...unownedRules(random, most),
      {
        name: 'sample',
        actions: [WORK.sample.action],
        permit: [{ expression: 'true' }],
        limits: { concurrency: 2, quota: '3/2m' },
        onWorkerLoss: 'retry',
        heartbeatTimeout: '15s',
      },
      {
        name: 'share',
        actions: [WORK.share.action],
        permit: [{ expression: 'true' }],
        limits: { quota: '4/2m', scope: 'fleet' },
        onWorkerLoss: 'retry',
        heartbeatTimeout: '15s',
      },
    ],
    config: {
      'shop.banner': {
        value: `sale ${random.below(1_000)}`,
        maxStaleness: pick(random, ['90s', '3m']),
        onExpiry: 'error',
      },
      'shop.weights': {
        value: { a: random.below(100) },
        maxStaleness: '2m',
        onExpiry: 'default',
        default: { a: 0 },
      },
    },
  };
}

function unownedRules(random: FakeRandom, most: number): PolicyDocument['rules'] {
  const onControlLoss = pick(random, ['finish', 'pause', 'abort'] as const);
  return [
    {
      name: 'notify',
      actions: [WORK.notify.action],
      permit: [{ expression: 'true' }],
      limits: { concurrency: 20 },
      onWorkerLoss: 'retry',
      heartbeatTimeout: '15s',
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
      heartbeatTimeout: '20s',
      effects: { erase: {} },
    },
    {
      name: 'transfer',
      actions: [WORK.transfer.action],
      permit: [{ expression: 'attributes.amount <= 900' }],
      approval: {
        required: 1,
        from: 'role:security',
        ttl: pick(random, ['2m', '4m']),
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
      heartbeatTimeout: '15s',
      effects: { render: { idempotent: true }, store: { idempotent: true } },
    },
  ];
}

/** What no gate may let through. */
export function brokenPolicy(random: FakeRandom): PolicyDocument {
  const document = policyOf(random);
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
