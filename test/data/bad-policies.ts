/**
 * Documents that must never get a revision number: where each is wrong, and a part of the way out
 * that its author is told.
 */
import { POLICY_BYTES_MAX } from '../../shared/wire/policy-document.ts';

export type BadPolicy = {
  readonly name: string;
  readonly format: 'json' | 'yaml';
  readonly bytes: string | Uint8Array;
  readonly code: 'policy_invalid' | 'invalid_json' | 'invalid_yaml' | 'body_too_large';
  readonly path: string;
  readonly suggests: string;
};

const RULE = {
  name: 'capture',
  actions: ['payments.capture'],
  permit: [{ expression: 'attributes.amount <= 500' }],
};
const GOOD = {
  apiVersion: 'holdfast/v1',
  kind: 'Policy',
  principals: { 'agent:billing': { roles: ['agent'] } },
  rules: [RULE],
};

/** What to write instead, by place. */
type Wrong = readonly [name: string, over: object, path: string, suggests: string];

const invalid = ([name, over, path, suggests]: Wrong): BadPolicy => ({
  name,
  format: 'json',
  bytes: JSON.stringify({ ...GOOD, ...over }),
  code: 'policy_invalid',
  path,
  suggests,
});
const rule = ([name, over, path, suggests]: Wrong): BadPolicy =>
  invalid([name, { rules: [{ ...RULE, ...over }] }, path, suggests]);
const expression = (name: string, source: string, suggests: string): BadPolicy =>
  rule([name, { permit: [{ expression: source }] }, '/rules/0/permit/0/expression', suggests]);

const nested = (depth: number): unknown => (depth === 0 ? 1 : { a: nested(depth - 1) });
const doubling = Array.from({ length: 16 }, (_, index) => {
  const half = index === 0 ? 'attributes.s' : `variables.v${index - 1}`;
  return { name: `v${index}`, expression: `${half} + ${half}` };
});

const SHAPES: readonly Wrong[] = [
  ['no rules', { rules: [] }, '/rules', 'needs at least 1'],
  ['rules left out', { rules: undefined }, '/rules', 'is required: add'],
  ['rules as a map', { rules: { capture: RULE } }, '/rules', 'write rules'],
  ['no principals', { principals: {} }, '/principals', 'as agent:billing'],
  [
    'a principal without kind',
    { principals: { billing: { roles: ['agent'] } } },
    '/principals/billing',
    'kind:name',
  ],
  [
    'a principal with no roles',
    { principals: { 'agent:a/b': { roles: [] } } },
    '/principals/agent:a~1b/roles',
    'needs at least 1 of roles',
  ],
  [
    'a blank role',
    { principals: { 'agent:billing': { roles: [''] } } },
    '/principals/agent:billing/roles/0',
    'is blank: write a role',
  ],
  ['another version', { apiVersion: 'holdfast/v2' }, '/apiVersion', 'must be "holdfast/v1"'],
  ['a number for a text', { description: 7 }, '/description', 'write text for people'],
  ['a blank description', { description: ' ' }, '/description', 'say something or remove it'],
  ['an unknown field', { rulez: [] }, '/rulez', 'did you mean rules?'],
  ['tests that are a text', { tests: 'x' }, '/tests', 'write tests of the document'],
  [
    'a value nested too deep',
    { config: { a: { value: nested(40), maxStaleness: '1h', onExpiry: 'last' } } },
    `/config/a/value${'/a'.repeat(29)}`,
    'make it flatter',
  ],
];

