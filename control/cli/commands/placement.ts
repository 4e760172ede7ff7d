import type { Command } from 'commander';
import { parse as parseYaml, stringify as toYaml } from 'yaml';
import { ProblemError } from '../../../shared/client/index.ts';
import type {
  PlacementEntry,
  PlacementExplanation,
  PlacementGroup,
  PlacementGroupSpec,
  PlacementHostView,
  PlacementPlan,
} from '../../../shared/wire/placement-api.ts';
import type { CommandContext } from '../command-context.ts';
import { CommandError } from '../failures.ts';
import type { View } from '../output.ts';
import { readInput } from '../read-input.ts';
import { durationText, timeText } from '../time-text.ts';

export function addPlacementCommands(program: Command, context: CommandContext): void {
  const placement = program
    .command('placement')
    .description('have control choose which host owns which shard');
  addGroupCommands(placement, context);
  placement
    .command('plan <group>')
    .description('print what placement would change, and why; nothing is done')
    .option('-f, --file <file>', 'as if the group were as in this file (YAML; - reads input)')
    .action(async (group: string, { file }: { file?: string }) => {
      const client = context.control.placement;
      const plan =
        file === undefined
          ? await client.plan(group)
          : await client.planFor({ ...readGroup(context, file), name: group });
      showPlan(context, plan);
    });
  placement
    .command('list <group>')
    .description('list where each shard of a group is')
    .action(async (group: string) => {
      const items = await context.control.placement.assignments(group);
      context.output.list({ items, nextCursor: null }, ENTRY_VIEW);
    });
  placement
    .command('explain <resource>')
    .description('print why a shard is where it is: every host, its score, or why it is excluded')
    .action(async (resource: string) => {
      showExplanation(context, await context.control.placement.explain(resource));
    });
  placement
    .command('release-brake')
    .description('take the hosts that are silent for lost, and place their shards elsewhere')
    .action(async () => {
      const answer = await context.control.placement.releaseBrake();
      context.output.done(answer, { sentence: 'placement goes on', name: 'placement' });
    });
}

function addGroupCommands(placement: Command, context: CommandContext): void {
  const group = placement.command('group').description('read and write placement groups');
  group
    .command('apply <file>')
    .description('make or change a group from a file (YAML; - reads standard input)')
    .option('--dry-run', 'print what would change, and do nothing')
    .action(async (file: string, flags: { dryRun?: boolean }) => {
      const given = readGroup(context, file);
      const { placement: client } = context.control;
      if (flags.dryRun === true) {
        showPlan(context, await client.planFor(given));
        return;
      }
      const known = await groupIfAny(context, given.name);
      const applied = await client.putGroup(given.name, given.spec, {
        replaces: known?.revision ?? null,
      });
      const sentence = `group ${applied.name} is at revision ${applied.revision}`;
      context.output.done(applied, { sentence, name: applied.name });
    });
  group
    .command('list')
    .description('list placement groups')
    .action(async () => {
      const items = await context.control.placement.groups();
      context.output.list({ items, nextCursor: null }, GROUP_VIEW);
    });
  group
    .command('get <name>')
    .description('print a group as `apply` takes it')
    .action(async (name: string) => {
      const found = await context.control.placement.group(name);
      const { output } = context;
      if (output.format === 'json') output.custom(found, () => {});
      else if (output.format === 'name') output.line(found.name);
      else {
        output.raw(toYaml({ name: found.name, ...found.spec }, { lineWidth: 0 }));
        output.note(
          `revision ${found.revision}, ${timeText(found.updatedAtMs)}, ${found.updatedBy}`,
        );
      }
    });
  group
    .command('delete <name>')
    .description('delete a group; its leases stay with those who hold them')
    .action(async (name: string) => {
      const { revision } = await context.control.placement.group(name);
      await context.control.placement.deleteGroup(name, { replaces: revision });
      context.output.done({ name }, { sentence: `group ${name} deleted`, name });
    });
}

async function groupIfAny(context: CommandContext, name: string): Promise<PlacementGroup | null> {
  try {
    return await context.control.placement.group(name);
  } catch (error) {
    if (error instanceof ProblemError && error.status === 404) return null;
    throw error;
  }
}

