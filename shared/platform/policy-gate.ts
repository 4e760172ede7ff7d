/**
 * Everything a policy document passes before it can have a revision number: size, syntax, shape,
 * schema, expressions, lints, its own tests. Control runs it at publication and the CLI offline:
 * the same answer in both places. Every problem has the JSON Pointer of its place; only what is
 * wrong in the bytes themselves has a line and a column instead.
 *
 * G1  The gates are in this order, and a later one runs only when the one before found nothing: a
 *     schema that does not fit makes every problem after it noise.
 * G2  Nothing in here grows faster than the document: aliases, depth and expressions are bounded.
 * G3  What is refused here can change from build to build: what was published stays in force.
 */
import { LineCounter, isMap, isScalar, isSeq, parseDocument, type Document } from 'yaml';
import { repeatedKeys } from '../core/json-keys.ts';
import {
  compilePolicySteps,
  type CompiledPolicy,
  type ExpressionCompiler,
  type PolicyProblem,
} from '../core/policy.ts';
import { lintPolicySteps, policyWarnings, runPolicyTestsSteps } from '../core/policy-lints.ts';
import { finish, type Steps } from '../core/steps.ts';
import { POLICY_BYTES_MAX, type PolicyDocument } from '../wire/policy-document.ts';
import { compileCel } from './cel.ts';
import { escapePointer, fitsSchema, schemaProblems } from './policy-schema.ts';

export type PolicyFormat = 'json' | 'yaml';

export type PolicyCheck =
  | {
      readonly ok: true;
      readonly document: PolicyDocument;
      readonly compiled: CompiledPolicy;
      /** What works and is perhaps not meant. */
      readonly warnings: readonly PolicyProblem[];
    }
  | PolicyFault;

export type PolicyFault = {
  readonly ok: false;
  /** The code of `shared/wire/problem.ts` under which it is refused. */
  readonly code: 'body_too_large' | 'invalid_json' | 'invalid_yaml' | 'policy_invalid';
  readonly problems: readonly PolicyProblem[];
};

const PROBLEMS_MAX = 100;
const DEPTH_MAX = 32;
const ALIASES_MAX = 100;
const KEY_TWICE = 'Map keys must be unique';
const VALUES_BETWEEN_PAUSES = 512;

export function checkPolicy(bytes: string | Uint8Array, format: PolicyFormat): PolicyCheck {
  const parsed = parsePolicy(bytes, format);
  return parsed.ok ? checkPolicyValue(parsed.value) : parsed;
}

/** The gates before the schema: size, encoding, syntax, keys that differ. */
export function parsePolicy(
  bytes: string | Uint8Array,
  format: PolicyFormat,
): { readonly ok: true; readonly value: unknown } | PolicyFault {
  const sizeBytes = typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.byteLength;
  if (sizeBytes > POLICY_BYTES_MAX) {
    const message = `${sizeBytes} bytes are over the bound of ${POLICY_BYTES_MAX}: split the policy by product`;
    return { ok: false, code: 'body_too_large', problems: [{ path: '', message }] };
  }
  const parsed = parseText(bytes, format);
  if (!parsed.ok) {
    const code = format === 'json' ? 'invalid_json' : 'invalid_yaml';
    return { ok: false, code, problems: parsed.problems };
  }
  return parsed;
}

/** The gates after parsing, for a document that is a value already. */
export function checkPolicyValue(
  value: unknown,
  compile: ExpressionCompiler = compileCel,
): PolicyCheck {
  return finish(checkPolicySteps(value, compile));
}

/** The same, for a caller that has others waiting for the thread. */
export function* checkPolicySteps(
  value: unknown,
  compile: ExpressionCompiler = compileCel,
): Steps<PolicyCheck> {
  const checked = yield* beforeTestsSteps(value, compile, { isPublished: false });
  return checked.ok ? yield* testedSteps(checked) : checked;
}

/** All but the last gate, for who runs the tests one by one and says more about each. */
export function checkBeforeTests(
  value: unknown,
  compile: ExpressionCompiler = compileCel,
): PolicyCheck {
  return finish(beforeTestsSteps(value, compile, { isPublished: false }));
}

/**
 * Of what was published: all gates but the lints, which it passed in the build that published it. A
 * build with stricter ones must not take a policy out of force (G3).
 */
export function checkPublishedPolicy(
  value: unknown,
  compile: ExpressionCompiler = compileCel,
): PolicyCheck {
  return finish(checkPublishedPolicySteps(value, compile));
}

/** In steps as well. */
export function* checkPublishedPolicySteps(
  value: unknown,
  compile: ExpressionCompiler = compileCel,
): Steps<PolicyCheck> {
  const checked = yield* beforeTestsSteps(value, compile, { isPublished: true });
  return checked.ok ? yield* testedSteps(checked) : checked;
}

const invalid = (problems: readonly PolicyProblem[]): PolicyFault => ({
  ok: false,
  code: 'policy_invalid',
  problems: problems.slice(0, PROBLEMS_MAX),
});

function* testedSteps(checked: Extract<PolicyCheck, { ok: true }>): Steps<PolicyCheck> {
  const failedTests = yield* runPolicyTestsSteps(checked.document, checked.compiled);
  return failedTests.length > 0 ? invalid(failedTests) : checked;
}

