import { Option, type Command } from 'commander';
import { stringify as toYaml } from 'yaml';
import { ProblemError } from '../../../shared/client/index.ts';
import type { PolicyRevision, PublishAnswer } from '../../../shared/wire/control-api.ts';
import { ROLLOUT_MODES, type RolloutMode } from '../../../shared/wire/publication.ts';
import { collectPages, type CommandContext } from '../command-context.ts';
import { reportNotes, showReport } from '../policy-report.ts';
import type { View } from '../output.ts';
import { readSource } from '../policy/policy-source.ts';
import { timeText } from '../time-text.ts';
import { addPolicyDecideCommand } from './policy-decide.ts';
import { parseRevision, withPageFlags, type PageFlags } from './options.ts';
import { addPolicyDiff } from './policy-diff.ts';
import { addPolicyFormat } from './policy-fmt.ts';
import { addPolicySchema } from './policy-schema.ts';
import { addPolicyTest } from './policy-test.ts';
import { addPolicyValidate } from './policy-validate.ts';
import { addProposalCommands } from './policy-proposals.ts';
import { addRolloutCommands } from './policy-rollout.ts';

export function addPolicyCommands(program: Command, context: CommandContext): void {
  const policy = program.command('policy').description('read, check and publish policy');
  policy
    .command('apply <file>')
    .description(
      'publish a policy document (YAML, or JSON by its extension; - reads standard input)',
    )
    .option('--dry-run', 'check everything on control and publish nothing')
    .addOption(
      new Option(
        '--if-revision <revision>',
        'publish only if this revision is in force (0: none is)',
      ).argParser(parseRevision),
    )
    .option('--comment <text>', 'why, for the history')
    .addOption(
      new Option(
        '--rollout <mode>',
        'to all hosts at once, or by stages (default: as control is configured)',
      ).choices(ROLLOUT_MODES),
    )
    .option('--no-impact', 'do not replay recent decisions for the report')
    .action((file: string, flags: ApplyFlags) => applyPolicy(context, file, flags));
  policy
    .command('get')
    .description('print the policy document in force, or an earlier one')
    .addOption(new Option('--revision <revision>', 'which one').argParser(parseRevision))
    .action((flags: { revision?: number }) => getPolicy(context, flags.revision));
  policy
    .command('impact <file>')
    .description('print what publishing a document would change; nothing is published')
    .action((file: string) => showImpact(context, file));
  withPageFlags(
    policy.command('history').alias('list').description('list what was published, by whom and why'),
  ).action(async (flags: PageFlags) => {
    const { output, control } = context;
    output.list(
      await collectPages((query) => control.policyRevisions(query), flags),
      revisionView(context),
    );
  });
  addPolicyValidate(policy, context);
  addPolicyTest(policy, context);
  addPolicyDiff(policy, context);
  addPolicyFormat(policy, context);
  addPolicySchema(policy, context);
  addRolloutCommands(policy, context);
  addProposalCommands(policy, context);
  addPolicyDecideCommand(policy, context);
}

type ApplyFlags = {
  readonly dryRun?: boolean;
  readonly ifRevision?: number;
  readonly comment?: string;
  readonly rollout?: RolloutMode;
  readonly impact: boolean;
};

async function applyPolicy(
  context: CommandContext,
  file: string,
  flags: ApplyFlags,
): Promise<void> {
  const { bytes, format } = readSource(context.surroundings.cwd, file);
  const text = bytes.toString('utf8');
  const replaces = flags.ifRevision ?? (await revisionInForce(context));
  const answer = await context.control.publishPolicy(text, {
    format,
    replaces: replaces === 0 ? null : replaces,
    isDryRun: flags.dryRun === true,
    impact: flags.impact,
    ...(flags.rollout === undefined ? {} : { rollout: flags.rollout }),
    ...(flags.comment === undefined ? {} : { comment: encodeComment(flags.comment) }),
  });
  const name = `policy/${answer.policyRevision}`;
  context.output.done(answer, { sentence: sentenceOf(answer), name });
  for (const line of reportNotes(answer)) context.output.note(line);
}

async function showImpact(context: CommandContext, file: string): Promise<void> {
  const { bytes, format } = readSource(context.surroundings.cwd, file);
  const text = bytes.toString('utf8');
  const replaces = await revisionInForce(context);
  const answer = await context.control.publishPolicy(text, {
    format,
    replaces: replaces === 0 ? null : replaces,
    isDryRun: true,
  });
  context.output.custom(answer, () => showReport(context.output, answer));
}

/**
 * A header carries ASCII: other text goes as in RFC 8187, and control decodes it. What only looks
 * encoded is encoded too, so that every text arrives as it was written.
 */
function encodeComment(text: string): string {
  const isPlain = /^[\u0020-\u007e]*$/.test(text) && text.trim() === text;
  return isPlain && !text.startsWith("UTF-8''")
    ? text
    : `UTF-8''${encodeURIComponent(text.toWellFormed())}`;
}

/**
 * 0 where nothing was published yet. What is read here is what the publication may replace,
 * nothing newer.
 */
async function revisionInForce({ control }: CommandContext): Promise<number> {
  try {
    return (await control.policy()).policyRevision;
  } catch (error) {
    if (error instanceof ProblemError && error.status === 404) return 0;
    throw error;
  }
}

function sentenceOf(answer: PublishAnswer): string {
  const { outcome, policyRevision, rules, policyDigest, proposalId } = answer;
  const what = `${rules} ${rules === 1 ? 'rule' : 'rules'}, digest ${policyDigest.slice(0, 12)}`;
  switch (outcome) {
    case 'published':
      return `policy revision ${policyRevision} published (${what})`;
    case 'unchanged':
      return `policy revision ${policyRevision} is this document already; nothing published (${what})`;
    case 'valid':
      return `valid: it would be policy revision ${policyRevision} (${what}); nothing published`;
    case 'proposed':
      return `proposal ${proposalId} waits for a second person (${what}); nothing published`;
  }
}

async function getPolicy(context: CommandContext, revision: number | undefined): Promise<void> {
  const { control, output } = context;
  const published =
    revision === undefined ? await control.policy() : await control.policyRevision(revision);
  const { policy, ...facts } = published;
  if (output.format === 'name') output.line(`policy/${facts.policyRevision}`);
  else if (output.format === 'json') output.custom(published, () => {});
  else {
    // The document alone, in every form for people: what `get` prints, `apply` takes.
    output.raw(toYaml(policy, { lineWidth: 0 }));
    output.note(
      `revision ${facts.policyRevision}, published ${timeText(facts.publishedAtMs)} by ${facts.publishedBy}`,
    );
  }
}

function revisionView(context: CommandContext): View<PolicyRevision> {
  return {
    noun: 'policy revisions',
    name: ({ policyRevision }) => `policy/${policyRevision}`,
    columns: [
      { header: 'REVISION', value: ({ policyRevision }) => String(policyRevision) },
      { header: 'PUBLISHED', value: ({ publishedAtMs }) => timeText(publishedAtMs) },
      { header: 'AGE', value: ({ publishedAtMs }) => context.age(publishedAtMs) },
      { header: 'BY', value: ({ publishedBy }) => publishedBy },
      { header: 'RULES', value: ({ rules }) => String(rules) },
      { header: 'DIGEST', value: ({ policyDigest }) => policyDigest.slice(0, 12) },
      { header: 'COMMENT', value: ({ comment }) => comment ?? '' },
    ],
  };
}
