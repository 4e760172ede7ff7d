/**
 * Policy documents, good ones made bad and generated ones, through the gate of publication.
 *
 * P1  The gate ends, in bounded time, without an exception: with problems, each with its place and a way
 *     out, or with a policy.
 * P2  What passes it decides every request without an exception, the same twice, and in bounded time.
 * P3  What passes it passes as published too, in either form of the same document: no host would reject
 *     what control takes.
 */
import { readFileSync } from 'node:fs';
import { stringify, parse } from 'yaml';
import { canonicalJson } from '../../shared/core/canonical-json.ts';
import { decide, type CompiledPolicy } from '../../shared/core/policy.ts';
import {
  checkPolicy,
  checkPublishedPolicy,
  type PolicyFormat,
} from '../../shared/platform/policy-gate.ts';
import { PolicyDocumentSchema, type DecisionInput } from '../../shared/wire/policy-document.ts';
import { fuzzCases } from './cases.ts';
import { type Draw, ODD_KEYS, ODD_NUMBERS, ODD_TEXTS } from './draw.ts';
import type { Fuzzer } from './fuzzer.ts';
import { breakText, breakValue, textOf } from './values/broken-value.ts';
import { FromSchema, anything, type Json, type Schema } from './values/from-schema.ts';

/** Of a document of at most some hundred rules; the rest is room for a busy machine. */
const GATE_BOUND_MS = 5_000;
const DECISION_BOUND_MS = 1_000;
const INPUTS = 6;

export const policy: Fuzzer = {
  name: 'policy',
  about: 'policy documents through the gate of publication, and decisions under what passes it',
  casesAtFirst: 20_000,
  run: (options) =>
    fuzzCases(
      options,
      { name: 'policy', counted: 'policy documents', saidEvery: 5_000 },
      ({ draw, tally, find }) => {
        const input = drawDocument(draw);
        const { outcome, problem } = checkPolicyInput(input, draw);
        tally.add(outcome);
        if (problem !== null) find(problem, input);
      },
    ),
};

export type PolicyInput = { readonly format: PolicyFormat; readonly base64: string };

