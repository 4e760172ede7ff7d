import type { Command } from 'commander';
import type { Allotment } from '../../../shared/wire/allotments.ts';
import type { LimitState } from '../../../shared/wire/limits.ts';
import { collectPages, type CommandContext } from '../command-context.ts';
import type { DaemonName } from '../connections.ts';
import type { View } from '../output.ts';
import { durationText } from '../time-text.ts';
import { fromFlag, withPageFlags, type PageFlags } from './options.ts';

export function addLimitsCommand(program: Command, context: CommandContext): void {
  withPageFlags(
    program
      .command('limits')
      .description('show what is used of each limit; of control: how fleet budgets are divided'),
  )
    .addOption(fromFlag('sidecar'))
    .action(async (flags: PageFlags & { from: DaemonName }) => {
      const { output } = context;
      if (flags.from === 'control') {
        const { control } = context;
        const listed = await collectPages((query) => control.allotments(query), flags);
        output.list(listed, allotmentView(context));
        return;
      }
      const { items, count } = await context.sidecar.limits();
      const shown = items.slice(0, flags.limit);
      output.list({ items: shown, nextCursor: null }, LIMIT_VIEW);
      if (shown.length < count)
        output.note(`these are ${shown.length} of ${count}, the least remaining first`);
    });
}

const time = (durationMs: number | null): string =>
  durationMs === null ? '' : durationText(durationMs);

const LIMIT_VIEW: View<LimitState> = {
  noun: 'limits',
  name: ({ rule, kind, key }) => (key === '' ? `${rule}/${kind}` : `${rule}/${kind}/${key}`),
  columns: [
    { header: 'RULE', value: ({ rule }) => rule },
    { header: 'KIND', value: ({ kind }) => kind },
    { header: 'PER', value: ({ per }) => per },
    { header: 'KEY', value: ({ key }) => key },
    { header: 'USED', value: ({ used, limit }) => `${used}/${limit}` },
    { header: 'REMAINING', value: ({ remaining }) => String(remaining) },
    { header: 'RESETS', value: ({ resetsMs }) => time(resetsMs) },
    { header: 'SCOPE', value: ({ scope }) => scope },
    { header: 'BUDGET', value: ({ budget }) => String(budget) },
    { header: 'SHARE ENDS', value: ({ shareEndsMs }) => time(shareEndsMs) },
  ],
};

function allotmentView(context: CommandContext): View<Allotment> {
  return {
    noun: 'parts of fleet budgets',
    name: ({ rule, kind, key, hostId }) => [rule, kind, key, hostId].filter(Boolean).join('/'),
    columns: [
      { header: 'RULE', value: ({ rule }) => rule },
      { header: 'KIND', value: ({ kind }) => kind },
      { header: 'PER', value: ({ per }) => per },
      { header: 'KEY', value: ({ key }) => key },
      { header: 'HOST', value: ({ hostName, hostId }) => hostName ?? hostId },
      { header: 'STATE', value: ({ state }) => state },
      { header: 'UNITS', value: ({ units, budget }) => `${units}/${budget ?? '-'}` },
      { header: 'IN USE', value: ({ inUse }) => String(inUse) },
      { header: 'WANTS', value: ({ wants }) => String(wants) },
      { header: 'REMAINING', value: ({ remainingMs }) => durationText(remainingMs) },
      { header: 'HEARD', value: ({ heardAtMs }) => context.age(heardAtMs) },
    ],
  };
}
