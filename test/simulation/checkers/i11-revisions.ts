/**
 * I11: no bad revision takes the fleet.
 *
 * N1  A number names one document for ever: it is not given again once a host has had it in force.
 *     Only where control's whole directory was put back, and hosts had a term to say what they have,
 *     it may be: whoever had it was silent (`control/DESIGN.md`).
 * N2  A host only has in force what was published, and never an older revision than it had: over
 *     restarts, over an old copy of control's store, over bundles that come late.
 * N3  What it refused is not put in force afterwards, and its journal names what it put in force.
 * N4  No sidecar ends by itself, or refuses to start, where nothing has happened to its disk.
 */
import type { Checker, EventOf, FaultKind, NodeName } from '../history.ts';
import { CONTROL } from '../history.ts';
import { Findings } from './findings.ts';
import type { JournalLife } from './journal-life.ts';
import { worldOf, type World } from './world.ts';

/** What a daemon may end of by itself. */
const OF_THE_DISK: readonly FaultKind[] = [
  'disk_full',
  'disk_error',
  'slow_disk',
  'lost_tail',
  'host_backup_restored',
  'journal_damaged',
];

export const i11Revisions: Checker = (history) => {
  const world = worldOf(history);
  const findings = new Findings('I11');
  checkNumbers(world, findings);
  checkHosts(world, findings);
  for (const life of world.lives) checkJournal(world, life, findings);
  checkEnds(world, findings);
  return findings.verdict();
};

/** N1. */
function checkNumbers({ history }: World, findings: Findings): void {
  const first = new Map<number, EventOf<'revision_published'>>();
  const used = new Map<number, number>();
  let isWholeCopy = false;
  let startedAtMs = 0;
  for (const event of history.events) {
    if (event.kind === 'fault' && event.fault === 'control_backup_restored')
      isWholeCopy ||= event.detail['isWhole'] === true;
    if (event.kind === 'daemon_started' && event.node === CONTROL) startedAtMs = event.atMs;
    if (event.kind === 'host_state' && event.activeRevision !== null)
      used.set(event.activeRevision, event.seq);
    if (event.kind !== 'revision_published') continue;
    const { policyRevision, policyDigest, seq } = event;
    const before = first.get(policyRevision);
    const hadTime = event.atMs - startedAtMs >= history.terms.leaseTtlMs;
    findings.expect(
      before === undefined ||
        before.policyDigest === policyDigest ||
        !used.has(policyRevision) ||
        (isWholeCopy && hadTime),
      () =>
        `revision ${policyRevision} was published again with another document, and hosts had it`,
      () => [before?.seq ?? null, used.get(policyRevision) ?? null, seq],
    );
    if (before === undefined) first.set(policyRevision, event);
  }
}

/** N2. */
function checkHosts(world: World, findings: Findings): void {
  const published = new Set<number>();
  const newest = new Map<NodeName, EventOf<'host_state'>>();
  for (const event of world.history.events) {
    if (event.kind === 'revision_published') published.add(event.policyRevision);
    if (event.kind === 'host_renewed') newest.delete(event.node);
    if (event.kind === 'fault' && event.fault === 'host_backup_restored')
      for (const node of event.nodes) newest.delete(node);
    if (event.kind !== 'host_state' || event.activeRevision === null) continue;
    const { host, activeRevision, seq } = event;
    findings.expect(
      published.has(activeRevision),
      () => `${host} has revision ${activeRevision} in force, which was never published`,
      () => [seq],
    );
    const before = newest.get(host);
    findings.expect(
      before?.activeRevision === undefined ||
        activeRevision >= (before.activeRevision ?? 0) ||
        diedOfIt(world, host, seq),
      () =>
        `${host} has revision ${activeRevision} in force, and had ${before?.activeRevision} before`,
      () => [before?.seq ?? null, seq],
    );
    newest.set(host, event);
  }
}

/** So soon after a start, or a publication, a revision may have been on its way into force. */
const ACTIVATING_MS = 10_000;
const DEATHS = 2;

/** A revision that a process did not survive twice is given up for the one before it. */
function diedOfIt({ history, lives }: World, host: NodeName, beforeSeq: number): boolean {
  const isQuarantined = lives.some(
    (life) =>
      life.host === host &&
      life.journal.events.some(
        ({ kind, body }) =>
          kind === 'policy_rejected' && String(body['reason']).startsWith('quarantined'),
      ),
  );
  let sinceMs = Number.NEGATIVE_INFINITY;
  let deaths = 0;
  for (const event of history.events) {
    if (event.seq >= beforeSeq) break;
    const begins = event.kind === 'daemon_started' && event.node === host;
    if (begins || event.kind === 'revision_published') sinceMs = event.atMs;
    if (event.kind !== 'daemon_ended' || event.node !== host || event.how === 'stopped') continue;
    if (event.atMs - sinceMs < ACTIVATING_MS) deaths += 1;
  }
  return isQuarantined && deaths >= DEATHS;
}

/** N3. */
function checkJournal(
  { policies }: World,
  { journal, host, isKept }: JournalLife,
  findings: Findings,
): void {
  const rejected = new Set<number>();
  let newest = 0;
  for (const { kind, body, seq } of journal.events) {
    const revision = Number(body['policyRevision']);
    if (kind === 'policy_rejected') rejected.add(revision);
    if (kind !== 'policy_activated') continue;
    const before = newest;
    findings.expect(
      // Who is enrolled anew takes up again what is in force.
      (isKept ? revision >= before : revision > before) && policies.of(revision).length > 0,
      () =>
        `entry ${seq} of ${host} put revision ${revision} in force after ${before}${policies.of(revision).length > 0 ? '' : ', and it was never published'}`,
      () => [],
    );
    findings.expect(
      !rejected.has(revision),
      () => `entry ${seq} of ${host} put revision ${revision} in force, which it had refused`,
      () => [],
    );
    newest = Math.max(newest, revision);
  }
}

/** N4. */
function checkEnds({ history, faults }: World, findings: Findings): void {
  for (const event of history.events) {
    if (event.kind !== 'daemon_ended' && event.kind !== 'daemon_started') continue;
    if (event.node === CONTROL) continue;
    const isBad =
      event.kind === 'daemon_ended' ? event.how === 'ended' : event.outcome === 'refused_to_start';
    const excuse = faults.some(
      ({ fault, nodes, fromMs }) =>
        OF_THE_DISK.includes(fault) && nodes.includes(event.node) && fromMs <= event.atMs,
    );
    findings.expect(
      !isBad || excuse,
      () =>
        `${event.node} ${event.kind === 'daemon_ended' ? 'ended by itself' : 'did not start'} (${event.detail}), and nothing had happened to its disk`,
      () => [event.seq],
    );
  }
}
