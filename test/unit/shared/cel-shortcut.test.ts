/**
 * Expressions that a policy could hold and a good many that none would, over requests that an
 * attacker could send: whatever a shortcut answers must be what the library answers.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  compilePolicy,
  decide,
  type CompiledExpression,
  type ExpressionContext,
} from '../../../shared/core/policy.ts';
import { compileCel, environment } from '../../../shared/platform/cel.ts';
import { toCelMap } from '../../../shared/platform/cel-request.ts';
import { compileShortcut } from '../../../shared/platform/cel-shortcut.ts';

const KEYS = ['a', 'b', 'amount', 'constructor', '__proto__', 'toString', '5'];
const STRINGS = ['', 'a', 'agent', 'agents', '5', 'true', 'constructor', 'é', '\ud83d\ude00'];
const NUMBERS = [0, -0, 1, 5, -5, 5.5, 500, 0.1, 2 ** 53 - 1, 2 ** 53, -(2 ** 53), 1e21, 1e308];
const INTS = ['0', '5', '-5', '500', '9007199254740991', '9007199254740993', '0x10'];
const DOUBLES = ['5.0', '5.5', '0.0', '-0.0', '1e3', '9007199254740992.0'];
const LISTS = ['["a", "agent"]', '[0, 5]', '[5.0, 5.5]', '[true]', '[null]', '[]', '[[1]]'];

/** Parsed from text, as requests are: so that `__proto__` is a key and not a prototype. */
const { attributes } = fc.letrec<{ attributes: string; value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom(...STRINGS, ...NUMBERS, true, false, null).map((value) => numeral(value)),
    fc
      .array(fc.constantFrom(...STRINGS, ...NUMBERS, null).map(numeral), { maxLength: 3 })
      .map(listed),
    fc.array(tie('value'), { maxLength: 3 }).map(listed),
    tie('attributes'),
  ),
  attributes: fc
    .uniqueArray(fc.tuple(key(), tie('value')), { maxLength: 5, selector: ([name]) => name })
    .map((members) => `{${members.map(([name, value]) => `"${name}":${value}`).join()}}`),
}));
const context = fc
  .tuple(attributes, attributes, fc.constantFrom(...STRINGS), fc.constantFrom(...STRINGS))
  .map(([own, ofResource, id, role]): ExpressionContext => ({
    principal: { id, roles: [role, 'agent'] },
    action: 'payments.capture',
    resource: { id, attributes: JSON.parse(ofResource) as Record<string, unknown> },
    attributes: JSON.parse(own) as Record<string, unknown>,
  }));

const { truth } = fc.letrec<Record<'truth' | 'value' | 'path' | 'text', string>>((tie) => ({
  text: fc.oneof(
    { maxDepth: 2, depthIdentifier: 'text' },
    fc.constantFrom('principal.id', 'resource.id', 'attributes.a', 'attributes.b'),
    fc.constantFrom(...STRINGS).map((text) => JSON.stringify(text)),
    tie('value'),
  ),
  path: fc.oneof(
    { maxDepth: 2, depthIdentifier: 'path' },
    fc.constantFrom('attributes', 'attributes', 'resource.attributes', 'resource', 'principal'),
    fc.tuple(tie('path'), key()).map(([owner, name]) => `${owner}.${name}`),
    fc.tuple(tie('path'), key()).map(([owner, name]) => `${owner}["${name}"]`),
    tie('path').map((owner) => `${owner}[0]`),
  ),
  value: fc.oneof(
    { maxDepth: 3, depthIdentifier: 'value' },
    { weight: 3, arbitrary: tie('path') },
    fc.constantFrom('principal.id', 'principal.roles', 'resource.id', 'action', 'null', 'true'),
    fc.constantFrom(...STRINGS).map((text) => JSON.stringify(text)),
    fc.constantFrom(...INTS, ...DOUBLES),
    fc.constantFrom(...LISTS),
    fc.tuple(tie('path'), tie('path')).map(([one, other]) => `[${one}, ${other}]`),
    tie('value').map((value) => `size(${value})`),
    tie('value').map((value) => `${value}.size()`),
    tie('value').map((value) => `-${value}`),
    tie('truth'),
    fc
      .tuple(tie('truth'), tie('value'), tie('value'))
      .map(([condition, yes, no]) => `(${condition} ? ${yes} : ${no})`),
  ),
  truth: fc.oneof(
    { maxDepth: 5, depthIdentifier: 'truth' },
    {
      weight: 4,
      arbitrary: fc
        .tuple(
          tie('value'),
          fc.constantFrom('==', '!=', '<', '<=', '>', '>=', 'in', 'in'),
          tie('value'),
        )
        .map((parts) => `(${parts.join(' ')})`),
    },
    fc.tuple(tie('path'), key()).map(([owner, name]) => `has(${owner}.${name})`),
    fc
      .tuple(tie('text'), fc.constantFrom('startsWith', 'endsWith', 'contains'), tie('text'))
      .map(([text, name, sought]) => `${text}.${name}(${sought})`),
    fc.tuple(tie('path'), tie('truth')).map(([list, body]) => `${list}.exists(a, ${body})`),
    tie('truth').map((inner) => `!${inner}`),
    fc
      .tuple(tie('truth'), fc.constantFrom('&&', '||'), tie('truth'))
      .map((parts) => `(${parts.join(' ')})`),
    fc.constantFrom('true', 'false', 'attributes.a', 'resource.attributes.b'),
  ),
}));

