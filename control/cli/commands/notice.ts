/** Notices: revoke, stop and hold everywhere at once, and see which hosts obey. */
import type { Command } from 'commander';
import type { NoticeKind } from '../../../shared/wire/divergences.ts';
import type { NoticeDetail, NoticeHost, NoticeView } from '../../../shared/wire/notices.ts';
import { collectPages, type CommandContext } from '../command-context.ts';
import type { View } from '../output.ts';
import { timeText } from '../time-text.ts';
import { withPageFlags, type PageFlags } from './options.ts';

type Verb = { readonly kind: NoticeKind; readonly what: string; readonly example: string };

const VERBS: Readonly<Record<string, Verb>> = {
  'revoke-principal': {
    kind: 'revoke_principal',
    what: 'refuse all that this principal asks for, on every host',
    example: 'agent:mallory',
  },
  'revoke-credential': {
    kind: 'revoke_credential',
    what: 'refuse what comes with the token of an app (app:NAME) or through a host (host:ID)',
    example: 'app:billing',
  },
  'kill-action': {
    kind: 'kill_action',
    what: 'stop an action, or all that begin so (payments.*)',
    example: 'payments.capture',
  },
  hold: {
    kind: 'hold_resource',
    what: 'hold a resource, or all that begin so (orders/*)',
    example: 'orders/4711',
  },
};

export function addNoticeCommands(program: Command, context: CommandContext): void {
  const notice = program
    .command('notice')
    .description('revoke, stop and hold everywhere at once, and see which hosts obey');
  withPageFlags(notice.command('list').description('list notices, newest first'))
    .option('--in-force', 'only those that are not lifted')
    .addHelpText('after', '\nExample:\n  holdfast notice list --in-force')
    .action(async ({ inForce, ...flags }: PageFlags & { readonly inForce?: boolean }) => {
      const { output, control } = context;
      const only = inForce === true ? { inForce: true } : {};
      output.list(
        await collectPages((query) => control.notices.list({ ...query, ...only }), flags),
        NOTICE_VIEW,
      );
    });
  notice
    .command('show <id>')
    .description('print one notice: who obeys it, and until when the others could still act')
    .action(async (id: string) => show(context, await context.control.notices.fetch(id)));
  for (const [verb, { kind, what, example }] of Object.entries(VERBS)) {
    notice
      .command(`${verb} <subject>`)
      .description(what)
      .requiredOption('--reason <text>', 'why; hosts record it with what they refuse')
      .addHelpText(
        'after',
        `\nExample:\n  holdfast notice ${verb} ${example} --reason "ticket 4711"`,
      )
      .action(async (subject: string, { reason }: { readonly reason: string }) => {
        said(context, await context.control.notices.record({ kind, subject, reason }));
      });
  }
  notice
    .command('lift <id>')
    .description('end a notice: hosts admit again what only it spoke against')
    .requiredOption('--reason <text>', 'why')
    .addHelpText('after', '\nExample:\n  holdfast notice lift ntc_01j... --reason "key rotated"')
    .action(async (id: string, { reason }: { readonly reason: string }) => {
      said(context, await context.control.notices.lift(id, reason));
    });
}

function said({ output }: CommandContext, notice: NoticeDetail): void {
  const { noticeId, kind, subject, inForce } = notice;
  const state = inForce ? 'in force' : 'lifted';
  const sentence = `notice ${noticeId} (${kind} ${subject}) is ${state}; ${confirmedText(notice)}`;
  output.done(notice, { sentence, name: noticeId });
  if (notice.unconfirmed > 0) output.note(`see who obeys it: holdfast notice show ${noticeId}`);
}

function show({ output }: CommandContext, notice: NoticeDetail): void {
  output.item(notice, { ...NOTICE_VIEW, details: DETAILS });
  if (output.format !== 'table') return;
  output.list({ items: notice.hosts, nextCursor: null }, HOST_VIEW);
  if (notice.hostsLeftOut > 0) output.note(`${notice.hostsLeftOut} more hosts are not shown`);
}

function confirmedText({ confirmed, unconfirmed }: NoticeView): string {
  return `${confirmed} of ${confirmed + unconfirmed} hosts have confirmed it`;
}

const NOTICE_VIEW: View<NoticeView> = {
  noun: 'notices',
  name: ({ noticeId }) => noticeId,
  columns: [
    { header: 'ID', value: ({ noticeId }) => noticeId },
    { header: 'NUMBER', value: ({ sequence }) => String(sequence) },
    { header: 'KIND', value: ({ kind }) => kind },
    { header: 'SUBJECT', value: ({ subject }) => subject },
    { header: 'STATE', value: ({ inForce }) => (inForce ? 'in force' : 'lifted') },
    {
      header: 'CONFIRMED',
      value: (one) => `${one.confirmed} of ${one.confirmed + one.unconfirmed}`,
    },
    { header: 'OTHERS ACT UNTIL', value: ({ actsUntilMs }) => timeText(actsUntilMs) },
    { header: 'REASON', value: ({ reason }) => reason },
  ],
};

const DETAILS: NonNullable<View<NoticeView>['details']> = [
  ['notice', ({ noticeId, sequence }) => `${noticeId}, number ${sequence}`],
  ['kind', ({ kind }) => kind],
  ['subject', ({ subject }) => subject],
  ['reason', ({ reason }) => reason],
  ['since', ({ recordedAtMs }) => timeText(recordedAtMs)],
  [
    'lifted',
    ({ liftedAtMs, liftReason }) =>
      liftedAtMs === null ? null : `${timeText(liftedAtMs)}: ${liftReason ?? ''}`,
  ],
  ['hosts', confirmedText],
  ['others admit until', ({ admitsUntilMs }) => untilText(admitsUntilMs)],
  ['others act until', ({ actsUntilMs }) => untilText(actsUntilMs)],
];

const HOST_VIEW: View<NoticeHost> = {
  noun: 'hosts',
  name: ({ hostId }) => hostId,
  columns: [
    { header: 'HOST', value: ({ hostName }) => hostName },
    { header: 'STATE', value: ({ state }) => state },
    { header: 'ADMITS UNTIL', value: ({ admitsUntilMs }) => timeText(admitsUntilMs) },
    { header: 'ACTS UNTIL', value: ({ actsUntilMs }) => timeText(actsUntilMs) },
    { header: 'ID', value: ({ hostId }) => hostId },
  ],
};

function untilText(wallMs: number | null): string | null {
  return wallMs === null ? null : timeText(wallMs);
}
