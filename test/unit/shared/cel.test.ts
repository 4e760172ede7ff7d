import { Environment } from '@marcbachmann/cel-js';
import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import type { ExpressionContext } from '../../../shared/core/policy.ts';
import { checkCost } from '../../../shared/platform/cel-cost.ts';
import { compileCel } from '../../../shared/platform/cel.ts';
import {
  LIST_ELEMENTS_MAX,
  MAP_KEYS_MAX,
  VALUES_MAX,
} from '../../../shared/platform/cel-request.ts';

const numbers = (length: number) => Array.from({ length }, (_, index) => index);
const contextOf = (attributes: Record<string, unknown>): ExpressionContext => ({
  principal: { id: 'agent:billing', roles: ['billing'] },
  action: 'payments.capture',
  resource: { id: 'order-1', attributes: {} },
  attributes,
});
function evaluate(source: string, attributes: Record<string, unknown>) {
  const compiled = compileCel(source);
  if (!compiled.ok) throw new Error(`${source}: ${compiled.problem}`);
  return compiled.expression.evaluate(contextOf(attributes));
}
const TOO_LARGE = { ok: false, problem: expect.stringContaining('larger than rules may look at') };

describe('what an expression may cost', () => {
  test.each([
    ['attributes.l.all(a, attributes.l.all(b, attributes.l.all(c, true)))', 'nested in 2 others'],
    ['attributes.l.all(a, attributes.l.filter(b, [1].exists(c, c == 1)) == [])', 'nested in 2'],
    ['attributes.l.map(a, [a, a]).exists(a, true)', 'map() is not allowed'],
    ['cel.bind(x, attributes.l, x == x)', 'bind() is not allowed'],
    ['attributes.s.split("").exists(a, true)', 'split() is not allowed'],
    ['"a".matches("a")', 'matches() is not allowed'],
    ['(attributes.l + attributes.l).exists(a, true)', 'cannot go over what +'],
    ['[attributes, attributes] == [attributes, attributes]', 'only constants'],
  ])('%s is refused when it is compiled', (source, problem) => {
    expect(compileCel(source)).toEqual({ ok: false, problem: expect.stringContaining(problem) });
  });

  test.each([
    ['attributes.l.all(a, attributes.l.exists(b, a == b))', { l: numbers(LIST_ELEMENTS_MAX) }],
    ['attributes.l.all(a, a in [0, 1]) && !has(attributes.n)', { l: [0, 1] }],
    ['principal.id in [resource.id, "agent:billing"] && "billing" in principal.roles', {}],
    ['attributes.l.filter(a, a.id > 1).exists(a, a.id == attributes.n)', { l: [{ id: 2 }], n: 2 }],
    ['attributes.s.contains("-7")', { s: 'order-7' }],
    ['type(attributes.n) == int && type(attributes.x) == double', { n: 5, x: 5.5 }],
  ])('%s is what rules are for', (source, attributes) => {
    expect(evaluate(source, attributes)).toEqual({ ok: true, value: true });
  });

  test.each([
    ['attributes.n in attributes.m', { n: 5, m: { '5': 1 } }, { ok: true, value: false }],
    ['attributes.m[attributes.n] == 1', { n: 5, m: { '5': 1 } }, { ok: false }],
    ['attributes.m.constructor == 1', { m: { constructor: 1 } }, { ok: true, value: true }],
    ['"toString" in attributes', {}, { ok: true, value: false }],
  ])('the keys of a map are texts, and its own: %s', (source, attributes, result) => {
    expect(evaluate(source, attributes)).toMatchObject(result);
  });

  test('a request over the bounds fails each expression, whatever it asks', () => {
    const keys = (length: number) => Object.fromEntries(numbers(length).map((key) => [key, key]));
    const lists = numbers(20).map(() => numbers(LIST_ELEMENTS_MAX));
    expect(VALUES_MAX).toBeLessThan(20 * LIST_ELEMENTS_MAX);
    for (const value of [numbers(LIST_ELEMENTS_MAX + 1), keys(MAP_KEYS_MAX + 1), lists]) {
      expect(evaluate('attributes.v == 1 || true', { v: value })).toEqual(TOO_LARGE);
    }
    expect(evaluate('size(attributes.v) == 256', { v: keys(MAP_KEYS_MAX) }).ok).toBe(true);
  });

  test('the steps are those of the decision, not of one expression', () => {
    const compiled = compileCel('attributes.l.all(a, attributes.l.exists(b, a == b))');
    if (!compiled.ok) throw new Error(compiled.problem);
    const context = contextOf({ l: numbers(LIST_ELEMENTS_MAX) });
    const answers = numbers(10).map(() => compiled.expression.evaluate(context).ok);
    expect(answers[0]).toBe(true);
    expect(answers.at(-1)).toBe(false);
  });

  test.each([
    'attributes.l.exists(a, attributes.l.exists(b, a.id == 1))',
    'attributes.l.exists(a, attributes.l.exists(b, b))',
    'attributes.l.all(a, attributes.l.all(b, timestamp(0).getHours("Europe/Berlin") >= 0))',
  ])('%s costs more for each element than a comparison', (source) => {
    expect(evaluate(source, { l: numbers(LIST_ELEMENTS_MAX) })).toEqual(TOO_LARGE);
    expect(evaluate(source, { l: numbers(4) })).not.toEqual(TOO_LARGE);
  });

  test('two lists of 40 records are compared by a field', () => {
    const records = numbers(40).map((id) => ({ id }));
    const source = 'attributes.l.all(a, attributes.m.exists(b, a.id == b.id))';
    expect(evaluate(source, { l: records, m: records })).toEqual({ ok: true, value: true });
  });

  test('a long search for a long text is refused before it runs', () => {
    const attributes = { s: 'a'.repeat(40_000), t: `${'a'.repeat(10_000)}b${'a'.repeat(10_000)}` };
    expect(evaluate('attributes.s.contains(attributes.t)', attributes)).toEqual(TOO_LARGE);
  });

  test('property: no accepted expression reads more elements than its steps', () => {
    const { truth, list } = fc.letrec<{ truth: string; list: string; value: string }>((tie) => ({
      value: fc.constantFrom('a', 'b', '1', 'attributes.l', 'attributes'),
      list: fc.oneof(
        { maxDepth: 3, depthIdentifier: 'list' },
        fc.constantFrom('attributes.l', '[1, 2]'),
        fc
          .tuple(
            fc.constantFrom('filter', 'map'),
            fc.constantFrom('a', 'b'),
            tie('list'),
            tie('truth'),
          )
          .map(([name, variable, over, body]) => `${over}.${name}(${variable}, ${body})`),
        fc.tuple(tie('list'), tie('list')).map(([left, right]) => `(${left} + ${right})`),
      ),
      truth: fc.oneof(
        { maxDepth: 5, depthIdentifier: 'truth' },
        fc
          .tuple(tie('value'), fc.constantFrom('==', '!='), tie('value'))
          .map(([left, operator, right]) => `${left} ${operator} ${right}`),
        fc.tuple(tie('value'), tie('list')).map(([left, right]) => `${left} in ${right}`),
        fc
          .tuple(
            fc.constantFrom('all', 'exists', 'exists_one'),
            fc.constantFrom('a', 'b'),
            tie('list'),
            tie('truth'),
          )
          .map(([name, variable, over, body]) => `${over}.${name}(${variable}, ${body})`),
        fc.tuple(tie('truth'), tie('truth')).map(([left, right]) => `(${left} && ${right})`),
        fc.tuple(tie('truth'), tie('truth')).map(([left, right]) => `(${left} || ${right})`),
      ),
    }));
    const environment = new Environment({ unlistedVariablesAreDyn: true });
    const longest = 24;
    let most = 0;
    fc.assert(
      fc.property(truth, list, (condition, over) => {
        for (const text of [condition, `${over}.all(a, ${over}.filter(b, ${condition}) != [])`]) {
          const parsed = environment.parse(text);
          const cost = checkCost(parsed.ast);
          if (!cost.ok) continue;
          let reads = 0;
          const counting = new Proxy(numbers(longest).map(BigInt), {
            get(target, key) {
              if (typeof key === 'string' && /^\d+$/.test(key)) reads += 1;
              return Reflect.get(target, key) as unknown;
            },
          });
          try {
            parsed({ attributes: { l: counting }, a: 1n, b: 1n });
          } catch {
            // What it read until it failed counts as well.
          }
          most = Math.max(most, reads);
          expect(reads).toBeLessThanOrEqual(cost.cost.steps({ longest, values: longest + 2 }));
        }
      }),
      { numRuns: 500 },
    );
    expect(most).toBeGreaterThan(longest);
  });
});
