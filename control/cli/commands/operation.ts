import { Option, type Command } from 'commander';
import type { ReportedOperation } from '../../../shared/wire/control-api.ts';
import {
  OPERATION_STATES,
  type Effect,
  type JournalEvent,
  type Operation,
  type OperationState,
} from '../../../shared/wire/operation.ts';
import type { Explanation } from '../../../shared/wire/sidecar-api.ts';
import { collectPages, type CommandContext } from '../command-context.ts';
import type { DaemonName } from '../connections.ts';
import type { Column, View } from '../output.ts';
import { durationText, timeText } from '../time-text.ts';
import { printTrace } from './policy-decide.ts';
import { fromFlag, withPageFlags, type PageFlags } from './options.ts';
import { withOutcome } from './settling-options.ts';

export function addOperationCommands(program: Command, context: CommandContext): void {
  const operation = program
    .command('op')
    .description('look at operations, and settle what nobody knows');
  withPageFlags(operation.command('list').description('list operations'))
    .addOption(new Option('--state <state>', 'only those in this state').choices(OPERATION_STATES))
    .option('--host <host>', 'only those of this host, by its id; asks control')
    .addOption(fromFlag('sidecar'))
    .action((flags: ListFlags) => listOperations(context, flags));
  operation
    .command('show <id>')
    .description('print all that is known of one operation')
    .addOption(fromFlag('sidecar'))
    .action((id: string, flags: { from: DaemonName }) => showOperation(context, id, flags.from));
  operation
    .command('explain <id>')
    .description('say why an operation is as it is, with the entries of the journal that prove it')
    .action(async (id: string) => {
      const explanation = await context.sidecar.explain(id);
      context.output.custom(explanation, () => printExplanation(context, explanation));
    });
  withOutcome(operation.command('resolve <id>'))
    .description('settle an operation whose outcome is unknown, by what you found out')
    .action(async (id: string, flags: ResolveFlags) => {
      const resolved = await context.sidecar.resolve(id, flags);
      const sentence = `operation ${resolved.operationId} is ${resolved.state} (${flags.provenance})`;
      context.output.done(resolved, { sentence, name: resolved.operationId });
    });
  operation
    .command('cancel <id>')
    .description('stop an operation that has not ended')
    .option('--reason <text>', 'why; it is recorded')
    .action(async (id: string, flags: { reason?: string }) => {
      const cancelled = await context.sidecar.cancel(id, flags);
      const sentence = `operation ${cancelled.operationId} is ${cancelled.state}`;
      context.output.done(cancelled, { sentence, name: cancelled.operationId });
    });
}

type ListFlags = PageFlags & {
  readonly state?: OperationState;
  readonly host?: string;
  readonly from: DaemonName;
};

type ResolveFlags = {
  readonly outcome: 'succeeded' | 'failed';
  readonly reason: string;
  readonly provenance: 'verified' | 'asserted' | 'assumed';
};

async function listOperations(context: CommandContext, flags: ListFlags): Promise<void> {
  const { output } = context;
  const state = flags.state === undefined ? {} : { state: flags.state };
  if (flags.from === 'control' || flags.host !== undefined) {
    const { control } = context;
    const host = flags.host === undefined ? {} : { host: flags.host };
    output.list(
      await collectPages((page) => control.operations({ ...page, ...state, ...host }), flags),
      reportedView(context),
    );
    return;
  }
  const { sidecar } = context;
  output.list(
    await collectPages((page) => sidecar.operations({ ...page, ...state }), flags),
    operationView(context),
  );
}

async function showOperation(context: CommandContext, id: string, from: DaemonName): Promise<void> {
  if (from === 'control')
    context.output.item(await context.control.operation(id), reportedView(context));
  else context.output.item(await context.sidecar.operation(id), operationView(context));
}

/** What both daemons know of an operation. */
type KnownOperation = Pick<Operation, keyof Operation & keyof ReportedOperation>;

export function operationColumns(
  context: CommandContext,
): readonly Column<KnownOperation & { resourceId: string }>[] {
  return [
    { header: 'ID', value: ({ operationId }) => operationId },
    { header: 'STATE', value: ({ state }) => state },
    { header: 'ACTION', value: ({ action }) => action },
    { header: 'PRINCIPAL', value: ({ principal }) => principal },
    { header: 'RESOURCE', value: ({ resourceId }) => resourceId },
    { header: 'RULE', value: ({ rule }) => rule },
    { header: 'BASIS', value: ({ basis }) => basis },
    { header: 'ATTEMPT', value: ({ attempt }) => String(attempt) },
    { header: 'AGE', value: ({ admittedAtMs }) => context.age(admittedAtMs) },
    { header: 'REASON', value: ({ reason }) => reason ?? '' },
  ];
}

type Details<T> = NonNullable<View<T>['details']>;

