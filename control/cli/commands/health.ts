import type { Command } from 'commander';
import type { FleetHealth, FleetPart } from '../../../shared/wire/fleet-health.ts';
import type { Health, PlaneHealth } from '../../../shared/wire/health.ts';
import type { CommandContext } from '../command-context.ts';
import { CommandError, EXIT, failureOf, type Failure } from '../failures.ts';
import { healthProblem } from '../healthcheck.ts';
import { timeText } from '../time-text.ts';

export function addHealthCommands(program: Command, context: CommandContext): void {
  program
    .command('health')
    .description(
      'print the verdicts of both daemons on both planes, and of the fleet: exit code 0 when all are ' +
        'ok, impaired or unknown, 1 when a plane is down, 6 when a daemon is silent',
    )
    .option('--strict', 'exit code 1 for anything but ok: also impaired, and unknown')
    .action((flags: { strict?: boolean }) => health(context, flags.strict === true));
  program
    .command('healthcheck')
    .description('ask one URL, for containers: exit code 0 when it answers with success, else 1')
    .requiredOption('--url <url>', 'as http://127.0.0.1:7490/readyz, or unix:/path for its /readyz')
    .action(async (flags: { url: string }) => healthcheck(context, flags.url));
}

export type Asked<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly failure: Failure };

/** An answer or why there is none, so that one silent daemon does not hide what the other says. */
export async function ask<T>(question: () => Promise<T>): Promise<Asked<T>> {
  try {
    return { ok: true, value: await question() };
  } catch (error) {
    const failure = failureOf(error);
    if (failure.code === 'internal' || failure.exitCode === EXIT.usage) throw error;
    return { ok: false, failure };
  }
}

/** For structured output: the answer itself, or the reason why there is none. */
export function answerOrError<T>(asked: Asked<T>): T | { error: { code: string; detail: string } } {
  if (asked.ok) return asked.value;
  return { error: { code: asked.failure.code, detail: asked.failure.detail } };
}

async function health(context: CommandContext, isStrict: boolean): Promise<void> {
  const { output } = context;
  const [control, sidecar, fleet] = await Promise.all([
    ask(() => context.control.health()),
    ask(() => context.sidecar.health()),
    ask(() => context.control.fleetHealth()),
  ]);
  const both = { control, sidecar };
  const answers = {
    control: answerOrError(control),
    sidecar: answerOrError(sidecar),
    fleet: answerOrError(fleet),
  };
  output.custom(answers, () => {
    output.table(
      [
        ...Object.entries(both).flatMap(([name, asked]) => verdicts(name, asked)),
        ...(fleet.ok ? rows('fleet', fleet.value) : []),
      ],
      [
        { header: 'DAEMON', value: ({ daemon }) => daemon },
        { header: 'PLANE', value: ({ plane }) => plane },
        { header: 'VERDICT', value: ({ verdict }) => verdict },
        { header: 'SUMMARY', value: ({ summary }) => summary },
      ],
    );
    if (fleet.ok) showFleet(context, fleet.value);
    const parts = Object.entries(both).flatMap(([name, asked]) => troubles(name, asked));
    if (parts.length === 0) return;
    output.line();
    output.table(parts, [
      { header: 'DAEMON', value: ({ daemon }) => daemon },
      { header: 'PART', value: ({ part }) => part },
      { header: 'STATE', value: ({ state }) => state },
      { header: 'SINCE', value: ({ since }) => since },
      { header: 'DETAIL', value: ({ detail }) => detail },
    ]);
  });
  for (const asked of [control, sidecar]) failOn(asked);
  const judged = { ...both, fleet } satisfies Record<string, Asked<Planes>>;
  for (const [name, asked] of Object.entries<Asked<Planes>>(judged)) {
    if (asked.ok) failOnVerdict(name, asked.value, isStrict);
  }
}

