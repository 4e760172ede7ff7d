import { Option, type Command } from 'commander';
import {
  OPERATOR_ROLES,
  type Operator,
  type OperatorRole,
} from '../../../shared/wire/control-api.ts';
import type { CommandContext } from '../command-context.ts';
import type { View } from '../output.ts';
import { timeText } from '../time-text.ts';

export function addOperatorCommands(program: Command, context: CommandContext): void {
  const operator = program.command('operator').description('say who may operate control');
  operator
    .command('add <name>')
    .description('make an operator, and print the token once')
    .addOption(
      new Option('--role <role...>', 'what they may do')
        .choices(OPERATOR_ROLES)
        .default(['viewer']),
    )
    .action(async (name: string, { role: roles }: { role: OperatorRole[] }) => {
      const added = await context.control.addOperator({ name, roles });
      // The token alone, so that it can be piped into a file.
      context.output.done(added, { sentence: added.token, name: added.name });
      context.output.note(
        `the token of ${added.name} (${added.roles.join(', ')}); it is not shown again`,
      );
    });
  operator
    .command('list')
    .description('list the operators')
    .action(async () => {
      context.output.list(
        { items: await context.control.operators(), nextCursor: null },
        OPERATOR_VIEW,
      );
    });
  operator
    .command('remove <name>')
    .description('take the token of an operator back, at once')
    .action(async (name: string) => {
      await context.control.removeOperator(name);
      context.output.done({ name, removed: true }, { sentence: `operator ${name} removed`, name });
    });
}

const OPERATOR_VIEW: View<Operator> = {
  noun: 'operators',
  name: ({ name }) => name,
  columns: [
    { header: 'NAME', value: ({ name }) => name },
    { header: 'ROLES', value: ({ roles }) => roles.join(',') },
    { header: 'CREATED', value: ({ createdAtMs }) => timeText(createdAtMs) },
  ],
};
