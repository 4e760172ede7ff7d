/**
 * What control answered is in its store at the end (I1, D5), unless an older copy was put back since:
 * what was published, and what approvers said.
 */
import type { ApprovalRequest } from '../../../shared/wire/approval.ts';
import { CONTROL, type CallBodies, type History } from '../history.ts';
import { mayHaveHappened } from '../history-view.ts';
import type { Findings } from './findings.ts';
import type { World } from './world.ts';

const VERDICT_STATES = { approve: 'approved', deny: 'denied' } as const;

export function checkControl({ history, calls }: World, findings: Findings): void {
  const { control } = history.final;
  const ownFrom = servedAgainSeq(history);
  const kept = new Map(control.revisions.map((one) => [one.policyRevision, one.policyDigest]));
  const asked = new Map(control.approvals.map((one) => [one.requestId, one]));
  // A vote that was taken back is none any more.
  const takenBack = new Set(
    calls.flatMap((call) =>
      call.request.kind === 'approve' && call.request.verb === 'withdraw' && mayHaveHappened(call)
        ? [call.request.requestId]
        : [],
    ),
  );
  for (const { request, sent, ended } of calls) {
    if (ended?.end.kind !== 'ok' || ended.seq < ownFrom) continue;
    const seqs = () => [sent.seq, ended.seq];
    if (request.kind === 'publish_policy') {
      const { policyRevision, policyDigest } = ended.end.body as CallBodies['publish_policy'];
      findings.expect(
        kept.get(policyRevision) === policyDigest,
        () =>
          `control answered that revision ${policyRevision} is published, and its store has ${kept.get(policyRevision) ?? 'none'} of that number`,
        seqs,
      );
    }
    if (request.kind !== 'approve' || request.verb === 'withdraw') continue;
    const { verb, requestId } = request;
    const found = asked.get(requestId);
    // What was voted on under an enrolment is void under the next: its host asks again.
    const { hostEpoch } = ended.end.body as ApprovalRequest;
    if (found !== undefined && found.hostEpoch > hostEpoch) continue;
    const isVoted = found?.votes.some(({ verdict }) => verdict === verb) ?? false;
    findings.expect(
      isVoted || found?.state === VERDICT_STATES[verb] || takenBack.has(requestId),
      () =>
        `control answered ${verb} of ${requestId}, and its store has it as ${found?.state ?? 'unknown'} without that vote`,
      seqs,
    );
  }
}

/**
 * From there on answers are of the store that is there at the end. What was on its way to a client when
 * a copy was put back is of the store before, and no control answers before it has started on the copy.
 */
function servedAgainSeq({ events }: History): number {
  let seq = 0;
  for (const event of events) {
    if (event.kind === 'fault' && event.fault === 'control_backup_restored')
      seq = Number.POSITIVE_INFINITY;
    if (event.kind === 'daemon_started' && event.node === CONTROL) seq = Math.min(seq, event.seq);
  }
  return seq;
}