/** `name`, and beside it the spec; what is wrong with the spec control says. */
function readGroup(
  context: CommandContext,
  file: string,
): { name: string; spec: PlacementGroupSpec } {
  const invalid = (detail: string, cause?: unknown): CommandError =>
    new CommandError('group_invalid', `${file}: ${detail}`, { cause });
  const text = readInput(context.surroundings.cwd, file).toString('utf8');
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : String(error), error);
  }
  if (typeof value !== 'object' || value === null || !('name' in value)) {
    throw invalid('write name, shards and resource, as orders, 64 and orders/{shard}');
  }
  const { name, ...spec } = value;
  if (typeof name !== 'string') throw invalid('name must be a text');
  return { name, spec: spec as PlacementGroupSpec };
}

function showPlan({ output }: CommandContext, plan: PlacementPlan): void {
  output.custom(plan, () => {
    const { counts, brake, maxMovesPerMinute } = plan;
    if (brake !== null) {
      const left = durationText(brake.remainingMs);
      output.line(
        `the brake is on (${brake.reason}, ${brake.silent} of ${brake.of} hosts silent, ${left} left): nothing of this begins`,
      );
    }
    output.line(
      `${counts.keep} stay, ${counts.assign} get a host, ${counts.move} move (at most ${maxMovesPerMinute} a minute), ${counts.unplaced} have no place`,
    );
    if (plan.items.length > 0) output.table(plan.items, ENTRY_VIEW.columns);
    output.line();
    output.table(plan.hosts, HOST_COLUMNS);
  });
}

function showExplanation({ output }: CommandContext, explanation: PlacementExplanation): void {
  output.custom(explanation, () => {
    for (const sentence of explanation.summary) output.line(sentence);
    output.line();
    output.table(explanation.candidates, [
      { header: 'HOST', value: ({ hostName }) => hostName },
      { header: 'SCORE', value: ({ score }) => score.toFixed(3) },
      { header: 'WEIGHT', value: ({ weight }) => String(weight) },
      { header: 'SHARDS', value: ({ shards }) => String(shards) },
      { header: 'CAPACITY', value: ({ capacity }) => (capacity === null ? '' : String(capacity)) },
      { header: 'EXCLUDED', value: ({ excluded }) => excluded ?? '' },
    ]);
  });
}

const GROUP_VIEW: View<PlacementGroup> = {
  noun: 'placement groups',
  name: ({ name }) => name,
  columns: [
    { header: 'NAME', value: ({ name }) => name },
    { header: 'REVISION', value: ({ revision }) => String(revision) },
    { header: 'SHARDS', value: ({ spec }) => String(spec.shards) },
    { header: 'RESOURCE', value: ({ spec }) => spec.resource },
    {
      header: 'SELECTOR',
      value: ({ spec }) =>
        Object.entries(spec.selector ?? {})
          .map(([key, value]) => `${key}=${value}`)
          .join(','),
    },
    { header: 'BY', value: ({ updatedBy }) => updatedBy },
  ],
};

const ENTRY_VIEW: View<PlacementEntry> = {
  noun: 'shards',
  name: ({ resource }) => resource,
  columns: [
    { header: 'RESOURCE', value: ({ resource }) => resource },
    { header: 'FROM', value: ({ fromHostName, fromHostId }) => fromHostName ?? fromHostId ?? '' },
    { header: 'TO', value: ({ hostName, hostId }) => hostName ?? hostId ?? '' },
    {
      header: 'ACTION',
      value: ({ action, hostId, isInFlight }) =>
        isInFlight ? 'handing over' : hostId === null ? 'no place' : action,
    },
    { header: 'WHY', value: ({ why }) => why },
  ],
};

const HOST_COLUMNS: View<PlacementHostView>['columns'] = [
  { header: 'HOST', value: ({ hostName }) => hostName },
  { header: 'STATE', value: ({ state }) => state },
  { header: 'WEIGHT', value: ({ weight }) => String(weight) },
  { header: 'CAPACITY', value: ({ capacity }) => (capacity === null ? '' : String(capacity)) },
  { header: 'NOW', value: ({ shardsNow }) => String(shardsNow) },
  { header: 'THEN', value: ({ shardsThen }) => String(shardsThen) },
  { header: 'EXCLUDED', value: ({ excluded }) => excluded ?? '' },
];
