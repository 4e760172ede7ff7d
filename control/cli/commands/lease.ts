import type { Command } from 'commander';
import type { HeldLeaseView } from '../../../shared/wire/sidecar-api.ts';
import { collectPages, durationFlag, type CommandContext } from '../command-context.ts';
import type { DaemonName } from '../connections.ts';
import { CommandError, EXIT } from '../failures.ts';
import { addLeaseOrders } from './lease-orders.ts';
import { HELD_LEASE_VIEW, checkResource, controlLeaseView } from './lease-views.ts';
import { fromFlag, withPageFlags, type PageFlags } from './options.ts';

export function addLeaseCommands(program: Command, context: CommandContext): void {
  const lease = program
    .command('lease')
    .description('look at ownership, ask for it, give it up, hand it over');
  withPageFlags(lease.command('list').description('list leases'))
    .addOption(fromFlag('sidecar'))
    .action(async (flags: PageFlags & { from: DaemonName }) => {
      const { output } = context;
      if (flags.from === 'control') {
        const { control } = context;
        output.list(
          await collectPages((query) => control.leases(query), flags),
          controlLeaseView(context),
        );
      } else {
        output.list({ items: await context.sidecar.leases(), nextCursor: null }, HELD_LEASE_VIEW);
      }
    });
  lease
    .command('acquire <resource>')
    .description('have the sidecar ask control for a lease, and keep it renewed')
    .option('--wait <duration>', 'how long to wait until it is held', '5s')
    .action(async (resource: string, flags: { wait: string }) => {
      checkResource(resource);
      const waitMs = durationFlag('--wait', flags.wait);
      const held = await context.sidecar.acquireLease(resource, { waitMs });
      context.output.item(held, HELD_LEASE_VIEW);
      if (held.state !== 'held') throw notHeld(held, flags.wait);
    });
  lease
    .command('release <resource>')
    .description('give a lease up')
    .action(async (resource: string) => {
      checkResource(resource);
      const known = await context.sidecar.leases();
      if (!known.some((one) => one.resource === resource)) {
        const detail = `this sidecar neither holds nor wants a lease of ${resource}`;
        const hint = '`holdfast lease list` shows what it has';
        throw new CommandError('lease_absent', detail, { exitCode: EXIT.notFound, hint });
      }
      const released = await context.sidecar.releaseLease(resource);
      context.output.done(released, { sentence: `lease of ${resource} given up`, name: resource });
    });
  addLeaseOrders(lease, context);
}

function notHeld({ resource, reason, holder }: HeldLeaseView, wait: string): CommandError {
  const who = holder === null ? '' : `; ${holder} has it`;
  const detail = `${resource} is not held after ${wait}: ${reason ?? 'control has not answered'}${who}`;
  const hint = 'the sidecar goes on asking: `holdfast lease list` shows when it is held';
  return new CommandError('lease_absent', detail, { exitCode: EXIT.unavailable, hint });
}
