/**
 * The tests of a policy: those in the document and those of test files beside it. A test file lets
 * a team that does not own the policy say what must stay true of it.
 *
 * T1  A test is judged by the gate of the publication, so one that passes here passes on control.
 */
import { explainDecision } from '../../../shared/core/decision-trace.ts';
import { nearestWord } from '../../../shared/core/nearest-word.ts';
import type { CompiledPolicy, Decision, PolicyProblem } from '../../../shared/core/policy.ts';
import { runPolicyTests } from '../../../shared/core/policy-lints.ts';
import { checkBeforeTests, parsePolicy } from '../../../shared/platform/policy-gate.ts';
import type { DecisionTrace } from '../../../shared/wire/decision-trace.ts';
import { POLICY_API_VERSION, type PolicyDocument } from '../../../shared/wire/policy-document.ts';
import type { Place } from '../failures.ts';
import type { PolicySource } from './policy-source.ts';
import { SourcePlaces } from './source-places.ts';

export type PolicyTest = NonNullable<PolicyDocument['tests']>[number];

export type PlacedTest = { readonly test: PolicyTest; readonly place: Place };

export type LoadedPolicy = {
  readonly source: PolicySource;
  readonly places: SourcePlaces;
  readonly document: PolicyDocument;
  readonly compiled: CompiledPolicy;
};

export type Loaded<T> =
  | ({ readonly ok: true } & T)
  | { readonly ok: false; readonly code: string; readonly problems: readonly Place[] };

/** All gates but the tests. */
export function loadPolicy(source: PolicySource): Loaded<{ policy: LoadedPolicy }> {
  const places = new SourcePlaces(source);
  const parsed = parsePolicy(source.bytes, source.format);
  const checked = parsed.ok ? checkBeforeTests(parsed.value) : parsed;
  if (!checked.ok) {
    const problems = checked.problems.map((problem) => places.place(problem));
    return { ok: false, code: checked.code, problems };
  }
  const { document, compiled } = checked;
  return { ok: true, policy: { source, places, document, compiled } };
}

export function ownTests({ document, places }: LoadedPolicy): PlacedTest[] {
  return placed(document.tests ?? [], places);
}

export const TEST_FILE_KIND = 'PolicyTests';
const TEST_FILE_FIELDS = ['apiVersion', 'kind', 'description', 'tests'];

/** What a test file says is checked under the schema of the document's own tests. */
export function loadTests(
  source: PolicySource,
  { document }: LoadedPolicy,
): Loaded<{ tests: PlacedTest[] }> {
  const places = new SourcePlaces(source);
  const failed = (code: string, problems: readonly PolicyProblem[]): Loaded<never> => ({
    ok: false,
    code,
    problems: problems.map((problem) => places.place(problem)),
  });
  const parsed = parsePolicy(source.bytes, source.format);
  if (!parsed.ok) return failed(parsed.code, parsed.problems);
  const problems = headProblems(parsed.value);
  if (problems.length > 0) return failed('policy_invalid', problems);
  const { tests } = parsed.value as { tests: unknown };
  const checked = checkBeforeTests({ ...document, tests });
  if (!checked.ok) return failed(checked.code, checked.problems);
  return { ok: true, tests: placed(checked.document.tests ?? [], places) };
}

function headProblems(value: unknown): PolicyProblem[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const message = `must be a document with apiVersion, kind: ${TEST_FILE_KIND} and tests`;
    return [{ path: '', message }];
  }
  const { apiVersion, kind, tests } = value as Record<string, unknown>;
  const problems: PolicyProblem[] = [];
  const demand = (path: string, isMet: boolean, message: string): void => {
    if (!isMet) problems.push({ path, message });
  };
  demand('/apiVersion', apiVersion === POLICY_API_VERSION, `must be "${POLICY_API_VERSION}"`);
  demand('/kind', kind === TEST_FILE_KIND, `must be "${TEST_FILE_KIND}"`);
  demand('/tests', tests !== undefined, 'is required');
  for (const field of Object.keys(value).filter((name) => !TEST_FILE_FIELDS.includes(name))) {
    const meant = nearestWord(field, TEST_FILE_FIELDS);
    const wayOut =
      meant === null
        ? `; known here are ${TEST_FILE_FIELDS.join(', ')}`
        : `; did you mean ${meant}?`;
    problems.push({ path: `/${field}`, message: `unknown field${wayOut}` });
  }
  return problems;
}

function placed(tests: readonly PolicyTest[], places: SourcePlaces): PlacedTest[] {
  return tests.map((test, index) => {
    const path = `/tests/${index}`;
    return { test, place: places.place({ path, message: test.name }) };
  });
}

export type TestResult = {
  readonly name: string;
  readonly place: Place;
  readonly expected: PolicyTest['expect'];
  readonly decision: Decision;
  /** Why it failed; `null` where it passed. */
  readonly problem: string | null;
  /** Of a test that failed: how its decision came about. */
  readonly trace: DecisionTrace | null;
};

/** T1. */
export function runTest(
  { document, compiled }: LoadedPolicy,
  { test, place }: PlacedTest,
): TestResult {
  const { decision, trace } = explainDecision(compiled, test.given);
  const [failure] = runPolicyTests({ ...document, tests: [test] }, compiled);
  return {
    name: test.name,
    place,
    expected: test.expect,
    decision,
    problem: failure === undefined ? null : failure.message,
    trace: failure === undefined ? null : trace,
  };
}
