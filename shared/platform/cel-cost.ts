/**
 * What an expression may cost, from its syntax tree and the size of a context, before it runs.
 *
 * Lists are only ever those of the request, those written out in the expression, and what filter()
 * leaves of them: whatever could build longer ones is refused. So the number of turns of a loop is
 * known, and so is what a comparison in it can look at: the elements of one list together are no
 * larger than the request.
 */
import type { ASTNode } from '@marcbachmann/cel-js';

/** Of a context: its longest list or map, and its values with each 64 characters as one more. */
export type ContextSize = { readonly longest: number; readonly values: number };

/** Of one expression, without what its variables cost, which is paid once in a decision. */
export type Cost = {
  readonly steps: (size: ContextSize) => number;
  /** Of its value, for the expressions that use it as a variable. */
  readonly extent: Extent;
  /** Its value could be a longer list than any of the request. */
  readonly grows: boolean;
};

/** `count * longest ** power * values ** sized`. */
type Term = { readonly count: number; readonly power: number; readonly sized: 0 | 1 | 2 };

export type CostCheck =
  | { readonly ok: true; readonly cost: Cost }
  | { readonly ok: false; readonly problem: string };

const LOOPS = new Set(['all', 'exists', 'exists_one', 'filter']);
const LOOP_DEPTH_MAX = 2;

const FUNCTIONS = new Set(
  `has size startsWith endsWith contains lowerAscii upperAscii trim indexOf lastIndexOf substring
   bool int uint double string dyn type timestamp duration getDate getDayOfMonth getDayOfWeek
   getDayOfYear getFullYear getHours getMilliseconds getMinutes getMonth getSeconds`.split(/\s+/),
);

export const ALLOWED_FUNCTIONS: readonly string[] = [...LOOPS, ...FUNCTIONS];

/** A search can look at each place of the text as often as what it looks for is long. */
const SEARCHES = new Set(['contains', 'indexOf', 'lastIndexOf']);
/** Steps of 64 characters against 64. */
const SEARCH_STEPS = 16;
/** Of reading a time, a duration or a number, for each 64 characters. */
const READING_STEPS = 32;
const READINGS = new Set(['int', 'uint', 'double', 'timestamp', 'duration']);
/** Of one look at the calendar of a time zone. */
const ZONE_STEPS = 4_096;
/** Of one failure: all and exists go on after the failure of an element, as || and && do. */
const FAILURE_STEPS = 128;
/** These cannot fail, but by what is in them. */
const SAFE = new Set(['value', 'id', '==', '!=', 'list', 'map']);
/** These give a bool or fail. */
const BOOLS = new Set(['==', '!=', 'in', '<', '<=', '>', '>=', '&&', '||', '!_']);

const REFUSED: Readonly<Record<string, string>> = {
  matches: 'use ==, in, startsWith, endsWith or contains',
  map: 'use exists or all, with the condition on the element',
  bind: 'write the value out where it is used',
  split: 'send the parts as a list in the attributes',
  join: 'compare the elements with exists or all',
};

/**
 * How much of the request a value can be: a fixed part, the elements of loops, and so many times
 * the whole of it.
 */
export type Extent = {
  readonly fixed: number;
  readonly loops: number;
  readonly context: number;
};
type Variables = ReadonlyMap<string, Pick<Cost, 'extent' | 'grows'>>;
type Scope = {
  readonly count: number;
  readonly power: number;
  readonly depth: number;
  /** Of the loops that it is in. */
  readonly elements: ReadonlyMap<string, Extent>;
  readonly variables: Variables;
};

class Refused extends Error {}

const nothing: Extent = { fixed: 1, loops: 0, context: 0 };
const everything: Extent = { fixed: 1, loops: 0, context: 1 };
/** Ids, an action and roles: bounded by their schemas. */
const short: Extent = { fixed: 128, loops: 0, context: 0 };

export function checkCost(ast: ASTNode, variables: Variables = new Map()): CostCheck {
  const terms: Term[] = [];
  let extent: Extent;
  try {
    extent = visit(ast, { count: 1, power: 0, depth: 0, elements: new Map(), variables }, terms);
  } catch (error) {
    if (error instanceof Refused) return { ok: false, problem: error.message };
    throw error;
  }
  const cost = { steps: summed(terms), extent, grows: grows(ast, variables) };
  return { ok: true, cost };
}

/**
 * The sum of the terms as one polynomial: an expression of any length costs its decision a handful
 * of additions, and without loops a single line of them.
 */
