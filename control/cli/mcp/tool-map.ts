/** The map of tools: under which action, resource and effect each is asked for. */
import { parse } from 'yaml';
import { nearestWord } from '../../../shared/core/nearest-word.ts';

export type ToolRule = {
  /** A name, or its beginning and `*`. */
  readonly tool: string;
  readonly action?: string;
  /** A template: `{path}` is the argument of that name. */
  readonly resource?: string;
  /** Those arguments that policy is asked about; without it, all of them. */
  readonly attributes?: readonly string[];
  /** That the rule of the policy declares; `call` where it is not said. */
  readonly effect?: string;
  /** `scope`: the same arguments are the same call. `call`: each call is one of its own. */
  readonly each?: 'scope' | 'call';
};

export type ToolMap = readonly ToolRule[];

const FIELDS = ['action', 'resource', 'attributes', 'effect', 'each'] as const;
const EFFECT = /^[a-z][a-zA-Z0-9_-]{0,63}$/;

export class ToolMapError extends Error {
  override name = 'ToolMapError';
}

/** The longest that fits: a whole name before any beginning. */
export function ruleFor(map: ToolMap, tool: string): ToolRule | null {
  const fitting = map.filter((rule) =>
    rule.tool.endsWith('*') ? tool.startsWith(rule.tool.slice(0, -1)) : rule.tool === tool,
  );
  const rank = (rule: ToolRule): number => (rule.tool.endsWith('*') ? rule.tool.length : 1_000);
  return fitting.toSorted((a, b) => rank(b) - rank(a))[0] ?? null;
}

/** `tools: { write_file: { resource: '{path}' } }`, as YAML or JSON. */
export function parseToolMap(text: string): ToolMap {
  let document: unknown;
  try {
    document = parse(text);
  } catch (error) {
    throw new ToolMapError(`it is not YAML: ${(error as Error).message.split('\n', 1)[0]}`);
  }
  const tools = isObject(document) ? document['tools'] : undefined;
  if (!isObject(tools) || Object.keys(document as object).length !== 1)
    throw new ToolMapError('it has one key, tools, with a tool or its beginning and * for each');
  return Object.entries(tools).map(([tool, rule]) => readRule(tool, rule));
}

function readRule(tool: string, rule: unknown): ToolRule {
  if (!isObject(rule)) throw new ToolMapError(`tools.${tool} must be an object`);
  const star = tool.indexOf('*');
  if (star !== -1 && star !== tool.length - 1)
    throw new ToolMapError(`tools.${tool}: * may stand at the end only`);
  for (const name of Object.keys(rule)) {
    if ((FIELDS as readonly string[]).includes(name)) continue;
    const nearest = nearestWord(name, FIELDS);
    const meant = nearest === null ? `use ${FIELDS.join(', ')}` : `did you mean ${nearest}?`;
    throw new ToolMapError(`tools.${tool}.${name} is not known: ${meant}`);
  }
  for (const name of ['action', 'resource', 'effect'] as const)
    if (rule[name] !== undefined && typeof rule[name] !== 'string')
      throw new ToolMapError(`tools.${tool}.${name} must be a text`);
  const { attributes, each, effect } = rule;
  const isList =
    Array.isArray(attributes) && attributes.every((name: unknown) => typeof name === 'string');
  if (attributes !== undefined && !isList)
    throw new ToolMapError(`tools.${tool}.attributes must be a list of names of arguments`);
  if (each !== undefined && each !== 'scope' && each !== 'call')
    throw new ToolMapError(`tools.${tool}.each must be scope or call`);
  if (typeof effect === 'string' && !EFFECT.test(effect))
    throw new ToolMapError(`tools.${tool}.effect ${effect} is no name of an effect, as charge`);
  return { tool, ...rule };
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
