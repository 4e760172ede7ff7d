/** What an operator says about a host: its labels, and that it is to be emptied. */
import type { Command } from 'commander';
import { LABEL_FORM, LABEL_KEY_PATTERN, LABEL_VALUE_PATTERN } from '../../../shared/core/labels.ts';
import type { HostSettingsView, Labels } from '../../../shared/wire/placement-api.ts';
import type { CommandContext } from '../command-context.ts';
import { usageError } from '../failures.ts';
import type { View } from '../output.ts';
import { timeText } from '../time-text.ts';

export function addHostSettings(host: Command, context: CommandContext): void {
  host
    .command('settings <host>')
    .description('print labels and drain of a host, by name or id')
    .action(async (name: string) => {
      context.output.item(await context.control.placement.hostSettings(name), SETTINGS_VIEW);
    });
  host
    .command('label <host> <labels...>')
    .description('set labels as zone=a, or remove one as zone-')
    .action(async (name: string, changes: string[]) => {
      const { placement } = context.control;
      const { labels } = await placement.hostSettings(name);
      const labelled = await placement.setLabels(name, withChanges(labels, changes));
      context.output.item(labelled, SETTINGS_VIEW);
    });
  host
    .command('drain <host>')
    .description('place nothing on a host, and move its shards elsewhere')
    .option('--reason <text>', 'why, for the audit trail')
    .action(async (name: string, flags: { reason?: string }) => {
      const drained = await context.control.placement.drainHost(name, flags);
      const sentence = `host ${drained.hostName} is being drained`;
      context.output.done(drained, { sentence, name: drained.hostName });
      context.output.note('`holdfast placement plan <group>` shows what is left on it');
    });
  host
    .command('undrain <host>')
    .description('place shards on a host again')
    .action(async (name: string) => {
      const settings = await context.control.placement.undrainHost(name);
      const sentence = `host ${settings.hostName} takes shards again`;
      context.output.done(settings, { sentence, name: settings.hostName });
    });
}

const labelsText = (labels: Labels): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');

const LABEL_KEY = new RegExp(LABEL_KEY_PATTERN);
const LABEL_VALUE = new RegExp(LABEL_VALUE_PATTERN);
const isLabel = (key: string, value: string): boolean =>
  LABEL_KEY.test(key) && LABEL_VALUE.test(value);

function withChanges(labels: Labels, changes: readonly string[]): Labels {
  const next: Record<string, string> = { ...labels };
  for (const change of changes) {
    const [key = '', value, ...more] = change.split('=');
    if (value !== undefined && isLabel(key, value) && more.length === 0) next[key] = value;
    else if (value === undefined && key.endsWith('-')) delete next[key.slice(0, -1)];
    else
      throw usageError(
        `${change} is no label: write zone=a to set one, zone- to remove it; ${LABEL_FORM}`,
      );
  }
  return next;
}

const SETTINGS_VIEW: View<HostSettingsView> = {
  noun: 'hosts',
  name: ({ hostName }) => hostName,
  columns: [
    { header: 'NAME', value: ({ hostName }) => hostName },
    {
      header: 'LABELS',
      value: ({ labels }) => labelsText(labels),
    },
    { header: 'IN ROLL-OUTS', value: ({ effectiveLabels }) => labelsText(effectiveLabels) },
    {
      header: 'DRAIN',
      value: ({ drain }) => (drain === null ? '' : `since ${timeText(drain.sinceMs)}`),
    },
    { header: 'BY', value: ({ drain }) => drain?.by ?? '' },
    { header: 'REASON', value: ({ drain }) => drain?.reason ?? '' },
  ],
};
