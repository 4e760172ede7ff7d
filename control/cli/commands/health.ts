import type { Command } from 'commander';
import type { Health, PlaneHealth } from '../../../shared/wire/health.ts';
import type { CommandContext } from '../command-context.ts';
import type { DaemonName } from '../connections.ts';
import { CommandError, EXIT, failureOf, type Failure } from '../failures.ts';
import { healthProblem } from '../healthcheck.ts';
import { timeText } from '../time-text.ts';

export function addHealthCommands(program: Command, context: CommandContext): void {
  program
    .command('health')
    .description(
      'print the verdicts of both daemons on both planes; fails when one is down or silent',
    )
    .action(() => health(context));
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

async function health(context: CommandContext): Promise<void> {
  const { output } = context;
  const [control, sidecar] = await Promise.all([
    ask(() => context.control.health()),
    ask(() => context.sidecar.health()),
  ]);
  const both = { control, sidecar };
  output.custom({ control: answerOrError(control), sidecar: answerOrError(sidecar) }, () => {
    output.table(
      Object.entries(both).flatMap(([name, asked]) => verdicts(name, asked)),
      [
        { header: 'DAEMON', value: ({ daemon }) => daemon },
        { header: 'PLANE', value: ({ plane }) => plane },
        { header: 'VERDICT', value: ({ verdict }) => verdict },
        { header: 'SUMMARY', value: ({ summary }) => summary },
      ],
    );
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
  for (const [name, asked] of Object.entries(both)) failOn(name as DaemonName, asked);
}

type Verdict = { daemon: string; plane: string; verdict: string; summary: string };

function verdicts(daemon: string, asked: Asked<Health>): Verdict[] {
  if (!asked.ok) {
    const { failure } = asked;
    const verdict = failure.exitCode === EXIT.unavailable ? 'unreachable' : failure.code;
    return [{ daemon, plane: '-', verdict, summary: failure.detail }];
  }
  const row = (plane: string, { verdict, summary }: PlaneHealth): Verdict => ({
    daemon,
    plane,
    verdict,
    summary,
  });
  return [row('control', asked.value.controlPlane), row('data', asked.value.dataPlane)];
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

function failOn(daemon: DaemonName, asked: Asked<Health>): void {
  if (!asked.ok) {
    const { code, detail, exitCode, hint } = asked.failure;
    throw new CommandError(code, detail, { exitCode, ...(hint === null ? {} : { hint }) });
  }
  const { controlPlane, dataPlane } = asked.value;
  for (const [plane, { verdict, summary }] of Object.entries({
    control: controlPlane,
    data: dataPlane,
  })) {
    if (verdict === 'down')
      throw new CommandError('down', `the ${plane} plane as ${daemon} sees it is down: ${summary}`);
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
