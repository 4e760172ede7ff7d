/**
 * The answers of common expressions without the library: each node of the checked syntax tree
 * becomes a closure over the request as it came, so nothing is converted.
 *
 * C1  A shortcut gives a value only where the library would give the same one. Whatever else there
 *     is - an error, a type that was not foreseen, a node that is not known here - gives
 *     `undefined`, which is no value of CEL, and then the library is asked: every error is its own.
 * C2  Only what a request holds by itself is read, never what an object inherits; and an object
 *     whose `constructor` is a key of the request is left to the library.
 * C3  An int and a double of the same worth are one JavaScript number here. Only nodes that do not
 *     tell them apart are known: comparisons do not, arithmetic and conversions do.
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import type { ExpressionContext } from '../core/policy.ts';

/** `undefined` is no answer. */
export type Part = (context: ExpressionContext) => unknown;
type VariableParts = ReadonlyMap<string, Part>;
type Scalar = string | number | boolean | null;

const unsure: Part = () => undefined;
const NONE: VariableParts = new Map();

/** The syntax tree must be of an expression that the library accepts. */
export function compileShortcut(
  ast: ASTNode,
  variables: VariableParts = NONE,
): (context: ExpressionContext) => boolean | undefined {
  const part = compile(ast, variables);
  return (context) => {
    const value = part(context);
    return typeof value === 'boolean' ? value : undefined;
  };
}

/** Of a variable, whose value may be anything: numbers are as in the request (C3). */
export function compileShortcutValue(ast: ASTNode, variables: VariableParts): Part {
  return compile(ast, variables);
}

function compile(node: ASTNode, variables: VariableParts): Part {
  const compiled = (child: ASTNode): Part => compile(child, variables);
  switch (node.op) {
    case 'value':
      return constant(node.args);
    case 'id':
      return root(node.args);
    case '.':
      return field(node.args[0], node.args[1], variables);
    case '[]': {
      const [owner, index] = node.args;
      const key: unknown = index.op === 'value' ? index.args : undefined;
      return typeof key === 'string' ? field(owner, key, variables) : unsure;
    }
    case '-_': {
      const inner = compiled(node.args);
      return (context) => {
        const value = inner(context);
        return typeof value === 'number' ? -value : undefined;
      };
    }
    case '!_': {
      const inner = compiled(node.args);
      return (context) => {
        const value = inner(context);
        return typeof value === 'boolean' ? !value : undefined;
      };
    }
    case '&&':
      return logical(node.args.map(compiled), false);
    case '||':
      return logical(node.args.map(compiled), true);
    case '?:':
      return choice(node.args.map(compiled));
    case '==':
    case '!=':
      return equality(node.args.map(compiled), node.op === '==');
    case '<':
    case '<=':
    case '>':
    case '>=':
      return order(node.args.map(compiled), node.op);
    case 'in':
      return membership(node.args, variables);
    case 'call':
      return call(node.args[0], node.args[1], variables);
    case 'rcall':
      return call(node.args[0], [node.args[1], ...node.args[2]], variables);
    default:
      return unsure;
  }
}

function constant(value: unknown): Part {
  const number = typeof value === 'bigint' ? Number(value) : value;
  if (typeof value === 'bigint' && !Number.isSafeInteger(number)) return unsure;
  return isScalar(number) ? () => number : unsure;
}

function root(name: string): Part {
  if (name === 'action') return (context) => context.action;
  return name === 'attributes' ? (context) => context.attributes : unsure;
}

function field(owner: ASTNode, key: string, variables: VariableParts): Part {
  if (owner.op === 'id') {
    if (owner.args === 'variables') return variables.get(key) ?? unsure;
    switch (`${owner.args}.${key}`) {
      case 'principal.id':
        return ({ principal }) => principal.id;
      case 'principal.roles':
        return ({ principal }) => principal.roles;
      case 'resource.id':
        return ({ resource }) => resource.id;
      case 'resource.attributes':
        return ({ resource }) => resource.attributes;
    }
  }
  const from = compile(owner, variables);
  return (context) => own(from(context), key);
}

