import type { Command } from 'commander';
import { VERSION } from '../../../shared/core/version.ts';
import type { CommandContext } from '../command-context.ts';

export function addVersionCommand(program: Command, context: CommandContext): void {
  program
    .command('version')
    .description('print the version of this command and of its Node')
    .action(() => {
      const versions = { version: VERSION, node: process.version };
      const sentence = `holdfast ${versions.version} (Node ${versions.node})`;
      context.output.done(versions, { sentence, name: versions.version });
    });
}
