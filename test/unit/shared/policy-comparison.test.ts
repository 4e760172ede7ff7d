import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import { DecisionComparison, testSamples } from '../../../shared/core/decision-comparison.ts';
import { comparePolicies, mayLoosen } from '../../../shared/core/policy-comparison.ts';
import { checkPolicyValue } from '../../../shared/platform/policy-gate.ts';
import type { PolicyDocument, PolicyRule } from '../../../shared/wire/policy-document.ts';

const RULE: PolicyRule = {
  name: 'capture',
  actions: ['payments.capture'],
  permit: [{ expression: 'attributes.amount <= 500' }],
};

function documentOf(rule: Partial<PolicyRule>, over: Partial<PolicyDocument> = {}): PolicyDocument {
  return {
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    principals: { 'agent:billing': { roles: ['agent'] } },
    rules: [{ ...RULE, ...rule }],
    ...over,
  };
}

const kindsOf = (before: PolicyDocument, after: PolicyDocument) =>
  comparePolicies(before, after).map(({ path, kind }) => `${kind} ${path}`);

const strict = { lease: 'orders', mode: 'strict' } as const;
const fenced = { lease: 'orders', mode: 'fenced', grace: '1m' } as const;
const approval = { required: 2, from: 'role:security', ttl: '10m' };

describe('the terms of a rule', () => {
  test.each<[string, Partial<PolicyRule>, Partial<PolicyRule>, string]>([
    ['fresh to bounded', { freshness: 'fresh' }, {}, '/freshness'],
    ['a longer maxStaleness', { maxStaleness: '5m' }, { maxStaleness: '6m' }, '/maxStaleness'],
    ['a longer deadline', { deadline: '5m' }, { deadline: '6m' }, '/deadline'],
    ['a longer maxDeadline', { maxDeadline: '20m' }, {}, '/maxDeadline'],
    ['ownership removed', { ownership: strict }, {}, '/ownership'],
    ['strict to fenced', { ownership: strict }, { ownership: fenced }, '/ownership/mode'],
    [
      'a longer grace',
      { ownership: fenced },
      { ownership: { ...fenced, grace: '2m' } },
      '/ownership/grace',
    ],
    ['limits removed', { limits: { rate: '5/s' } }, {}, '/limits'],
    ['a higher rate', { limits: { rate: '5/s' } }, { limits: { rate: '301/m' } }, '/limits/rate'],
    [
      'a rate removed',
      { limits: { rate: '5/s', concurrency: 2 } },
      { limits: { concurrency: 2 } },
      '/limits/rate',
    ],
    [
      'more at a time',
      { limits: { concurrency: 2 } },
      { limits: { concurrency: 3 } },
      '/limits/concurrency',
    ],
    [
      'a higher burst',
      { limits: { rate: '5/s' } },
      { limits: { rate: '5/s', burst: 6 } },
      '/limits/burst',
    ],
    ['a higher quota', { limits: { quota: '5/d' } }, { limits: { quota: '6/d' } }, '/limits/quota'],
    [
      'a budget for each',
      { limits: { rate: '5/s' } },
      { limits: { rate: '5/s', per: 'principal' } },
      '/limits/per',
    ],
    [
      'a budget for each host',
      { limits: { rate: '5/s', scope: 'fleet' } },
      { limits: { rate: '5/s' } },
      '/limits/scope',
    ],
    ['approval removed', { approval }, {}, '/approval'],
    [
      'fewer approvers',
      { approval },
      { approval: { ...approval, required: 1 } },
      '/approval/required',
    ],
    ['a longer approval', { approval }, { approval: { ...approval, ttl: '1h' } }, '/approval/ttl'],
    ['deny to warn', {}, { enforcement: 'warn' }, '/enforcement'],
    ['deny to audit', {}, { enforcement: 'audit' }, '/enforcement'],
    ['recheck removed', { recheck: 'commit' }, {}, '/recheck'],
    [
      'a probe instead of a person',
      {},
      { onUnknown: { strategy: 'probe', probe: { url: 'http://127.0.0.1/v' } } },
      '/onUnknown/strategy',
    ],
    [
      'more tries',
      { onUnknown: { strategy: 'retry', attempts: 1 } },
      { onUnknown: { strategy: 'retry', attempts: 2 } },
      '/onUnknown/attempts',
    ],
    ['onRevoke finish', {}, { onRevoke: 'finish' }, '/onRevoke'],
    ['onControlLoss finish', { onControlLoss: 'pause' }, {}, '/onControlLoss'],
    ['one more effect', {}, { effects: { charge: {} } }, '/effects/charge'],
    [
      'an effect called idempotent',
      { effects: { charge: {} } },
      { effects: { charge: { idempotent: true } } },
      '/effects/charge/idempotent',
    ],
    [
      'weaker fencing',
      { effects: { charge: { fencing: 'enforced' } } },
      { effects: { charge: { fencing: 'dispatch' } } },
      '/effects/charge/fencing',
    ],
    ['wider actions', {}, { actions: ['payments.*'] }, '/actions'],
    ['a permit removed', { permit: [...RULE.permit, { expression: 'true' }] }, {}, '/permit'],
    ['a match removed', { match: [{ expression: 'true' }] }, {}, '/match'],
  ])('%s is looser, and is tighter or changed the other way round', (_, was, is, path) => {
    expect(kindsOf(documentOf(was), documentOf(is))).toEqual([`looser /rules/0${path}`]);
    const back = comparePolicies(documentOf(is), documentOf(was));
    expect(back.map((change) => change.path)).toEqual([`/rules/0${path}`]);
    expect(back[0]?.kind).not.toBe('looser');
  });

  test('a changed default shows at each rule that it reaches, and nowhere else', () => {
    const rules = [RULE, { ...RULE, name: 'own', actions: ['b'], maxStaleness: '1m' }];
    const before = documentOf({}, { rules, defaults: { maxStaleness: '10m' } });
    const after = documentOf({}, { rules, defaults: { maxStaleness: '20m' } });
    expect(comparePolicies(before, after)).toEqual([
      {
        path: '/rules/0/maxStaleness',
        kind: 'looser',
        before: '10m',
        after: '20m',
        sentence: 'rule capture: maxStaleness 10m -> 20m: cached authority is good for longer',
      },
    ]);
  });

  test('another expression is changed, never tighter', () => {
    const after = documentOf({ permit: [{ expression: 'attributes.amount <= 5' }] });
    expect(kindsOf(documentOf({}), after)).toEqual(['changed /rules/0/permit']);
    expect(mayLoosen(comparePolicies(documentOf({}), after))).toBe(true);
  });
});

