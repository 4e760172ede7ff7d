import type { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { writeOutputFile } from '../policy/output-file.ts';

const AFTER_HELP = `
For an editor with the YAML language server, write it once
  holdfast policy schema --file policy.schema.json
and begin the policy document with
  # yaml-language-server: $schema=./policy.schema.json`;

export function addPolicySchema(policy: Command, context: CommandContext): void {
  policy
    .command('schema')
    .description('print the JSON Schema of policy documents, for editors')
    .option('--file <file>', 'write it there instead')
    .addHelpText('after', AFTER_HELP)
    .action(async (flags: { file?: string }) => {
      const { policyJsonSchema } = await import('../policy/policy-json-schema.ts');
      const text = `${JSON.stringify(policyJsonSchema(), null, 2)}\n`;
      if (flags.file === undefined) return context.output.raw(text);
      writeOutputFile(context.surroundings.cwd, flags.file, text);
      context.output.line(`${flags.file} written`);
    });
}