/** Of one document; `problem` is what was broken of P1 to P3. */
export function checkPolicyInput(
  input: PolicyInput,
  draw: Draw,
): { outcome: string; problem: string | null } {
  const bytes = Buffer.from(input.base64, 'base64');
  try {
    const startedMs = performance.now();
    const checked = checkPolicy(bytes, input.format);
    const tookMs = performance.now() - startedMs;
    if (tookMs > GATE_BOUND_MS) return wrong(`P1: the gate took ${Math.round(tookMs)} ms`);
    if (!checked.ok) {
      const bad = checked.problems.find(({ path, message }) => !PLACE.test(path) || message === '');
      if (bad !== undefined || checked.problems.length === 0)
        return wrong(`P1: refused without a place or a reason: ${JSON.stringify(bad ?? null)}`);
      return { outcome: `refused: ${checked.code}`, problem: null };
    }
    const problem = checkDecisions(checked.compiled, draw);
    if (problem !== null) return wrong(problem);
    const again = checkPublishedPolicy(checked.document);
    if (!again.ok) return wrong(`P3: not as published: ${JSON.stringify(again.problems[0])}`);
    const asJson = checkPolicy(Buffer.from(canonicalJson(checked.document)), 'json');
    if (!asJson.ok) return wrong(`P3: not as JSON: ${JSON.stringify(asJson.problems[0])}`);
    return { outcome: 'passed and decided', problem: null };
  } catch (error) {
    return wrong(`P1: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  }
}

/** A pointer, or a line where nothing could be read. */
const PLACE = /^(|\/.*|line \d+.*)$/su;

function wrong(problem: string): { outcome: string; problem: string } {
  return { outcome: 'WRONG', problem };
}

function checkDecisions(compiled: CompiledPolicy, draw: Draw): string | null {
  for (let count = 0; count < INPUTS; count += 1) {
    const input = drawInput(compiled, draw);
    const startedMs = performance.now();
    const first = decide(compiled, input);
    const tookMs = performance.now() - startedMs;
    if (tookMs > DECISION_BOUND_MS) return `P2: a decision took ${Math.round(tookMs)} ms`;
    if (JSON.stringify(decide(compiled, input)) !== JSON.stringify(first))
      return `P2: decided otherwise the second time: ${JSON.stringify(input)}`;
  }
  return null;
}

function drawInput(compiled: CompiledPolicy, draw: Draw): DecisionInput {
  const rule = compiled.rules.length === 0 ? undefined : draw.one(compiled.rules);
  const pattern = rule === undefined ? 'a.b' : draw.one(rule.actions);
  const attributes = {
    amount: draw.one([1, 501, -1, 1.5, 2 ** 53, 'many', null, [], {}]),
    ...odd(draw),
  };
  return {
    principal: draw.one([...compiled.principals.keys(), 'agent:nobody']),
    action: pattern.replace('*', 'some'),
    resource: {
      id: draw.one(['order-1', '', '\ud800', 'x'.repeat(300)]),
      attributes: { shard: 7, ...odd(draw) },
    },
    attributes,
  };
}

function odd(draw: Draw): Record<string, unknown> {
  const made: Record<string, unknown> = {};
  for (let count = draw.below(4); count > 0; count -= 1) {
    const value = draw.one<unknown>([
      draw.one(ODD_NUMBERS),
      draw.one(ODD_TEXTS),
      anything(draw),
      [[[]]],
    ]);
    const name = draw.one([...ODD_KEYS, 'lines', 'region']);
    Object.defineProperty(made, name, { value, enumerable: true, configurable: true });
  }
  return made;
}

const REFERENCE = readFileSync(
  new URL('../../deploy/examples/policy-reference.yaml', import.meta.url),
  'utf8',
);
const REFERENCE_DOCUMENT = parse(REFERENCE) as Json;
const GENERATED = new FromSchema(PolicyDocumentSchema as unknown as Schema, (field, draw) =>
  HINTS[field]?.(draw),
);
const EXPRESSIONS = [
  'true',
  'attributes.amount <= 500',
  'has(attributes.amount) && attributes.amount > 5',
  '"agent" in principal.roles',
  'attributes.lines.all(line, line.price < 10)',
  'resource.id.startsWith("a") || action == "a.b"',
  'size(attributes.lines) > 3 ? true : false',
  'timestamp(attributes.at) < timestamp("2026-01-01T00:00:00Z")',
  'int(attributes.amount) % 2 == 0',
  'variables.isLarge',
  'attributes["a"]["b"] == [1, 2]',
];
const TOKENS = [
  '(',
  ')',
  '&&',
  '||',
  '!',
  '?',
  ':',
  '"',
  "'",
  '[',
  ']',
  '{',
  '}',
  '.',
  ',',
  '-',
  '==',
  ' in ',
  '1e9',
  '0x',
  '9223372036854775807',
  'null',
  'attributes',
  'matches',
  '.map(x, x)',
  'all(x, x)',
  '\\',
  '//',
  '\n',
  '\0',
  '𝕏',
  'b"\\xff"',
  'r"\\"',
  '1u',
  '-(-(',
  '[[[[[[',
];
const HINTS: Readonly<Record<string, (draw: Draw) => Json>> = {
  expression: (draw) => expression(draw),
  apiVersion: () => 'holdfast/v1',
  kind: () => 'Policy',
  action: (draw) => draw.one(['payments.capture', 'a.b', 'tenants.delete']),
  principal: (draw) => draw.one(['agent:billing', 'user:ann']),
  name: (draw) => `${draw.one(['rule', 'isLarge', 'v'])}${draw.below(50)}`,
};

function expression(draw: Draw): string {
  let text = draw.one(EXPRESSIONS);
  for (let times = draw.one([0, 0, 1, 3]); times > 0; times -= 1) {
    const at = draw.below(text.length + 1);
    text = draw.weighted<string>([
      [4, text.slice(0, at) + draw.one(TOKENS) + text.slice(at)],
      [2, text.slice(0, at) + text.slice(at + draw.between(1, 6))],
      [1, `(${text}) ${draw.one(['&&', '||', '==', '+', 'in'])} (${draw.one(EXPRESSIONS)})`],
      [1, draw.one(['!', '-', '(', '[']).repeat(draw.one([1, 10, 40, 3_000])) + text],
    ]);
  }
  return text;
}

function drawDocument(draw: Draw): PolicyInput {
  const base = draw.chance(0.6) ? REFERENCE_DOCUMENT : generated(draw);
  const kind = draw.weighted([
    [4, 'value'],
    [3, 'expressions'],
    [2, 'text'],
    [3, 'yaml'],
    [1, 'as it is'],
  ] as const);
  switch (kind) {
    case 'value':
      return inputOf('json', textOf(breakValue(base, draw)));
    case 'expressions':
      return inputOf('json', JSON.stringify(withOtherExpressions(base, draw)));
    case 'text':
      return {
        format: draw.one(['json', 'yaml'] as const),
        base64: breakText(JSON.stringify(base), draw).toString('base64'),
      };
    case 'yaml':
      return inputOf('yaml', breakYaml(draw.chance(0.5) ? REFERENCE : stringify(base), draw));
    case 'as it is':
      return inputOf('yaml', stringify(base));
  }
}

function generated(draw: Draw): Json {
  return GENERATED.value(PolicyDocumentSchema, draw);
}

function inputOf(format: PolicyFormat, text: string): PolicyInput {
  return { format, base64: Buffer.from(text).toString('base64') };
}

function withOtherExpressions(document: Json, draw: Draw): Json {
  return JSON.parse(JSON.stringify(document), (key, value: unknown) =>
    (key === 'expression' || key === 'match') && typeof value === 'string' && draw.chance(0.5)
      ? expression(draw)
      : value,
  ) as Json;
}

const YAML_PIECES = [
  '&a',
  '*a',
  '<<: *a',
  '!!js/function x',
  '!!binary aa',
  '? ',
  '- ',
  '|\n',
  '>\n',
  '---\n',
  '...\n',
  '%YAML 9.9\n',
  '\t',
  '#',
  "'",
  '"',
  '{',
  '[',
  '}',
  ']',
  ': ',
  '~',
  '0o7',
  '.inf',
  '.nan',
  '2026-01-01',
  'yes',
  '\u0085',
  '\ufeff',
  '&a [*a]',
  '*nothing',
];

/** Lines taken out, put in twice, moved in; pieces of the syntax where they do not belong. */
function breakYaml(text: string, draw: Draw): string {
  const lines = text.split('\n');
  for (let times = draw.between(1, 4); times > 0; times -= 1) {
    const at = draw.below(lines.length);
    const line = lines[at] ?? '';
    switch (draw.below(6)) {
      case 0:
        lines.splice(at, 1);
        break;
      case 1:
        lines.splice(at, 0, line);
        break;
      case 2:
        lines[at] = ' '.repeat(draw.below(9)) + line.trim();
        break;
      case 3: {
        const column = draw.below(line.length + 1);
        lines[at] = line.slice(0, column) + draw.one(YAML_PIECES) + line.slice(column);
        break;
      }
      case 4:
        lines[at] = `${line}${draw.one(ODD_TEXTS)}`;
        break;
      default:
        lines[at] =
          `a${draw.below(9)}: &x${at} [${Array.from({ length: draw.one([2, 20, 200]) }, () => `*x${Math.max(0, at - 1)}`).join(', ')}]`;
    }
  }
  return lines.join('\n');
}