/** C2. */
function own(owner: unknown, key: string): unknown {
  if (!isMap(owner) || !Object.hasOwn(owner, key)) return undefined;
  const value = owner[key];
  return isScalar(value) || isList(value) || isMap(value) ? value : undefined;
}

/** The library goes on to the right after an error on the left; here that is left to it. */
function logical([first = unsure, second = unsure]: readonly Part[], decides: boolean): Part {
  return (context) => {
    const value = first(context);
    if (value === decides) return decides;
    if (typeof value !== 'boolean') return undefined;
    const other = second(context);
    return typeof other === 'boolean' ? other : undefined;
  };
}

function choice([condition = unsure, yes = unsure, no = unsure]: readonly Part[]): Part {
  return (context) => {
    const value = condition(context);
    if (typeof value !== 'boolean') return undefined;
    return value ? yes(context) : no(context);
  };
}

function equality([left = unsure, right = unsure]: readonly Part[], equal: boolean): Part {
  return (context) => {
    const one = left(context);
    const other = right(context);
    return isScalar(one) && isScalar(other) ? (one === other) === equal : undefined;
  };
}

function order(
  [left = unsure, right = unsure]: readonly Part[],
  operator: '<' | '<=' | '>' | '>=',
): Part {
  const ordered = comparison(operator);
  return (context) => {
    const one = left(context);
    const other = right(context);
    if (typeof one === 'number' && typeof other === 'number') return ordered(one, other);
    return typeof one === 'string' && typeof other === 'string' ? ordered(one, other) : undefined;
  };
}

function comparison(
  operator: '<' | '<=' | '>' | '>=',
): <T extends string | number>(one: T, other: T) => boolean {
  switch (operator) {
    case '<':
      return (one, other) => one < other;
    case '<=':
      return (one, other) => one <= other;
    case '>':
      return (one, other) => one > other;
    case '>=':
      return (one, other) => one >= other;
  }
}

function membership([item, list]: readonly [ASTNode, ASTNode], variables: VariableParts): Part {
  const compiled = (node: ASTNode): Part => compile(node, variables);
  const sought = compiled(item);
  const written = list.op === 'list' ? list.args.map(compiled) : null;
  const from: Part =
    written === null ? compiled(list) : (context) => written.map((element) => element(context));
  return (context) => {
    const value = sought(context);
    const elements = from(context);
    // The library looks deeper into lists of anything else.
    if (!isScalar(value) || !isList(elements)) return undefined;
    return elements.every(isScalar) ? elements.includes(value) : undefined;
  };
}

function call(name: string, args: readonly ASTNode[], variables: VariableParts): Part {
  if (name === 'has') return presence(args[0], variables);
  const [receiver = unsure, argument] = args.map((node) => compile(node, variables));
  if (name === 'size' && argument === undefined) {
    return (context) => {
      const value = receiver(context);
      return isList(value) && value.every(isScalar) ? value.length : undefined;
    };
  }
  const search = SEARCHES.get(name);
  if (search === undefined || argument === undefined || args.length > 2) return unsure;
  return (context) => {
    const text = receiver(context);
    const sought = argument(context);
    return typeof text === 'string' && typeof sought === 'string'
      ? search(text, sought)
      : undefined;
  };
}

const SEARCHES: ReadonlyMap<string, (text: string, sought: string) => boolean> = new Map([
  ['startsWith', (text: string, sought: string) => text.startsWith(sought)],
  ['endsWith', (text: string, sought: string) => text.endsWith(sought)],
  ['contains', (text: string, sought: string) => text.includes(sought)],
]);

function presence(node: ASTNode | undefined, variables: VariableParts): Part {
  if (node?.op !== '.') return unsure;
  const [owner, key] = node.args;
  const from = compile(owner, variables);
  return (context) => {
    const map = from(context);
    if (!isMap(map)) return undefined;
    if (!Object.hasOwn(map, key)) return false;
    return own(map, key) === undefined ? undefined : true;
  };
}

function isScalar(value: unknown): value is Scalar {
  const type = typeof value;
  return type === 'string' || type === 'number' || type === 'boolean' || value === null;
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

/** C2. */
function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && value.constructor === Object;
}