describe('the rest of the document', () => {
  const other = { ...RULE, name: 'other', actions: ['payments.*'] };

  test('principals and their roles', () => {
    const principals = { 'agent:billing': { roles: ['admin'] }, 'agent:new': { roles: ['agent'] } };
    expect(kindsOf(documentOf({}), documentOf({}, { principals }))).toEqual([
      'looser /principals/agent:billing/roles',
      'tighter /principals/agent:billing/roles',
      'looser /principals/agent:new',
    ]);
    expect(kindsOf(documentOf({}, { principals }), documentOf({}))).toContain(
      'tighter /principals/agent:new',
    );
  });

  test('a rule that is new is looser, unless it permits nothing', () => {
    const before = documentOf({});
    expect(kindsOf(before, documentOf({}, { rules: [RULE, other] }))).toEqual(['looser /rules/1']);
    const never = { ...other, permit: [{ expression: 'false' }] };
    expect(kindsOf(before, documentOf({}, { rules: [never, RULE] }))[0]).toBe('tighter /rules/0');
  });

  test('a rule that is gone is tighter only where no rule takes its place', () => {
    const both = documentOf({}, { rules: [RULE, other] });
    expect(kindsOf(both, documentOf({}, { rules: [other] }))).toEqual(['changed /rules/0']);
    const apart = documentOf({}, { rules: [RULE, { ...other, actions: ['mail.send'] }] });
    expect(kindsOf(apart, documentOf({}))).toEqual(['tighter /rules/1']);
  });

  test('the order of rules that can both fit is part of the policy', () => {
    const apart = { ...other, name: 'apart', actions: ['mail.send'] };
    const before = documentOf({}, { rules: [RULE, other, apart] });
    const swapped = documentOf({}, { rules: [other, RULE, apart] });
    const harmless = documentOf({}, { rules: [apart, RULE, other] });
    expect(kindsOf(before, swapped)).toEqual(['changed /rules/1']);
    expect(kindsOf(before, harmless)).toEqual([]);
  });

  test('variables and config', () => {
    const variables = [{ name: 'limit', expression: '500' }];
    const config = {
      banner: { value: 'a', maxStaleness: '1h', onExpiry: 'error' },
    } as const;
    const before = documentOf({}, { variables, config });
    const after = documentOf(
      {},
      {
        variables: [{ name: 'limit', expression: '900' }],
        config: { banner: { value: 'b', maxStaleness: '2h', onExpiry: 'last' } },
      },
    );
    expect(kindsOf(before, after)).toEqual([
      'changed /variables/0/expression',
      'changed /config/banner/value',
      'looser /config/banner/maxStaleness',
      'looser /config/banner/onExpiry',
    ]);
    expect(kindsOf(after, before)).toContain('tighter /config/banner/onExpiry');
  });

  test('the same document has no changes; a description is none either', () => {
    const document = documentOf({ ownership: fenced, limits: { rate: '5/s' }, approval });
    expect(comparePolicies(document, structuredClone(document))).toEqual([]);
    expect(comparePolicies(document, { ...document, description: 'said otherwise' })).toEqual([]);
  });
});

