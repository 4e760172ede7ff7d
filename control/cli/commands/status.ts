import type { Command } from 'commander';
import type { Host, PublishedPolicy } from '../../../shared/wire/control-api.ts';
import type { Health } from '../../../shared/wire/health.ts';
import type { SidecarStatus } from '../../../shared/wire/sidecar-api.ts';
import type { CommandContext } from '../command-context.ts';
import { CommandError, EXIT } from '../failures.ts';
import { durationText, timeText } from '../time-text.ts';
import { answerOrError, ask, type Asked } from './health.ts';

export function addStatusCommand(program: Command, context: CommandContext): void {
  program
    .command('status')
    .description('say what runs, what does not, and since when')
    .action(() => printStatus(context));
}

type ControlStatus = {
  readonly health: Health;
  readonly policy: Asked<PublishedPolicy>;
  readonly hosts: readonly Host[];
};

/**
 * Succeeds where one daemon has answered, whatever it says: what is unreachable is part of the
 * answer. Where none has, nothing is known, and that is a failure. `health` is for scripts.
 */
async function printStatus(context: CommandContext): Promise<void> {
  const { output } = context;
  const [control, sidecar] = await Promise.all([
    ask(() => controlStatus(context)),
    ask(() => context.sidecar.status()),
  ]);
  const structured = {
    control: control.ok
      ? { ...control.value, policy: revisionOf(control.value) }
      : answerOrError(control),
    sidecar: answerOrError(sidecar),
  };
  output.custom(structured, () => {
    output.heading(`Control at ${context.connection('control').endpoint}`);
    output.fields(control.ok ? controlFields(control.value) : failureFields(control));
    output.line();
    output.heading(`Sidecar at ${context.connection('sidecar').endpoint}`);
    output.fields(sidecar.ok ? sidecarFields(context, sidecar.value) : failureFields(sidecar));
  });
  if (control.ok || sidecar.ok) return;
  const isDenied = [control, sidecar].some(
    (asked) => !asked.ok && asked.failure.exitCode === EXIT.denied,
  );
  throw new CommandError('no_answer', 'neither control nor the sidecar has answered', {
    exitCode: isDenied ? EXIT.denied : EXIT.unavailable,
    hint: isDenied
      ? 'name the files of your tokens with --control-token-file and --sidecar-token-file'
      : '`holdfast dev` starts both daemons here',
  });
}

async function controlStatus({ control }: CommandContext): Promise<ControlStatus> {
  const [health, policy, hosts] = await Promise.all([
    control.health(),
    ask(() => control.policy()),
    control.hosts({ limit: 500 }),
  ]);
  return { health, policy, hosts: hosts.items };
}

/** The document itself is left out: `policy get` prints it. */
function revisionOf({ policy }: ControlStatus): unknown {
  if (!policy.ok) return answerOrError(policy);
  const { policy: _document, ...revision } = policy.value;
  return revision;
}

type Fields = (readonly [string, string])[];

function failureFields(asked: Asked<unknown>): Fields {
  if (asked.ok) return [];
  const { code, detail } = asked.failure;
  return [
    ['state', code],
    ['detail', detail],
  ];
}

function controlFields({ health, policy, hosts }: ControlStatus): Fields {
  const states = new Map<string, number>();
  for (const { state } of hosts) states.set(state, (states.get(state) ?? 0) + 1);
  const hostsText = [...states].map(([state, count]) => `${count} ${state}`).join(', ');
  return [
    ['state', health.controlPlane.verdict],
    ['summary', health.controlPlane.summary],
    ['version', health.version],
    ['policy', policy.ok ? publishedText(policy.value) : policy.failure.detail],
    ['hosts', hostsText || 'none'],
  ];
}

function publishedText({ policyRevision, publishedAtMs, publishedBy }: PublishedPolicy): string {
  return `revision ${policyRevision}, published ${timeText(publishedAtMs)} by ${publishedBy}`;
}

function sidecarFields(context: CommandContext, status: SidecarStatus): Fields {
  const { control, policy, leases, journal } = status;
  const lastSync =
    control.lastSuccessMs === null ? 'never' : `${context.age(control.lastSuccessMs)} ago`;
  const operations = Object.entries(journal.operations).filter(([, count]) => count > 0);
  const fields: Fields = [
    ['host', `${status.hostName} (${status.hostId ?? 'not enrolled'})`],
    ['version', status.version],
    ['control', control.state],
    ['last sync', lastSync],
  ];
  if (control.outage !== null) {
    const { outageId, fromMs, cause } = control.outage;
    fields.push(['outage', `${outageId}, for ${context.age(fromMs)} (${cause})`]);
  }
  if (control.lastError !== null) fields.push(['last error', control.lastError]);
  fields.push(
    [
      'policy',
      policy.activeRevision === null
        ? 'none'
        : `revision ${policy.activeRevision}, staleness ${durationText(policy.stalenessMs)}`,
    ],
    ['leases', `${leases.held} held, ${leases.wanted} wanted`],
    ['operations', operations.map(([state, count]) => `${count} ${state}`).join(', ') || 'none'],
    ['journal', `entry ${journal.seq}, reported up to ${journal.ackedSeq}`],
  );
  if (policy.rejected !== null) {
    fields.push([
      'rejected',
      `revision ${policy.rejected.policyRevision}: ${policy.rejected.reason}`,
    ]);
  }
  return fields;
}
