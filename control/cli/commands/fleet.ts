import type { Command } from 'commander';
import type { FleetHost } from '../../../shared/wire/rollout.ts';
import { collectPages, type CommandContext } from '../command-context.ts';
import type { View } from '../output.ts';
import { addFleetOutageCommands } from './fleet-outages.ts';
import { addUnreadableCommands } from './fleet-unreadable.ts';
import { withPageFlags, type PageFlags } from './options.ts';

export function addFleetCommand(program: Command, context: CommandContext): void {
  const fleet = program
    .command('fleet')
    .description('list which host runs which revision, and why it does not run its target');
  addFleetOutageCommands(fleet, context);
  addUnreadableCommands(fleet, context);
  withPageFlags(fleet).action(async (flags: PageFlags) => {
    const { output, control } = context;
    output.list(await collectPages((query) => control.fleet(query), flags), fleetView(context));
  });
}

function fleetView(context: CommandContext): View<FleetHost> {
  return {
    noun: 'hosts',
    name: ({ hostId }) => hostId,
    columns: [
      { header: 'NAME', value: ({ hostName }) => hostName },
      { header: 'STATE', value: ({ state }) => state },
      { header: 'REVISION', value: ({ policyRevision }) => String(policyRevision ?? '') },
      { header: 'FOR', value: ({ sinceMs }) => context.age(sinceMs) },
      { header: 'TARGET', value: ({ targetRevision }) => String(targetRevision ?? '') },
      {
        header: 'LABELS',
        value: ({ labels }) =>
          Object.entries(labels)
            .map(([key, value]) => `${key}=${value}`)
            .join(','),
      },
      {
        header: 'WHY',
        value: ({ lag, note }) => (lag === null ? (note ?? '') : `${lag.reason}: ${lag.detail}`),
      },
    ],
  };
}
