import { Option, type Command } from 'commander';
import {
  DIVERGENCE_STATES,
  RESOLUTION_VERDICTS,
  type Divergence,
  type DivergenceDetail,
  type DivergenceState,
  type DivergenceVerdict,
  type Reevaluation,
  type ResolutionVerdict,
} from '../../../shared/wire/divergences.ts';
import type { DecisionTrace } from '../../../shared/wire/decision-trace.ts';
import { collectPages, type CommandContext } from '../command-context.ts';
import type { Output, View } from '../output.ts';
import { ageText, timeText } from '../time-text.ts';
import { withPageFlags, type PageFlags } from './options.ts';

type ListFlags = PageFlags & {
  readonly outage?: string;
  readonly host?: string;
  readonly state?: DivergenceState;
};

export function addDivergenceCommands(program: Command, context: CommandContext): void {
  const divergence = program
    .command('divergence')
    .description(
      'look at what hosts decided from cache and the policy then in force would not have',
    );
  withPageFlags(divergence.command('list').description('list divergences, newest first'))
    .option('--outage <id>', 'of one outage')
    .option('--host <id>', 'of one host')
    .addOption(new Option('--state <state>', 'in one state').choices(DIVERGENCE_STATES))
    .action((flags: ListFlags) => list(context, flags));
  divergence
    .command('show <id>')
    .description('print one, with how both decisions came about')
    .action(async (id: string) => {
      const detail = await context.control.divergences.show(id);
      const { output } = context;
      if (output.format === 'table') showDetail(output, detail);
      else output.item(detail, VIEW);
    });
  divergence
    .command('resolve <id>')
    .description('say what is to become of it: it stands, was compensated, or is to be stopped')
    .addOption(
      new Option('--verdict <verdict>', 'accepted, compensated, or revoked (its host stops it)')
        .choices(RESOLUTION_VERDICTS)
        .makeOptionMandatory(),
    )
    .requiredOption('--reason <text>', 'why, for the audit trail')
    .action(async (id: string, said: { verdict: ResolutionVerdict; reason: string }) => {
      const settled = await context.control.divergences.resolve(id, said);
      const sentence = `divergence ${settled.divergenceId} is ${settled.state}${stopText(settled)}`;
      context.output.done(settled, { sentence, name: settled.divergenceId });
    });
}

async function list(
  context: CommandContext,
  { limit, cursor, ...filter }: ListFlags,
): Promise<void> {
  const { control, output } = context;
  let reevaluation: Reevaluation = { behindEvents: 0, failure: null };
  const listed = await collectPages(
    async (query) => {
      const page = await control.divergences.list({ ...filter, ...query });
      reevaluation = page.reevaluation;
      return page;
    },
    { limit, ...(cursor === undefined ? {} : { cursor }) },
  );
  output.list(listed, VIEW);
  const { behindEvents, failure } = reevaluation;
  if (behindEvents > 0) {
    output.note(`${behindEvents} reported events are still to be looked at: ask again in a moment`);
  }
  if (failure !== null) output.note(`warning: control cannot go on looking: ${failure}`);
}

const VIEW: View<Divergence> = {
  noun: 'divergences',
  name: ({ divergenceId }) => divergenceId,
  columns: [
    { header: 'ID', value: ({ divergenceId }) => divergenceId },
    { header: 'STATE', value: ({ state }) => state },
    { header: 'KIND', value: ({ kind }) => kind.replaceAll('_', ' ') },
    { header: 'SURE', value: ({ certainty }) => certainty },
    { header: 'ACTION', value: ({ action }) => action },
    { header: 'PRINCIPAL', value: ({ principal }) => principal },
    { header: 'HOST', value: ({ hostId }) => hostId },
    { header: 'DECIDED', value: ({ decided }) => verdictText(decided) },
    { header: 'IN FORCE', value: ({ current }) => verdictText(current) },
  ],
};

function verdictText({ policyRevision, reason, rule, message }: DivergenceVerdict): string {
  const by = rule === null ? reason : `${reason} by ${rule}`;
  const under = policyRevision === null ? '' : ` (revision ${policyRevision})`;
  return `${by}${under}${message === '' ? '' : `: ${message}`}`;
}

function stopText({ resolution }: Divergence): string {
  switch (resolution?.stop?.state) {
    case 'pending':
      return ': its host is told to stop it with its next sync';
    case 'finishes':
      return ': its rule lets it finish (onRevoke: finish), so it is not stopped';
    case 'not_held':
      return ': its rule would pause it, which cannot be done to one operation: cancel it on its host';
    case 'not_needed':
      return ': it had ended, so there is nothing to stop';
    case 'done':
      return ': its host has reported its end';
    case undefined:
      return '';
  }
}

function showDetail(output: Output, detail: DivergenceDetail): void {
  const { instant, resolution, operationId, refusalId, outageId, operationState } = detail;
  const spanMs = instant.toMs - instant.fromMs;
  const by =
    instant.by === 'boot_clock' ? 'the boot clock of its host' : 'the order of its journal';
  output.fields([
    ['divergence', detail.divergenceId],
    ['state', detail.state],
    ['what', `${detail.kind.replaceAll('_', ' ')}, ${detail.certainty}`],
    operationId === null
      ? ['refusal', refusalId ?? '']
      : ['operation', `${operationId} (${operationState ?? 'not reported'})`],
    ['host', detail.hostId],
    ['outage', outageId ?? 'none was open'],
    [
      'request',
      `${detail.action} on ${detail.resourceId || 'nothing named'} by ${detail.principal}`,
    ],
    ['decided', `${detail.decided.decision}: ${verdictText(detail.decided)}`],
    ['from', `${detail.basis} authority, ${ageText(detail.stalenessMs)} old`],
    ['in force', `${detail.current.decision}: ${verdictText(detail.current)}`],
    ['when', `${timeText(instant.fromMs)}, within ${ageText(spanMs)}, by ${by}`],
    ['its clock said', timeText(instant.claimedAtMs)],
    ...(resolution === null
      ? []
      : ([
          ['settled', `${resolution.verdict} by ${resolution.by}, ${timeText(resolution.atMs)}`],
          ['why', `${resolution.reason}${stopText(detail)}`],
        ] as const)),
  ]);
  showTrace(output, 'How it was decided', detail.decidedTrace);
  showTrace(output, 'How it is decided by what was in force', detail.currentTrace);
  if (detail.traceMissing !== null) output.note(`no trace: ${detail.traceMissing}`);
}

function showTrace(output: Output, title: string, trace: DecisionTrace | null): void {
  if (trace === null) return;
  output.line();
  output.heading(title);
  const rows = trace.rules.flatMap(({ rule, match, permit }) => [
    ...match.map((one) => ({ rule, part: 'match', ...one })),
    ...permit.map((one) => ({ rule, part: 'permit', ...one })),
  ]);
  output.line(
    `${trace.decision}: ${trace.reason}${trace.message === '' ? '' : `: ${trace.message}`}`,
  );
  if (rows.length === 0) return;
  output.table(rows, [
    { header: 'RULE', value: ({ rule }) => rule },
    { header: 'PART', value: ({ part }) => part },
    { header: 'EXPRESSION', value: ({ expression }) => expression },
    { header: 'GAVE', value: ({ outcome }) => outcome },
    { header: 'SAYS', value: ({ message }) => message ?? '' },
  ]);
}
