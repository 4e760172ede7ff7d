import { resolve } from 'node:path';
import { Argument, InvalidArgumentError, Option, type Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import type { DaemonName } from '../connections.ts';
import type { DevOptions } from '../dev/dev-run.ts';
import { DEV_DIR_NAME } from '../dev/dev-state.ts';
import { askSupervisor, type DevAction } from '../dev/switchboard.ts';

type DevFlags = {
  readonly dataDir: string;
  readonly controlPort: number;
  readonly sidecarPort: number;
  readonly policy?: string;
  readonly fresh?: boolean;
  readonly logs: DevOptions['logs'];
  readonly logLevel: string;
};

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

export function addDevCommand(program: Command, context: CommandContext): void {
  const { cwd } = context.surroundings;
  const dev = program
    .command('dev')
    .description('run control and one sidecar here, with a sample policy, to try things out')
    .option('--data-dir <dir>', 'where both keep their data', DEV_DIR_NAME)
    .addOption(portOption('--control-port <port>', 7480))
    .addOption(portOption('--sidecar-port <port>', 7490))
    .option('--policy <file>', 'publish this policy instead of the sample')
    .option('--fresh', 'begin with an empty data directory')
    .addOption(
      new Option('--logs <form>', "the daemons' logs")
        .choices(['short', 'json', 'none'])
        .default('short'),
    )
    .addOption(
      new Option('--log-level <level>', 'the least that is logged')
        .choices(LOG_LEVELS)
        .default('info'),
    )
    .action(async (flags: DevFlags) => {
      const { policy, fresh, dataDir, ...rest } = flags;
      const options: DevOptions = {
        ...rest,
        dataDir: resolve(cwd, dataDir),
        isFresh: fresh === true,
      };
      const chosen = policy === undefined ? {} : { policyFile: resolve(cwd, policy) };
      const { runDev } = await import('../dev/dev-run.ts');
      await runDev({ ...options, ...chosen }, context.surroundings);
    });
  addPlayCommand(
    dev,
    context,
    'kill',
    'kill one daemon of a running `holdfast dev`, as kill -9 does',
  );
  addPlayCommand(
    dev,
    context,
    'start',
    'start a daemon that was killed, on its data, at its address',
  );
}

function addPlayCommand(
  dev: Command,
  context: CommandContext,
  action: DevAction,
  description: string,
): void {
  dev
    .command(action)
    .description(description)
    .addArgument(new Argument('<daemon>').choices(['control', 'sidecar']))
    .action(async (daemon: DaemonName) => {
      const { dataDir } = dev.opts<DevFlags>();
      const answer = await askSupervisor(
        resolve(context.surroundings.cwd, dataDir),
        daemon,
        action,
      );
      context.output.done(answer, { sentence: answer.text, name: answer.daemon });
    });
}

function portOption(flags: string, standard: number): Option {
  const parse = (text: string): number => {
    const port = Number(text);
    if (!/^[0-9]{1,5}$/.test(text) || port > 65_535)
      throw new InvalidArgumentError('It must be a port; 0 takes a free one.');
    return port;
  };
  return new Option(flags, '0 takes any free one').argParser(parse).default(standard);
}
