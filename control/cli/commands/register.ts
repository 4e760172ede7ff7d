/** Registers of a sidecar, under the fencing token of who writes. */
import { Option, type Command } from 'commander';
import {
  fencingTokenText,
  parseFencingToken,
  type FencingToken,
  type Register,
  type RegisterSummary,
} from '../../../shared/wire/register-api.ts';
import { collectPages, type CommandContext } from '../command-context.ts';
import { usageError } from '../failures.ts';
import type { View } from '../output.ts';
import { parseRevision, withPageFlags, type PageFlags } from './options.ts';

type GuardFlags = { readonly token: string; readonly replaces?: number };

export function addRegisterCommands(program: Command, context: CommandContext): void {
  const register = program
    .command('register')
    .description('small values on this host, written under a fencing token');
  withPageFlags(register.command('list').description('list the registers of the app')).action(
    async (flags: PageFlags) => {
      const { sidecar } = context;
      context.output.list(
        await collectPages((query) => sidecar.registers(query), flags),
        summaryView(context),
      );
    },
  );
  register
    .command('get <key>')
    .description('print a register with its value and its version')
    .action(async (key: string) => {
      context.output.item(await context.sidecar.register(key), registerView(context));
    });
  withGuard(register.command('put <key> <json>'))
    .description('make a register, or replace the version that was read')
    .addHelpText(
      'after',
      '\nExample:\n  holdfast register put orders/7/seen 12 --token orders/7:42',
    )
    .action(async (key: string, json: string, flags: GuardFlags) => {
      const guard = { token: readToken(flags), replaces: flags.replaces ?? null };
      const written = await context.sidecar.putRegister(key, readJson(json), guard);
      context.output.item(written, registerView(context));
    });
  withGuard(register.command('delete <key>'), { isVersionNeeded: true })
    .description('delete the version that was read')
    .action(async (key: string, flags: GuardFlags) => {
      const { replaces = 0 } = flags;
      await context.sidecar.deleteRegister(key, { token: readToken(flags), replaces });
      context.output.done({ key }, { sentence: `register ${key} deleted`, name: key });
    });
}

function withGuard(command: Command, options: { isVersionNeeded?: boolean } = {}): Command {
  const isVersionNeeded = options.isVersionNeeded === true;
  return command
    .requiredOption('--token <resource:epoch>', 'the fencing token of who writes')
    .addOption(
      new Option(
        '--replaces <version>',
        isVersionNeeded
          ? 'the version that was read'
          : 'the version that was read; without it the register must not be there yet',
      )
        .argParser(parseRevision)
        .makeOptionMandatory(isVersionNeeded),
    );
}

function readToken({ token }: GuardFlags): FencingToken {
  const parsed = parseFencingToken(token);
  if (parsed === null)
    throw usageError(`--token ${token} is none: write <resource>:<epoch>, as orders/7:42`);
  return parsed;
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw usageError(
      `<json> is not JSON: ${text.slice(0, 80)}; a text needs its own quotes: '"text"'`,
    );
  }
}

const columns = <T extends RegisterSummary | Register>(context: CommandContext) => [
  { header: 'KEY', value: ({ key }: T) => key },
  { header: 'VERSION', value: ({ version }: T) => String(version) },
  { header: 'TOKEN', value: ({ resource, epoch }: T) => fencingTokenText({ resource, epoch }) },
  { header: 'AGE', value: ({ updatedAtMs }: T) => context.age(updatedAtMs) },
];

function summaryView(context: CommandContext): View<RegisterSummary> {
  return {
    noun: 'registers',
    name: ({ key }) => key,
    columns: [
      ...columns<RegisterSummary>(context),
      { header: 'BYTES', value: ({ valueBytes }) => String(valueBytes) },
    ],
  };
}

function registerView(context: CommandContext): View<Register> {
  return {
    noun: 'registers',
    name: ({ key }) => key,
    columns: [
      ...columns<Register>(context),
      { header: 'VALUE', value: ({ value }) => JSON.stringify(value) },
    ],
  };
}
