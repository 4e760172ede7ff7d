/** Orders of an operator about leases: they go to control, and take hold with the syncs of hosts. */
import { Option, type Command } from 'commander';
import type { ControlLease } from '../../../shared/wire/control-api.ts';
import { durationFlag, type CommandContext } from '../command-context.ts';
import { CommandError, EXIT } from '../failures.ts';
import { durationText } from '../time-text.ts';
import { checkResource, controlLeaseView } from './lease-views.ts';

type WaitFlags = { readonly wait?: string | true; readonly reason?: string };
type TransferFlags = WaitFlags & {
  readonly to: string;
  readonly drainTimeout?: string;
  readonly onTimeout?: 'give_up' | 'revoke';
};

const WAIT_STANDARD = '5m';
const POLL_MS = 500;

export function addLeaseOrders(lease: Command, context: CommandContext): void {
  lease
    .command('show <resource>')
    .description('print what control knows of one lease, and of its hand-over')
    .action(async (resource: string) => {
      checkResource(resource);
      context.output.item(await context.control.lease(resource), controlLeaseView(context));
    });
  withWait(lease.command('transfer <resource>'))
    .description('hand a lease over to another host, once its holder has ended its work')
    .requiredOption('--to <host>', 'name or id of the host that gets it')
    .option('--drain-timeout <duration>', 'how long its holder may take (default "5m")')
    .addOption(
      new Option('--on-timeout <what>', 'when the work has not ended by then').choices([
        'give_up',
        'revoke',
      ]),
    )
    .action((resource: string, flags: TransferFlags) => transfer(context, resource, flags));
  withWait(lease.command('revoke <resource>'))
    .description('take a lease from its holder, who is told to stop now')
    .option('--to <host>', 'name or id of the host that gets it then')
    .action(async (resource: string, flags: WaitFlags & { to?: string }) => {
      checkResource(resource);
      const waitMs = waitOf(flags);
      const { to, reason } = flags;
      const order = { ...(to === undefined ? {} : { to }), ...reasonOf(reason) };
      const before = await context.control.lease(resource);
      const marked = await context.control.revokeLease(resource, order);
      await finish(context, {
        marked,
        waitMs,
        isDone: (now) => now.epoch > before.epoch || now.state !== 'held',
      });
    });
  lease
    .command('cancel-transfer <resource>')
    .description('call a hand-over off: its holder keeps the lease')
    .option('--reason <text>', 'why, for the audit trail')
    .action(async (resource: string, { reason }: { reason?: string }) => {
      checkResource(resource);
      const kept = await context.control.cancelTransfer(resource, reasonOf(reason));
      const sentence = `hand-over of ${resource} called off`;
      context.output.done(kept, { sentence, name: resource });
    });
}

function withWait(command: Command): Command {
  return command
    .option('--reason <text>', 'why, for the audit trail')
    .option('--wait [duration]', `wait until it is done (${WAIT_STANDARD} where it is not said)`);
}

function waitOf({ wait }: WaitFlags): number | null {
  return wait === undefined ? null : durationFlag('--wait', wait === true ? WAIT_STANDARD : wait);
}

const reasonOf = (reason: string | undefined) => (reason === undefined ? {} : { reason });

async function transfer(
  context: CommandContext,
  resource: string,
  flags: TransferFlags,
): Promise<void> {
  checkResource(resource);
  const waitMs = waitOf(flags);
  const { to, drainTimeout, onTimeout, reason } = flags;
  if (drainTimeout !== undefined) durationFlag('--drain-timeout', drainTimeout);
  const marked = await context.control.transferLease(resource, {
    to,
    ...(drainTimeout === undefined ? {} : { drainTimeout }),
    ...(onTimeout === undefined ? {} : { onTimeout }),
    ...reasonOf(reason),
  });
  const targetId = marked.handover?.toHostId ?? null;
  const isDone = (now: ControlLease): boolean => now.state === 'held' && now.holder === targetId;
  await finish(context, { marked, waitMs, isDone });
}

async function finish(
  context: CommandContext,
  order: {
    readonly marked: ControlLease;
    readonly waitMs: number | null;
    readonly isDone: (now: ControlLease) => boolean;
  },
): Promise<void> {
  const { output, control, clock } = context;
  const { marked, waitMs, isDone } = order;
  const { resource } = marked;
  if (waitMs === null) {
    output.done(marked, { sentence: sentenceOf(marked), name: resource });
    output.note(`\`holdfast lease show ${resource}\` says how far it is; --wait waits for it`);
    return;
  }
  const endMs = clock.now().bootMs + waitMs;
  let last = marked;
  let said = '';
  while (!isDone(last)) {
    const isOver = last.handover === null && last.epoch === marked.epoch && last.state === 'held';
    if (isOver) throw notDone(last, 'it was given up: its holder did not end its work in time');
    if (clock.now().bootMs >= endMs) throw notDone(last, `after ${durationText(waitMs)}`);
    const sentence = sentenceOf(last);
    if (sentence !== said) output.note(sentence);
    said = sentence;
    await clock.sleep(POLL_MS);
    last = await control.lease(resource);
  }
  output.item(last, controlLeaseView(context));
}

function sentenceOf({ resource, holderName, holder, handover }: ControlLease): string {
  const who = holderName ?? holder ?? 'nobody';
  if (handover === null) return `${resource} is with ${who}`;
  const target = handover.toHostName ?? handover.toHostId ?? 'whoever asks first';
  switch (handover.mode) {
    case 'drain': {
      const { unfinished } = handover;
      const left = unfinished === null ? '' : `, ${unfinished} operations left`;
      return `${resource} is being drained by ${who} for ${target}${left}`;
    }
    case 'stop':
      return `${who} is told to stop; ${resource} then goes to ${target}`;
    case 'reserved':
      return `${resource} is free and kept for ${target}`;
  }
}

function notDone(lease: ControlLease, why: string): CommandError {
  const detail = `${lease.resource} is not handed over: ${why}`;
  const hint = `\`holdfast lease show ${lease.resource}\` says how it is`;
  return new CommandError('handover_unfinished', detail, { exitCode: EXIT.unavailable, hint });
}