describe('the same requests under both', () => {
  const compiled = (document: PolicyDocument) => {
    const check = checkPolicyValue(document);
    if (!check.ok) throw new Error(JSON.stringify(check.problems));
    return check.compiled;
  };
  const comparison = (before: PolicyDocument, after: PolicyDocument) =>
    new DecisionComparison({ before: compiled(before), after: compiled(after), examplesMax: 1 });
  const ask = (amount: number) => ({
    source: `asked ${amount}`,
    input: { principal: 'agent:billing', action: 'payments.capture', attributes: { amount } },
  });

  test('counts each kind, and keeps the first examples with both reasons', () => {
    const raised = documentOf({ permit: [{ expression: 'attributes.amount <= 900' }] });
    const compared = comparison(documentOf({}), raised);
    expect([100, 600, 700, 1000].map((amount) => compared.add(ask(amount)))).toEqual([
      'same',
      'deny_to_permit',
      'deny_to_permit',
      'same',
    ]);
    const result = compared.result();
    expect(result).toMatchObject({ compared: 4, same: 2, counts: { deny_to_permit: 2 } });
    expect(result.examples).toMatchObject([
      {
        source: 'asked 600',
        before: { decision: 'deny', reason: 'denied', rule: 'capture' },
        after: { decision: 'permit', reason: 'permitted', rule: 'capture' },
      },
    ]);
  });

  test('terms that would be written into the operation count as a difference', () => {
    const compared = comparison(documentOf({}), documentOf({ deadline: '1m' }));
    expect(compared.add(ask(1))).toBe('terms_changed');
    expect(compared.add(ask(501))).toBe('same');
  });

  test('property: what is permitted now and was not before is never behind changes that are all tighter', () => {
    const settings = fc.record<Partial<PolicyRule>>(
      {
        permit: fc
          .subarray(['attributes.amount <= 5', 'attributes.amount >= 2', 'true'], {
            minLength: 1,
          })
          .map((sources) => sources.map((expression) => ({ expression }))),
        match: fc
          .subarray(['attributes.amount != 6', 'true'])
          .map((sources) => sources.map((expression) => ({ expression }))),
        enforcement: fc.constantFrom('deny', 'warn'),
        actions: fc.constantFrom(['payments.capture'], ['payments.*'], ['*'], ['mail.send']),
      },
      { requiredKeys: [] },
    );
    const rules = fc
      .subarray(['a', 'b', 'c'], { minLength: 2 })
      .chain((names) =>
        fc.tuple(...names.map((name) => settings.map((own) => ({ ...RULE, name, ...own })))),
      );
    // One rule is another, or is not there: what several changes do together proves less.
    const pairs = fc.tuple(rules, fc.nat(), fc.option(settings)).map(([before, at, own]) => ({
      before,
      after: before.flatMap((rule, index): PolicyRule[] => {
        if (index !== at % before.length) return [rule];
        return own === null ? [] : [{ ...rule, ...own }];
      }),
    }));
    const amounts = [1, 2, 3, 5, 6];
    // Some orders leave a rule that cannot be reached: the gate refuses those.
    const check = (list: PolicyRule[]) => checkPolicyValue(documentOf({}, { rules: list }));
    let gains = 0;
    fc.assert(
      fc.property(pairs, ({ before, after }) => {
        const [was, is] = [check(before), check(after)];
        fc.pre(was.ok && is.ok);
        if (!was.ok || !is.ok) return;
        const compared = new DecisionComparison({
          before: was.compiled,
          after: is.compiled,
          examplesMax: 1,
        });
        for (const amount of amounts) compared.add(ask(amount));
        if (compared.result().counts.deny_to_permit === 0) return;
        gains += 1;
        expect(mayLoosen(comparePolicies(was.document, is.document))).toBe(true);
      }),
      { numRuns: 1_000 },
    );
    expect(gains).toBeGreaterThan(5);
  });

  test('samples are the inputs of the tests of both documents, each once', () => {
    const given = ask(1).input;
    const tested = documentOf(
      {},
      { tests: [{ name: 'small', given, expect: { decision: 'permit' } }] },
    );
    expect(testSamples(tested, tested)).toEqual([{ source: 'test "small"', input: given }]);
  });
});
