/** L1 and G3: what is said without keeping a document from publication, or from its force. */
import { expect, test } from 'vitest';
import { checkPolicyValue, checkPublishedPolicy } from '../../../shared/platform/policy-gate.ts';
import type { PolicyDocument, PolicyRule } from '../../../shared/wire/policy-document.ts';

const RULE: PolicyRule = {
  name: 'capture',
  actions: ['payments.capture'],
  permit: [{ expression: 'true' }],
};
const documentOf = (over: Partial<PolicyDocument>): PolicyDocument => ({
  apiVersion: 'holdfast/v1',
  kind: 'Policy',
  principals: { 'agent:billing': { roles: ['agent'] } },
  rules: [RULE],
  ...over,
});

function warningsOf(document: PolicyDocument): unknown {
  const check = checkPolicyValue(document);
  if (!check.ok) throw new Error(JSON.stringify(check.problems));
  return check.warnings;
}

test('a document in which all is meant has no warnings', () => {
  const rules: PolicyRule[] = [
    {
      ...RULE,
      ownership: { lease: 'orders', mode: 'fenced', grace: '1m' },
      effects: { charge: { fencing: 'enforced' } },
      recheck: 'commit',
      limits: { rate: '50/s', burst: 100, quota: '100000/d', scope: 'fleet' },
      approval: { required: 1, from: 'role:agent', ttl: '5m' },
      permit: [{ expression: 'variables.isSmall' }],
    },
  ];
  const variables = [
    { name: 'amount', expression: 'attributes.amount' },
    { name: 'isSmall', expression: 'variables.amount < 5' },
  ];
  expect(warningsOf(documentOf({ rules, variables }))).toEqual([]);
});

test.each<[string, Partial<PolicyRule>, string, string]>([
  [
    'approval',
    { approval: { required: 1, from: 'role:agent', ttl: '30m' } },
    '/approval/ttl',
    'ttl 30m is longer than deadline 10m',
  ],
  [
    'an approval by operators, whom the document does not name',
    { approval: { required: 1, from: 'role:security', ttl: '5m' } },
    '/approval/from',
    'give it to 1 of /principals',
  ],
  [
    'more approvers than the document has',
    { approval: { required: 2, from: 'role:agent', ttl: '5m' } },
    '/approval/required',
    'require fewer',
  ],
  ['an inherited ttl', { approval: { required: 1, from: 'role:agent' } }, '/approval', 'ttl 30m'],
  ['heartbeat', { deadline: '10s' }, '/deadline', 'shorten heartbeatTimeout'],
  [
    'fenced without grace',
    { ownership: { lease: 'a', mode: 'fenced' }, effects: { b: { fencing: 'enforced' } } },
    '/ownership',
    'add grace, as 2m, or use mode strict',
  ],
  ['burst', { limits: { rate: '9/s', burst: 9, quota: '5/d' } }, '/limits/burst', 'lower the one'],
  ['rate', { limits: { rate: '1/h', quota: '50/d' } }, '/limits/quota', 'lower the quota'],
  ['one', { limits: { concurrency: 1, scope: 'fleet' } }, '/limits/concurrency', 'use ownership'],
  ['match', { match: [{ expression: '1 < 2' }] }, '/match/0/expression', 'leave it out'],
  ['permit', { permit: [{ expression: 'false' }] }, '/permit/0/expression', 'never permits'],
  [
    'permit under warn',
    { permit: [{ expression: 'false && attributes.a' }], enforcement: 'warn' },
    '/permit/0/expression',
    'warns of all that it permits',
  ],
])('%s is warned of, with a way out', (_what, over, path, message) => {
  expect(warningsOf(documentOf({ rules: [{ ...RULE, ...over }] }))).toEqual([
    { path: `/rules/0${path}`, message: expect.stringContaining(message) },
  ]);
});

test('a variable that only unused ones use is unused as well', () => {
  const variables = [
    { name: 'a', expression: 'true' },
    { name: 'b', expression: 'variables.a' },
    { name: 'c', expression: 'true' },
  ];
  const rules = [{ ...RULE, permit: [{ expression: 'variables.c' }] }];
  expect(warningsOf(documentOf({ rules, variables }))).toEqual([
    { path: '/variables/0', message: 'no rule uses a: use it or remove it' },
    { path: '/variables/1', message: 'no rule uses b: use it or remove it' },
  ]);
});

test('what is wrong in the defaults is said once, there, for however many rules', () => {
  const rules = ['a', 'b', 'c'].map((name) => ({ ...RULE, name, actions: [`payments.${name}`] }));
  const check = checkPolicyValue(documentOf({ defaults: { maxDeadline: '5m' }, rules }));
  expect(check).toMatchObject({
    ok: false,
    problems: [{ path: '/defaults/maxDeadline', message: expect.stringContaining('deadline 10m') }],
  });
});

test('G3: what was published stays in force when a later build would refuse to publish it', () => {
  const document = documentOf({ rules: [{ ...RULE, recheck: 'commit' }] });
  expect(checkPolicyValue(document)).toMatchObject({ ok: false });
  expect(checkPublishedPolicy(document)).toMatchObject({ ok: true, document });
});

test('G3: but not when it does not compile, or fails its own tests', () => {
  const broken = documentOf({ rules: [{ ...RULE, permit: [{ expression: 'amount' }] }] });
  const given = { principal: 'agent:billing', action: 'payments.capture' };
  const failing = documentOf({
    tests: [{ name: 'one', given, expect: { decision: 'deny' } }],
  });
  for (const document of [broken, failing]) {
    expect(checkPublishedPolicy(document)).toMatchObject({ ok: false, code: 'policy_invalid' });
  }
});
