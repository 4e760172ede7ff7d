/**
 * What becomes of a journal that was damaged while its host was down (D6 of I1): the next start says
 * so and how far it had come, or all of it is there; meanwhile nothing is admitted; a person accepts
 * the loss, and control begins a new history of that host. What was kept is what it was.
 */
import type { EventOf, NodeName } from '../history.ts';
import { eventsOf } from '../history-view.ts';
import type { Findings } from './findings.ts';
import type { JournalLife } from './journal-life.ts';
import type { World } from './world.ts';

/** A host that is going down says that instead. */
const REFUSALS = new Set(['journal_quarantined', 'shutting_down']);
const SERVER_ERROR = 500;

export function checkToldLosses(world: World, findings: Findings): void {
  const starts = eventsOf(world.history, 'daemon_started');
  for (const damage of eventsOf(world.history, 'fault')) {
    if (damage.fault !== 'journal_damaged') continue;
    const [host = ''] = damage.nodes;
    const start = starts.find(({ node, seq }) => node === host && seq > damage.seq);
    if (start?.outcome !== 'quarantined') continue;
    checkWords(damage, start, findings);
    checkStandsStill(world, start, findings);
  }
  for (const life of world.lives) {
    checkNewHistory(world, life, findings);
    if (life.isKept) checkKept(world, life, findings);
  }
}

/** Bits that were turned in the database may be of anything; an end that is gone is told as that. */
function checkWords(
  damage: EventOf<'fault'>,
  start: EventOf<'daemon_started'>,
  findings: Findings,
): void {
  const { how, headSeq } = damage.detail;
  const detail = start.detail ?? '';
  if (how === 'file_flip' || detail.includes('(broken_chain)')) return;
  findings.expect(
    new RegExp(`journal\\.head (is at|remembers it up to) entry ${headSeq}\\b`).test(detail),
    () =>
      `start ${start.start} of ${start.node} does not say that its journal had come to entry ${headSeq}: ${detail}`,
    () => [damage.seq, start.seq],
  );
}

/** Until it serves again. */
function checkStandsStill(
  { history, calls }: World,
  start: EventOf<'daemon_started'>,
  findings: Findings,
): void {
  const { node } = start;
  const next = eventsOf(history, 'daemon_started').find(
    (other) => other.node === node && other.seq > start.seq && other.outcome !== 'quarantined',
  );
  const untilSeq = next?.seq ?? Number.POSITIVE_INFINITY;
  for (const { to, request, sent, ended } of calls) {
    if (to !== node || request.kind !== 'admit' || ended === null) continue;
    if (sent.seq < start.seq || ended.seq > untilSeq) continue;
    const { end } = ended;
    const isRefused =
      end.kind === 'info' ||
      (end.kind === 'refused' && (end.status < SERVER_ERROR || REFUSALS.has(end.code)));
    findings.expect(
      isRefused,
      () =>
        `${node} is quarantined and answered an admission with ${end.kind === 'refused' ? end.code : end.kind}`,
      () => [start.seq, sent.seq, ended.seq],
    );
  }
}

/** How often the host was begun anew, and as which enrolment control knows it. */
function enrolments(world: World, host: NodeName): { renewals: number; hostEpoch: number } | null {
  const { final } = world.history;
  // A copy of control's store may know nothing of it.
  if (world.faults.some(({ fault }) => fault === 'control_backup_restored')) return null;
  const known = final.control.hosts.find(({ hostName }) => hostName === host);
  if (known === undefined || !final.liveness.isSettled) return null;
  const renewals = eventsOf(world.history, 'host_renewed').filter(({ node }) => node === host);
  return { renewals: renewals.length, hostEpoch: known.hostEpoch };
}

function checkNewHistory(world: World, { host, journal }: JournalLife, findings: Findings): void {
  const its = enrolments(world, host);
  if (its === null || its.renewals === 0 || journal.isGivenUp) return;
  const { hostEpoch } = its;
  const entry = world.history.final.control.audit.find(
    ({ action, target, detail }) =>
      action === 'host.enrolled' && target === host && detail['hostEpoch'] === hostEpoch,
  );
  findings.expect(
    hostEpoch > 1 && entry !== undefined,
    () =>
      `${host} began anew ${its.renewals} times and control knows it as enrolment ${hostEpoch}${entry === undefined ? ', of which its audit says nothing' : ''}`,
    () => eventsOf(world.history, 'host_renewed').map(({ seq }) => seq),
  );
}

/** What control held of it under the enrolment before is in it still, up to where it was cut off. */
function checkKept(world: World, { host, journal }: JournalLife, findings: Findings): void {
  const its = enrolments(world, host);
  if (its === null || its.renewals !== its.hostEpoch - 1 || journal.damage !== null) return;
  const renewed = eventsOf(world.history, 'host_renewed').findLast(({ node }) => node === host);
  const left = Number(/the journal ends at entry (\d+)/.exec(renewed?.detail ?? '')?.[1] ?? 0);
  if (renewed === undefined || !renewed.detail.includes('--keep')) return;
  const hashes = new Map(journal.events.map(({ seq, hash }) => [seq, hash]));
  for (const entry of world.history.final.control.events[journal.hostId] ?? []) {
    if (entry.hostEpoch !== its.hostEpoch - 1 || entry.seq > left) continue;
    findings.expect(
      hashes.get(entry.seq) === entry.hash,
      () => `${host} kept its journal up to entry ${left}, and entry ${entry.seq} is another`,
      () => [renewed.seq],
    );
  }
}
