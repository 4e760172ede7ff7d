/**
 * CEL behind the port of `shared/core/policy.ts`. Whole numbers become CEL ints and the rest
 * doubles, since a JSON `5` is meant as an int. Bounds are structural, so an expression's cost is
 * bounded when it is compiled; regular expressions are refused, because they run on a backtracking
 * engine.
 */
import { Environment } from '@marcbachmann/cel-js';
import type { ExpressionCompiler, ExpressionContext } from '../core/policy.ts';

const environment = new Environment({
  limits: {
    maxAstNodes: 256,
    maxDepth: 32,
    maxListElements: 128,
    maxMapEntries: 64,
    maxCallArguments: 8,
  },
})
  .registerVariable('principal', { schema: { id: 'string', roles: 'list<string>' } })
  .registerVariable('action', 'string')
  .registerVariable('resource', { schema: { id: 'string', attributes: 'map' } })
  .registerVariable('attributes', 'map');

const REFUSED_FUNCTIONS = /\.\s*matches\s*\(|(^|[^.\w])matches\s*\(/;

export const compileCel: ExpressionCompiler = (source) => {
  if (REFUSED_FUNCTIONS.test(source)) {
    return {
      ok: false,
      problem: 'matches() is not allowed: use ==, in, startsWith, endsWith or contains',
    };
  }
  let evaluateSource: (context: Record<string, unknown>) => unknown;
  try {
    const checked = environment.check(source);
    if (!checked.valid) return { ok: false, problem: firstLines(checked.error) };
    if (checked.type !== 'bool' && checked.type !== 'dyn') {
      return { ok: false, problem: `the expression gives a ${checked.type}, not a bool` };
    }
    evaluateSource = environment.parse(source);
  } catch (error) {
    return { ok: false, problem: firstLines(error) };
  }
  return {
    ok: true,
    expression: {
      source,
      evaluate(context) {
        try {
          const value = evaluateSource(toCelContext(context));
          if (typeof value === 'boolean') return { ok: true, value };
          return { ok: false, problem: `${source} gave a ${typeof value}, not a bool` };
        } catch (error) {
          return { ok: false, problem: firstLines(error) };
        }
      },
    },
  };
};

/** A context is converted once for all expressions of a decision. */
const converted = new WeakMap<ExpressionContext, Record<string, unknown>>();

function toCelContext(context: ExpressionContext): Record<string, unknown> {
  let cel = converted.get(context);
  if (cel === undefined) {
    cel = toCelValue(context) as Record<string, unknown>;
    converted.set(context, cel);
  }
  return cel;
}

function toCelValue(value: unknown): unknown {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(toCelValue);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([key, member]) => [key, toCelValue(member)]),
    );
  }
  return value;
}

/** The library's message, then a caret under the place: both lines help, the rest does not. */
function firstLines(error: unknown): string {
  return (error instanceof Error ? error.message : String(error))
    .split('\n')
    .slice(0, 3)
    .join('\n')
    .trim();
}
