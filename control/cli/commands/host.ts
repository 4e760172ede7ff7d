import type { Command } from 'commander';
import type { Host } from '../../../shared/wire/control-api.ts';
import { collectPages, durationFlag, type CommandContext } from '../command-context.ts';
import type { View } from '../output.ts';
import { timeText } from '../time-text.ts';
import { addHostSettings } from './host-settings.ts';
import { withPageFlags, type PageFlags } from './options.ts';

export function addHostCommands(program: Command, context: CommandContext): void {
  const host = program.command('host').description('look at hosts, let new ones in, drain them');
  withPageFlags(host.command('list').description('list the hosts that have enrolled')).action(
    async (flags: PageFlags) => {
      const { output, control } = context;
      output.list(await collectPages((query) => control.hosts(query), flags), hostView(context));
    },
  );
  host
    .command('show <id>')
    .description('print all that control knows of one host')
    .action(async (id: string) => {
      context.output.item(await context.control.host(id), hostView(context));
    });
  host
    .command('join-token <name>')
    .description('make a one-time token with which the host of that name enrols')
    .option('--ttl <duration>', 'how long it can be used', '10m')
    .action(async (hostName: string, { ttl }: { ttl: string }) => {
      durationFlag('--ttl', ttl);
      const token = await context.control.createJoinToken({ hostName, ttl });
      // The token alone, so that it can be piped into the file that the sidecar reads.
      context.output.done(token, { sentence: token.joinToken, name: token.joinToken });
      context.output.note(
        `for host ${token.hostName}, once, until ${timeText(token.expiresAtMs)}; it is not shown again`,
      );
    });
  addHostSettings(host, context);
}

function hostView(context: CommandContext): View<Host> {
  const operations = (host: Host): string =>
    Object.entries(host.operations)
      .filter(([, count]) => count > 0)
      .map(([state, count]) => `${state} ${count}`)
      .join(', ');
  return {
    noun: 'hosts',
    name: ({ hostId }) => hostId,
    columns: [
      { header: 'ID', value: ({ hostId }) => hostId },
      { header: 'NAME', value: ({ hostName }) => hostName },
      { header: 'STATE', value: ({ state }) => state },
      { header: 'SYNC', value: ({ lastSyncAtMs }) => context.age(lastSyncAtMs) },
      { header: 'REVISION', value: ({ policyRevision }) => String(policyRevision ?? '') },
      {
        header: 'UNREPORTED',
        value: ({ journalSeq, ackedSeq }) => String(Math.max(0, journalSeq - ackedSeq)),
      },
      { header: 'VERSION', value: ({ sidecarVersion }) => sidecarVersion ?? '' },
    ],
    details: [
      ['host', ({ hostId }) => hostId],
      ['name', ({ hostName }) => hostName],
      ['state', ({ state }) => state],
      ['epoch', ({ hostEpoch }) => String(hostEpoch)],
      ['enrolled', ({ enrolledAtMs }) => timeText(enrolledAtMs)],
      [
        'last sync',
        ({ lastSyncAtMs }) =>
          lastSyncAtMs === null
            ? 'never'
            : `${timeText(lastSyncAtMs)} (${context.age(lastSyncAtMs)} ago)`,
      ],
      ['policy revision', ({ policyRevision }) => String(policyRevision ?? 'none')],
      [
        'rejected',
        ({ policyRejected }) =>
          policyRejected === null
            ? null
            : `revision ${policyRejected.policyRevision}: ${policyRejected.reason}`,
      ],
      ['journal', ({ journalSeq, ackedSeq }) => `at ${journalSeq}, reported up to ${ackedSeq}`],
      ['operations', (host) => operations(host) || 'none'],
      ['version', ({ sidecarVersion }) => sidecarVersion],
    ],
  };
}
