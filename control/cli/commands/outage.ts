import type { Command } from 'commander';
import type { ReportedOutage } from '../../../shared/wire/control-api.ts';
import type { Outage, OutageMoment } from '../../../shared/wire/operation.ts';
import type { OutageBudget } from '../../../shared/wire/sidecar-api.ts';
import { collectPages, newestOnly, type CommandContext } from '../command-context.ts';
import type { DaemonName } from '../connections.ts';
import type { Column, View } from '../output.ts';
import { ageText, durationText, timeText } from '../time-text.ts';
import { fromFlag, withPageFlags, type PageFlags } from './options.ts';

export function addOutageCommands(program: Command, context: CommandContext): void {
  const outage = program
    .command('outage')
    .alias('outages')
    .description('look at the times when control was out of reach');
  withPageFlags(
    outage.command('list', { isDefault: true }).description('list outages, newest first'),
  )
    .addOption(fromFlag('sidecar'))
    .action(async (flags: PageFlags & { from: DaemonName }) => {
      const { output } = context;
      const view = outageView(context);
      if (flags.from === 'control') {
        const { control } = context;
        const host: Column<ReportedOutage> = { header: 'HOST', value: ({ hostId }) => hostId };
        const columns = [...view.columns, host];
        output.list(await collectPages((query) => control.outages(query), flags), {
          ...view,
          columns,
        });
      } else {
        output.list(await newestOnly((limit) => context.sidecar.outages({ limit }), flags), view);
      }
    });
  outage
    .command('show <id>')
    .description('print one outage: what changed while it lasted, and what happened in it')
    .addHelpText('after', '\nWhat became of each operation: holdfast recovery --outage ID\n')
    .action(async (id: string) => {
      const shown = await context.sidecar.outage(id);
      context.output.custom(shown, () => printOutage(context, shown));
    });
  program
    .command('outage-budget')
    .description('say how long each kind of work goes on if control is lost this instant')
    .action(async () => {
      const budget = await context.sidecar.outageBudget();
      context.output.custom(budget, () => printBudget(context, budget));
    });
}

function printOutage(context: CommandContext, outage: Outage): void {
  const { output } = context;
  const { outageId, fromMs, toMs, tally, moments = [], momentsOmitted } = outage;
  const lasted = toMs === null ? `${context.age(fromMs)} so far` : ageText(toMs - fromMs);
  output.fields([
    ['outage', outageId],
    ['from', timeText(fromMs)],
    ['to', toMs === null ? 'open' : timeText(toMs)],
    ['lasted', lasted],
    ['cause', `${outage.cause}: ${outage.detail}`],
    ['revision', String(outage.policyRevision ?? 'none')],
    ['staleness', durationText(outage.stalenessMs)],
    ...(tally === undefined
      ? []
      : ([
          ['accepted before', acceptedText(tally.acceptedBefore, tally.advanced)],
          ['admitted', String(tally.admitted)],
          ['executed', String(tally.executed)],
          ['stopped', String(tally.stopped)],
          ['refused', refusedText(tally)],
          ['became unknown', String(tally.unknown)],
        ] as const)),
  ]);
  if (moments.length === 0) return;
  output.line();
  output.table(moments, [
    { header: 'TIME', value: ({ atMs }: OutageMoment) => timeText(atMs) },
    { header: 'WHAT', value: ({ kind }) => kind },
    { header: 'CAUSE', value: ({ cause }) => cause },
    { header: 'REVISION', value: ({ policyRevision }) => String(policyRevision ?? '') },
    { header: 'STALENESS', value: ({ stalenessMs }) => durationText(stalenessMs) },
    { header: 'DETAIL', value: ({ detail }) => detail },
  ]);
  if (momentsOmitted !== undefined) output.note(`${momentsOmitted} others before the last`);
}

/** How many were unfinished when it began, and what became of them. */
export function acceptedText(accepted: number, advanced: number): string {
  return accepted === 0 ? '0' : `${accepted}, of which ${advanced} got on`;
}

function refusedText({ refused, refusedByReason }: NonNullable<Outage['tally']>): string {
  const reasons = Object.entries(refusedByReason).map(([reason, count]) => `${reason} ${count}`);
  return reasons.length === 0 ? String(refused) : `${refused} (${reasons.join(', ')})`;
}

export function outageView(context: CommandContext): View<Outage> {
  return {
    noun: 'outages',
    name: ({ outageId }) => outageId,
    columns: [
      { header: 'ID', value: ({ outageId }) => outageId },
      { header: 'FROM', value: ({ fromMs }) => timeText(fromMs) },
      { header: 'TO', value: ({ toMs }) => (toMs === null ? 'open' : timeText(toMs)) },
      {
        header: 'LASTED',
        value: ({ fromMs, toMs }) => (toMs === null ? context.age(fromMs) : ageText(toMs - fromMs)),
      },
      { header: 'CAUSE', value: ({ cause }) => cause },
      { header: 'REVISION', value: ({ policyRevision }) => String(policyRevision ?? '') },
      { header: 'DETAIL', value: ({ detail }) => detail },
    ],
  };
}

type BudgetLine = OutageBudget['actions'][number];

const leftText = (leftMs: number): string => (leftMs <= 0 ? '0s' : ageText(leftMs));

function printBudget(context: CommandContext, budget: OutageBudget): void {
  const { output } = context;
  const columns: Column<BudgetLine>[] = [
    { header: 'ACTION', value: ({ action }) => action },
    { header: 'ADMITTED FOR', value: ({ admissionMs }) => leftText(admissionMs) },
    { header: 'ENDED BY', value: ({ endedBy }) => endedBy },
    { header: 'RULE', value: ({ rule }) => rule },
    { header: 'ACCEPTED WORK', value: ({ onControlLoss }) => onControlLoss },
    {
      header: 'GOES ON FOR',
      value: ({ finishMs, finishEndedBy }) =>
        finishMs === null ? 'its deadline' : `${leftText(finishMs)} (${finishEndedBy})`,
    },
    { header: 'DETAIL', value: ({ detail }) => detail },
  ];
  if (budget.policyRevision === null) output.note('no policy is active, so nothing is admitted');
  else output.table(budget.actions, columns);
  if (budget.config.length > 0) {
    output.line();
    output.heading('Config values');
    output.table(budget.config, CONFIG_COLUMNS);
  }
  const revision =
    budget.policyRevision === null ? 'no policy' : `policy revision ${budget.policyRevision}`;
  output.note(`${revision}, staleness ${durationText(budget.stalenessMs)}`);
}

const CONFIG_COLUMNS: readonly Column<OutageBudget['config'][number]>[] = [
  { header: 'KEY', value: ({ key }) => key },
  { header: 'SERVED FOR', value: ({ servedMs }) => leftText(servedMs) },
  { header: 'THEN', value: ({ onExpiry }) => onExpiry },
];