const RULES: readonly Wrong[] = [
  [
    'a strategy that there is not',
    { onUnknown: { strategy: 'guess' } },
    '/rules/0/onUnknown/strategy',
    'human, probe, retry',
  ],
  [
    'a probe that asks nobody',
    { onUnknown: { strategy: 'probe' } },
    '/rules/0/onUnknown/probe',
    'say what to ask',
  ],
  [
    'a probe with a password in its URL',
    { onUnknown: { strategy: 'probe', probe: { url: 'http://a:b@127.0.0.1/' } } },
    '/rules/0/onUnknown/probe/url',
    'verify endpoint',
  ],
  [
    'a probe of a file',
    { onUnknown: { strategy: 'probe', probe: { url: 'file:///etc/passwd' } } },
    '/rules/0/onUnknown/probe/url',
    'verify endpoint',
  ],
  [
    'a probe that waits for a minute',
    { onUnknown: { strategy: 'probe', probe: { url: 'http://127.0.0.1/', timeout: '1m' } } },
    '/rules/0/onUnknown/probe/timeout',
    'outside 100ms to 30s',
  ],
  [
    'tries without a pause',
    { onUnknown: { strategy: 'probe', interval: '0s', probe: { url: 'http://127.0.0.1/' } } },
    '/rules/0/onUnknown/interval',
    'outside 1s to',
  ],
  [
    'a probe that another strategy would never make',
    { onUnknown: { strategy: 'human', probe: { url: 'http://127.0.0.1/' } } },
    '/rules/0/onUnknown/probe',
    'say strategy: probe',
  ],
  [
    'tries of a person',
    { onUnknown: { strategy: 'human', attempts: 3 } },
    '/rules/0/onUnknown/attempts',
    'say another strategy',
  ],
  [
    'a retry of what may not be done twice',
    { onUnknown: { strategy: 'retry' }, effects: { charge: {} } },
    '/rules/0/effects/charge/idempotent',
    'say idempotent: true where that is so',
  ],
  [
    'a retry of nobody knows what',
    { onUnknown: { strategy: 'retry' }, effects: {} },
    '/rules/0/onUnknown/strategy',
    'declare them',
  ],
  [
    'a compensation that nothing admits',
    { onUnknown: { strategy: 'compensate', compensate: { action: 'no.such' } } },
    '/rules/0/onUnknown/compensate/action',
    'add one',
  ],
  [
    'a compensation of a compensation',
    { onUnknown: { strategy: 'compensate', compensate: { action: 'payments.capture' } } },
    '/rules/0/onUnknown/compensate/action',
    'give it another strategy',
  ],
  ['a blank rule name', { name: '' }, '/rules/0/name', 'is blank: write lower case'],
  ['a rule name with capitals', { name: 'Capture' }, '/rules/0/name', 'lower case, digits'],
  ['no actions', { actions: [] }, '/rules/0/actions', 'as payments.capture'],
  [
    'an action twice',
    { actions: ['payments.capture', 'payments.capture'] },
    '/rules/0/actions/1',
    'remove one of the two',
  ],
  ['no permit', { permit: [] }, '/rules/0/permit', 'conditions to permit'],
  [
    'a blank expression',
    { permit: [{ expression: '  ' }] },
    '/rules/0/permit/0/expression',
    'is blank: write a CEL expression',
  ],
  [
    'an expression over its length',
    { permit: [{ expression: `attributes.s == "${'x'.repeat(2_000)}"` }] },
    '/rules/0/permit/0/expression',
    'shorten or split it',
  ],
  [
    'a duration without a unit',
    { deadline: 10 },
    '/rules/0/deadline',
    'write how long work may take',
  ],
  ['a word for another', { freshness: 'fressh' }, '/rules/0/freshness', 'did you mean fresh?'],
  ['an unknown field of a rule', { permits: [] }, '/rules/0/permits', 'did you mean permit?'],
  [
    'a deadline over its longest',
    { deadline: '2h' },
    '/rules/0/deadline',
    'shorten the one or lengthen the other',
  ],
  ['no staleness at all', { maxStaleness: '0s' }, '/rules/0/maxStaleness', 'use freshness: fresh'],
  [
    'a fresh rule with a staleness',
    { freshness: 'fresh', maxStaleness: '5m' },
    '/rules/0/maxStaleness',
    'remove maxStaleness',
  ],
  [
    'a worker that is never missed',
    { heartbeatTimeout: '2h' },
    '/rules/0/heartbeatTimeout',
    'shorten it',
  ],
  ['limits of nothing', { limits: { per: 'principal' } }, '/rules/0/limits', 'add rate'],
  ['a burst of nothing', { limits: { burst: 5 } }, '/rules/0/limits/burst', 'add rate'],
  ['a rate without time', { limits: { rate: '50' } }, '/rules/0/limits/rate', 'as 50/s'],
  [
    'a huge number',
    { limits: { concurrency: 1e300 } },
    '/rules/0/limits/concurrency',
    'use 1000000 or less',
  ],
  [
    'a fleet quota that nobody could get in time',
    { limits: { quota: '100/s', scope: 'fleet' } },
    '/rules/0/limits/quota',
    'use a window of at least 1m',
  ],
  [
    'an approval that nobody could give in time',
    { approval: { required: 1, from: 'role:agent', ttl: '0s' } },
    '/rules/0/approval/ttl',
    'say how long an approval may be waited for',
  ],
  [
    'an approval by no approvers',
    { approval: { required: 0, from: 'role:agent' } },
    '/rules/0/approval/required',
    'use 1 or more',
  ],
  [
    'an approval that outlasts its work',
    { approval: { required: 1, from: 'role:agent', ttl: '2h' } },
    '/rules/0/approval/ttl',
    'shorten ttl or lengthen maxDeadline',
  ],
  ['a recheck before nothing', { recheck: 'commit' }, '/rules/0/recheck', 'declare its effects'],
  [
    'a grace that strict ownership does not give',
    { ownership: { lease: 'orders', mode: 'strict', grace: '2m' } },
    '/rules/0/ownership/grace',
    'use mode fenced',
  ],
  [
    'work that outlives its lease at a target that does not look',
    {
      ownership: { lease: 'orders', mode: 'fenced', grace: '2m' },
      effects: { charge: { fencing: 'dispatch' } },
    },
    '/rules/0/effects/charge/fencing',
    'say enforced, or use mode strict',
  ],
  [
    'a lease of something that a request does not have',
    { ownership: { lease: 'orders/{shard}', mode: 'strict' } },
    '/rules/0/ownership/lease',
    'must begin with principal',
  ],
  [
    'a match that is never true',
    { match: [{ expression: '1 > 2 || false' }] },
    '/rules/0/match/0/expression',
    'remove the rule',
  ],
];

