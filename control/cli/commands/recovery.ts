import { InvalidArgumentError, Option, type Command } from 'commander';
import { exportRecovery } from '../../../shared/client/index.ts';
import type { Operation, Outage, Refusal } from '../../../shared/wire/operation.ts';
import {
  RECOVERY_LISTS,
  type Recovery,
  type RecoveryList,
} from '../../../shared/wire/recovery-api.ts';
import type { CommandContext } from '../command-context.ts';
import { exportTo } from '../export-file.ts';
import { usageError } from '../failures.ts';
import type { Listed, View } from '../output.ts';
import { ageText, timeText } from '../time-text.ts';
import { operationView } from './operation.ts';
import { acceptedText } from './outage.ts';
import { parseCount } from './options.ts';
import { refusalView } from './refusal.ts';

const PAGE_ITEMS_MAX = 500;

const LIST_NAMES = RECOVERY_LISTS.map((list) => list.replaceAll('_', '-'));

type RecoveryFlags = {
  readonly outage?: string;
  readonly list?: RecoveryList;
  readonly limit?: number;
  readonly cursor?: string;
  readonly export?: string;
};

const EXAMPLES = `
The lists:
  accepted-before        accepted, and unfinished when the outage began
  continued              of those, what got on; and what was admitted under cached authority
  stopped                paused, cancelled or expired
  refused                with the reason
  needs-reconciliation   every operation of this host whose outcome is unknown

Examples:
  $ holdfast recovery                                 the last outage: counts, verdict, and the lists begun
  $ holdfast recovery --outage out_1 --list continued --limit 1000
  $ holdfast recovery --export recovery.ndjson        all of it, a line for each operation and refusal
  $ holdfast recovery --export - | grep '"list":"refused"'
`;

export function addRecoveryCommand(program: Command, context: CommandContext): void {
  program
    .command('recovery')
    .description('say what became of the work over an outage, and what is left for a person')
    .option('--outage <id>', 'which one (see "holdfast outages"); the last where it is not given')
    .addOption(
      new Option('--list <list>', `print one list: ${LIST_NAMES.join(', ')}`).argParser(parseList),
    )
    .addOption(
      new Option(
        '--limit <count>',
        'with --list: print at most this many (default: 100)',
      ).argParser(parseCount),
    )
    .option('--cursor <cursor>', 'with --list: go on where an earlier list ended')
    .option(
      '--export <file>',
      'write all of it as NDJSON into a new file, or to - (standard output)',
    )
    .addHelpText('after', EXAMPLES)
    .action((flags: RecoveryFlags) => run(context, flags));
}

function parseList(text: string): RecoveryList {
  const list = RECOVERY_LISTS.find((name) => name === text.replaceAll('-', '_'));
  if (list === undefined)
    throw new InvalidArgumentError(`It must be one of ${LIST_NAMES.join(', ')}.`);
  return list;
}

async function run(context: CommandContext, flags: RecoveryFlags): Promise<void> {
  const ofOutage = flags.outage === undefined ? {} : { outageId: flags.outage };
  if (flags.list === undefined && (flags.limit ?? flags.cursor) !== undefined)
    throw usageError('--limit and --cursor go with --list: say which list');
  if (flags.export !== undefined) {
    if (flags.list !== undefined) throw usageError('--export has all lists: leave --list out');
    return exportAll(context, flags.export, ofOutage);
  }
  if (flags.list !== undefined) return printList(context, flags.list, flags);
  const recovery = await context.sidecar.recovery(ofOutage);
  context.output.custom(recovery, () => printRecovery(context, recovery));
  return undefined;
}

async function exportAll(
  context: CommandContext,
  file: string,
  ofOutage: { outageId?: string },
): Promise<void> {
  const { output, surroundings, sidecar } = context;
  let lines = 0;
  async function* counted(): AsyncGenerator<string> {
    for await (const chunk of exportRecovery(sidecar, ofOutage)) {
      const before = Math.floor(lines / 100_000);
      lines += chunk.split('\n').length - 1;
      if (Math.floor(lines / 100_000) > before) output.note(`${lines} lines`);
      yield chunk;
    }
  }
  await exportTo(surroundings, file, counted());
  if (file !== '-') output.note(`${lines} lines in ${file}`);
}

async function printList(
  context: CommandContext,
  list: RecoveryList,
  flags: RecoveryFlags,
): Promise<void> {
  const { limit = 100 } = flags;
  const items: (Operation | Refusal)[] = [];
  let cursor: string | null = flags.cursor ?? null;
  do {
    const page = await context.sidecar.recoveryPage(list, {
      limit: Math.min(PAGE_ITEMS_MAX, limit - items.length),
      ...(flags.outage === undefined ? {} : { outageId: flags.outage }),
      ...(cursor === null ? {} : { cursor }),
    });
    items.push(...page.items);
    cursor = page.nextCursor;
  } while (cursor !== null && items.length < limit);
  const listed = { items, nextCursor: cursor };
  if (list === 'refused') context.output.list(listed as Listed<Refusal>, refusalView(context));
  else context.output.list(listed as Listed<Operation>, operationView(context));
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
      : `${outage.outageId}, ${timeText(outage.fromMs)} to ${endText(outage)} (${outage.cause})`;
  output.fields([
    ['outage', outageText],
    ['verdict', verdict],
    ['summary', summary],
    ['accepted before', acceptedText(tally.acceptedBefore, tally.advancedDuring)],
    ['admitted during', String(tally.admittedDuring)],
    ['ended during', String(tally.executedDuring)],
    ['stopped during', String(tally.stoppedDuring)],
    [
      'refused during',
      `${tally.refusedDuring}${reasons.length === 0 ? '' : ` (${reasons.join(', ')})`}`,
    ],
    ['unknown since', String(tally.unknownDuring)],
    ['to reconcile', String(tally.needsReconciliation)],
    ['unreported', String(tally.unreported)],
  ]);
  const operations = operationView(context);
  const { needsReconciliation, acceptedBefore, continued, stopped, refused } = recovery;
  printListing(context, 'Needs reconciliation', needsReconciliation, operations);
  printListing(context, 'Accepted before, unfinished when it began', acceptedBefore, operations);
  printListing(context, 'Continued under cached authority', continued, operations);
  printListing(context, 'Stopped', stopped, operations);
  printListing(context, 'Refused', refused, refusalView(context));
  if (recovery.pruned)
    output.note('the retention has taken part of it since: what is gone is counted, not listed');
  if (recovery.needsReconciliation.count > 0) {
    output.note(
      'see what is tried with: holdfast reconcile list; settle with: holdfast reconcile resolve ID',
    );
  }
}

type Listing<T> = {
  readonly count: number;
  readonly oldestMs: number | null;
  readonly items: readonly T[];
  readonly nextCursor: string | null;
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
  if (listing.nextCursor !== null)
    output.note(
      `only ${listing.items.length} of ${listing.count} are shown: --list has the others, --export all`,
    );
}
