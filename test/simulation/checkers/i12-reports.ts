/**
 * I12: nothing is lost on the way up.
 *
 * U1  What a sidecar takes as held by control, control holds: every entry up to there, once, in
 *     order, as it was hashed.
 * U2  When everything has come to rest control holds every entry, and knows of each operation what its
 *     host knows: whose it is and by what authority, its state, its attempt, its effects and its outcome.
 * U3  The refusals and outages of each host are known there too; nothing that was reported could not be
 *     read.
 * U4  The position that a host takes as held never goes back, and is never past its end.
 */
import { canonicalJson } from '../../../shared/core/canonical-json.ts';
import type { ReportedOperation } from '../../../shared/wire/control-api.ts';
import type { Refusal } from '../../../shared/wire/operation.ts';
import type { Checker } from '../history.ts';
import { Findings } from './findings.ts';
import type { JournalLife } from './journal-life.ts';
import { worldOf, type World } from './world.ts';

export const i12Reports: Checker = (history) => {
  const world = worldOf(history);
  const findings = new Findings('I12');
  for (const life of world.lives) {
    // What came before a damage, or before it was given up, may never have left.
    if (life.journal.damage !== null || life.journal.isGivenUp) continue;
    checkHeld(world, life, findings);
    checkPicture(world, life, findings);
    checkSideFacts(world, life, findings);
  }
  checkPositions(world, findings);
  const { unreadable } = history.final.control;
  findings.expect(
    unreadable.length === 0,
    () =>
      `control cannot read entry ${unreadable[0]?.seq} of ${unreadable[0]?.hostId}: ${unreadable[0]?.problem}`,
    () => [],
  );
  return findings.verdict();
};

/** An old copy of control's store may need what the journal has forgotten. */
function mayHaveForgotten({ faults }: World, { journal, restoredAtMs }: JournalLife): boolean {
  const isCopy = faults.some(({ fault }) => fault === 'control_backup_restored');
  return (isCopy && journal.prunedSeq > 0) || restoredAtMs !== null;
}

/** U1, U2. */
function checkHeld(world: World, life: JournalLife, findings: Findings): void {
  const { journal, host } = life;
  const { final } = world.history;
  if (mayHaveForgotten(world, life)) return;
  const told = final.control.events[journal.hostId] ?? [];
  const newest = Math.max(0, ...told.map(({ hostEpoch }) => hostEpoch));
  const known = final.control.hosts.find(({ hostId }) => hostId === journal.hostId);
  // One that was just enrolled anew may have nothing to report yet.
  const newestEpoch = known?.hostEpoch ?? newest;
  const held = new Map<number, string>();
  for (const { seq, hash, hostEpoch } of told) {
    if (hostEpoch !== newestEpoch) continue;
    findings.expect(
      !held.has(seq),
      () => `control holds entry ${seq} of ${host} twice`,
      () => [],
    );
    held.set(seq, hash);
  }
  const isAtRest = final.liveness.isSettled;
  for (const { seq, hash, kind } of journal.events) {
    const isDue = seq <= journal.ackedSeq || isAtRest;
    const there = held.get(seq);
    findings.expect(
      there === undefined ? !isDue : there === hash,
      () =>
        there === undefined
          ? `control does not hold entry ${seq} (${kind}) of ${host}, which ${seq <= journal.ackedSeq ? 'takes it as held' : 'has come to rest'}`
          : `control holds another entry ${seq} of ${host} than its journal has`,
      () => [],
    );
  }
  findings.expect(
    held.size === 0 || Math.max(...held.keys()) <= journal.head.seq,
    () => `control holds more entries of ${host} than its journal has`,
    () => [],
  );
}

/** U2. */
function checkPicture(world: World, life: JournalLife, findings: Findings): void {
  const { final } = world.history;
  if (!final.liveness.isSettled || mayHaveForgotten(world, life)) return;
  const known = new Map(final.control.operations.map((one) => [one.operationId, one]));
  for (const operation of life.journal.operations) {
    const { operationId } = operation;
    const reported = known.get(operationId);
    const here = pictureOf(operation);
    const there = reported === undefined ? 'nothing' : pictureOf(reported);
    findings.expect(
      here === there,
      () => `${operationId} of ${life.host} is ${here}; control knows ${there}`,
      () => [],
    );
  }
}

type Shown = Pick<
  ReportedOperation,
  | 'state'
  | 'reason'
  | 'attempt'
  | 'effects'
  | 'outcome'
  | 'app'
  | 'principal'
  | 'action'
  | 'policyRevision'
  | 'rule'
  | 'basis'
  | 'leaseEpoch'
  | 'deadlineAtMs'
>;

function pictureOf({ state, reason, attempt, effects, outcome, ...facts }: Shown): string {
  const { app, principal, action, policyRevision, rule, basis, leaseEpoch, deadlineAtMs } = facts;
  const named = effects
    .map((effect) => `${effect.name}:${effect.state}`)
    .toSorted()
    .join(' ');
  return canonicalJson({
    state,
    reason,
    attempt,
    effects: named,
    outcome: outcome?.outcome ?? null,
    of: [app, principal, action, policyRevision, rule, basis, leaseEpoch, deadlineAtMs],
    provenance: outcome?.provenance ?? null,
  });
}

/** U3. */
function checkSideFacts(world: World, life: JournalLife, findings: Findings): void {
  const { final } = world.history;
  if (!final.liveness.isSettled || mayHaveForgotten(world, life)) return;
  const { control } = final;
  const refusals = new Map(control.refusals.map((one) => [one.refusalId, refusalOf(one)]));
  for (const refusal of life.journal.refusals) {
    const { refusalId, reason } = refusal;
    const there = refusals.get(refusalId);
    findings.expect(
      there === refusalOf(refusal),
      () =>
        there === undefined
          ? `control does not know refusal ${refusalId} (${reason}) of ${life.host}`
          : `refusal ${refusalId} of ${life.host} is ${refusalOf(refusal)}; control knows ${there}`,
      () => [],
    );
  }
  const outages = new Map(control.outages.map((one) => [one.outageId, one]));
  for (const { outageId, toMs } of life.journal.outages) {
    const there = outages.get(outageId);
    findings.expect(
      there !== undefined && (there.toMs === null) === (toMs === null),
      () =>
        `outage ${outageId} of ${life.host} is ${toMs === null ? 'open' : 'over'}, and control knows ${there === undefined ? 'nothing of it' : 'it otherwise'}`,
      () => [],
    );
  }
}

function refusalOf({ app, principal, action, reason, policyRevision, rule }: Refusal): string {
  return canonicalJson([app, principal, action, reason, policyRevision, rule]);
}

/** U4. */
function checkPositions({ history }: World, findings: Findings): void {
  const newest = new Map<string, { readonly ackedSeq: number; readonly seq: number }>();
  for (const event of history.events) {
    if (event.kind === 'host_renewed') newest.delete(event.node);
    if (
      event.kind === 'fault' &&
      (event.fault === 'host_backup_restored' || event.fault === 'journal_damaged')
    )
      for (const node of event.nodes) newest.delete(node);
    if (event.kind !== 'host_state') continue;
    const { host, ackedSeq, journalSeq, seq } = event;
    const before = newest.get(host);
    findings.expect(
      ackedSeq <= journalSeq && ackedSeq >= (before?.ackedSeq ?? 0),
      () =>
        `${host} takes entries up to ${ackedSeq} as held by control; it has ${journalSeq}, and took ${before?.ackedSeq ?? 0} as held before`,
      () => [before?.seq ?? null, seq],
    );
    newest.set(host, { ackedSeq, seq });
  }
}
