/** Operations whose outcome nobody knows: what is tried, who works on it, and how it is settled. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { digestOf } from '../../../shared/platform/digest.ts';
import type { ReportedOperation } from '../../../shared/wire/control-api.ts';
import type { WorkItem } from '../../../shared/wire/reconciliation-api.ts';
import { collectPages, durationFlag, type CommandContext } from '../command-context.ts';
import type { DaemonName } from '../connections.ts';
import type { Column, View } from '../output.ts';
import { ageText, timeText } from '../time-text.ts';
import { fromFlag, withPageFlags, type PageFlags } from './options.ts';
import { withOutcome } from './settling-options.ts';

const EXAMPLES = `
Examples:
  holdfast reconcile list --strategy human        what waits for a person
  holdfast reconcile claim ID --for 10m           nobody else works on it for ten minutes
  holdfast reconcile probe ID                     ask the app what happened, now
  holdfast reconcile resolve ID --outcome failed --provenance verified --reason "not in the ledger"`;

type By = { readonly by: string };

export function addReconcileCommands(program: Command, context: CommandContext): void {
  const reconcile = program
    .command('reconcile')
    .description('settle operations whose outcome nobody knows')
    .addHelpText('after', EXAMPLES);
  addReads(reconcile, context);
  addClaims(reconcile, context);
  addSettling(reconcile, context);
}

function addReads(reconcile: Command, context: CommandContext): void {
  const strategies = ['human', 'probe', 'retry', 'compensate'];
  withPageFlags(reconcile.command('list').description('list what is unknown, and what is tried'))
    .addOption(
      new Option('--strategy <strategy>', 'only those of which this is tried').choices(strategies),
    )
    .addOption(fromFlag('sidecar'))
    .action((flags: ListFlags) => list(context, flags));
  reconcile
    .command('show <id>')
    .description('print what was tried for one operation, and by whom')
    .action(async (id: string) => {
      context.output.item(await context.sidecar.reconciliations.get(id), workView(context));
    });
}

type ListFlags = PageFlags & {
  readonly strategy?: WorkItem['strategy'];
  readonly from: DaemonName;
};

async function list(context: CommandContext, flags: ListFlags): Promise<void> {
  const { strategy } = flags;
  if (flags.from === 'control') {
    const { control } = context;
    const listed = await collectPages(
      (page) => control.operations({ ...page, state: 'unknown' }),
      flags,
    );
    const isWanted = ({ reconciliation }: ReportedOperation): boolean =>
      strategy === undefined || (reconciliation?.strategy ?? 'human') === strategy;
    context.output.list({ ...listed, items: listed.items.filter(isWanted) }, reportedView(context));
    return;
  }
  const { reconciliations } = context.sidecar;
  const only = strategy === undefined ? {} : { strategy };
  const listed = await collectPages((page) => reconciliations.list({ ...page, ...only }), flags);
  context.output.list(listed, workView(context));
}

/** A container may have a user without a name. */
function withBy(command: Command, { surroundings }: CommandContext): Command {
  const { USER, LOGNAME } = surroundings.env;
  const name = [USER, LOGNAME].find((known) => known !== undefined && known !== '');
  const option = new Option('--by <name>', 'who you are, to the others');
  return command.addOption(
    name === undefined ? option.makeOptionMandatory() : option.default(name),
  );
}

function addClaims(reconcile: Command, context: CommandContext): void {
  withBy(reconcile.command('claim <id>'), context)
    .description('hold others off while you find out; again: for longer')
    .option('--for <duration>', 'how long, as 10m', '5m')
    .action(async (id: string, flags: By & { for: string }) => {
      const ttlMs = durationFlag('--for', flags.for);
      const { by } = flags;
      const item = await context.sidecar.reconciliations.claim(id, { by, ttlMs });
      const until = item.claim === null ? '' : ` until ${timeText(item.claim.endsAtMs)}`;
      const sentence = `operation ${item.operationId} is ${by}'s to settle${until}`;
      context.output.done(item, { sentence, name: item.operationId });
    });
  withBy(reconcile.command('release <id>'), context)
    .description('give a claim back before it ends')
    .option('--force', "somebody else's; for operators")
    .action(async (id: string, flags: By & { force?: boolean }) => {
      const item = await context.sidecar.reconciliations.release(id, flags);
      const sentence = `nobody holds operation ${item.operationId}`;
      context.output.done(item, { sentence, name: item.operationId });
    });
}

type ResolveFlags = By & {
  readonly outcome: 'succeeded' | 'failed';
  readonly reason: string;
  readonly provenance: 'verified' | 'asserted' | 'assumed';
  readonly evidence?: unknown;
  readonly force?: boolean;
};

function addSettling(reconcile: Command, context: CommandContext): void {
  withOutcome(withBy(reconcile.command('resolve <id>'), context))
    .description('settle it, by what you found out')
    .option('--evidence <json>', 'what shows it: a text, or JSON; it is recorded', readEvidence)
    .option('--force', 'also where somebody else holds the claim')
    .action(async (id: string, flags: ResolveFlags) => {
      // The same command twice is the same resolution: its answer may have been lost.
      const options = { idempotencyKey: digestOf({ id, ...flags }) };
      const item = await context.sidecar.reconciliations.resolve(id, flags, options);
      const sentence = `operation ${item.operationId} is ${item.state} (${flags.provenance}, by ${flags.by})`;
      context.output.done(item, { sentence, name: item.operationId });
    });
  withBy(reconcile.command('probe <id>'), context)
    .description('ask the app what happened, now, as its rule says')
    .action(async (id: string, { by }: By) => {
      const item = await context.sidecar.reconciliations.probe(id, { by });
      const { operationId, state, lastTry } = item;
      const sentence =
        state === 'unknown'
          ? `operation ${operationId} is still unknown: ${lastTry?.detail ?? 'the probe was cut off'}`
          : `operation ${operationId} is ${state} (${item.outcome?.provenance ?? 'asserted'})`;
      context.output.done(item, { sentence, name: operationId });
    });
}

