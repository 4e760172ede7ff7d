/**
 * From a call of a tool to the operation that it is. Pure: the same call gives the same plan.
 *
 * M1  Within a scope the same tool with the same arguments (canonical JSON) has the same key, so it is
 *     the same operation. A tool that is told apart `each: call` has a key for each call.
 * M2  Policy decides on the arguments as they are, or on those that the map names; what is left out
 *     is in `argumentsDigest`, so that an approval is bound to it as well.
 * M3  What does not fit is told with its bound, and nothing is asked for.
 */
import { canonicalJson } from '../../../shared/core/canonical-json.ts';
import type { AdmitRequest } from '../../../shared/client/index.ts';
import { ruleFor, type ToolMap, type ToolRule } from './tool-map.ts';

/** The sidecar takes 64 KiB for the whole request. */
export const ATTRIBUTES_BYTES_MAX = 32 * 1024;
const ATTRIBUTES_MAX = 100;
const ATTRIBUTE_NAME_LENGTH_MAX = 100;
const RESOURCE_LENGTH_MAX = 300;
export const SCOPE_LENGTH_MAX = 300;
const ACTION = /^[a-z][a-zA-Z0-9_-]*(\.[a-z][a-zA-Z0-9_-]*)*$/;
const ACTION_LENGTH_MAX = 200;

export type ToolCall = {
  readonly tool: string;
  readonly args: Readonly<Record<string, unknown>>;
  /** Within which the same arguments mean the same call. */
  readonly scope: string;
  /** Told apart from every other call, for tools whose calls are. */
  readonly callId: string;
};

export type PlanSettings = {
  readonly server: string;
  readonly principal: string;
  readonly map: ToolMap;
  readonly sha256: (text: string) => string;
};

export type CallPlan =
  | {
      readonly kind: 'planned';
      readonly request: AdmitRequest;
      readonly idempotencyKey: string;
      readonly effect: string;
    }
  | { readonly kind: 'unfit'; readonly detail: string };

export function planCall(call: ToolCall, settings: PlanSettings): CallPlan {
  const { tool, args, scope, callId } = call;
  const { principal, server, map, sha256 } = settings;
  if (scope === '' || scope.length > SCOPE_LENGTH_MAX)
    return unfit(`a scope has 1 to ${SCOPE_LENGTH_MAX} characters, this one ${scope.length}`);
  const rule = ruleFor(map, tool);
  const action = actionOf(server, tool, rule);
  if (action === null) return unfit(noAction(server, tool));
  let canonical: string;
  try {
    canonical = canonicalJson(args);
  } catch (error) {
    return unfit(`the arguments cannot be told apart from others: ${(error as Error).message}`);
  }
  const attributes = attributesOf(args, rule, () => sha256(canonical));
  const misfit = attributesProblem(attributes, rule);
  if (misfit !== null) return unfit(misfit);
  const resource = resourceOf(rule?.resource ?? `mcp/${server}/${tool}`, args);
  if ('problem' in resource) return unfit(resource.problem);
  const named = rule?.each === 'call' ? [callId] : [];
  // M1. The server is part of it: another one may have a tool of the same name.
  const text = canonicalJson([principal, server, action, tool, scope, args, ...named]);
  return {
    kind: 'planned',
    request: { principal, action, resource: { id: resource.id }, attributes },
    idempotencyKey: `mcp.${sha256(text)}`,
    effect: rule?.effect ?? 'call',
  };
}

/** `null` where the name of the tool is none and the map has none for it. */
export function actionOf(server: string, tool: string, rule: ToolRule | null): string | null {
  const action = rule?.action ?? `mcp.${server}.${tool}`;
  return ACTION.test(action) && action.length <= ACTION_LENGTH_MAX ? action : null;
}

export const noAction = (server: string, tool: string): string =>
  `mcp.${server}.${tool} is not the name of an action: give the tool one in the map (--map)`;

/** M2. */
function attributesOf(
  args: Readonly<Record<string, unknown>>,
  rule: ToolRule | null,
  digest: () => string,
): Record<string, unknown> {
  const named = rule?.attributes;
  if (named === undefined) return { ...args };
  const shown = Object.fromEntries(Object.entries(args).filter(([name]) => named.includes(name)));
  return { ...shown, argumentsDigest: digest() };
}

/** M3. */
function attributesProblem(
  attributes: Readonly<Record<string, unknown>>,
  rule: ToolRule | null,
): string | null {
  const names = Object.keys(attributes);
  if (names.length > ATTRIBUTES_MAX)
    return `${names.length} arguments are more than the ${ATTRIBUTES_MAX} that policy can be asked about`;
  const long = names.find((name) => name === '' || name.length > ATTRIBUTE_NAME_LENGTH_MAX);
  if (long !== undefined)
    return `the name of an argument has 1 to ${ATTRIBUTE_NAME_LENGTH_MAX} characters, one has ${long.length}`;
  const bytes = bytesOf(JSON.stringify(attributes));
  if (bytes <= ATTRIBUTES_BYTES_MAX) return null;
  const wayOut =
    rule?.attributes === undefined
      ? 'the operator can name those that policy looks at in the map (attributes), the rest counts as its digest'
      : 'the map names too many of them';
  return `the arguments have ${bytes} bytes, and policy is asked about at most ${ATTRIBUTES_BYTES_MAX}: ${wayOut}`;
}

function resourceOf(
  template: string,
  args: Readonly<Record<string, unknown>>,
): { readonly id: string } | { readonly problem: string } {
  const missing: string[] = [];
  const id = template.replaceAll(/\{([^{}]*)\}/g, (_, name: string) => {
    const value = Object.hasOwn(args, name) ? args[name] : undefined;
    if (typeof value === 'string' || typeof value === 'number') return String(value);
    missing.push(name);
    return '';
  });
  if (missing.length > 0)
    return { problem: `argument ${missing[0]} names the resource and must be a text or a number` };
  if (id === '' || id.length > RESOURCE_LENGTH_MAX)
    return {
      problem: `the resource has 1 to ${RESOURCE_LENGTH_MAX} characters, this one ${id.length}`,
    };
  return { id };
}

/** In UTF-8. */
function bytesOf(text: string): number {
  return new TextEncoder().encode(text).byteLength;
}

const unfit = (detail: string): CallPlan => ({ kind: 'unfit', detail });
