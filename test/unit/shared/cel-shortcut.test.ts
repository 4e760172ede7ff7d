/**
 * Expressions that a policy could hold and a good many that none would, over requests that an
 * attacker could send: whatever a shortcut answers must be what the library answers.
 */
import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import {
  compilePolicy,
  decide,
  type CompiledExpression,
  type ExpressionContext,
} from '../../../shared/core/policy.ts';
import { compileCel, environment } from '../../../shared/platform/cel.ts';
import { toCelRoots } from '../../../shared/platform/cel-request.ts';
import { compileShortcut } from '../../../shared/platform/cel-shortcut.ts';
import { generatedCondition, generatedContext } from '../../fakes/generated-expressions.ts';

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
    return environment.parse(source)(toCelRoots(request));
  } catch (error) {
    return error;
  }
}

describe('a shortcut', () => {
  test('property: answers what the library answers, or nothing', () => {
    const answers = { true: 0, false: 0, none: 0, failed: 0 };
    fc.assert(
      fc.property(
        generatedCondition,
        fc.array(generatedContext, { minLength: 3, maxLength: 3 }),
        (source, requests) => {
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
        },
      ),
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