/** A text needs no quotes of its own. */
function readEvidence(text: string): unknown {
  if (text.trim() === '') throw new InvalidArgumentError('It is blank.');
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

type Known = Pick<WorkItem, 'strategy' | 'tries' | 'nextTryAtMs' | 'claim' | 'leftToPerson'>;

function triesText({ tries, triesMax }: Pick<WorkItem, 'tries' | 'triesMax'>): string {
  return triesMax === null ? String(tries) : `${tries}/${triesMax}`;
}

function nextText(context: CommandContext, { nextTryAtMs }: Known): string {
  if (nextTryAtMs === null) return '-';
  const inMs = nextTryAtMs - context.clock.now().wallMs;
  return inMs <= 0 ? 'now' : `in ${ageText(inMs)}`;
}

function workView(context: CommandContext): View<WorkItem> {
  const optional = (wallMs: number | null): string | null =>
    wallMs === null ? null : `${timeText(wallMs)} (${context.age(wallMs)} ago)`;
  return {
    noun: 'unknown operations',
    name: ({ operationId }) => operationId,
    columns: [
      { header: 'ID', value: ({ operationId }) => operationId },
      { header: 'ACTION', value: ({ action }) => action },
      { header: 'RESOURCE', value: ({ resourceId }) => resourceId },
      { header: 'UNKNOWN FOR', value: ({ sinceMs }) => context.age(sinceMs) },
      { header: 'STRATEGY', value: ({ strategy }) => strategy },
      { header: 'TRIES', value: triesText },
      { header: 'NEXT', value: (item) => nextText(context, item) },
      { header: 'CLAIMED BY', value: ({ claim }) => claim?.holder ?? '' },
      { header: 'WHY', value: ({ leftToPerson, reason }) => leftToPerson ?? reason ?? '' },
    ],
    details: [
      ['operation', ({ operationId }) => operationId],
      ['state', ({ state, reason }) => (reason === null ? state : `${state} (${reason})`)],
      ['action', ({ action, rule }) => `${action}, rule ${rule}`],
      ['resource', ({ resourceId }) => (resourceId === '' ? null : resourceId)],
      ['principal', ({ principal, app }) => `${principal}, app ${app}`],
      ['unknown since', ({ sinceMs }) => optional(sinceMs)],
      [
        'unreported',
        ({ unreported }) =>
          unreported.length === 0
            ? null
            : unreported.map(({ name, attempt }) => `${name} (attempt ${attempt})`).join('; '),
      ],
      ['strategy', ({ strategy }) => strategy],
      ['tries', triesText],
      ['last try', ({ lastTry }) => (lastTry === null ? null : lastTryText(lastTry))],
      ['next try', (item) => nextText(context, item)],
      ['left to a person', ({ leftToPerson }) => leftToPerson],
      ['compensated by', ({ compensatedBy }) => compensatedBy],
      [
        'claimed',
        ({ claim }) =>
          claim === null
            ? null
            : `by ${claim.holder} (app ${claim.app}) until ${timeText(claim.endsAtMs)}`,
      ],
      [
        'settled',
        ({ outcome, state }) =>
          outcome === null || state === 'unknown'
            ? null
            : `${outcome.outcome} (${outcome.provenance})${outcome.by === undefined ? '' : ` by ${outcome.by}`}: ${outcome.reason ?? ''}`,
      ],
      [
        'evidence',
        ({ outcome }) =>
          outcome?.evidence === undefined ? null : JSON.stringify(outcome.evidence),
      ],
    ],
  };
}

function lastTryText(last: NonNullable<WorkItem['lastTry']>): string {
  const { number, strategy, by, begunAtMs, endedAtMs, detail } = last;
  const asked = by === null ? '' : `, asked for by ${by}`;
  const end = endedAtMs === null ? 'under way, or cut off' : (detail ?? 'ended');
  return `${number}: ${strategy} at ${timeText(begunAtMs)}${asked}: ${end}`;
}

function reportedView(context: CommandContext): View<ReportedOperation> {
  const known = (value: (item: Known) => string): ((item: ReportedOperation) => string) => {
    return ({ reconciliation }) => (reconciliation === undefined ? '' : value(reconciliation));
  };
  const columns: Column<ReportedOperation>[] = [
    { header: 'ID', value: ({ operationId }) => operationId },
    { header: 'HOST', value: ({ hostId }) => hostId },
    { header: 'ACTION', value: ({ action }) => action },
    { header: 'RESOURCE', value: ({ resourceId }) => resourceId },
    { header: 'STRATEGY', value: ({ reconciliation }) => reconciliation?.strategy ?? 'human' },
    { header: 'TRIES', value: known(({ tries }) => String(tries)) },
    { header: 'NEXT', value: known((item) => nextText(context, item)) },
    { header: 'CLAIMED BY', value: known(({ claim }) => claim?.holder ?? '') },
    {
      header: 'WHY',
      value: ({ reconciliation, reason }) => reconciliation?.leftToPerson ?? reason ?? '',
    },
  ];
  return { noun: 'unknown operations', name: ({ operationId }) => operationId, columns };
}
