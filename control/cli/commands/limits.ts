import type { Command } from 'commander';
import type { LimitState } from '../../../shared/wire/limits.ts';
import type { CommandContext } from '../command-context.ts';
import type { View } from '../output.ts';
import { durationText } from '../time-text.ts';

export function addLimitsCommand(program: Command, context: CommandContext): void {
  program
    .command('limits')
    .description('show what is used of each limit on this host, the least remaining first')
    .action(async () => {
      const { output } = context;
      const { items, count, truncated } = await context.sidecar.limits();
      output.list({ items, nextCursor: null }, LIMIT_VIEW);
      if (truncated) output.note(`these are ${items.length} of ${count}`);
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
