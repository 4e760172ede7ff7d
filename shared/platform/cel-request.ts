/**
 * What expressions know of the request of one decision: its bounds, its size, the steps that are
 * left, and what its variables gave.
 */
import type { ExpressionContext } from '../core/policy.ts';
import type { ContextSize } from './cel-cost.ts';

/** Of one request, as rules see it. */
export const LIST_ELEMENTS_MAX = 256;
export const MAP_KEYS_MAX = 256;
export const VALUES_MAX = 4_096;
/** Of one decision, over all its expressions and the variables that they use. */
export const STEPS_MAX = 2 ** 20;

export const TOO_LARGE = 'the request is larger than rules may look at';

export type Given =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly problem: string };

/** What a variable gave in one decision: by the shortcut, and by the library, each once. */
export type ComputedVariable = {
  /** `undefined` where the shortcut is not sure; `null` where it was not asked. */
  shortcut: { readonly value: unknown } | null;
  exact: Given | null;
};

export type MeasuredRequest = {
  readonly context: ExpressionContext;
  readonly problem: string | null;
  readonly size: ContextSize;
  stepsLeft: number;
  /** As the library takes them; made when it is first asked. */
  values: Record<string, unknown> | null;
  /** Made for the first expression that names one. */
  variables: RequestVariables | null;
};

export type RequestVariables = {
  /** Those whose steps are paid. */
  readonly computed: Map<object, ComputedVariable>;
  /** Why the one that the library came to last, in the expression that runs, failed. */
  failure: string | null;
};

/**
 * The expressions of a decision follow on each other, with one context and nothing between them:
 * so the latest is all that is kept: a WeakMap of them cost as much as a decision by one rule.
 */
let latest: MeasuredRequest | null = null;

export function requestOf(context: ExpressionContext): MeasuredRequest {
  if (latest?.context !== context) latest = measure(context);
  return latest;
}

type Tally = { values: number; characters: number; longest: number };

function measure(context: ExpressionContext): MeasuredRequest {
  const tally: Tally = { values: 0, characters: 0, longest: 0 };
  const problem = count(context, tally);
  return {
    context,
    problem,
    size: sizeOf(tally),
    stepsLeft: STEPS_MAX,
    values: null,
    variables: null,
  };
}

function sizeOf({ longest, values, characters }: Tally): ContextSize {
  return { longest, values: values + Math.ceil(characters / 64) };
}

/** Of the smallest request there is. */
export function smallestSize(): ContextSize {
  const tally: Tally = { values: 0, characters: 0, longest: 0 };
  const smallest: ExpressionContext = {
    principal: { id: '', roles: [''] },
    action: '',
    resource: { id: '', attributes: {} },
    attributes: {},
  };
  count(smallest, tally);
  return sizeOf(tally);
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

/**
 * For a value within the bounds. Maps are `Map`s: in an object a number would find the key that is
 * its text, and a key `constructor` would be taken for the object's own.
 */
function toCelValue(value: unknown): unknown {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(toCelValue);
  if (typeof value !== 'object' || value === null) return value;
  return new Map(Object.entries(value).map(([key, member]) => [key, toCelValue(member)]));
}

/** The names at the root of an expression, with their values as the library takes them. */
export function toCelRoots(context: ExpressionContext): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(context).map(([name, value]) => [name, toCelValue(value)]),
  );
}
