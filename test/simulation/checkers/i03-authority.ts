/**
 * I3: no hidden authority.
 *
 * B1  What a record says it was decided by, decides so: the revision it names, decided again here,
 *     permits it by the rule it names, for the lease and under the terms it has.
 * B2  The revision had been published when it was used.
 * B3  `fresh` is what control was asked for between the question and the answer; nothing else is.
 * B4  While an outage was open the record names it, and it names none that was not.
 * B5  No more is admitted than the limits of the rule allow (`admitted-amounts.ts`).
 * B6  Approved is what control's approvers approved, enough of them, within its time; and by what the
 *     revision wants under which it is used.
 * B7, B8  A record is of whoever asked, as it was asked (`attribution.ts`).
 * B9  Nobody is refused by a policy that does not say so (`refused-admits.ts`).
 */
import { canonicalJson } from '../../../shared/core/canonical-json.ts';
import type { Decision } from '../../../shared/core/policy.ts';
import { decisionInputOf } from '../../../dataplane/core/decision-input.ts';
import type { StoredOperation } from '../../../dataplane/core/operation-record.ts';
import type { JournalEvent, Outage, Refusal } from '../../../shared/wire/operation.ts';
import type { Checker } from '../history.ts';
import { checkAmounts } from './admitted-amounts.ts';
import { checkAttribution } from './attribution.ts';
import { decidedIn, nameOf, seqsOf, type Decided } from './decided.ts';
import { Findings } from './findings.ts';
import type { JournalLife } from './journal-life.ts';
import { checkRefusedAdmits } from './refused-admits.ts';
import { exchangesWith, faultsDuring, worldOf, type World } from './world.ts';

export const i03Authority: Checker = (history) => {
  const world = worldOf(history);
  const findings = new Findings('I3');
  for (const decided of decidedIn(world)) {
    checkDecision(world, decided, findings);
    checkFreshBasis(world, decided, findings);
    checkApproval(world, decided, findings);
  }
  for (const life of world.lives) checkOutages(life, findings);
  checkAmounts(world, findings);
  checkAttribution(world, findings);
  checkRefusedAdmits(world, findings);
  return findings.verdict();
};

/** B1, B2. */
function checkDecision(world: World, decided: Decided, findings: Findings): void {
  const { operation, answered } = decided;
  const { policyRevision, rule } = operation;
  const published = world.policies.of(policyRevision);
  const [first] = published;
  findings.expect(
    first !== undefined &&
      (answered === null || published.some(({ seq }) => seq < answered.ended.seq)),
    () => `${nameOf(decided)} names revision ${policyRevision}, which was not published by then`,
    () => seqsOf(decided),
  );
  if (first === undefined) return;
  const decisions = world.policies.decide(policyRevision, decisionInputOf(operation));
  const wrong = decisions.map((decision) => differenceOf(operation, decision));
  findings.expect(
    wrong.includes(null),
    () =>
      `${nameOf(decided)} was admitted by rule ${rule} of revision ${policyRevision}, and ${wrong[0] ?? 'that revision does not compile'}`,
    () => [...seqsOf(decided), first.seq],
  );
}

/** `null`: the record is what that decision makes. */
function differenceOf(operation: StoredOperation, decision: Decision): string | null {
  const { terms } = decision;
  if (decision.decision !== 'permit' || terms === null)
    return `it refuses it: ${decision.reason}, ${decision.message}`;
  if (decision.rule !== operation.rule) return `its rule ${decision.rule} decides it`;
  if (decision.leaseResource !== operation.leaseResource)
    return `it needs the lease of ${decision.leaseResource}, not of ${operation.leaseResource}`;
  const says: readonly (readonly [string, unknown, unknown])[] = [
    ['onControlLoss', terms.onControlLoss, operation.onControlLoss],
    ['onWorkerLoss', terms.onWorkerLoss, operation.onWorkerLoss],
    ['onRevoke', terms.onRevoke, operation.onRevoke],
    ['recheck', terms.recheck, operation.recheck],
    ['effects', terms.effects, operation.effectTerms],
    ['ownership mode', terms.ownership?.mode ?? null, operation.ownershipMode],
    ['an approval', terms.approval !== null, operation.approval !== undefined],
  ];
  for (const [what, said, recorded] of says) {
    if (canonicalJson(said) !== canonicalJson(recorded))
      return `it says ${what} ${JSON.stringify(said)}, and the record ${JSON.stringify(recorded)}`;
  }
  return null;
}

/** B3. */
function checkFreshBasis(world: World, decided: Decided, findings: Findings): void {
  const { life, operation, calls } = decided;
  if (operation.basis !== 'fresh' || calls.length === 0) return;
  const askedFrom = Math.min(...calls.map(({ sent }) => sent.seq));
  const askedTo = decided.answered?.ended.seq ?? Number.POSITIVE_INFINITY;
  const answers = exchangesWith(world, life.host, 'decision').filter(
    ({ sent, answered }) =>
      sent.seq >= askedFrom && answered.seq <= askedTo && answered.status === 200,
  );
  findings.expect(
    answers.length > 0,
    () => `${nameOf(decided)} says that control decided it, and control was not asked meanwhile`,
    () => seqsOf(decided),
  );
}