/** All that a plane is about, in order or not: what is counted is worth a look before it is trouble. */
function showFleet(context: CommandContext, fleet: FleetHealth): void {
  const { output } = context;
  const { heard, unheard, enrolled } = fleet.hosts;
  output.line();
  output.line(`fleet: ${heard} hosts heard, ${unheard} not heard, ${enrolled} never synced`);
  const parts = [fleet.controlPlane, fleet.dataPlane].flatMap(({ parts: held }, at) =>
    Object.entries(held).map(([name, part]) => ({
      plane: at === 0 ? 'control' : 'data',
      name,
      part,
    })),
  );
  output.table(parts, [
    { header: 'PLANE', value: ({ plane }) => plane },
    { header: 'PART', value: ({ name }) => name },
    { header: 'STATE', value: ({ part }) => part.state },
    { header: 'COUNT', value: ({ part }) => String(part.count) },
    { header: 'OLDEST', value: ({ part }) => context.age(part.oldestAtMs) },
    { header: 'FOR', value: ({ part }) => context.age(part.sinceMs) },
    { header: 'HOSTS', value: ({ part }) => hostsText(part) },
  ]);
}

const HOSTS_NAMED = 3;

function hostsText({ hosts, hostsOmitted }: FleetPart): string {
  const named = hosts.slice(0, HOSTS_NAMED).map(({ hostName, count }) => `${hostName}=${count}`);
  const more = hosts.length - named.length + hostsOmitted;
  return [...named, ...(more > 0 ? [`and ${more} more`] : [])].join(' ');
}

type Verdict = { daemon: string; plane: string; verdict: string; summary: string };

function verdicts(daemon: string, asked: Asked<Health>): Verdict[] {
  if (!asked.ok) {
    const { failure } = asked;
    const verdict = failure.exitCode === EXIT.unavailable ? 'unreachable' : failure.code;
    return [{ daemon, plane: '-', verdict, summary: failure.detail }];
  }
  return rows(daemon, asked.value);
}

type Judged = Pick<PlaneHealth, 'verdict' | 'summary'>;
type Planes = { readonly controlPlane: Judged; readonly dataPlane: Judged };

function rows(who: string, { controlPlane, dataPlane }: Planes): Verdict[] {
  const row = (plane: string, { verdict, summary }: Judged): Verdict => ({
    daemon: who,
    plane,
    verdict,
    summary,
  });
  return [row('control', controlPlane), row('data', dataPlane)];
}

type Trouble = { daemon: string; part: string; state: string; since: string; detail: string };

function troubles(daemon: string, asked: Asked<Health>): Trouble[] {
  if (!asked.ok) return [];
  const { controlPlane, dataPlane } = asked.value;
  return [controlPlane, dataPlane].flatMap((plane) =>
    Object.entries(plane.parts)
      .filter(([, { state }]) => state !== 'ok')
      .map(([part, { state, detail, sinceMs, lastError }]) => ({
        daemon,
        part,
        state,
        since: timeText(sinceMs),
        detail: lastError === null ? detail : `${detail}: ${lastError}`,
      })),
  );
}

function failOn(asked: Asked<Health>): void {
  if (!asked.ok) {
    const { code, detail, exitCode, hint } = asked.failure;
    throw new CommandError(code, detail, { exitCode, ...(hint === null ? {} : { hint }) });
  }
}

function failOnVerdict(who: string, { controlPlane, dataPlane }: Planes, isStrict: boolean): void {
  for (const [plane, { verdict, summary }] of [
    ['control', controlPlane],
    ['data', dataPlane],
  ] as const) {
    if (verdict === 'down' || (isStrict && verdict !== 'ok'))
      throw new CommandError(
        verdict,
        `the ${plane} plane as ${who} sees it is ${verdict}: ${summary}`,
      );
  }
}

/**
 * Prints nothing when all is well. Any trouble is exit code 1: container runtimes keep 2 for
 * themselves.
 */
async function healthcheck(context: CommandContext, url: string): Promise<void> {
  const problem = await healthProblem(url, context.timeoutMs);
  if (problem !== null) throw new CommandError('unhealthy', problem);
}
