import { fc } from '../../fakes/properties.ts';
import { Compile } from 'typebox/compile';
import { describe, expect, test } from 'vitest';
import { explainDecision } from '../../../shared/core/decision-trace.ts';
import { compilePolicy, decide, type CompiledPolicy } from '../../../shared/core/policy.ts';
import { compileCel } from '../../../shared/platform/cel.ts';
import { DecisionTraceSchema } from '../../../shared/wire/decision-trace.ts';
import type { PolicyDocument } from '../../../shared/wire/policy-document.ts';
import { generatedInput, generatedPolicy } from '../../fakes/generated-policies.ts';

const traceChecker = Compile(DecisionTraceSchema);

function compiled(over: Partial<PolicyDocument>): CompiledPolicy {
  const result = compilePolicy(
    {
      apiVersion: 'holdfast/v1',
      kind: 'Policy',
      principals: { 'agent:billing': { roles: ['agent'] } },
      rules: [],
      ...over,
    },
    compileCel,
  );
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.policy;
}

const INPUT = {
  principal: 'agent:billing',
  action: 'payments.capture',
  attributes: { amount: 600, kind: 'order' },
};

test('property P6: a trace has the very decision, fits its schema, and lists what was evaluated', () => {
  const reasons = new Map<string, number>();
  fc.assert(
    fc.property(
      generatedPolicy,
      fc.array(generatedInput, { minLength: 4, maxLength: 4 }),
      (document, inputs) => {
        const result = compilePolicy(document, compileCel);
        if (!result.ok) return;
        for (const input of inputs) {
          const decision = decide(result.policy, input);
          const explained = explainDecision(result.policy, input);
          expect(explained.decision).toEqual(decision);
          const { trace } = explained;
          expect([...traceChecker.Errors(trace)]).toEqual([]);
          expect(JSON.parse(JSON.stringify(trace))).toEqual(trace);
          reasons.set(decision.reason, (reasons.get(decision.reason) ?? 0) + 1);
          const decided = trace.rules.filter(({ outcome }) => outcome === 'decided');
          expect(decided.map(({ rule }) => rule)).toEqual(
            decision.rule === null ? [] : [decision.rule],
          );
          const lastIsDeciding = trace.rules.at(-1)?.rule === decision.rule;
          expect(lastIsDeciding || decision.rule === null).toBe(true);
        }
      },
    ),
    { numRuns: 2_000 },
  );
  const seen = ['unknown_principal', 'no_rule', 'rule_error', 'denied', 'permitted'];
  for (const reason of seen) expect(reasons.get(reason), reason).toBeGreaterThan(50);
});

describe('a trace', () => {
  test('tells each rule, expression, variable and the source of each term', () => {
    const policy = compiled({
      defaults: { maxStaleness: '5m', deadline: '1m' },
      variables: [
        { name: 'large', expression: 'attributes.amount > 500' },
        { name: 'unused', expression: 'attributes.kind' },
        { name: 'kind', expression: 'attributes.kind + "s"' },
      ],
      rules: [
        {
          name: 'refunds',
          actions: ['payments.*'],
          match: [{ expression: 'variables.kind == "refunds"' }, { expression: 'variables.large' }],
          permit: [{ expression: 'true' }],
        },
        { name: 'elsewhere', actions: ['tenants.delete'], permit: [{ expression: 'true' }] },
        {
          name: 'captures',
          actions: ['payments.capture'],
          permit: [
            { expression: '!variables.large', message: 'at most 500' },
            { expression: 'attributes.kind == "order"' },
          ],
          deadline: '2m',
        },
        { name: 'rest', actions: ['*'], permit: [{ expression: 'true' }] },
      ],
    });
    const { trace } = explainDecision(policy, INPUT);
    expect(trace).toMatchObject({
      decision: 'deny',
      reason: 'denied',
      rule: 'captures',
      message: 'at most 500',
      roles: ['agent'],
      rules: [
        {
          rule: 'refunds',
          path: '/rules/0',
          outcome: 'not_matched',
          match: [
            { expression: 'variables.kind == "refunds"', outcome: 'false', message: null },
            { outcome: 'skipped' },
          ],
          permit: [{ outcome: 'skipped' }],
        },
        {
          rule: 'captures',
          path: '/rules/2',
          outcome: 'decided',
          match: [],
          permit: [{ outcome: 'false', message: 'at most 500' }, { outcome: 'skipped' }],
        },
      ],
      rulesNotReached: 1,
      variables: [
        { name: 'large', outcome: 'value', value: 'true', isCut: false },
        { name: 'kind', outcome: 'value', value: '"orders"' },
      ],
    });
    const sources = Object.fromEntries(trace.terms.map(({ term, source }) => [term, source]));
    expect(sources).toMatchObject({
      deadlineMs: 'rule',
      maxStalenessMs: 'defaults',
      maxDeadlineMs: 'built-in',
    });
    const values = Object.fromEntries(trace.terms.map(({ term, value }) => [term, value]));
    expect(values).toEqual(policy.rules[2]?.terms);
  });

  test('shows a long value cut, and a failure as one', () => {
    const policy = compiled({
      variables: [
        { name: 'text', expression: 'attributes.text' },
        { name: 'broken', expression: 'attributes.missing' },
      ],
      rules: [
        {
          name: 'captures',
          actions: ['payments.capture'],
          permit: [{ expression: 'variables.text != ""' }, { expression: 'variables.broken' }],
        },
      ],
    });
    const attributes = { text: '\ud83d\ude00'.repeat(5_000) };
    const { trace } = explainDecision(policy, { ...INPUT, attributes });
    const [text, broken] = trace.variables;
    expect(text).toMatchObject({ name: 'text', isCut: true });
    expect(text?.value?.length).toBe(1_000);
    expect(text?.value?.isWellFormed()).toBe(true);
    expect(broken).toMatchObject({ outcome: 'failed', value: null });
    expect(broken?.message).toContain('No such key: missing');
    expect(trace.reason).toBe('rule_error');
  });

  test('of an unknown principal considers nothing', () => {
    const rules = [{ name: 'all', actions: ['*'], permit: [{ expression: 'true' }] }];
    const { trace } = explainDecision(compiled({ rules }), { ...INPUT, principal: 'agent:other' });
    expect(trace).toMatchObject({ reason: 'unknown_principal', roles: null, rules: [], terms: [] });
  });
});