function* beforeTestsSteps(
  value: unknown,
  compile: ExpressionCompiler,
  { isPublished }: { readonly isPublished: boolean },
): Steps<PolicyCheck> {
  const shape = yield* checkShape(value);
  if (shape.length > 0) return invalid(shape);
  const document = yield* fitsSchema(value);
  if (document === null) return invalid(schemaProblems(value, PROBLEMS_MAX));
  const compiled = yield* compilePolicySteps(document, compile);
  const policy = compiled.ok ? compiled.policy : null;
  const lints = isPublished ? [] : yield* lintPolicySteps(document, policy);
  const problems = [...(compiled.ok ? [] : compiled.problems), ...lints];
  if (!compiled.ok || problems.length > 0) return invalid(problems);
  const warnings = isPublished ? [] : policyWarnings(document, compiled.policy);
  return {
    ok: true,
    document,
    compiled: compiled.policy,
    warnings: warnings.slice(0, PROBLEMS_MAX),
  };
}

type Parsed = { ok: true; value: unknown } | { ok: false; problems: PolicyProblem[] };

function parseText(bytes: string | Uint8Array, format: PolicyFormat): Parsed {
  let text: string;
  try {
    text =
      typeof bytes === 'string' ? bytes : new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return failed('the document is not UTF-8: save it as UTF-8');
  }
  return format === 'json' ? parseJson(text) : parseYaml(text);
}

const failed = (message: string): Parsed => ({ ok: false, problems: [{ path: '', message }] });

/** Not with the reader of YAML, which would take it too: on a long document it takes half a second. */
function parseJson(text: string): Parsed {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return failed(`${messageOf(error)}: mend the JSON there`);
  }
  const faults = repeatedKeys(text).map(({ offset }) => ({ message: KEY_TWICE, pos: [offset] }));
  return faults.length > 0
    ? faulty(faults, (offset) => placeIn(text, offset))
    : { ok: true, value };
}

function placeIn(text: string, offset: number): { line: number; col: number } {
  const lines = text.slice(0, offset).split('\n');
  return { line: lines.length, col: (lines.at(-1)?.length ?? 0) + 1 };
}

function parseYaml(text: string): Parsed {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, {
    version: '1.2',
    // The reader's own search compares each key of a map with all before it.
    uniqueKeys: false,
    strict: true,
    merge: false,
    prettyErrors: false,
    lineCounter,
  });
  const faults = [...document.errors, ...document.warnings, ...duplicateKeys(document)];
  if (faults.length > 0) return faulty(faults, (offset) => lineCounter.linePos(offset));
  try {
    return { ok: true, value: document.toJS({ maxAliasCount: ALIASES_MAX }) as unknown };
  } catch (error) {
    return failed(
      `${messageOf(error)}: write out what the aliases stand for, at most ${ALIASES_MAX} may be used`,
    );
  }
}

function faulty(
  faults: readonly { readonly message: string; readonly pos: readonly number[] }[],
  placeOf: (offset: number) => { readonly line: number; readonly col: number },
): Parsed {
  const problems = faults.slice(0, PROBLEMS_MAX).map(({ message, pos }) => {
    const { line, col } = placeOf(pos[0] ?? 0);
    const wayOut = message === KEY_TWICE ? 'remove or rename one of them' : 'mend the YAML there';
    return { path: '', message: `line ${line}, column ${col}: ${message}: ${wayOut}` };
  });
  return { ok: false, problems };
}

type Fault = { readonly message: string; readonly pos: readonly [number, number] };

function duplicateKeys(document: Document.Parsed): Fault[] {
  const faults: Fault[] = [];
  const rest: unknown[] = [document.contents];
  while (rest.length > 0) {
    const node = rest.pop();
    if (isSeq(node)) for (const item of node.items) rest.push(item);
    if (!isMap(node)) continue;
    const seen = new Set<unknown>();
    for (const { key, value } of node.items) {
      rest.push(key, value);
      if (!isScalar(key)) continue;
      if (seen.has(key.value)) {
        const [from, to] = key.range ?? [0, 0];
        faults.push({ message: KEY_TWICE, pos: [from, to] });
      }
      seen.add(key.value);
    }
  }
  return faults.toSorted((a, b) => a.pos[0] - b.pos[0]);
}

/**
 * What no schema can say: depth, numbers that JSON cannot hold, and the one key that is never a
 * name.
 */
function* checkShape(value: unknown): Steps<PolicyProblem[]> {
  let looked = 0;
  const problems: PolicyProblem[] = [];
  const rest: { path: string; value: unknown; depth: number }[] = [{ path: '', value, depth: 0 }];
  for (let at = rest.pop(); at !== undefined && problems.length < PROBLEMS_MAX; at = rest.pop()) {
    const { path, depth } = at;
    looked += 1;
    if (looked % VALUES_BETWEEN_PAUSES === 0) yield;
    if (typeof at.value === 'number' && !Number.isFinite(at.value)) {
      problems.push({
        path,
        message: `${at.value} is not a number that JSON can hold: write a smaller one, or text`,
      });
    }
    if (typeof at.value === 'bigint')
      problems.push({ path, message: 'is over the largest integer: write it as text' });
    if (typeof at.value !== 'object' || at.value === null) continue;
    if (depth >= DEPTH_MAX) {
      const message = `is nested deeper than ${DEPTH_MAX} levels: make it flatter`;
      problems.push({ path, message });
      continue;
    }
    for (const [key, member] of Object.entries(at.value)) {
      if (key === '__proto__') {
        const message = '__proto__ cannot be a key: use another name';
        problems.push({ path: `${path}/__proto__`, message });
      }
      rest.push({ path: `${path}/${escapePointer(key)}`, value: member, depth: depth + 1 });
    }
  }
  return problems;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
