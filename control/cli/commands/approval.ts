/** Requests for approvals: who waits for what, and the word of an approver about it. */
import { Option, type Command } from 'commander';
import {
  REQUEST_STATES,
  type ApprovalDetail,
  type ApprovalRequest,
  type ApprovalVerb,
  type RequestState,
} from '../../../shared/wire/approval.ts';
import { collectPages, type CommandContext } from '../command-context.ts';
import type { View } from '../output.ts';
import { durationText, timeText } from '../time-text.ts';
import { withPageFlags, type PageFlags } from './options.ts';
import { printTrace } from './policy-decide.ts';

const VERBS: Record<ApprovalVerb, string> = {
  approve: 'approve what `approval show` shows, in your own name',
  deny: 'deny it: one denial ends it',
  withdraw: 'take back an approval that you gave, before the work has begun',
};

type VerdictFlags = { readonly reason: string; readonly digest?: string };

export function addApprovalCommands(program: Command, context: CommandContext): void {
  const approval = program
    .command('approval')
    .description('look at what waits for an approval, and give or refuse it');
  withPageFlags(approval.command('list').description('list requests for approvals, newest first'))
    .addOption(
      new Option('--state <state>', 'only those in this state').choices([...REQUEST_STATES]),
    )
    .addHelpText('after', '\nExample:\n  holdfast approval list --state pending')
    .action(async ({ state, ...flags }: PageFlags & { readonly state?: RequestState }) => {
      const { output, control } = context;
      const only = state === undefined ? {} : { state };
      output.list(
        await collectPages((query) => control.approvals.list({ ...query, ...only }), flags),
        requestView(context),
      );
    });
  approval
    .command('show <id>')
    .description('print one request: what is asked for, what would come of it, what it could touch')
    .action((id: string) => showRequest(context, id));
  for (const [verb, description] of Object.entries(VERBS) as [ApprovalVerb, string][]) {
    approval
      .command(`${verb} <id>`)
      .description(description)
      .requiredOption('--reason <text>', 'why; it is recorded on both sides')
      .option('--digest <digest>', 'only if it is about the payload of this digest')
      .addHelpText(
        'after',
        `\nExample:\n  holdfast approval ${verb} apr_01j... --reason "ticket 4711"`,
      )
      .action((id: string, flags: VerdictFlags) => decide(context, { id, verb }, flags));
  }
}

async function decide(
  { control, output }: CommandContext,
  { id, verb }: { readonly id: string; readonly verb: ApprovalVerb },
  { reason, digest }: VerdictFlags,
): Promise<void> {
  // The payload of a request never becomes another one: what is there now is what was shown.
  const looked = digest ?? (await control.approvals.fetch(id)).payloadDigest;
  const request = await control.approvals.decide(id, verb, { reason, digest: looked });
  output.done(request, { sentence: sentenceOf(request), name: request.requestId });
}

function sentenceOf({ requestId, state, delivery, required, votes }: ApprovalRequest): string {
  if (state === 'pending') {
    const given = votes.filter(({ verdict }) => verdict === 'approve').length;
    return `request ${requestId} has ${given} of ${required} approvals`;
  }
  const told = delivery === 'confirmed' ? 'its host has confirmed it' : 'its host is told next';
  return `request ${requestId} is ${state}; ${told}`;
}

async function showRequest(context: CommandContext, id: string): Promise<void> {
  const { control, output } = context;
  const detail = await control.approvals.fetch(id);
  output.item(detail, { ...requestView(context), details: detailsOf(context) });
  if (output.format !== 'table') return;
  const { wouldDecide, state, requestId } = detail;
  if (wouldDecide !== null) printTrace(context, wouldDecide.trace);
  if (state === 'pending')
    output.note(`decide: holdfast approval approve|deny ${requestId} --reason "..."`);
}

