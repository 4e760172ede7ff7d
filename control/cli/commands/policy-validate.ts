import type { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { CommandError, placeText, type Place } from '../failures.ts';
import { readSources, type PolicySource } from '../policy/policy-source.ts';
import { coverageWarnings } from '../policy/rule-coverage.ts';
import { SourcePlaces } from '../policy/source-places.ts';

export function addPolicyValidate(policy: Command, context: CommandContext): void {
  policy
    .command('validate <file...>')
    .description(
      'check policy documents here, as control would, without talking to it (files, quoted patterns, or -)',
    )
    .option(
      '--strict',
      'fail on warnings too: what may not be meant, no tests, rules that no test reaches',
    )
    .action((files: string[], flags: { strict?: boolean }) => validate(context, files, flags));
}

type Verdict = {
  readonly file: string;
  readonly valid: boolean;
  readonly digest: string | null;
  readonly rules: number;
  readonly tests: number;
  readonly problems: readonly Place[];
  readonly warnings: readonly Place[];
};

async function validate(
  context: CommandContext,
  files: readonly string[],
  flags: { readonly strict?: boolean },
): Promise<void> {
  const sources = readSources(context.surroundings.cwd, files);
  const verdicts: Verdict[] = [];
  const codes = new Set<string>();
  for (const source of sources) {
    const { verdict, code } = await verdictOn(source);
    verdicts.push(verdict);
    if (code !== null) codes.add(code);
  }
  const { output } = context;
  const warnings = verdicts.flatMap((verdict) => verdict.warnings);
  output.custom({ files: verdicts }, () => {
    for (const { file, valid, rules, tests } of verdicts.filter((verdict) => verdict.valid)) {
      if (output.format === 'name') output.line(file);
      else if (valid) output.line(`${file} is valid (rules: ${rules}, tests passed: ${tests})`);
    }
  });
  if (output.format === 'table' && flags.strict !== true) {
    for (const warning of warnings) output.note(`warning: ${placeText(warning)}`);
  }
  const [code, ...others] = codes;
  if (code !== undefined) {
    const wrong = verdicts.filter(({ valid }) => !valid);
    const problems = wrong.flatMap((verdict) => verdict.problems);
    const noun = problems.length === 1 ? 'problem' : 'problems';
    const what =
      wrong.length === 1
        ? `${wrong[0]?.file} does not`
        : `${wrong.length} of ${files.length} do not`;
    throw new CommandError(
      others.length === 0 ? code : 'policy_invalid',
      `${what} validate: ${problems.length} ${noun}`,
      { errors: problems },
    );
  }
  if (flags.strict === true && warnings.length > 0) {
    throw new CommandError('policy_warnings', `valid, with warnings: ${warnings.length}`, {
      errors: warnings,
    });
  }
}

async function verdictOn(
  source: PolicySource,
): Promise<{ readonly verdict: Verdict; readonly code: string | null }> {
  // Loaded only here: compiling schemas and expressions takes longer than most commands.
  const { checkPolicy } = await import('../../../shared/platform/policy-gate.ts');
  const { digestOf } = await import('../../../shared/platform/digest.ts');
  const { ownTests, runTest } = await import('../policy/test-cases.ts');
  const { file } = source;
  const places = new SourcePlaces(source);
  const checked = checkPolicy(source.bytes, source.format);
  if (!checked.ok) {
    const problems = checked.problems.map((problem) => places.place(problem));
    const none = { rules: 0, tests: 0, warnings: [] };
    return { verdict: { file, valid: false, digest: null, problems, ...none }, code: checked.code };
  }
  const { document, compiled } = checked;
  const policy = { source, places, document, compiled };
  const decisions = ownTests(policy).map((test) => runTest(policy, test).decision);
  const warnings = [...checked.warnings, ...coverageWarnings(compiled, decisions)].map((warning) =>
    places.place(warning),
  );
  const counts = { rules: document.rules.length, tests: decisions.length };
  const digest = digestOf(document);
  return { verdict: { file, valid: true, digest, problems: [], warnings, ...counts }, code: null };
}