/** B4: by the order of the entries, whatever time the disk took for them. */
function checkOutages({ journal, host }: JournalLife, findings: Findings): void {
  let open: { readonly outageId: string; readonly opened: JournalEvent } | null = null;
  for (const event of journal.events) {
    const outage = event.body['outage'] as Outage | undefined;
    if (event.kind === 'outage_opened' && outage !== undefined)
      open = { outageId: outage.outageId, opened: event };
    if (event.kind === 'outage_closed') open = null;
    if (event.kind !== 'admitted' && event.kind !== 'refused') continue;
    const { seq, kind, atMs } = event;
    const named = event.outageId ?? 'no outage';
    const was =
      open === null
        ? 'none was open'
        : `${open.outageId} had been open for ${atMs - open.opened.atMs} ms`;
    findings.expect(
      event.outageId === (open?.outageId ?? null),
      () => `entry ${seq} of ${host} (${kind}) names ${named} while ${was}`,
      () => [],
    );
    const refusal = event.body['refusal'] as Refusal | undefined;
    // One record stands for those of a second; it has the last of them, and may come after it.
    if (refusal === undefined || refusal.count !== undefined) continue;
    findings.expect(
      refusal.outageId === event.outageId,
      () =>
        `entry ${seq} of ${host} names ${named}, and the refusal in it ${refusal.outageId ?? 'none'}`,
      () => [],
    );
  }
}

const CLOCKS_SET = ['wall_step', 'clock_jump', 'reboot', 'suspend', 'clock_drift'] as const;

/** B6. */
function checkApproval(world: World, decided: Decided, findings: Findings): void {
  const { operation, life } = decided;
  const { approval } = operation;
  if (approval === undefined) return;
  const host = { node: life.host, fromMs: 0, toMs: world.endMs };
  const wasSet = faultsDuring(world, host, CLOCKS_SET).length > 0;
  const waitMs = approval.expiresAtMs - approval.requestedAtMs;
  findings.expect(
    wasSet || waitMs <= approval.ttlMs,
    () =>
      `${nameOf(decided)} waits ${waitMs} ms for its approval, and its rule gives it ${approval.ttlMs} ms`,
    () => seqsOf(decided),
  );
  const entries = life.entries.get(operation.operationId) ?? [];
  const began = entries.find(({ kind }) => kind === 'attempt_started');
  const approved = entries.find(({ kind }) => kind === 'approved');
  findings.expect(
    began === undefined || (approved !== undefined && approved.seq < began.seq),
    () => `${nameOf(decided)} was begun in entry ${began?.seq} before anybody had approved it`,
    () => seqsOf(decided),
  );
  if (approved === undefined) return;
  const { votes, required, requestId } = approvalIn(approved) ?? approval;
  const approvers = new Set(
    votes.filter(({ verdict }) => verdict === 'approve').map(({ by }) => by),
  );
  findings.expect(
    approvers.size >= required,
    () => `${nameOf(decided)} was approved by ${approvers.size} of ${required}`,
    () => seqsOf(decided),
  );
  const request = world.history.final.control.approvals.find((one) => one.requestId === requestId);
  const known = request?.votes.filter(({ verdict }) => verdict === 'approve') ?? [];
  const isForgotten = world.faults.some(({ fault }) => fault === 'control_backup_restored');
  findings.expect(
    isForgotten || [...approvers].every((by) => known.some((vote) => vote.by === by)),
    () =>
      `${nameOf(decided)} was approved under ${requestId} by somebody who did not: control knows ${known.length} approvals of it`,
    () => seqsOf(decided),
  );
  checkUse(world, decided, approved, findings);
  const { expiresAtMs } = approvalIn(approved) ?? approval;
  findings.expect(
    wasSet || approved.atMs <= expiresAtMs,
    () =>
      `${nameOf(decided)} used an approval ${approved.atMs - expiresAtMs} ms after its wait was over`,
    () => seqsOf(decided),
  );
}

/** B6: it is used under the authority of that moment, whatever it was given under. */
function checkUse(
  { policies }: World,
  decided: Decided,
  approved: JournalEvent,
  findings: Findings,
): void {
  const { decidedUnder = null, votes = [], role } = approvalIn(approved) ?? {};
  const approvers = new Set(
    votes.filter(({ verdict }) => verdict === 'approve').map(({ by }) => by),
  );
  if (decidedUnder === null) return;
  const decisions = policies.decide(decidedUnder, decisionInputOf(decided.operation));
  const wanted = ({ decision, terms }: Decision): boolean => {
    if (decision !== 'permit' || terms === null) return false;
    const { approval } = terms;
    return approval === null || (approval.role === role && approval.required <= approvers.size);
  };
  findings.expect(
    decisions.some(wanted),
    () =>
      `${nameOf(decided)} used an approval of ${approvers.size} (${role}) under revision ${decidedUnder}, which wants ${wordsOf(decisions[0])}`,
    () => seqsOf(decided),
  );
}

function wordsOf(decision: Decision | undefined): string {
  const approval = decision?.terms?.approval ?? null;
  if (decision?.decision !== 'permit' || approval === null) return 'another decision';
  return `${approval.required} (${approval.role})`;
}

function approvalIn({ body }: JournalEvent): StoredOperation['approval'] {
  return body['approval'] as StoredOperation['approval'];
}
