/** Webhooks of the sidecar of this host. */
import type { Command } from 'commander';
import type { Webhook } from '../../../shared/wire/webhook-api.ts';
import type { CommandContext } from '../command-context.ts';
import type { View } from '../output.ts';

export function addWebhookCommands(program: Command, context: CommandContext): void {
  const webhook = program
    .command('webhook')
    .description('what this host tells apps by webhook, and what it gave up');
  webhook
    .command('list')
    .description('list the targets: how far each was told, and what is parked')
    .action(async () => {
      const items = await context.sidecar.webhooks.list();
      context.output.list({ items, nextCursor: null }, webhookView(context));
    });
  webhook
    .command('retry <name>')
    .description('try what is parked once more')
    .action(async (name: string) => {
      const { parked } =
        (await context.sidecar.webhooks.list()).find((each) => each.name === name) ?? {};
      const retried = await context.sidecar.webhooks.retry(name);
      const sentence = `${parked?.length ?? 0} deliveries to ${name} are tried again`;
      context.output.done(retried, { sentence, name });
    });
}

function webhookView(context: CommandContext): View<Webhook> {
  return {
    noun: 'webhooks',
    name: ({ name }) => name,
    columns: [
      { header: 'NAME', value: ({ name }) => name },
      { header: 'URL', value: ({ url }) => url },
      { header: 'APP', value: ({ app }) => app ?? 'all' },
      { header: 'UP TO', value: ({ sentUpToSeq }) => String(sentUpToSeq) },
      { header: 'PARKED', value: ({ parked }) => String(parked.length) },
      { header: 'FAILURES', value: ({ failures }) => String(failures) },
      { header: 'DELIVERED', value: ({ lastDeliveredAtMs }) => context.age(lastDeliveredAtMs) },
      { header: 'ERROR', value: ({ lastError }) => lastError ?? '' },
    ],
  };
}