function key(): fc.Arbitrary<string> {
  return fc.constantFrom('a', 'a', 'b', 'b', ...KEYS);
}
function numeral(value: unknown): string {
  return Object.is(value, -0) ? '-0' : JSON.stringify(value);
}
function listed(elements: readonly string[]): string {
  return `[${elements.join()}]`;
}

function requestOf(own: Record<string, unknown>): ExpressionContext {
  return {
    principal: { id: 'agent:billing', roles: ['agent'] },
    action: 'payments.capture',
    resource: { id: 'order-1', attributes: {} },
    attributes: own,
  };
}

function compiledBy(source: string): CompiledExpression {
  const compiled = compileCel(source);
  if (!compiled.ok) throw new Error(`${source}: ${compiled.problem}`);
  return compiled.expression;
}

/** What is to come of what the library gave or threw. */
function resultOf(source: string, given: unknown): ReturnType<CompiledExpression['evaluate']> {
  if (typeof given === 'boolean') return { ok: true, value: given };
  if (!(given instanceof Error)) {
    return { ok: false, problem: `${source} gave a ${typeof given}, not a bool` };
  }
  return { ok: false, problem: given.message.split('\n').slice(0, 3).join('\n').trim() };
}

function byLibrary(source: string, request: ExpressionContext): unknown {
  try {
    return environment.parse(source)(toCelMap(request));
  } catch (error) {
    return error;
  }
}

describe('a shortcut', () => {
  test('property: answers what the library answers, or nothing', () => {
    const answers = { true: 0, false: 0, none: 0, failed: 0 };
    fc.assert(
      fc.property(truth, fc.array(context, { minLength: 3, maxLength: 3 }), (source, requests) => {
        const compiled = compileCel(source);
        if (!compiled.ok) return;
        const shortcut = compileShortcut(environment.parse(source).ast);
        for (const request of requests) {
          const expected = byLibrary(source, request);
          const answer = shortcut(request);
          expect([expected, undefined]).toContain(answer);
          const result = compiled.expression.evaluate(request);
          // Refused before either of them is asked, as some loops are.
          if (!result.ok && result.problem.startsWith('the request is larger')) continue;
          expect(result).toEqual(resultOf(source, expected));
          answers.failed += expected instanceof Error ? 1 : 0;
          answers[`${answer ?? 'none'}`] += 1;
        }
      }),
      { numRuns: 12_000 },
    );
    // Else it has compared nothing.
    for (const count of Object.values(answers)) expect(count).toBeGreaterThan(1_000);
  });

  test.each([
    ['(true && attributes.a) == attributes.b', { a: 5, b: 5 }],
    ['(attributes.a || false) == attributes.b', { a: 'x', b: 'x' }],
    ['size(attributes.l) == 1', { l: [{ constructor: 1 }] }],
    ['attributes.l.size() == 1', { l: [[{ constructor: 1 }]] }],
    ['"a" in attributes.l', { l: [{ constructor: 1 }, 'a'] }],
    ['null in attributes.l', { l: [null, 'a'] }],
    ['attributes.l == attributes.l', { l: [{ constructor: 1 }] }],
    ['attributes.a.b == 1 || true', { a: 'text' }],
    ['has(attributes.a.length)', { a: 'text' }],
    ['has(attributes.a.b.c)', { a: {} }],
    ['attributes.a < attributes.b', { a: null, b: 1 }],
    ['attributes.a.startsWith("b")', { a: 'ab' }],
    ['attributes.a.endsWith("a")', { a: 'ab' }],
    ['attributes.a == attributes.b', { a: 2 ** 53, b: 2 ** 53 - 1 }],
  ])('%s is as the library has it', (source, own) => {
    const request = requestOf(own);
    const expected = resultOf(source, byLibrary(source, request));
    expect(compiledBy(source).evaluate(request)).toEqual(expected);
  });

  test.each([
    ['has(attributes.kind) && attributes.kind == "order"', { kind: 'order' }],
    ['"agent" in principal.roles && attributes.amount <= 500', { amount: 20 }],
    ['attributes.amount == 5.0 && attributes.amount in [1, 5]', { amount: 5 }],
    ['principal.id in [resource.id, "agent:billing"]', {}],
    ['!(attributes["a-b"].startsWith("x") || size(attributes.l) != 2)', { 'a-b': 'a', l: [1, 2] }],
    ['attributes.n > -1.5 ? attributes.n < 1 : false', { n: 0.5 }],
  ])('%s is answered without the library', (source, own) => {
    expect(compileShortcut(environment.parse(source).ast)(requestOf(own))).toBe(true);
  });

  test('reads only what the request holds by itself', () => {
    const polluted = Object.prototype as { admin?: boolean };
    polluted.admin = true;
    try {
      const compiled = compilePolicy(
        {
          apiVersion: 'holdfast/v1',
          kind: 'Policy',
          principals: { p: { roles: ['agent'] } },
          rules: [
            { name: 'r', actions: ['x.y'], permit: [{ expression: 'attributes.admin' }] },
            { name: 's', actions: ['x.z'], permit: [{ expression: 'has(attributes.admin)' }] },
          ],
        },
        compileCel,
      );
      if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems));
      const reasonOf = (action: string) =>
        decide(compiled.policy, { principal: 'p', action, attributes: {} }).reason;
      expect([reasonOf('x.y'), reasonOf('x.z')]).toEqual(['rule_error', 'denied']);
    } finally {
      delete polluted.admin;
    }
  });
});
