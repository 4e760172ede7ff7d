/** What the entries of an operation say about its approval, in sentences. */
import { formatDurationMs } from '../../shared/core/time.ts';
import type { ApprovalAsked, OperationApproval } from '../../shared/wire/approval.ts';
import type { JournalEvent } from '../../shared/wire/operation.ts';

/** `after`: how long after the admission, as "After 3s". Nothing where the entry is not about it. */
export function approvalStory({ kind, body }: JournalEvent, after: string): string[] {
  const approval = body['approval'] as OperationApproval | undefined;
  if (approval === undefined) return kind === 'approval_waiting' ? [waiting(body, after)] : [];
  const { requestId, rule, policyRevision, decidedUnder, replaces } = approval;
  switch (kind) {
    case 'admitted':
      return [`It had to wait for ${needs(approval)}; approvers were asked (${requestId}).`];
    case 'approval_asked':
      return [
        `${after} the approval that came (for ${replaces}) did not suffice any more.`,
        `Rule ${rule} of policy revision ${policyRevision} asks for ${needs(approval)}; approvers were asked anew (${requestId}).`,
      ];
    case 'approved':
      return [
        `${after} it was approved by ${voters(approval, 'approve')}.`,
        `That was for rule ${rule} of revision ${policyRevision}; revision ${decidedUnder}, in force here by then, permitted it too.`,
      ];
    case 'approval_refused':
      return [`${after} ${refusedWord(body)} came too late: the work had begun, and went on.`];
    default:
      return atItsEnd(approval, body, after);
  }
}

function needs({ required, role, ttlMs }: ApprovalAsked): string {
  const who = required === 1 ? 'an approval' : `${required} approvals`;
  return `${who} from role:${role} within ${formatDurationMs(ttlMs)}`;
}

function voters({ votes }: OperationApproval, verdict: 'approve' | 'deny'): string {
  const said = votes
    .filter((vote) => vote.verdict === verdict)
    .map(({ by, reason }) => `${by} ("${reason}")`);
  return said.length === 0 ? 'nobody' : said.join(' and ');
}

function refusedWord(body: JournalEvent['body']): string {
  const refused = body['refused'] as { outcome?: string; reason?: string } | undefined;
  const word =
    refused?.outcome === 'withdrawn' ? 'a withdrawal' : `word that it is ${refused?.outcome}`;
  return `${word} ("${refused?.reason}")`;
}

function waiting({ reason }: JournalEvent['body'], after: string): string {
  return reason === 'control_lost'
    ? `${after} control was out of reach, from where the approval would have to come; it went on waiting.`
    : `${after} control was in reach again, and it went on waiting.`;
}

/** Of what ended the operation: nothing where it had been approved before. */
function atItsEnd(
  approval: OperationApproval,
  body: JournalEvent['body'],
  after: string,
): string[] {
  switch (approval.state) {
    case 'denied':
      return [`${after} it was denied by ${voters(approval, 'deny')}.`];
    case 'withdrawn':
      return [`${after} its approval was withdrawn ("${approval.reason}") before any work began.`];
    case 'overruled': {
      const { code, detail } = (body['overruled'] ?? {}) as { code?: string; detail?: string };
      return [
        `${after} it was approved by ${voters(approval, 'approve')}.`,
        `Policy revision ${approval.decidedUnder}, in force here by then, refused it (${code}): ${detail}.`,
      ];
    }
    case 'expired':
      return [`${after} nobody had decided in time, and the wait ended.`];
    case 'ended':
      return [`${after} it ended before anybody had decided about its approval.`];
    default:
      return [];
  }
}
