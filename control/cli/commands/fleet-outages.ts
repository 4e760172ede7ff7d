import { Option, type Command } from 'commander';
import type { FleetOutage } from '../../../shared/wire/fleet-outages.ts';
import { collectPages, type CommandContext } from '../command-context.ts';
import type { View } from '../output.ts';
import { ageText, timeText } from '../time-text.ts';
import { withPageFlags, type PageFlags } from './options.ts';

type Flags = PageFlags & {
  readonly host?: string;
  readonly open?: boolean;
  readonly ended?: boolean;
  readonly seenBy?: FleetOutage['seenBy'];
};

export function addFleetOutageCommands(fleet: Command, context: CommandContext): void {
  withPageFlags(
    fleet
      .command('outages')
      .description('list the outages of all hosts, as reported and as control has seen them')
      .option('--host <id>', 'only those of one host')
      .addOption(new Option('--open', 'only those that have not ended').conflicts('ended'))
      .option('--ended', 'only those that have ended')
      .addOption(
        new Option('--seen-by <who>', 'as hosts report them, or as control has seen them').choices([
          'host',
          'control',
        ]),
      ),
  ).action(async (_flags: Flags, command: Command) => {
    const { output, control } = context;
    // `fleet` itself has page flags, and takes them wherever they stand.
    const flags = command.optsWithGlobals<Flags>();
    const filter = {
      ...(flags.host === undefined ? {} : { host: flags.host }),
      ...(flags.open === true ? { open: true } : {}),
      ...(flags.ended === true ? { open: false } : {}),
      ...(flags.seenBy === undefined ? {} : { seenBy: flags.seenBy }),
    };
    const listed = await collectPages(
      (page) => control.fleetOutages({ ...filter, ...page }),
      flags,
    );
    output.list(listed, fleetOutageView(context));
  });
  fleet
    .command('outage')
    .description('show one outage: what its host did in it, and what else was away at that time')
    .argument('<id>', 'as `holdfast fleet outages` lists it')
    .option('--host <id>', 'of which host, where two have chosen the same id')
    .action(async (outageId: string, flags: { host?: string }) => {
      const { output, control } = context;
      const outage = await control.fleetOutage(outageId, flags.host);
      output.custom(outage, () => {
        const { tally, unreported, overlaps } = outage;
        output.fields([
          ['outage', outage.outageId],
          ['seen by', outage.seenBy],
          ['host', hostText(outage)],
          ['from', timeText(outage.fromMs)],
          ['to', outage.toMs === null ? 'open' : timeText(outage.toMs)],
          ['lasted', lastedText(context, outage)],
          ['cause', outage.cause],
          ['detail', outage.detail],
          ['revision', String(outage.policyRevision ?? '')],
          ...Object.entries(tally).map(([kind, count]): [string, string] => [kind, String(count)]),
          ['unreported', unreported === null ? '' : String(unreported)],
        ]);
        if (overlaps.length === 0) return;
        output.line();
        output.heading('Also away at that time');
        output.table(overlaps, fleetOutageView(context).columns);
      });
    });
}

const hostText = ({ hostId, hostName }: FleetOutage): string =>
  hostId === null ? 'all (control itself)' : (hostName ?? hostId);

function lastedText(context: CommandContext, { fromMs, toMs }: FleetOutage): string {
  return toMs === null ? context.age(fromMs) : ageText(toMs - fromMs);
}

function fleetOutageView(context: CommandContext): View<FleetOutage> {
  return {
    noun: 'outages',
    name: ({ outageId }) => outageId,
    columns: [
      { header: 'ID', value: ({ outageId }) => outageId },
      { header: 'HOST', value: hostText },
      { header: 'SEEN BY', value: ({ seenBy }) => seenBy },
      { header: 'FROM', value: ({ fromMs }) => timeText(fromMs) },
      { header: 'TO', value: ({ toMs }) => (toMs === null ? 'open' : timeText(toMs)) },
      { header: 'LASTED', value: (outage) => lastedText(context, outage) },
      { header: 'CAUSE', value: ({ cause }) => cause },
      { header: 'DETAIL', value: ({ detail }) => detail },
    ],
  };
}
