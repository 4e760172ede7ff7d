import type { Command } from 'commander';
import type { ConfigChange } from '../../../shared/client/config-client.ts';
import type { ConfigValue } from '../../../shared/wire/config-value.ts';
import type { CommandContext } from '../command-context.ts';
import { CommandError, EXIT } from '../failures.ts';
import type { View } from '../output.ts';
import { ageText, durationText, timeText } from '../time-text.ts';

export function addConfigCommands(program: Command, context: CommandContext): void {
  const config = program
    .command('config')
    .description('read the config values that the sidecar of this host gives to apps');
  config
    .command('get <key>')
    .description('print one value, with its age and its end')
    .option('--value', 'print the value alone, as JSON; fails where it is expired')
    .action(async (key: string, flags: { value?: boolean }) => {
      const value = await context.sidecar.config.get(key);
      if (flags.value !== true) context.output.item(value, VIEW);
      else if (value.expired) throw expiredError(value);
      else context.output.raw(`${JSON.stringify(value.value)}\n`);
    });
  config
    .command('list')
    .description('list all values')
    .action(async () => {
      const { items } = await context.sidecar.config.list();
      context.output.list({ items, nextCursor: null }, VIEW);
    });
  config
    .command('watch [key]')
    .description('print each change, expiry and return of a value, until stopped')
    .action((key: string | undefined) => watch(context, key));
}

async function watch(context: CommandContext, key: string | undefined): Promise<void> {
  const { output, sidecar } = context;
  const changes = sidecar.config.watch({
    ...(key === undefined ? {} : { key }),
    onInterruption: (error) => output.note(`waiting: ${error.message}`),
  });
  let isFirst = true;
  for await (const change of changes) {
    if (isFirst && key !== undefined && change.items.length === 0) {
      output.note(`the policy in force has no config value ${key}: waiting for one that does`);
    }
    isFirst = false;
    printChange(context, change);
  }
}

/** One line for each, so that a pipe can follow it; as JSON where that is asked for. */
function printChange(
  { output, clock }: CommandContext,
  { items, removed, policyRevision }: ConfigChange,
): void {
  if (output.format === 'json' || output.format === 'yaml') {
    for (const item of items) output.raw(`${JSON.stringify(item)}\n`);
    for (const key of removed)
      output.raw(`${JSON.stringify({ key, removed: true, policyRevision })}\n`);
    return;
  }
  if (output.format === 'name') {
    for (const key of [...items.map((item) => item.key), ...removed]) output.line(key);
    return;
  }
  const at = timeText(clock.now().wallMs);
  for (const item of items) {
    const { key, value, expired, source } = item;
    const state = expired ? `expired, ${source === 'none' ? 'withheld' : source}` : 'holds';
    output.line(`${at}  ${key} = ${JSON.stringify(value)}  (${state}, revision ${policyRevision})`);
  }
  for (const key of removed) output.line(`${at}  ${key} is gone (revision ${policyRevision})`);
}

function expiredError({ key, maxStalenessMs, source }: ConfigValue): CommandError {
  return new CommandError(
    'config_expired',
    `config value ${key} is expired: authority is older than ${durationText(maxStalenessMs)}, and ${source} would be served`,
    { exitCode: EXIT.unavailable, hint: 'without --value it is printed with its marks' },
  );
}

const VIEW: View<ConfigValue> = {
  noun: 'config values',
  name: ({ key }) => key,
  columns: [
    { header: 'KEY', value: ({ key }) => key },
    {
      header: 'VALUE',
      value: ({ value, source }) => (source === 'none' ? '' : JSON.stringify(value)),
    },
    { header: 'STATE', value: ({ expired }) => (expired ? 'expired' : 'holds') },
    { header: 'SOURCE', value: ({ source }) => source },
    { header: 'HOLDS FOR', value: ({ expiresInMs }) => ageText(expiresInMs) },
    { header: 'THEN', value: ({ onExpiry }) => onExpiry },
  ],
  details: [
    ['key', ({ key }) => key],
    ['value', ({ value, source }) => (source === 'none' ? 'withheld' : JSON.stringify(value))],
    ['state', ({ expired }) => (expired ? 'expired' : 'holds')],
    ['reason', ({ reason }) => reason],
    ['source', ({ source }) => source],
    ['revision', ({ policyRevision }) => String(policyRevision)],
    [
      'staleness',
      ({ stalenessMs, maxStalenessMs }) =>
        `${durationText(stalenessMs)} of ${durationText(maxStalenessMs)}`,
    ],
    ['holds until', ({ expiresAtMs, expired }) => (expired ? null : timeText(expiresAtMs))],
    ['then', ({ onExpiry }) => onExpiry],
  ],
};
