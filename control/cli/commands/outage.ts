import type { Command } from 'commander';
import type { ReportedOutage } from '../../../shared/wire/control-api.ts';
import type { Operation, Outage, Refusal } from '../../../shared/wire/operation.ts';
import type { Recovery } from '../../../shared/wire/recovery-api.ts';
import type { OutageBudget } from '../../../shared/wire/sidecar-api.ts';
import { collectPages, newestOnly, type CommandContext } from '../command-context.ts';
import type { DaemonName } from '../connections.ts';
import type { Column, View } from '../output.ts';
import { ageText, durationText, timeText } from '../time-text.ts';
import { operationView } from './operation.ts';
import { fromFlag, withPageFlags, type PageFlags } from './options.ts';
import { refusalView } from './refusal.ts';

export function addOutageCommands(program: Command, context: CommandContext): void {
  const outage = program
    .command('outage')
    .description('look at the times when control was out of reach');
  withPageFlags(outage.command('list').description('list outages'))
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
  program
    .command('recovery')
    .description('say what became of the work over an outage, and what is left for a person')
    .option('--outage <id>', 'which one; the last where it is not given')
    .action(async (flags: { outage?: string }) => {
      const recovery = await context.sidecar.recovery(
        flags.outage === undefined ? {} : { outageId: flags.outage },
      );
      context.output.custom(recovery, () => printRecovery(context, recovery));
    });
  program
    .command('outage-budget')
    .description('say how long each kind of work goes on if control is lost this instant')
    .action(async () => {
      const budget = await context.sidecar.outageBudget();
      context.output.custom(budget, () => printBudget(context, budget));
    });
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

const endText = ({ toMs }: Outage): string => (toMs === null ? 'now' : timeText(toMs));

function printRecovery(context: CommandContext, recovery: Recovery): void {
  const { output } = context;
  const { outage, tally, verdict, summary } = recovery;
  const reasons = Object.entries(tally.refusedByReason).map(
    ([reason, count]) => `${reason} ${count}`,
  );
  const outageText =
    outage === null
      ? 'none'
      : `${outage.outageId}, ${timeText(outage.fromMs)} to ${endText(outage)}`;
  output.fields([
    ['outage', outageText],
    ['verdict', verdict],
    ['summary', summary],
    ['accepted before', String(tally.acceptedBefore)],
    ['admitted during', String(tally.admittedDuring)],
    ['ended during', String(tally.executedDuring)],
    ['stopped during', String(tally.stoppedDuring)],
    [
      'refused during',
      `${tally.refusedDuring}${reasons.length === 0 ? '' : ` (${reasons.join(', ')})`}`,
    ],
    ['to reconcile', String(tally.needsReconciliation)],
    ['unreported', String(tally.unreported)],
  ]);
  const operations = operationView(context);
  printListing(context, 'Needs reconciliation', recovery.needsReconciliation, operations);
  printListing(
    context,
    'Accepted before, unfinished when it began',
    recovery.acceptedBefore,
    operations,
  );
  printListing(context, 'Went on during it', recovery.continued, operations);
  printListing(context, 'Stopped', recovery.stopped, operations);
  printListing(context, 'Refused', recovery.refused, refusalView(context));
  if (recovery.needsReconciliation.count > 0) {
    output.note(
      'settle each with: holdfast op resolve ID --outcome succeeded|failed --reason TEXT',
    );
  }
}

type Listing<T> = {
  readonly count: number;
  readonly oldestMs: number | null;
  readonly items: readonly T[];
  readonly truncated: boolean;
};

function printListing<T extends Operation | Refusal>(
  context: CommandContext,
  title: string,
  listing: Listing<T>,
  view: View<T>,
): void {
  const { output } = context;
  if (listing.count === 0) return;
  const oldest = listing.oldestMs === null ? '' : `, the oldest ${ageText(listing.oldestMs)} old`;
  output.line();
  output.heading(`${title}: ${listing.count}${oldest}`);
  output.table(listing.items, view.columns);
  if (listing.truncated) output.note(`only ${listing.items.length} of ${listing.count} are shown`);
}

type BudgetLine = OutageBudget['items'][number];

function printBudget(context: CommandContext, budget: OutageBudget): void {
  const { output } = context;
  const columns: Column<BudgetLine>[] = [
    { header: 'RULE', value: ({ rule }) => rule },
    { header: 'ACTIONS', value: ({ actions }) => actions.join(',') },
    {
      header: 'ADMITTED FOR',
      value: ({ admissionMs }) => (admissionMs <= 0 ? '0s' : ageText(admissionMs)),
    },
    { header: 'LIMITED BY', value: ({ limitedBy }) => limitedBy },
    { header: 'ACCEPTED WORK', value: ({ onControlLoss }) => onControlLoss },
  ];
  if (budget.items.length === 0) output.note('no policy is active, so nothing is admitted');
  else output.table(budget.items, columns);
  const revision =
    budget.policyRevision === null ? 'no policy' : `policy revision ${budget.policyRevision}`;
  output.note(`${revision}, staleness ${durationText(budget.stalenessMs)}`);
}