const DOCUMENTS: readonly Wrong[] = [
  [
    'two rules of one name',
    { rules: [RULE, { ...RULE, actions: ['*'] }] },
    '/rules/1/name',
    'rename one',
  ],
  [
    'a rule behind one that takes all',
    { rules: [{ ...RULE, name: 'all', actions: ['payments.*'] }, RULE] },
    '/rules/1',
    'reorder them',
  ],
  [
    'a rule behind one with the same match',
    {
      rules: [
        { ...RULE, match: [{ expression: 'attributes.a' }, { expression: 'attributes.b' }] },
        {
          ...RULE,
          name: 'again',
          match: [{ expression: 'attributes.b' }, { expression: 'attributes.a' }],
        },
      ],
    },
    '/rules/1',
    'give the first a match',
  ],
  [
    'a contradiction in the defaults',
    { defaults: { deadline: '2h', maxDeadline: '1h' } },
    '/defaults/deadline',
    'shorten the one',
  ],
  [
    'two variables of one name',
    {
      variables: [
        { name: 'a', expression: 'true' },
        { name: 'a', expression: 'false' },
      ],
    },
    '/variables/1/name',
    'rename one',
  ],
  [
    'a variable that names a later one',
    {
      variables: [
        { name: 'a', expression: 'variables.b' },
        { name: 'b', expression: 'true' },
      ],
    },
    '/variables/0/expression',
    'move it up',
  ],
  [
    'variables that double each other',
    { variables: doubling },
    '/variables/15/expression',
    'have its variables build less',
  ],
  [
    'a config value over its size',
    { config: { a: { value: 'x'.repeat(40_000), maxStaleness: '1h', onExpiry: 'last' } } },
    '/config/a/value',
    'split it over several keys',
  ],
  [
    'a default that is not there',
    { config: { a: { value: 1, maxStaleness: '1h', onExpiry: 'default' } } },
    '/config/a/default',
    'use onExpiry error or last',
  ],
  [
    'a default that is never given',
    { config: { a: { value: 1, maxStaleness: '1h', onExpiry: 'error', default: 2 } } },
    '/config/a/default',
    'use onExpiry default',
  ],
  [
    'a config value that is never good',
    { config: { a: { value: 1, maxStaleness: '0s', onExpiry: 'last' } } },
    '/config/a/maxStaleness',
    'say how long',
  ],
  [
    'a test that its rule does not meet',
    {
      tests: [
        {
          name: 'large',
          given: {
            principal: 'agent:billing',
            action: 'payments.capture',
            attributes: { amount: 501 },
          },
          expect: { decision: 'permit' },
        },
      ],
    },
    '/tests/0',
    'mend the rule, or what the test expects',
  ],
  [
    'a test of a rule that is not there',
    {
      tests: [
        {
          name: 'one',
          given: { principal: 'agent:billing', action: 'payments.capture' },
          expect: { decision: 'deny', rule: 'captur' },
        },
      ],
    },
    '/tests/0/expect/rule',
    'did you mean capture?',
  ],
  [
    'a test that contradicts itself',
    {
      tests: [
        {
          name: 'one',
          given: { principal: 'agent:billing', action: 'payments.capture' },
          expect: { decision: 'permit', reason: 'denied' },
        },
      ],
    },
    '/tests/0/expect/reason',
    'expect deny',
  ],
];

