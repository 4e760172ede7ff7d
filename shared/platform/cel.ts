/**
 * CEL behind the port of `shared/core/policy.ts`. Whole numbers become CEL ints and the rest
 * doubles, since a JSON `5` is meant as an int.
 *
 * What a decision costs is bounded before each expression runs: from the syntax tree at compile
 * time, and the size of the request (`cel-cost.ts`). One that would go over `STEPS_MAX` fails, and
 * so refuses the request. Regular expressions are refused, because they run on a backtracking
 * engine.
 */
import { Environment } from '@marcbachmann/cel-js';
import type { ExpressionCompiler, ExpressionContext } from '../core/policy.ts';
import { checkCost, type ContextSize } from './cel-cost.ts';

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

/** Of one request, as rules see it. */
export const LIST_ELEMENTS_MAX = 256;
export const MAP_KEYS_MAX = 256;
export const VALUES_MAX = 4_096;
/** Of one decision, over all its expressions. */
export const STEPS_MAX = 2 ** 20;

const TOO_LARGE = 'the request is larger than rules may look at';

export const compileCel: ExpressionCompiler = (source) => {
  let evaluateSource: ReturnType<typeof environment.parse>;
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
  const cost = checkCost(evaluateSource.ast);
  if (!cost.ok) return cost;
  return {
    ok: true,
    expression: {
      source,
      evaluate(context) {
        const cel = toCelContext(context);
        if (cel.variables === null) return { ok: false, problem: cel.problem };
        cel.stepsLeft -= cost.steps(cel.size);
        if (cel.stepsLeft < 0) {
          const problem = `${TOO_LARGE}: ${source} could take its decision over ${STEPS_MAX} steps`;
          return { ok: false, problem };
        }
        const { stackTraceLimit } = Error;
        try {
          // Elements that fail are passed over, each with an error that nobody sees.
          Error.stackTraceLimit = 0;
          const value: unknown = evaluateSource(cel.variables);
          if (typeof value === 'boolean') return { ok: true, value };
          return { ok: false, problem: `${source} gave a ${typeof value}, not a bool` };
        } catch (error) {
          return { ok: false, problem: firstLines(error) };
        } finally {
          Error.stackTraceLimit = stackTraceLimit;
        }
      },
    },
  };
};

type CelContext =
  | { readonly variables: null; readonly problem: string }
  | { readonly variables: Record<string, unknown>; readonly size: ContextSize; stepsLeft: number };

/** A context is converted once for all expressions of a decision. */
const converted = new WeakMap<ExpressionContext, CelContext>();

function toCelContext(context: ExpressionContext): CelContext {
  let cel = converted.get(context);
  if (cel === undefined) {
    cel = convert(context);
    converted.set(context, cel);
  }
  return cel;
}

class TooLarge extends Error {}

function convert(context: ExpressionContext): CelContext {
  let values = 0;
  let characters = 0;
  let longest = 0;
  const within = (length: number, max: number, noun: string): void => {
    if (length > max) throw new TooLarge(`${TOO_LARGE}: ${length} ${noun}, at most ${max}`);
    longest = Math.max(longest, length);
  };
  const toCelValue = (value: unknown): unknown => {
    values += 1;
    if (values > VALUES_MAX) throw new TooLarge(`${TOO_LARGE}: over ${VALUES_MAX} values in all`);
    if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
    if (typeof value === 'string') characters += value.length;
    if (Array.isArray(value)) {
      within(value.length, LIST_ELEMENTS_MAX, 'elements in a list');
      return value.map(toCelValue);
    }
    if (typeof value === 'object' && value !== null) {
      const entries = Object.entries(value);
      within(entries.length, MAP_KEYS_MAX, 'keys in a map');
      return Object.fromEntries(
        entries.map(([key, member]) => {
          characters += key.length;
          return [key, toCelValue(member)];
        }),
      );
    }
    return value;
  };
  try {
    const variables = toCelValue(context) as Record<string, unknown>;
    const size = { longest, values: values + Math.ceil(characters / 64) };
    return { variables, size, stepsLeft: STEPS_MAX };
  } catch (error) {
    if (error instanceof TooLarge) return { variables: null, problem: error.message };
    throw error;
  }
}

/** The library's message, then a caret under the place: both lines help, the rest does not. */
function firstLines(error: unknown): string {
  return (error instanceof Error ? error.message : String(error))
    .split('\n')
    .slice(0, 3)
    .join('\n')
    .trim();
}