function knownDetails(context: CommandContext): Details<KnownOperation> {
  const optional = (wallMs: number | null): string | null =>
    wallMs === null ? null : `${timeText(wallMs)} (${context.age(wallMs)} ago)`;
  return [
    ['operation', ({ operationId }) => operationId],
    ['state', ({ state }) => state],
    ['reason', ({ reason }) => reason],
    ['action', ({ action }) => action],
    ['principal', ({ principal }) => principal],
    ['app', ({ app }) => app],
    ['host', ({ hostId }) => hostId],
    ['idempotency key', ({ idempotencyKey }) => idempotencyKey],
    ['rule', ({ rule, policyRevision }) => `${rule}, policy revision ${policyRevision}`],
    ['basis', ({ basis, stalenessMs }) => `${basis}, staleness ${durationText(stalenessMs)}`],
    [
      'lease',
      ({ leaseResource, leaseEpoch }) =>
        leaseResource === null ? null : `${leaseResource}, epoch ${leaseEpoch}`,
    ],
    ['outage', ({ outageId }) => outageId],
    ['admitted', ({ admittedAtMs }) => optional(admittedAtMs)],
    ['deadline', ({ deadlineAtMs }) => timeText(deadlineAtMs)],
    ['updated', ({ updatedAtMs }) => optional(updatedAtMs)],
    ['attempt', ({ attempt }) => String(attempt)],
    [
      'effects',
      ({ effects }) => (effects.length === 0 ? null : effects.map(effectText).join('; ')),
    ],
    [
      'outcome',
      ({ outcome }) =>
        outcome === null
          ? null
          : [`${outcome.outcome} (${outcome.provenance})`, outcome.reason]
              .filter(Boolean)
              .join(': '),
    ],
    [
      'result',
      ({ outcome }) =>
        outcome?.result === undefined || outcome.result === null
          ? null
          : JSON.stringify(outcome.result),
    ],
  ];
}

function effectText({ name, state, attempt, leaseEpoch }: Effect): string {
  return `${name} ${state} (attempt ${attempt}${leaseEpoch === null ? '' : `, epoch ${leaseEpoch}`})`;
}

export function operationView(context: CommandContext): View<Operation> {
  return {
    noun: 'operations',
    name: ({ operationId }) => operationId,
    columns: operationColumns(context).map(({ header, value }) => ({
      header,
      value: (item) => value({ ...item, resourceId: item.resource.id }),
    })),
    details: [
      ...knownDetails(context),
      [
        'resource',
        ({ resource }) => `${resource.id || '-'} ${JSON.stringify(resource.attributes)}`,
      ],
      ['attributes', ({ attributes }) => JSON.stringify(attributes)],
      ['on control loss', ({ onControlLoss }) => onControlLoss],
      ['on worker loss', ({ onWorkerLoss }) => onWorkerLoss],
      ['on revoke', ({ onRevoke }) => onRevoke],
      ['recheck', ({ recheck }) => recheck],
      ['approval', ({ approval }) => approvalText(approval)],
      [
        'checkpoint',
        ({ checkpoint }) =>
          checkpoint === null || checkpoint === undefined ? null : JSON.stringify(checkpoint),
      ],
      ['warnings', ({ warnings }) => (warnings.length === 0 ? null : warnings.join('; '))],
    ],
  };
}

function approvalText(approval: Operation['approval']): string | null {
  if (approval === undefined) return null;
  const { state, requestId, required, role, expiresAtMs, votes } = approval;
  const by = votes.map((vote) => vote.by).join(', ');
  const until = state === 'pending' ? `, until ${timeText(expiresAtMs)}` : by && ` (${by})`;
  return `${state}${until}: ${required} of role:${role}, request ${requestId}`;
}

function reportedView(context: CommandContext): View<ReportedOperation> {
  return {
    noun: 'operations',
    name: ({ operationId }) => operationId,
    columns: [
      ...operationColumns(context),
      { header: 'HOST', value: ({ hostId }: KnownOperation) => hostId },
    ],
    details: [...knownDetails(context), ['resource', ({ resourceId }) => resourceId]],
  };
}

function printExplanation(context: CommandContext, explanation: Explanation): void {
  const { summary, events, outage, decision, decisionMissing } = explanation;
  const { output } = context;
  for (const sentence of summary) output.line(sentence);
  if (outage !== null)
    output.line(`Outage ${outage.outageId} began at ${timeText(outage.fromMs)}: ${outage.detail}`);
  if (decisionMissing !== null)
    output.line(`The rules cannot be shown: ${decisionMissing.detail}.`);
  if (decision !== null) printTrace(context, decision.trace);
  if (events.length === 0) return;
  output.line();
  output.table(events, [
    { header: 'SEQ', value: ({ seq }: JournalEvent) => String(seq) },
    { header: 'TIME', value: ({ atMs }) => timeText(atMs) },
    { header: 'EVENT', value: ({ kind }) => kind },
    { header: 'STATE', value: ({ body }) => textOf(body['state']) },
    { header: 'DETAIL', value: ({ body }) => textOf(body['reason']) },
  ]);
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
