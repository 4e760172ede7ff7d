import type { Command } from 'commander';
import type { AuditEntry } from '../../../shared/wire/control-api.ts';
import { collectPages, type CommandContext } from '../command-context.ts';
import type { View } from '../output.ts';
import { timeText } from '../time-text.ts';
import { withPageFlags, type PageFlags } from './options.ts';

export function addAuditCommands(program: Command, context: CommandContext): void {
  const audit = program.command('audit').description('read the audit trail of control');
  withPageFlags(audit.command('list').description('list what was done, by whom')).action(
    async (flags: PageFlags) => {
      const { output, control } = context;
      output.list(await collectPages((query) => control.audit(query), flags), AUDIT_VIEW);
    },
  );
}

const AUDIT_VIEW: View<AuditEntry> = {
  noun: 'audit entries',
  name: ({ seq }) => `audit/${seq}`,
  columns: [
    { header: 'SEQ', value: ({ seq }) => String(seq) },
    { header: 'TIME', value: ({ atMs }) => timeText(atMs) },
    { header: 'ACTOR', value: ({ actor }) => actor },
    { header: 'ACTION', value: ({ action }) => action },
    { header: 'TARGET', value: ({ target }) => target },
    { header: 'HASH', value: ({ hash }) => hash.slice(0, 12) },
    {
      header: 'DETAIL',
      value: ({ detail }) => (Object.keys(detail).length === 0 ? '' : JSON.stringify(detail)),
    },
  ],
};
