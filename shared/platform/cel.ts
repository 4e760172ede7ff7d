/**
 * CEL behind the port of `shared/core/policy.ts`. Whole numbers become CEL ints and the rest
 * doubles, since a JSON `5` is meant as an int.
 *
 * What a decision costs is bounded before each expression runs: from the syntax tree at compile
 * time, and the size of the request (`cel-cost.ts`). One that would go over `STEPS_MAX` fails, and
 * so refuses the request. Regular expressions are refused, because they run on a backtracking
 * engine.
 *
 * Admission runs this on the one thread of the sidecar, so the library, which tells types apart
 * again at each node, is asked only where `cel-shortcut.ts` is not sure of its answer. Bounds and
 * steps are checked before, so they do not depend on who answers.
 */
import { Environment } from '@marcbachmann/cel-js';
import type { ExpressionCompiler, ExpressionContext } from '../core/policy.ts';
import { checkCost, type ContextSize } from './cel-cost.ts';
import { compileShortcut } from './cel-shortcut.ts';

export const environment = new Environment({
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
  const shortcut = compileShortcut(evaluateSource.ast);
  return {
    ok: true,
    expression: {
      source,
      evaluate(context) {
        const request = requestOf(context);
        if (request.problem !== null) return { ok: false, problem: request.problem };
        request.stepsLeft -= cost.steps(request.size);
        if (request.stepsLeft < 0) {
          const problem = `${TOO_LARGE}: ${source} could take its decision over ${STEPS_MAX} steps`;
          return { ok: false, problem };
        }
        const answer = shortcut(context);
        if (answer !== undefined) return answer ? TRUE : FALSE;
        const { stackTraceLimit } = Error;
        try {
          // Elements that fail are passed over, each with an error that nobody sees.
          Error.stackTraceLimit = 0;
          request.variables ??= toCelMap(context);
          const value: unknown = evaluateSource(request.variables);
          if (typeof value === 'boolean') return value ? TRUE : FALSE;
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

const TRUE = { ok: true, value: true } as const;
const FALSE = { ok: true, value: false } as const;

/** What is known of the request of one decision. */
type MeasuredRequest = {
  readonly context: ExpressionContext;
  readonly problem: string | null;
  readonly size: ContextSize;
  stepsLeft: number;
  /** As the library takes them; made when it is first asked. */
  variables: Record<string, unknown> | null;
};

/**
 * The expressions of a decision follow on each other, with one context and nothing between them:
 * so the latest is all that is kept: a WeakMap of them cost as much as a decision by one rule.
 */
let latest: MeasuredRequest | null = null;

function requestOf(context: ExpressionContext): MeasuredRequest {
  if (latest?.context !== context) latest = measure(context);
  return latest;
}

type Tally = { values: number; characters: number; longest: number };

function measure(context: ExpressionContext): MeasuredRequest {
  const tally: Tally = { values: 0, characters: 0, longest: 0 };
  const problem = count(context, tally);
  const size = {
    longest: tally.longest,
    values: tally.values + Math.ceil(tally.characters / 64),
  };
  return { context, problem, size, stepsLeft: STEPS_MAX, variables: null };
}

/** Adds the value to the tally; gives the first bound that it goes over, and looks no further. */
function count(value: unknown, tally: Tally): string | null {
  tally.values += 1;
  if (tally.values > VALUES_MAX) return `${TOO_LARGE}: over ${VALUES_MAX} values in all`;
  if (typeof value === 'string') {
    tally.characters += value.length;
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  if (Array.isArray(value)) {
    const { length } = value;
    if (length > LIST_ELEMENTS_MAX) return tooLong(length, LIST_ELEMENTS_MAX, 'elements in a list');
    tally.longest = Math.max(tally.longest, length);
    for (const element of value) {
      const problem = count(element, tally);
      if (problem !== null) return problem;
    }
    return null;
  }
  const keys = Object.keys(value);
  if (keys.length > MAP_KEYS_MAX) return tooLong(keys.length, MAP_KEYS_MAX, 'keys in a map');
  tally.longest = Math.max(tally.longest, keys.length);
  for (const key of keys) {
    tally.characters += key.length;
    const problem = count((value as Readonly<Record<string, unknown>>)[key], tally);
    if (problem !== null) return problem;
  }
  return null;
}

function tooLong(length: number, max: number, noun: string): string {
  return `${TOO_LARGE}: ${length} ${noun}, at most ${max}`;
}

/** For a value within the bounds. */
function toCelValue(value: unknown): unknown {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(toCelValue);
  return typeof value === 'object' && value !== null ? toCelMap(value) : value;
}

export function toCelMap(value: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, toCelValue(member)]),
  );
}

/** The library's message, then a caret under the place: both lines help, the rest does not. */
function firstLines(error: unknown): string {
  return (error instanceof Error ? error.message : String(error))
    .split('\n')
    .slice(0, 3)
    .join('\n')
    .trim();
}