function summed(terms: readonly Term[]): (size: ContextSize) => number {
  const lines: [number, number, number][] = [];
  for (const { count, power, sized } of terms) {
    while (lines.length <= power) lines.push([0, 0, 0]);
    const line = lines[power];
    if (line !== undefined) line[sized] += count;
  }
  const falling = lines.toReversed();
  return ({ longest, values }) => {
    let sum = 0;
    for (const [fixed, once, twice] of falling) {
      sum = sum * longest + fixed + values * (once + values * twice);
    }
    return sum;
  };
}

/** Adds what evaluating the node costs; gives how large its value can be. */
function visit(node: ASTNode, scope: Scope, terms: Term[]): Extent {
  const ownSteps = scope.depth > 0 && canFail(node) ? FAILURE_STEPS : 1;
  terms.push({ count: scope.count * ownSteps, power: scope.power, sized: 0 });
  const visited = (child: ASTNode): Extent => visit(child, scope, terms);
  switch (node.op) {
    case 'value':
      return { ...nothing, fixed: 1 + Math.ceil(String(node.args).length / 64) };
    case 'id':
      return (
        scope.elements.get(node.args) ??
        (node.args === 'principal' || node.args === 'action' ? short : everything)
      );
    case '.':
    case '.?': {
      const [owner, field] = node.args;
      const extent = visited(owner);
      const ofRequest = owner.op === 'id' && !scope.elements.has(owner.args);
      if (ofRequest && owner.args === 'variables') {
        return scope.variables.get(field)?.extent ?? everything;
      }
      return ofRequest && owner.args === 'resource' && field === 'id' ? short : extent;
    }
    case '[]':
    case '[?]': {
      visited(node.args[1]);
      return visited(node.args[0]);
    }
    case 'list':
      return together(node.args.map((item) => visited(constant(item))));
    case 'map':
      return together(node.args.flat().map((item) => visited(constant(item))));
    case 'call':
      return call(node.args[0], node.args[1], scope, terms);
    case 'rcall': {
      const [name, receiver, args] = node.args;
      if (LOOPS.has(name)) return loop(name, receiver, args, scope, terms);
      return call(name, [receiver, ...args], scope, terms);
    }
    case '?:':
      return together(node.args.map(visited));
    case '!_':
    case '-_':
      visited(node.args);
      return nothing;
    case '&&':
    case '||':
      node.args.forEach(visited);
      return nothing;
    case 'in': {
      const [item, list] = node.args;
      const extent = visited(item);
      const written = list.op === 'list' ? list.args.map(visited) : null;
      // Each element of a written list is compared with the item.
      if (written === null) charge(visited(list), scope, terms);
      else for (const element of written) charge(smaller(extent, element), scope, terms);
      return nothing;
    }
    case '+': {
      const extent = together(node.args.map(visited));
      charge(extent, scope, terms);
      return extent;
    }
    default: {
      const [left, right] = node.args;
      charge(smaller(visited(left), visited(right)), scope, terms);
      return nothing;
    }
  }
}

function call(name: string, args: readonly ASTNode[], scope: Scope, terms: Term[]): Extent {
  if (!FUNCTIONS.has(name)) {
    const wayOut = REFUSED[name] ?? `known here are ${ALLOWED_FUNCTIONS.join(', ')}`;
    throw new Refused(`${name}() is not allowed: ${wayOut}`);
  }
  const extents = args.map((arg) => visit(arg, scope, terms));
  const extent = together(extents);
  charge(extent, scope, terms);
  if (SEARCHES.has(name)) chargeSearch(extents, scope, terms);
  if (READINGS.has(name)) charge(extent, { ...scope, count: scope.count * READING_STEPS }, terms);
  if (name.startsWith('get') && args.length > 1) {
    terms.push({ count: scope.count * ZONE_STEPS, power: scope.power, sized: 0 });
  }
  return name === 'size' || name === 'has' ? nothing : extent;
}

function loop(
  name: string,
  iterable: ASTNode,
  [variable, body]: readonly ASTNode[],
  scope: Scope,
  terms: Term[],
): Extent {
  const list = visit(iterable, scope, terms);
  if (scope.depth === LOOP_DEPTH_MAX) {
    throw new Refused(
      `${name}() is nested in ${LOOP_DEPTH_MAX} others, which is as deep as they go: send what it looks for as an attribute, or split the condition over several expressions`,
    );
  }
  if (grows(iterable, scope.variables)) {
    throw new Refused(`${name}() cannot go over what + has put together: use one for each part`);
  }
  if (variable?.op !== 'id' || body === undefined) return list;
  const ofRequest = list.context > 0 || list.loops > 0;
  const element: Extent = ofRequest ? { fixed: 1, loops: 1, context: 0 } : list;
  const turns = ofRequest
    ? { count: scope.count, power: scope.power + 1 }
    : { count: scope.count * list.fixed, power: scope.power };
  const inner: Scope = {
    ...turns,
    depth: scope.depth + 1,
    elements: new Map([...scope.elements, [variable.args, element]]),
    variables: scope.variables,
  };
  visit(body, inner, terms);
  if (!isBool(body)) {
    terms.push({ count: inner.count * FAILURE_STEPS, power: inner.power, sized: 0 });
  }
  return name === 'filter' ? list : nothing;
}

