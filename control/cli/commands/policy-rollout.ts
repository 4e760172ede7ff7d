import { Argument, Option, type Command } from 'commander';
import type { RolloutOrder } from '../../../shared/client/index.ts';
import { formatDurationMs } from '../../../shared/core/time.ts';
import { ROLLOUT_MODES, type RolloutMode } from '../../../shared/wire/publication.ts';
import type { RolloutStage, RolloutStatus } from '../../../shared/wire/rollout.ts';
import type { CommandContext } from '../command-context.ts';
import type { View } from '../output.ts';
import { reportNotes } from '../policy-report.ts';
import { timeText } from '../time-text.ts';
import { parseRevision } from './options.ts';

export function addRolloutCommands(policy: Command, context: CommandContext): void {
  policy
    .command('rollout')
    .description('print how far the newest roll-out by stages is')
    .action(async () => {
      context.output.item(await context.control.rollout(), rolloutView(context));
    });
  ordering(policy.command('promote'), context, 'promote')
    .description('go on to the next stage now')
    .option('--all', 'to every host at once');
  ordering(policy.command('pause'), context, 'pause')
    .description('stay at this stage of the roll-out')
    .option('--reason <text>', 'why');
  ordering(policy.command('resume'), context, 'resume').description('go on after a pause');
  ordering(policy.command('halt'), context, 'halt')
    .description('end the roll-out and put the document of before back in force')
    .option('--reason <text>', 'why');
  policy
    .command('rollback')
    .addArgument(new Argument('<revision>', 'whose document returns').argParser(parseRevision))
    .description('publish the document of an earlier revision again, as a new one')
    .option('--dry-run', 'print what it would change, and publish nothing')
    .option('--comment <text>', 'why, for the history')
    .addOption(
      new Option('--rollout <mode>', 'to all hosts at once, or by stages')
        .choices(ROLLOUT_MODES)
        .default('all'),
    )
    .action((revision: number, flags: RollbackFlags) => rollBack(context, revision, flags));
}

type OrderFlags = { readonly reason?: string; readonly all?: boolean };

function ordering(command: Command, context: CommandContext, order: RolloutOrder): Command {
  return command
    .addOption(
      new Option(
        '--if-revision <revision>',
        'only if this revision is the one that is rolled out',
      ).argParser(parseRevision),
    )
    .action(async (flags: OrderFlags & { readonly ifRevision?: number }) => {
      const { ifRevision, reason, all } = flags;
      const status = await context.control.orderRollout(order, {
        ...(ifRevision === undefined ? {} : { policyRevision: ifRevision }),
        ...(reason === undefined ? {} : { reason }),
        ...(all === undefined ? {} : { all }),
      });
      const name = `policy/${status.policyRevision}`;
      context.output.done(status, { sentence: sentenceOf(status), name });
    });
}

function sentenceOf(status: RolloutStatus): string {
  const { policyRevision, state, stage, stages, waitingFor, returnRevision } = status;
  const what = `roll-out of policy revision ${policyRevision}`;
  if (state === 'halted') {
    return returnRevision === null
      ? `${what} halted; it waits for ${waitingFor ?? ''}`
      : `${what} halted; the document of before is in force again as revision ${returnRevision}`;
  }
  const waits = waitingFor === null ? '' : `; it waits for ${waitingFor}`;
  return `${what} is ${state}, stage ${stage} of ${stages.length}${waits}`;
}

type RollbackFlags = {
  readonly dryRun?: boolean;
  readonly comment?: string;
  readonly rollout: RolloutMode;
};

async function rollBack(
  context: CommandContext,
  toRevision: number,
  { dryRun = false, comment, rollout }: RollbackFlags,
): Promise<void> {
  const { control, output } = context;
  const { policyRevision: replaces } = await control.policy();
  const answer = await control.rollBackPolicy(toRevision, {
    replaces,
    isDryRun: dryRun,
    rollout,
    ...(comment === undefined ? {} : { comment }),
  });
  const { policyRevision, outcome, proposalId } = answer;
  const sentence = {
    published: `the document of revision ${toRevision} is in force again as policy revision ${policyRevision}`,
    unchanged: `revision ${policyRevision} is that document already; nothing published`,
    valid: `it would be policy revision ${policyRevision}; nothing published`,
    proposed: `proposal ${proposalId ?? ''} waits for a second person; nothing published`,
  }[outcome];
  output.done(answer, { sentence, name: `policy/${policyRevision}` });
  for (const line of reportNotes(answer)) output.note(line);
}

function stageLine({ labels, percentage, bakeMs }: RolloutStage): string {
  const words = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  if (percentage < 100 || words.length === 0) words.push(`${percentage}%`);
  const hosts = words.join('&');
  return bakeMs === 0 ? hosts : `${hosts} for ${formatDurationMs(bakeMs)}`;
}

function rolloutView(context: CommandContext): View<RolloutStatus> {
  return {
    noun: 'roll-outs',
    name: ({ policyRevision }) => `policy/${policyRevision}`,
    columns: [
      { header: 'REVISION', value: ({ policyRevision }) => String(policyRevision) },
      { header: 'STATE', value: ({ state }) => state },
    ],
    details: [
      ['revision', ({ policyRevision }) => String(policyRevision)],
      ['others run', ({ baseRevision }) => String(baseRevision)],
      ['state', ({ state }) => state],
      ['why', ({ reason }) => reason],
      [
        'stage',
        ({ stage, stages, stageAtMs, endedAtMs }) =>
          `${stage} of ${stages.length}${endedAtMs === null ? `, for ${context.age(stageAtMs)}` : ''}`,
      ],
      ['stages', ({ stages }) => stages.map(stageLine).join(', then ')],
      ['hosts', ({ activated, selected }) => `${activated} of ${selected} run it`],
      ['waits for', ({ waitingFor }) => waitingFor],
      ['started', ({ startedAtMs, startedBy }) => `${timeText(startedAtMs)} by ${startedBy}`],
      ['ended', ({ endedAtMs }) => (endedAtMs === null ? null : timeText(endedAtMs))],
      [
        'returned as',
        ({ returnRevision }) => (returnRevision === null ? null : `revision ${returnRevision}`),
      ],
    ],
  };
}
