/** P5: variables of a policy, with the expression language that it really has. */
import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import {
  compilePolicy,
  decide,
  type CompileResult,
  type Decision,
} from '../../../shared/core/policy.ts';
import { compileCel } from '../../../shared/platform/cel.ts';
import { STEPS_MAX } from '../../../shared/platform/cel-request.ts';
import { generatedInput, generatedPolicy } from '../../fakes/generated-policies.ts';

type Variables = readonly (readonly [name: string, expression: string])[];

function compiled(variables: Variables, permit: readonly string[]): CompileResult {
  return compilePolicy(
    {
      apiVersion: 'holdfast/v1',
      kind: 'Policy',
      principals: { 'agent:billing': { roles: ['agent'] } },
      variables: variables.map(([name, expression]) => ({ name, expression })),
      rules: [
        {
          name: 'captures',
          actions: ['payments.capture'],
          permit: permit.map((expression) => ({ expression })),
        },
      ],
    },
    compileCel,
  );
}

function decided(
  variables: Variables,
  permit: readonly string[],
  attributes: Record<string, unknown>,
): Decision {
  const result = compiled(variables, permit);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  const input = { principal: 'agent:billing', action: 'payments.capture', attributes };
  return decide(result.policy, input);
}

describe('what a variable may name', () => {
  test.each<[string, Variables, string[], string, string]>([
    [
      'one after it',
      [
        ['a', 'variables.b'],
        ['b', 'true'],
      ],
      ['true'],
      '/variables/0/expression',
      'variables.b is declared at /variables/1, not before this: move it up',
    ],
    ['itself', [['a', 'variables.a']], ['true'], '/variables/0/expression', 'not before this'],
    [
      'one that is not there',
      [['large', 'true']],
      ['variables.larg'],
      '/rules/0/permit/0/expression',
      'did you mean variables.large?',
    ],
    ['any, where none is', [], ['variables.a'], '/rules/0/permit/0/expression', 'declare it under'],
    [
      'all of them as a value',
      [['a', 'true']],
      ['variables["a"]'],
      '/rules/0/permit/0/expression',
      'name one of them, as variables.NAME',
    ],
    [
      'one as if it could be absent',
      [['a', 'true']],
      ['has(variables.a)'],
      '/rules/0/permit/0/expression',
      'a variable is always there',
    ],
    [
      'one of another type',
      [['a', 'size(principal.roles)']],
      ['variables.a == "one"'],
      '/rules/0/permit/0/expression',
      'no such overload: int == string',
    ],
    [
      'a number as a condition',
      [['a', '1 + 1']],
      ['variables.a'],
      '/rules/0/permit/0/expression',
      'gives a int',
    ],
  ])('not %s', (_what, variables, permit, path, message) => {
    expect(compiled(variables, permit)).toMatchObject({
      ok: false,
      problems: [{ path, message: expect.stringContaining(message) }],
    });
  });

  test('one that does not compile is named once, and those that use it say so', () => {
    const result = compiled([['a', 'attributes.']], ['variables.a']);
    expect(result).toMatchObject({
      problems: [
        { path: '/variables/0/expression' },
        {
          path: '/rules/0/permit/0/expression',
          message: 'variables.a does not compile itself: mend /variables/0 first',
        },
      ],
    });
  });
});