function requestView(context: CommandContext): View<ApprovalRequest> {
  return {
    noun: 'requests for approvals',
    name: ({ requestId }) => requestId,
    columns: [
      { header: 'ID', value: ({ requestId }) => requestId },
      { header: 'STATE', value: ({ state }) => state },
      { header: 'ACTION', value: ({ action }) => action },
      { header: 'PRINCIPAL', value: ({ principal }) => principal },
      { header: 'RESOURCE', value: ({ resourceId }) => resourceId },
      { header: 'RULE', value: ({ rule }) => rule },
      { header: 'APPROVALS', value: votesText },
      { header: 'ROLE', value: ({ role }) => role },
      { header: 'AGE', value: ({ receivedAtMs }) => context.age(receivedAtMs) },
      { header: 'HOST', value: ({ hostId }) => hostId },
    ],
  };
}

function votesText({ votes, required }: ApprovalRequest): string {
  return `${votes.filter(({ verdict }) => verdict === 'approve').length} of ${required}`;
}

function detailsOf(context: CommandContext): NonNullable<View<ApprovalDetail>['details']> {
  return [
    ['request', ({ requestId }) => requestId],
    ['state', ({ state }) => state],
    ['operation', ({ operationId }) => operationId],
    ['action', ({ action }) => action],
    ['principal', ({ principal, app }) => `${principal} (app ${app})`],
    ['resource', ({ resourceId }) => resourceId || null],
    ['rule', ({ rule, policyRevision }) => `${rule}, policy revision ${policyRevision}`],
    ['digest', ({ payloadDigest }) => payloadDigest],
    [
      'payload',
      ({ payload, payloadMissing }) =>
        payloadMissing === null ? JSON.stringify(payload) : `not shown: ${payloadMissing}`,
    ],
    ['needs', (request) => `${votesText(request)} of role:${request.role}`],
    ...votesOf(context),
    [
      'asked',
      ({ requestedAtMs, receivedAtMs }) =>
        `${timeText(requestedAtMs)} (${context.age(receivedAtMs)} ago)`,
    ],
    [
      'expires',
      ({ state, expiresAtMs, ttlMs }) =>
        state === 'pending' ? `${timeText(expiresAtMs)} (${durationText(ttlMs)} in all)` : null,
    ],
    [
      'would be',
      ({ wouldDecide }) =>
        wouldDecide === null
          ? null
          : `${wouldDecide.decision} by revision ${wouldDecide.policyRevision}: ${wouldDecide.message}`,
    ],
    [
      'host',
      ({ hostId, blastRadius }) =>
        `${blastRadius.hostName ?? hostId} (${hostId}), ${blastRadius.hostState}`,
    ],
    ['lease', ({ leaseResource }) => leaseResource],
    [
      'recently',
      ({ principal, blastRadius }) =>
        `${blastRadius.sameActionRecently} of the newest ${blastRadius.operationsLookedAt} operations are this action by ${principal}`,
    ],
    ['waiting', ({ blastRadius }) => `${blastRadius.waitingOfPrincipal} requests of the principal`],
    ['replaces', ({ replaces }) => replaces],
  ];
}

function votesOf(context: CommandContext): NonNullable<View<ApprovalDetail>['details']> {
  const said = ({ votes }: ApprovalDetail): string | null =>
    votes.length === 0
      ? null
      : votes
          .map(
            ({ by, verdict, reason, atMs }) =>
              `${by}: ${verdict}, "${reason}" (${context.age(atMs)} ago)`,
          )
          .join('; ');
  return [
    ['votes', said],
    [
      'decided',
      ({ decidedAtMs, reason }) =>
        decidedAtMs === null ? null : `${timeText(decidedAtMs)}${reason ? `: ${reason}` : ''}`,
    ],
    [
      'told',
      ({ delivery, confirmedAtMs }) => {
        if (delivery === 'none') return null;
        return confirmedAtMs === null
          ? 'the host is told with its next sync, and has not confirmed yet'
          : `the host confirmed at ${timeText(confirmedAtMs)}`;
      },
    ],
  ];
}
