/** Paused work of a host that comes back once control does. */
import { InvalidArgumentError, type Command } from 'commander';
import { RESUME_RATE_MAX, type Resume } from '../../../shared/wire/resume-api.ts';
import type { CommandContext } from '../command-context.ts';
import type { Column } from '../output.ts';
import { timeText } from '../time-text.ts';
import { operationView } from './operation.ts';

type ReasonFlag = { readonly reason: string };
type Held = Resume['needsPerson'][number];

export function addResumeCommands(program: Command, context: CommandContext): void {
  const resume = program
    .command('resume')
    .description('paused work of this host, which goes on at a rate once control is back');
  resume
    .command('status')
    .description('say how far it is, and what is held for a person')
    .action(async () => print(context, await context.sidecar.resume.status()));
  withReason(resume.command('stop'))
    .description('let nothing that is paused go on, or end as refused, also after a restart')
    .action(async (flags: ReasonFlag) => print(context, await context.sidecar.resume.stop(flags)));
  withReason(resume.command('start'))
    .description('go on after a stop')
    .action(async (flags: ReasonFlag) => print(context, await context.sidecar.resume.start(flags)));
  withReason(resume.command('rate <per-second>'))
    .description('how many go on in a second; "default" is what the sidecar is configured with')
    .action(async (text: string, { reason }: ReasonFlag) => {
      const order = { ratePerSecond: parseRate(text), reason };
      print(context, await context.sidecar.resume.setRate(order));
    });
  withReason(resume.command('release <operation>'))
    .description('release one of them now, where the policy in force lets it go on')
    .action(async (operationId: string, { reason }: ReasonFlag) => {
      const operation = await context.sidecar.resume.release({ operationId, reason });
      context.output.item(operation, operationView(context));
    });
}

function withReason(command: Command): Command {
  return command.requiredOption('--reason <text>', 'why; kept in the journal');
}

function parseRate(text: string): number | null {
  if (text === 'default') return null;
  const rate = Number(text);
  if (/^[0-9]+$/.test(text) && rate >= 1 && rate <= RESUME_RATE_MAX) return rate;
  throw new InvalidArgumentError(
    `<per-second> is ${text}: it must be a whole number from 1 to ${RESUME_RATE_MAX}, or default`,
  );
}

function print(context: CommandContext, resume: Resume): void {
  const { output } = context;
  output.custom(resume, () => {
    const { state, waitingFor, order, byVerdict } = resume;
    const verdicts = Object.entries(byVerdict)
      .filter(([, count]) => count > 0)
      .map(([verdict, count]) => `${verdict} ${count}`);
    output.fields([
      ['state', waitingFor === null ? state : `${state}: ${waitingFor}`],
      ['paused', String(resume.remaining)],
      ['classified', [String(resume.classified), ...verdicts].join(', ')],
      ['held', String(resume.held)],
      ['released', String(resume.released)],
      ['refused', String(resume.refused)],
      ['rate', `${resume.ratePerSecond}/s`],
      ['revision', String(resume.policyRevision ?? 'none')],
      [
        'last order',
        order === null
          ? 'none'
          : `${order.order} by ${order.by}, ${timeText(order.atMs)}: ${order.reason}`,
      ],
    ]);
    if (resume.needsPerson.length === 0) return;
    output.line();
    output.heading('Held for a person');
    output.table(resume.needsPerson, HELD_COLUMNS);
    output.note(
      'holdfast resume release ID --reason TEXT, holdfast op cancel ID, or a policy that decides',
    );
  });
}

const HELD_COLUMNS: readonly Column<Held>[] = [
  { header: 'ID', value: ({ operationId }) => operationId },
  { header: 'ACTION', value: ({ action }) => action },
  { header: 'PRINCIPAL', value: ({ principal }) => principal },
  { header: 'WHY', value: ({ reason }) => reason },
  { header: 'DEADLINE', value: ({ deadlineAtMs }) => timeText(deadlineAtMs) },
  { header: 'DETAIL', value: ({ detail }) => detail },
];