describe('a variable', () => {
  test('is any value, and may use those before it', () => {
    const variables: Variables = [
      ['cheap', 'attributes.lines.filter(line, line.price < 10)'],
      ['count', 'size(variables.cheap)'],
      ['half', '5.0'],
    ];
    const permit = [
      'variables.count == 2',
      'variables.cheap.exists(line, line.id == "b")',
      'variables.half / 2.0 == 2.5',
    ];
    const lines = [
      { id: 'a', price: 1 },
      { id: 'b', price: 2 },
      { id: 'c', price: 20 },
    ];
    expect(decided(variables, permit, { lines }).reason).toBe('permitted');
  });

  test('that is not come to is not computed', () => {
    const variables: Variables = [['bad', 'attributes.missing']];
    for (const permit of ['true || variables.bad', '!(false && variables.bad)']) {
      expect(decided(variables, [permit], {}).reason).toBe('permitted');
    }
    expect(
      decided(variables, ['attributes.l.all(a, a || variables.bad)'], { l: [true] }).reason,
    ).toBe('permitted');
  });

  test.each([
    'variables.bad',
    '!variables.bad',
    'variables.bad || true',
    'variables.nested || true',
    '[1, 2].exists(a, variables.bad || a == 2)',
    '(variables.bad && false) == false',
  ])('that fails refuses, never permits: %s', (permit) => {
    const variables: Variables = [
      ['bad', 'attributes.missing'],
      ['nested', 'variables.bad || true'],
    ];
    const decision = decided(variables, [permit], {});
    expect(decision).toMatchObject({ decision: 'deny', reason: 'rule_error' });
    expect(decision.message).toContain('failed: ');
    expect(decision.message).toContain('No such key: missing');
  });

  test('is computed once in a decision, whatever names it, and anew in the next', () => {
    let reads = 0;
    const attributes = {
      get text() {
        reads += 1;
        return 'a';
      },
    };
    const permit = ['variables.text + "" == "a"', 'variables.text + "b" == "ab"'];
    expect(decided([['text', 'attributes.text + ""']], permit, attributes).reason).toBe(
      'permitted',
    );
    // Measured, converted: not once more for each name.
    expect(reads).toBe(2);
  });

  test('is paid for once in a decision, before it runs', () => {
    const list = Array.from({ length: 256 }, (_, index) => index);
    const dear = 'attributes.l.all(a, attributes.l.exists(b, a == b))';
    const times = (expression: string) => Array.from({ length: 10 }, () => expression);
    expect(decided([], times(dear), { l: list }).reason).toBe('rule_error');
    expect(decided([['dear', dear]], times('variables.dear'), { l: list }).reason).toBe(
      'permitted',
    );
    const many = times(dear).map((source, index) => [`dear${index}`, source] as const);
    const all = many.map(([name]) => `variables.${name}`).join(' && ');
    const decision = decided(many, [all], { l: list });
    expect(decision.reason).toBe('rule_error');
    expect(decision.message).toContain(`over ${STEPS_MAX} steps`);
  });

  test('that builds twice what another built is refused when it would be too much', () => {
    const doubling = Array.from({ length: 100 }, (_, index) => {
      const half = index === 0 ? 'attributes.s' : `variables.v${index - 1}`;
      return [`v${index}`, `${half} + ${half}`] as const;
    });
    const result = compiled(doubling, ['true']);
    if (result.ok) throw new Error('it was accepted');
    const [first] = result.problems;
    expect(first?.path).toMatch(/^\/variables\/\d+\/expression$/);
    expect(first?.message).toContain('have its variables build less');
    const few = doubling.slice(0, 12);
    const decision = decided(few, ['variables.v11 != ""'], { s: 'a'.repeat(2 ** 18) });
    expect(decision.message).toContain('larger than rules may look at');
  });

  test('that + has put together cannot be looped over', () => {
    const result = compiled(
      [['both', 'attributes.l + attributes.m']],
      ['variables.both.exists(a, a == 1)'],
    );
    expect(result).toMatchObject({
      problems: [{ message: expect.stringContaining('use one for each part') }],
    });
  });
});

test('property: a variable means what its expression would mean in its place, or refuses', () => {
  let compared = 0;
  let failed = 0;
  fc.assert(
    fc.property(
      generatedPolicy,
      fc.array(generatedInput, { minLength: 4, maxLength: 4 }),
      (document, inputs) => {
        const { variables = [], ...rest } = document;
        if (variables.length === 0) return;
        let text = JSON.stringify(rest);
        for (const { name, expression } of variables.toReversed()) {
          text = text.replaceAll(
            `variables.${name}`,
            JSON.stringify(`(${expression})`).slice(1, -1),
          );
        }
        const shared = compilePolicy(document, compileCel);
        const written = compilePolicy(JSON.parse(text) as typeof document, compileCel);
        if (!shared.ok || !written.ok) return;
        for (const input of inputs) {
          const decision = decide(shared.policy, input);
          if (decision.reason === 'rule_error' && decision.message.includes('variables.')) {
            failed += 1;
            continue;
          }
          const inPlace = decide(written.policy, input);
          expect([decision.reason, decision.rule]).toEqual([inPlace.reason, inPlace.rule]);
          compared += 1;
        }
      },
    ),
    { numRuns: 2_000 },
  );
  expect(compared).toBeGreaterThan(500);
  expect(failed).toBeGreaterThan(50);
});
