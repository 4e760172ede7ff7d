import { InvalidArgumentError, Option, type Command } from 'commander';
import type { ExpressionTrace } from '../../../shared/wire/decision-trace.ts';
import type { CommandContext } from '../command-context.ts';
import { CommandError, placeText, type Place } from '../failures.ts';
import { inert, type Output } from '../output.ts';
import { junitReport, type JunitSuite } from '../policy/junit-report.ts';
import { writeOutputFile } from '../policy/output-file.ts';
import { readSources, refuseStandardInput, type PolicySource } from '../policy/policy-source.ts';
import { coverageOf, isReached, type Coverage } from '../policy/rule-coverage.ts';
import type { LoadedPolicy, PlacedTest, TestResult } from '../policy/test-cases.ts';

export function addPolicyTest(policy: Command, context: CommandContext): void {
  policy
    .command('test <file...>')
    .description(
      'run the tests of policy documents here, and say why each that fails does (files, quoted patterns, or -)',
    )
    .option('--tests <file...>', 'test files beside the documents (kind: PolicyTests)')
    .option('--filter <text>', 'run only tests with this in their name')
    .option('--coverage', 'list the rules that decide in no test')
    .addOption(
      new Option(
        '--coverage-min <percent>',
        'fail where tests reach less of the rules; lists them too',
      ).argParser(parsePercent),
    )
    .option('--junit <file>', 'write a report for CI systems')
    .action((files: string[], flags: TestFlags) => testPolicies(context, files, flags));
}

type TestFlags = {
  readonly tests?: readonly string[];
  readonly filter?: string;
  readonly coverage?: boolean;
  readonly coverageMin?: number;
  readonly junit?: string;
};

function parsePercent(text: string): number {
  const percent = Number(text);
  if (!/^\d{1,3}$/.test(text) || percent > 100) {
    throw new InvalidArgumentError('It must be a whole number from 0 to 100.');
  }
  return percent;
}

type FileResult = {
  readonly file: string;
  /** Why its tests could not be run. */
  readonly problems: readonly Place[];
  readonly results: readonly TestResult[];
  readonly coverage: Coverage | null;
  /** `FILE:LINE:COL: …` of each rule that decided in no test. */
  readonly unreached: readonly Place[];
};

async function testPolicies(
  context: CommandContext,
  files: readonly string[],
  flags: TestFlags,
): Promise<void> {
  const { output, surroundings } = context;
  const { cwd } = surroundings;
  if (files.includes('-')) refuseStandardInput(flags.tests ?? [], 'it is the policy already');
  const sources = readSources(cwd, files);
  const testSources = readSources(cwd, flags.tests ?? []);
  const tested: FileResult[] = [];
  for (const source of sources) tested.push(await testFile(source, testSources, flags.filter));
  if (flags.junit !== undefined) {
    writeOutputFile(cwd, flags.junit, junitReport(tested.map(suiteOf)));
  }
  const showsCoverage = flags.coverage === true || flags.coverageMin !== undefined;
  output.custom({ files: tested.map((file) => answerOf(file)) }, () => {
    for (const file of tested) showFile(output, file, showsCoverage);
  });
  failWhereWrong(tested, flags);
}

async function testFile(
  source: PolicySource,
  testSources: readonly PolicySource[],
  filter: string | undefined,
): Promise<FileResult> {
  // Loaded only here: compiling schemas and expressions takes longer than most commands.
  const { loadPolicy, loadTests, ownTests, runTest } = await import('../policy/test-cases.ts');
  const { file } = source;
  const notRun = { file, results: [], coverage: null, unreached: [] };
  const loaded = loadPolicy(source);
  if (!loaded.ok) return { ...notRun, problems: loaded.problems };
  const { policy } = loaded;
  const tests: PlacedTest[] = ownTests(policy);
  const problems: Place[] = [];
  for (const testSource of testSources) {
    const more = loadTests(testSource, policy);
    if (more.ok) tests.push(...more.tests);
    else problems.push(...more.problems);
  }
  if (problems.length > 0) return { ...notRun, problems };
  const results = tests
    .filter(({ test }) => filter === undefined || test.name.includes(filter))
    .map((test) => runTest(policy, test));
  const coverage = coverageOf(
    policy.compiled,
    results.map(({ decision }) => decision),
  );
  return { file, problems, results, coverage, unreached: unreachedPlaces(policy, coverage) };
}

function unreachedPlaces({ places }: LoadedPolicy, { rules }: Coverage): Place[] {
  return rules
    .filter((rule) => !isReached(rule))
    .map(({ rule, position }) =>
      places.place({ path: `/rules/${position}`, message: `rule ${rule} decides in no test` }),
    );
}

