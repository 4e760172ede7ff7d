import type { Command } from 'commander';
import { stringify as toYaml } from 'yaml';
import type { Proposal } from '../../../shared/wire/publication.ts';
import { collectPages, type CommandContext } from '../command-context.ts';
import type { View } from '../output.ts';
import { showFindings } from '../policy-report.ts';
import { timeText } from '../time-text.ts';
import { withPageFlags, type PageFlags } from './options.ts';

export function addProposalCommands(policy: Command, context: CommandContext): void {
  withPageFlags(
    policy
      .command('proposals')
      .description('list publications that need, or needed, a second person'),
  ).action(async (flags: PageFlags) => {
    const { output, control } = context;
    output.list(
      await collectPages((query) => control.proposals(query), flags),
      proposalView(context),
    );
  });
  policy
    .command('proposal <id>')
    .description('print one proposal: what it would change, and its document')
    .option('--document', 'the document alone')
    .action((id: string, flags: { document?: boolean }) => showProposal(context, id, flags));
  policy
    .command('approve <id>')
    .description('approve the proposal of somebody else, and so publish it')
    .option('--digest <digest>', 'only if it is the document of this digest')
    .action((id: string, flags: { digest?: string }) => approve(context, id, flags.digest));
  for (const verb of ['reject', 'withdraw'] as const) {
    policy
      .command(`${verb} <id>`)
      .description(verb === 'reject' ? 'reject the proposal of somebody else' : 'withdraw your own')
      .option('--reason <text>', 'why')
      .action(async (id: string, { reason }: { reason?: string }) => {
        const proposal = await context.control.declineProposal(id, verb, reason);
        const sentence = `proposal ${proposal.proposalId} is ${proposal.state}`;
        context.output.done(proposal, { sentence, name: proposal.proposalId });
      });
  }
}

async function showProposal(
  context: CommandContext,
  id: string,
  { document = false }: { document?: boolean },
): Promise<void> {
  const { control, output } = context;
  const proposal = await control.proposal(id);
  const { policy, report, ...facts } = proposal;
  if (document) {
    output.raw(toYaml(policy, { lineWidth: 0 }));
    return;
  }
  if (output.format !== 'table') {
    output.item(proposal, proposalView(context));
    return;
  }
  output.item(facts, proposalView(context));
  output.line();
  showFindings(output, report);
  output.note(`the document: holdfast policy proposal ${id} --document`);
}

async function approve(
  context: CommandContext,
  id: string,
  digest: string | undefined,
): Promise<void> {
  const { control, output } = context;
  // Without a digest the document that is there now is meant: it cannot become another one.
  const named = digest ?? (await control.proposal(id)).policyDigest;
  const answer = await control.approveProposal(id, named);
  const { policyRevision, rollout } = answer;
  const how = rollout === 'staged' ? ', by stages' : '';
  const sentence = `policy revision ${policyRevision} published${how}`;
  output.done(answer, { sentence, name: `policy/${policyRevision}` });
}

function proposalView(context: CommandContext): View<Proposal> {
  return {
    noun: 'proposals',
    name: ({ proposalId }) => proposalId,
    columns: [
      { header: 'ID', value: ({ proposalId }) => proposalId },
      { header: 'STATE', value: ({ state }) => state },
      { header: 'BY', value: ({ proposedBy }) => proposedBy },
      { header: 'AGE', value: ({ proposedAtMs }) => context.age(proposedAtMs) },
      { header: 'REPLACES', value: ({ replaces }) => String(replaces ?? 'none') },
      { header: 'DIGEST', value: ({ policyDigest }) => policyDigest.slice(0, 12) },
      { header: 'COMMENT', value: ({ comment }) => comment ?? '' },
    ],
    details: [
      ['proposal', ({ proposalId }) => proposalId],
      ['state', ({ state }) => state],
      ['proposed', ({ proposedAtMs, proposedBy }) => `${timeText(proposedAtMs)} by ${proposedBy}`],
      ['expires', ({ expiresAtMs, state }) => (state === 'open' ? timeText(expiresAtMs) : null)],
      ['comment', ({ comment }) => comment],
      ['digest', ({ policyDigest }) => policyDigest],
      ['replaces', ({ replaces }) => (replaces === null ? 'nothing' : `revision ${replaces}`)],
      ['roll-out', ({ rollout }) => rollout],
      [
        'decided',
        ({ decidedAtMs, decidedBy }) =>
          decidedAtMs === null ? null : `${timeText(decidedAtMs)} by ${decidedBy ?? ''}`,
      ],
      ['why', ({ reason }) => reason],
      [
        'published as',
        ({ policyRevision }) => (policyRevision === null ? null : `revision ${policyRevision}`),
      ],
    ],
  };
}