function canFail(node: ASTNode): boolean {
  if (node.op === '!_') return !isBool(node.args);
  if (node.op === '&&' || node.op === '||') return !node.args.every(isBool);
  return !SAFE.has(node.op);
}

function isBool(node: ASTNode): boolean {
  return BOOLS.has(node.op) || isLoop(node) || typeof node.args === 'boolean';
}

function isLoop(node: ASTNode): boolean {
  return node.op === 'rcall' && LOOPS.has(node.args[0]) && node.args[0] !== 'filter';
}

function grows(node: ASTNode, variables: Variables): boolean {
  if (node.op === '+') return true;
  const name = variableNamed(node);
  if (name !== null) return variables.get(name)?.grows ?? true;
  return childrenOf(node).some((child) => grows(child, variables));
}

/** The NAME of `variables.NAME`. */
export function variableNamed(node: ASTNode): string | null {
  if (node.op !== '.') return null;
  const [owner, name] = node.args;
  return owner.op === 'id' && owner.args === 'variables' ? name : null;
}

export function childrenOf(value: unknown): ASTNode[] {
  const args: unknown = isNode(value) ? value.args : value;
  if (isNode(args)) return [args];
  return Array.isArray(args)
    ? args.flatMap((item: unknown) => (isNode(item) ? [item] : childrenOf(item)))
    : [];
}

function isNode(value: unknown): value is ASTNode {
  return typeof value === 'object' && value !== null && 'op' in value && 'args' in value;
}

/** A list that holds parts of the request could hold them many times over. */
function constant(node: ASTNode): ASTNode {
  if (node.op === 'value') return node;
  if ((node.op === 'list' || node.op === 'map') && childrenOf(node).every(constant)) return node;
  if (node.op === '-_' && node.args.op === 'value') return node;
  throw new Refused(
    'a list or map written here may hold only constants, except to the right of in: compare its parts one by one',
  );
}

function together(extents: readonly Extent[]): Extent {
  return {
    fixed: extents.reduce((sum, { fixed }) => sum + fixed, 0),
    loops: extents.reduce((sum, { loops }) => sum + loops, 0),
    context: extents.reduce((sum, { context }) => sum + context, 0),
  };
}

/** A comparison looks at no more than the smaller side. */
function smaller(one: Extent, other: Extent): Extent {
  if (one.context !== other.context) return one.context < other.context ? one : other;
  if (one.loops !== other.loops) return one.loops < other.loops ? one : other;
  return one.fixed <= other.fixed ? one : other;
}

/** The elements of a loop are together no larger than the request, so one factor falls away. */
function charge(extent: Extent, { count, power }: Scope, terms: Term[]): void {
  terms.push({ count: count * extent.fixed, power, sized: 0 });
  if (extent.context > 0) terms.push({ count: count * extent.context, power, sized: 1 });
  if (extent.loops > 0) {
    terms.push({ count: count * extent.loops, power: Math.max(power - 1, 0), sized: 1 });
  }
}

function chargeSearch(extents: readonly Extent[], scope: Scope, terms: Term[]): void {
  const [text, sought] = extents;
  if (text === undefined || sought === undefined) return;
  const written = [text, sought].find(({ context, loops }) => context + loops === 0);
  if (written === undefined) {
    const count = scope.count * SEARCH_STEPS;
    const times = (text.context + text.loops) * (sought.context + sought.loops);
    const mixed =
      text.fixed * (sought.context + sought.loops) + sought.fixed * (text.context + text.loops);
    terms.push(
      { count: count * times, power: scope.power, sized: 2 },
      { count: count * mixed, power: scope.power, sized: 1 },
      { count: count * text.fixed * sought.fixed, power: scope.power, sized: 0 },
    );
    return;
  }
  const other = written === text ? sought : text;
  charge(other, { ...scope, count: scope.count * SEARCH_STEPS * written.fixed }, terms);
}
