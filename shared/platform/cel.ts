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
 *
 * Variables (P5): an expression pays for all that it names, each once in a decision, before it
 * runs; they are computed when it comes to them. One that fails, fails the expression even where
 * CEL would pass over an error, as to the left of `|| true`: nothing that failed is built on.
 */
import { Environment, type ASTNode } from '@marcbachmann/cel-js';
import { assert } from '../core/assert.ts';
import type {
  CompiledExpression,
  Evaluation,
  ExpressionCompiler,
  ExpressionContext,
  ExpressionScope,
  ShownValue,
} from '../core/policy.ts';
import { constantTruth } from './cel-constant.ts';
import { checkCost, type Cost } from './cel-cost.ts';
import { firstLines, publicationProblem } from './cel-problems.ts';
import { findReferences } from './cel-references.ts';
import {
  STEPS_MAX,
  TOO_LARGE,
  requestOf,
  smallestSize,
  toCelRoots,
  type ComputedVariable,
  type Given,
  type MeasuredRequest,
  type RequestVariables,
} from './cel-request.ts';
import { compileShortcut, compileShortcutValue, type Part } from './cel-shortcut.ts';
import { showValue } from './cel-shown.ts';

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

const NO_VARIABLES: ExpressionScope = { variables: [], unusable: new Map(), gives: 'bool' };
const NO_REFERENCES = { ok: true, names: [] } as const;
const SMALLEST = smallestSize();

/** All expressions of a document's rules share one scope. */
const environments = new WeakMap<ExpressionScope, Environment>();

function environmentOf(scope: ExpressionScope): Environment {
  if (scope.variables.length === 0) return environment;
  let extended = environments.get(scope);
  if (extended === undefined) {
    const types = scope.variables.map(({ name, expression }) => [name, expression.type]);
    const schema = Object.fromEntries(types) as Record<string, string>;
    extended = environment.clone().registerVariable('variables', { schema });
    environments.set(scope, extended);
  }
  return extended;
}

type Variables = ReadonlyMap<string, CelExpression>;

export const compileCel: ExpressionCompiler = (source, scope = NO_VARIABLES) => {
  const inScope = environmentOf(scope);
  let parsed: ReturnType<Environment['parse']>;
  try {
    parsed = inScope.parse(source);
  } catch (error) {
    return { ok: false, problem: publicationProblem(error) };
  }
  const { ast } = parsed;
  const references = source.includes('variables') ? findReferences(ast, scope) : NO_REFERENCES;
  if (!references.ok) return references;
  const variables: Variables = new Map(
    references.names.map((name) => [name, celExpression(scope, name)]),
  );
  // Before the check, which writes into the tree.
  const cost = checkCost(
    ast,
    new Map([...variables].map(([name, variable]) => [name, variable.cost])),
  );
  const constant = constantTruth(ast, environment, variables);
  const checked = parsed.check();
  if (!checked.valid) return { ok: false, problem: publicationProblem(checked.error) };
  const type = checked.type ?? 'dyn';
  if (scope.gives === 'bool' && type !== 'bool' && type !== 'dyn') {
    const problem = `the expression gives a ${type}, not a bool: compare it with something`;
    return { ok: false, problem };
  }
  if (!cost.ok) return cost;
  const expression = new CelExpression({
    source,
    type,
    constant,
    cost: cost.cost,
    parsed,
    variables,
  });
  const stepsMin = expression.stepsOfAll(SMALLEST);
  if (stepsMin > STEPS_MAX) {
    const problem = `it takes more than the ${STEPS_MAX} steps of a decision for every request: split it, or have its variables build less`;
    return { ok: false, problem };
  }
  return { ok: true, expression };
};

function celExpression(scope: ExpressionScope, name: string): CelExpression {
  const expression = scope.variables.findLast((variable) => variable.name === name)?.expression;
  assert(expression instanceof CelExpression, `variable ${name} was compiled by this compiler`);
  return expression;
}

const TRUE = { ok: true, value: true } as const;
const FALSE = { ok: true, value: false } as const;

class CelExpression implements CompiledExpression {
  readonly source: string;
  readonly type: string;
  readonly constant: boolean | null;
  readonly uses: readonly string[];
  readonly cost: Cost;
  readonly #steps: Cost['steps'];
  readonly #usesVariables: boolean;
  readonly #evaluateSource: (values: Record<string, unknown>) => unknown;
  readonly #variables: Variables;
  /** With those that its variables use, each before what uses it. */
  readonly #paid: readonly CelExpression[];
  readonly #shortcut: (context: ExpressionContext) => boolean | undefined;
  /** Of a variable. */
  #part: Part | null = null;
  readonly #makePart: () => Part;

