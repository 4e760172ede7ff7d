import type { Command } from 'commander';
import type { Refusal } from '../../../shared/wire/operation.ts';
import { collectPages, newestOnly, type CommandContext } from '../command-context.ts';
import type { DaemonName } from '../connections.ts';
import type { View } from '../output.ts';
import { timeText } from '../time-text.ts';
import { fromFlag, withPageFlags, type PageFlags } from './options.ts';

export function addRefusalCommands(program: Command, context: CommandContext): void {
  const refusal = program.command('refusal').description('look at what was not accepted, and why');
  withPageFlags(refusal.command('list').description('list refusals'))
    .addOption(fromFlag('sidecar'))
    .action(async (flags: PageFlags & { from: DaemonName }) => {
      const { output } = context;
      const view = refusalView(context);
      if (flags.from === 'control') {
        const { control } = context;
        output.list(await collectPages((query) => control.refusals(query), flags), view);
      } else {
        output.list(await newestOnly((limit) => context.sidecar.refusals({ limit }), flags), view);
      }
    });
}

export function refusalView(context: CommandContext): View<Refusal> {
  return {
    noun: 'refusals',
    name: ({ refusalId }) => refusalId,
    columns: [
      { header: 'ID', value: ({ refusalId }) => refusalId },
      { header: 'TIME', value: ({ atMs }) => timeText(atMs) },
      { header: 'AGE', value: ({ atMs }) => context.age(atMs) },
      { header: 'REASON', value: ({ reason }) => reason },
      { header: 'ACTION', value: ({ action }) => action },
      { header: 'PRINCIPAL', value: ({ principal }) => principal },
      { header: 'RULE', value: ({ rule }) => rule ?? '' },
      { header: 'MESSAGE', value: ({ message }) => message },
    ],
  };
}
