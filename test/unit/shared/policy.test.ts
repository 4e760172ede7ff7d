import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import { compilePolicy, decide, type CompiledPolicy } from '../../../shared/core/policy.ts';
import { compileCel } from '../../../shared/platform/cel.ts';
import type { PolicyDocument, PolicyRule } from '../../../shared/wire/policy-document.ts';

function policyOf(rules: PolicyDocument['rules']): CompiledPolicy {
  const principals = { 'agent:billing': { roles: ['agent'] } };
  const document = { apiVersion: 'holdfast/v1', kind: 'Policy', principals, rules } as const;
  const compiled = compilePolicy(document, compileCel);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems));
  return compiled.policy;
}

function ruleOf(name: string, actions: string[], lease?: string): PolicyRule {
  const rule = { name, actions, permit: [{ expression: 'true' }] };
  return lease === undefined ? rule : { ...rule, ownership: { lease, mode: 'strict' } };
}

describe('P4: the rules of an action', () => {
  const word = fc.constantFrom('a', 'b', 'aa');
  const action = fc.array(word, { minLength: 1, maxLength: 3 }).map((words) => words.join('.'));
  const pattern = fc.oneof(
    action,
    action.map((words) => `${words}.*`),
    fc.constant('*'),
  );

  test('property: all whose pattern fits, in document order', () => {
    const patterns = fc.uniqueArray(pattern, { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(fc.array(patterns, { maxLength: 8 }), action, (actions, asked) => {
        const policy = policyOf(actions.map((own, index) => ruleOf(`${index}`, own)));
        const fits = (own: string): boolean =>
          own === asked ||
          own === '*' ||
          (own.endsWith('.*') && asked.startsWith(own.slice(0, -1)));
        expect(policy.rulesFor(asked).map(({ name }) => name)).toEqual(
          actions.flatMap((own, index) => (own.some(fits) ? [`${index}`] : [])),
        );
      }),
    );
  });
});

describe('the lease of a rule', () => {
  const input = {
    principal: 'agent:billing',
    action: 'payments.capture',
    resource: { id: 'order-1', attributes: { shard: 3, odd: '../etc', deep: { er: 'x' } } },
  };
  const decided = (lease: string) =>
    decide(policyOf([ruleOf('r', ['payments.capture'], lease)]), input);

  test.each([
    ['orders', 'orders'],
    ['orders/{resource.attributes.shard}', 'orders/3'],
    ['{resource.id}{action}/{resource.attributes.deep.er}-z', 'order-1payments.capture/x-z'],
  ])('%s is filled as %s', (lease, resource) => {
    expect(decided(lease)).toMatchObject({ reason: 'permitted', leaseResource: resource });
  });

  test.each([
    ['orders/{resource.attributes.odd}', '{resource.attributes.odd}'],
    ['{resource.attributes.shard}/{resource.attributes.none}', '{resource.attributes.none}'],
    ['{resource.attributes.toString}', '{resource.attributes.toString}'],
    ['{resource.none}/{resource.attributes.deep}/{resource.id}', '{resource.attributes.deep}'],
    ['{resource..id}', '{resource..id}'],
    ['{principal.id}', '{principal.id}'],
  ])('%s is refused for %s', (lease, path) => {
    expect(decided(lease)).toMatchObject({
      reason: 'rule_error',
      message: `lease of rule r: ${path} must be a word of letters, digits, dot, hyphen or underscore, or an integer`,
      leaseResource: null,
    });
  });

  test('is filled only with what the request holds by itself', () => {
    const polluted = Object.prototype as { shared?: string };
    polluted.shared = 'word';
    try {
      expect(decided('{resource.attributes.shared}').reason).toBe('rule_error');
    } finally {
      delete polluted.shared;
    }
  });
});