  constructor(compiled: {
    readonly source: string;
    readonly type: string;
    readonly constant: boolean | null;
    readonly cost: Cost;
    readonly parsed: ((values: Record<string, unknown>) => unknown) & { readonly ast: ASTNode };
    readonly variables: Variables;
  }) {
    const { parsed, variables } = compiled;
    this.source = compiled.source;
    this.type = compiled.type;
    this.constant = compiled.constant;
    this.uses = [...variables.keys()];
    this.cost = compiled.cost;
    this.#steps = compiled.cost.steps;
    this.#usesVariables = variables.size > 0;
    this.#evaluateSource = parsed;
    this.#variables = variables;
    this.#paid = [
      ...new Set([...variables.values()].flatMap((variable) => [...variable.#paid, variable])),
    ];
    const parts = new Map(
      [...variables].map(([name, variable]): [string, Part] => [
        name,
        (context) => variable.#byShortcut(context),
      ]),
    );
    this.#shortcut = compileShortcut(parsed.ast, parts);
    this.#makePart = () => compileShortcutValue(parsed.ast, parts);
  }

  evaluate(context: ExpressionContext): Evaluation {
    const request = requestOf(context);
    if (request.problem !== null) return { ok: false, problem: request.problem };
    request.stepsLeft -= this.#steps(request.size);
    if (this.#usesVariables) this.#payForVariables(request);
    if (request.stepsLeft < 0) {
      const problem = `${TOO_LARGE}: ${this.source} could take its decision over ${STEPS_MAX} steps`;
      return { ok: false, problem };
    }
    const answer = this.#shortcut(context);
    if (answer !== undefined) return answer ? TRUE : FALSE;
    const given = this.#byLibrary(request);
    if (!given.ok) return given;
    if (typeof given.value === 'boolean') return given.value ? TRUE : FALSE;
    return { ok: false, problem: `${this.source} gave a ${typeof given.value}, not a bool` };
  }

  shownIn(context: ExpressionContext): ShownValue | null {
    const computed = requestOf(context).variables?.computed.get(this);
    if (computed?.exact) {
      const { exact } = computed;
      return exact.ok ? showValue(exact.value) : exact;
    }
    const value = computed?.shortcut?.value;
    return value === undefined ? null : showValue(value);
  }

  /** Of itself and all its variables, as if nothing had been paid. */
  stepsOfAll(size: Parameters<Cost['steps']>[0]): number {
    return this.#paid.reduce((sum, { cost }) => sum + cost.steps(size), this.cost.steps(size));
  }

  #payForVariables(request: MeasuredRequest): void {
    request.variables ??= { computed: new Map(), failure: null };
    const { computed } = request.variables;
    for (const variable of this.#paid) {
      if (computed.has(variable)) continue;
      computed.set(variable, { shortcut: null, exact: null });
      request.stepsLeft -= variable.cost.steps(request.size);
    }
  }

  #computedIn(request: MeasuredRequest): ComputedVariable {
    const computed = request.variables?.computed.get(this);
    assert(computed !== undefined, 'a variable is paid for before it is computed');
    return computed;
  }

  #byShortcut(context: ExpressionContext): unknown {
    const computed = this.#computedIn(requestOf(context));
    this.#part ??= this.#makePart();
    computed.shortcut ??= { value: this.#part(context) };
    return computed.shortcut.value;
  }

  #byLibrary(request: MeasuredRequest): Given {
    const { stackTraceLimit } = Error;
    try {
      // Elements that fail are passed over, each with an error that nobody sees.
      Error.stackTraceLimit = 0;
      return this.#withVariables(request);
    } catch (error) {
      return { ok: false, problem: firstLines(error) };
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
    }
  }

  #withVariables(request: MeasuredRequest): Given {
    request.values ??= toCelRoots(request.context);
    const { values, variables } = request;
    if (this.#variables.size === 0 || variables === null) {
      return { ok: true, value: this.#evaluateSource(values) };
    }
    const outer = variables.failure;
    variables.failure = null;
    try {
      const lazy = this.#lazyVariables(request, variables);
      const value = this.#evaluateSource({ ...values, variables: lazy });
      const problem: string | null = variables.failure;
      return problem === null ? { ok: true, value } : { ok: false, problem };
    } finally {
      variables.failure = outer;
    }
  }

  #lazyVariables(request: MeasuredRequest, variables: RequestVariables): object {
    const lazy = {};
    for (const [name, variable] of this.#variables) {
      const get = (): unknown => {
        const computed = variable.#computedIn(request);
        computed.exact ??= variable.#byLibrary(request);
        if (computed.exact.ok) return computed.exact.value;
        variables.failure = `variables.${name} failed: ${computed.exact.problem}`;
        throw new Error(variables.failure);
      };
      Object.defineProperty(lazy, name, { get, enumerable: true });
    }
    return lazy;
  }
}