function answerOf({ file, problems, results, coverage, unreached }: FileResult) {
  return {
    file,
    passed: results.filter(({ problem }) => problem === null).length,
    failed: results.filter(({ problem }) => problem !== null).length,
    problems,
    tests: results.map(({ name, place, expected, decision, problem, trace }) => ({
      name,
      file: place.file ?? file,
      line: place.line ?? null,
      passed: problem === null,
      expected,
      got: {
        decision: decision.decision,
        rule: decision.rule,
        reason: decision.reason,
        message: decision.message,
      },
      problem,
      trace,
    })),
    coverage: coverage === null ? null : { ...coverage, unreached },
  };
}

function showFile(output: Output, tested: FileResult, showsCoverage: boolean): void {
  const { file, results, coverage, unreached } = tested;
  const failed = results.filter(({ problem }) => problem !== null);
  if (output.format === 'name') {
    for (const { name } of failed) output.line(name);
    return;
  }
  for (const result of failed) for (const line of failureLines(result)) output.raw(`${line}\n`);
  if (tested.problems.length > 0) return;
  output.line(
    `${file}: ${results.length - failed.length} of ${results.length} ${results.length === 1 ? 'test' : 'tests'} passed`,
  );
  if (!showsCoverage || coverage === null) return;
  output.line(
    `${file}: tests reach ${coverage.reached} of ${coverage.rules.length} rules (${coverage.percent}%)`,
  );
  for (const place of unreached) output.line(`  ${placeText(place)}`);
}

/** For people, and as the body of a failure in a report. */
function failureLines({ place, problem, decision, trace }: TestResult): string[] {
  const lines = [
    `FAIL ${placeText({ ...place, path: '', message: problem ?? '' })}`,
    `  decided: ${decision.decision} (${decision.reason})${decision.rule === null ? '' : ` by rule ${decision.rule}`}${decision.message === '' ? '' : `: ${decision.message}`}`,
  ];
  for (const { rule, match, permit } of trace?.rules ?? []) {
    lines.push(`  rule ${rule}:`, ...partLines('match', match), ...partLines('permit', permit));
  }
  for (const { name, value, message } of trace?.variables ?? []) {
    lines.push(`  variables.${name} is ${value ?? `failed: ${message}`}`);
  }
  // Names and expressions are somebody's text: no control character of theirs reaches a terminal.
  return lines.map((line) => inert(line));
}

function partLines(part: string, expressions: readonly ExpressionTrace[]): string[] {
  return expressions.flatMap(({ expression, outcome, message }, index) => [
    `    ${part}[${index}] is ${outcome.padEnd(7)} ${expression}`,
    ...(outcome === 'failed' && message !== null ? message.split('\n') : []).map(
      (line) => `      ${line}`,
    ),
  ]);
}

function suiteOf({ file, problems, results }: FileResult): JunitSuite {
  const broken = problems.map((place) => ({
    name: 'the document can be tested',
    file: place.file ?? file,
    line: place.line ?? null,
    verdict: { kind: 'error', message: place.message, detail: placeText(place) } as const,
  }));
  const run = results.map((result) => ({
    name: result.name,
    file: result.place.file ?? file,
    line: result.place.line ?? null,
    verdict:
      result.problem === null
        ? ({ kind: 'passed' } as const)
        : ({
            kind: 'failure',
            message: result.problem,
            detail: failureLines(result).join('\n'),
          } as const),
  }));
  return { name: file, cases: [...broken, ...run] };
}

function failWhereWrong(tested: readonly FileResult[], flags: TestFlags): void {
  const problems = tested.flatMap((file) => file.problems);
  if (problems.length > 0) {
    throw new CommandError('policy_invalid', 'what does not validate cannot be tested', {
      errors: problems,
    });
  }
  const results = tested.flatMap((file) => file.results);
  const failed = results.filter(({ problem }) => problem !== null);
  if (failed.length > 0) {
    const noun = results.length === 1 ? 'test' : 'tests';
    throw new CommandError('test_failed', `${failed.length} of ${results.length} ${noun} failed`);
  }
  if (results.length === 0) {
    const which = flags.filter === undefined ? '' : ` with "${flags.filter}" in its name`;
    throw new CommandError('test_absent', `there is no test${which}, so nothing was tested`);
  }
  const { coverageMin } = flags;
  if (coverageMin === undefined) return;
  const low = tested.filter(({ coverage }) => (coverage?.percent ?? 0) < coverageMin);
  if (low.length > 0) {
    throw new CommandError(
      'coverage_low',
      `tests reach less than ${coverageMin}% of the rules of ${low.map(({ file }) => file).join(', ')}`,
      { errors: low.flatMap(({ unreached }) => unreached) },
    );
  }
}
