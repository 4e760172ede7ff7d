/** How leases are shown, and what is asked of their names. */
import type { ControlLease } from '../../../shared/wire/control-api.ts';
import type { HeldLeaseView } from '../../../shared/wire/sidecar-api.ts';
import type { CommandContext } from '../command-context.ts';
import { usageError } from '../failures.ts';
import type { View } from '../output.ts';
import { durationText } from '../time-text.ts';

export function checkResource(resource: string): void {
  if (resource.trim() === '') throw usageError('<resource> is empty: name what the lease is of');
}

export const HELD_LEASE_VIEW: View<HeldLeaseView> = {
  noun: 'leases',
  name: ({ resource }) => resource,
  columns: [
    { header: 'RESOURCE', value: ({ resource }) => resource },
    { header: 'STATE', value: ({ state }) => state },
    { header: 'EPOCH', value: ({ epoch }) => (epoch === null ? '' : String(epoch)) },
    { header: 'REMAINING', value: ({ remainingMs }) => durationText(remainingMs) },
    { header: 'HOLDER', value: ({ holder }) => holder ?? '' },
    { header: 'REASON', value: ({ reason }) => reason ?? '' },
  ],
};

export function controlLeaseView(context: CommandContext): View<ControlLease> {
  return {
    noun: 'leases',
    name: ({ resource }) => resource,
    columns: [
      { header: 'RESOURCE', value: ({ resource }) => resource },
      { header: 'STATE', value: ({ state }) => state },
      { header: 'EPOCH', value: ({ epoch }) => String(epoch) },
      { header: 'HOLDER', value: ({ holder, holderName }) => holderName ?? holder ?? '' },
      { header: 'REMAINING', value: ({ remainingMs }) => durationText(remainingMs) },
      { header: 'TRANSITIONS', value: ({ transitions }) => String(transitions) },
      { header: 'AGE', value: ({ grantedAtMs }) => context.age(grantedAtMs) },
      { header: 'HANDOVER', value: handoverText },
    ],
  };
}

function handoverText({ handover }: ControlLease): string {
  if (handover === null) return '';
  const { mode, toHostName, toHostId, remainingMs } = handover;
  const target = toHostName ?? toHostId;
  const left = remainingMs === null ? '' : `, ${durationText(remainingMs)} left`;
  return `${mode}${target === null ? '' : ` for ${target}`}${left}`;
}