const EXPRESSIONS: readonly BadPolicy[] = [
  expression('an expression that ends early', 'attributes.amount <=', 'write a CEL expression'),
  expression('a name that is not there', 'amount <= 500', 'in attributes.NAME'),
  expression('a number for a condition', '1 + 1', 'compare it with something'),
  expression('kinds that do not compare', 'principal.id == 5', 'only values of one kind'),
  expression('a regular expression', 'attributes.s.matches("(a+)+$")', 'use ==, in, startsWith'),
  expression('a variable that is not there', 'variables.large', 'declare it under /variables'),
  expression(
    'loops in loops in loops',
    'attributes.l.all(a, attributes.l.all(b, attributes.l.all(c, a == b || b == c)))',
    'split the condition',
  ),
  expression(
    'lists that grow',
    '[attributes, attributes].size() > 1',
    'compare its parts one by one',
  ),
  expression('too many nodes', Array.from({ length: 200 }, () => 'true').join(' && '), 'way out'),
];

const yaml = JSON.stringify(GOOD);
const text = (
  name: string,
  format: 'json' | 'yaml',
  bytes: string | Uint8Array,
  [code, path, suggests]: readonly [BadPolicy['code'], string, string],
): BadPolicy => ({ name, format, bytes, code, path, suggests });

/** Nine levels of ten aliases: a billion values, written in a few lines. */
const aliasBomb = Array.from({ length: 9 }, (_, level) => {
  const of = level === 0 ? '1' : `*a${level - 1}`;
  return `a${level}: &a${level} [${Array.from({ length: 10 }, () => of).join(', ')}]`;
}).join('\n');

const TEXTS: readonly BadPolicy[] = [
  text('nothing', 'yaml', '', ['policy_invalid', '', 'write A Holdfast policy document']),
  text('a list', 'json', '[]', ['policy_invalid', '', 'write A Holdfast policy document']),
  text('half a document', 'json', yaml.slice(0, 80), ['invalid_json', '', 'mend the JSON there']),
  text('a tab for an indent', 'yaml', 'rules:\n\t- name: a\n', [
    'invalid_yaml',
    '',
    'mend the YAML',
  ]),
  text('a key twice', 'yaml', 'kind: Policy\nkind: Policy\n', [
    'invalid_yaml',
    '',
    'rename one of them',
  ]),
  text('a key twice in JSON', 'json', '{"kind": "Policy", "kind": "Policy"}', [
    'invalid_json',
    '',
    'rename one of them',
  ]),
  text('aliases of aliases', 'yaml', aliasBomb, ['invalid_yaml', '', 'write out what']),
  text('bytes that are no text', 'yaml', Uint8Array.of(0x6b, 0xff, 0xfe), [
    'invalid_yaml',
    '',
    'save it as UTF-8',
  ]),
  text('a prototype', 'json', yaml.replace('"rules"', '"__proto__": {"a": 1}, "rules"'), [
    'policy_invalid',
    '/__proto__',
    'use another name',
  ]),
  text('a number that JSON cannot hold', 'json', yaml.replace('"Policy"', '1e999'), [
    'policy_invalid',
    '/kind',
    'write a smaller one',
  ]),
  text('a file that doubled past its bound', 'yaml', `${yaml}\n# ${'x'.repeat(POLICY_BYTES_MAX)}`, [
    'body_too_large',
    '',
    'split the policy by product',
  ]),
];

export const BAD_POLICIES: readonly BadPolicy[] = [
  ...SHAPES.map(invalid),
  ...RULES.map(rule),
  ...DOCUMENTS.map(invalid),
  ...EXPRESSIONS,
  ...TEXTS,
];
/** The document that each of the above is not. */
export const GOOD_POLICY = GOOD;
