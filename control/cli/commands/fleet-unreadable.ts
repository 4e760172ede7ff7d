import type { Command } from 'commander';
import type { UnreadableEvent } from '../../../shared/wire/control-api.ts';
import { collectPages, type CommandContext } from '../command-context.ts';
import type { View } from '../output.ts';
import { timeText } from '../time-text.ts';
import { withPageFlags, type PageFlags } from './options.ts';

export function addUnreadableCommands(fleet: Command, context: CommandContext): void {
  withPageFlags(
    fleet
      .command('unreadable')
      .description('list reported events that are stored and that this control cannot read'),
  ).action(async (_flags: PageFlags, command: Command) => {
    const { output, control } = context;
    // `fleet` itself has page flags, and takes them wherever they stand.
    const flags = command.optsWithGlobals<PageFlags>();
    output.list(await collectPages((page) => control.unreadableEvents(page), flags), VIEW);
  });
  fleet
    .command('reread')
    .description('read them again, as after an upgrade of control')
    .action(async () => {
      const { output, control } = context;
      const sum = { read: 0, left: 0 };
      for (let cursor: string | undefined; ;) {
        const { read, left, nextCursor } = await control.rereadEvents(cursor);
        sum.read += read;
        sum.left += left;
        if (nextCursor === null) break;
        output.note(`read ${sum.read}, left ${sum.left} so far`);
        cursor = nextCursor;
      }
      output.custom(sum, () =>
        output.fields([
          ['read', String(sum.read)],
          ['left', String(sum.left)],
        ]),
      );
    });
}

const VIEW: View<UnreadableEvent> = {
  noun: 'events',
  name: ({ hostId, hostEpoch, seq }) => `${hostId}/${hostEpoch}/${seq}`,
  columns: [
    { header: 'HOST', value: ({ hostId }) => hostId },
    { header: 'SEQ', value: ({ seq }) => String(seq) },
    { header: 'KIND', value: ({ kind }) => kind },
    { header: 'OPERATION', value: ({ operationId }) => operationId ?? '' },
    { header: 'RECEIVED', value: ({ receivedAtMs }) => timeText(receivedAtMs) },
    { header: 'PROBLEM', value: ({ problem }) => problem },
  ],
};
