/**
 * I7: at most one valid owner.
 *
 * W1  No two hosts believe at one moment that they hold the same resource, while all clocks keep to
 *     their bound. No two ever believe in the same epoch of it.
 * W2  A holder counts from when the sync was sent, for less than the time to live: it never believes
 *     in more than that leaves it.
 * W3  Control gives a resource to another host only after the end of the one before, counted for
 *     longer than the time to live, and its lock delay.
 * W4  After a start control gives nothing before every host that it knew has spoken as of an answer
 *     of this run, or a whole term is over.
 * W5  Under `strict` ownership nothing is begun after a higher epoch was granted; under none is
 *     anything begun later than the newest sync allows, with the grace that the record has.
 * W6  A lease that is to stop is not renewed.
 */
import { grantorEndMs, holderEndMs } from '../../../shared/core/lease.ts';
import type { Checker, EventOf, NodeName } from '../history.ts';
import { CONTROL } from '../history.ts';
import { eventsOf } from '../history-view.ts';
import { leaseWrites } from './lease-writes.ts';
import { beliefsIn, type Belief } from './beliefs.ts';
import { Findings, moment } from './findings.ts';
import { bootElapsedMs, exchangesWith, newestSync, worldOf, type World } from './world.ts';

const ROUNDING_MS = 2;
/** Of the worst clock that there is. */
const CLOCK_RATE_MOST = 1.1;

export const i07OneOwner: Checker = (history) => {
  const world = worldOf(history);
  const findings = new Findings('I7');
  checkOverlaps(world, findings);
  checkHolders(world, findings);
  checkGrants(world, findings);
  checkStarts(world, findings);
  checkStops(world, findings);
  checkStrictWork(world, findings);
  return findings.verdict();
};

/**
 * The event until which all clocks were within the declared bound of true time, and never set: past
 * it, fencing is what protects.
 */
function boundKeptUntil({ history }: World): number {
  const { drift } = history.terms;
  for (const { node, before, after, rate, seq } of eventsOf(history, 'clock_changed')) {
    if (Math.abs(rate - 1) > drift) return seq;
    if (before.bootId === after.bootId && after.bootMs !== before.bootMs) {
      // What moved it is told right after it.
      const moved = eventsOf(history, 'fault').find(
        (fault) => fault.seq > seq && fault.nodes.includes(node),
      );
      if (moved?.fault !== 'suspend') return seq;
    }
  }
  return Number.POSITIVE_INFINITY;
}

/** W1. */
function checkOverlaps(world: World, findings: Findings): void {
  const beliefs = beliefsIn(world.history);
  const keptUntilSeq = boundKeptUntil(world);
  for (const its of Map.groupBy(beliefs, ({ resource }) => resource).values()) {
    const inOrder = its.toSorted((a, b) => a.fromMs - b.fromMs);
    const owners = new Map<number, Belief>();
    let open: Belief[] = [];
    for (const belief of inOrder) {
      const first = owners.get(belief.epoch) ?? belief;
      owners.set(belief.epoch, first);
      findings.expect(
        first.host === belief.host,
        () =>
          `${first.host} and ${belief.host} both hold ${belief.resource} under epoch ${belief.epoch}`,
        () => [first.seq, belief.seq],
      );
      open = open.filter(({ toMs }) => toMs > belief.fromMs);
      const rival = open.find(({ host }) => host !== belief.host);
      findings.expect(
        rival === undefined || belief.seq > keptUntilSeq || rival.seq > keptUntilSeq,
        () =>
          `${rival?.host} (epoch ${rival?.epoch}) and ${belief.host} (epoch ${belief.epoch}) both hold ${belief.resource} at ${moment(belief.fromMs)}, and every clock kept to its bound`,
        () => [rival?.seq ?? null, belief.seq],
      );
      open.push(belief);
    }
  }
}

/** W2. */
function checkHolders(world: World, findings: Findings): void {
  const { leaseTtlMs, drift } = world.history.terms;
  for (const { host, leases, clock, seq } of eventsOf(world.history, 'leases_believed')) {
    const sync = newestSync(world, host, seq);
    for (const { resource, state, remainingMs, epoch } of leases) {
      if (state !== 'held' && state !== 'draining') continue;
      const sinceMs = sync === null ? null : bootElapsedMs(sync.sent.clock, clock);
      // No sync of this boot: what was held in another has ended (L3).
      const mostMs = sinceMs === null ? 0 : holderEndMs(0, leaseTtlMs, drift) - sinceMs;
      findings.expect(
        remainingMs <= mostMs + ROUNDING_MS,
        () =>
          `${host} believes that it holds ${resource} (epoch ${epoch}) for ${remainingMs} ms more; its last sync was sent ${sinceMs} ms before, and that leaves it ${mostMs} ms`,
        () => [sync?.sent.seq ?? null, sync?.answered.seq ?? null, seq],
      );
    }
  }
}

/** W3. */
function checkGrants({ history }: World, findings: Findings): void {
  const { leaseTtlMs, drift, lockDelayMs } = history.terms;
  let startMs: number | null = null;
  let bootId = '';
  for (const event of history.events) {
    if (event.kind === 'daemon_started' && event.node === CONTROL) {
      startMs = event.clock.bootMs;
      ({ bootId } = event.clock);
    }
    if (event.kind === 'daemon_ended' && event.node === CONTROL) startMs = null;
    // Without a start: only found in a store.
    if (event.kind !== 'lease_written' || startMs === null) continue;
    const { before, after, clock, change, host, resource, seq } = event;
    if (change === 'granted' || change === 'renewed') {
      const leastMs = grantorEndMs(0, leaseTtlMs, drift);
      findings.expect(
        after.termMs >= leastMs,
        () =>
          `control counts the lease of ${resource} by ${host} for ${after.termMs} ms, and ${leastMs} ms are to pass before another may have it`,
        () => [seq],
      );
    }
    if (change !== 'granted' || before === null || before.state !== 'held') continue;
    if (before.holder.hostId === after.holder.hostId || bootId !== clock.bootId) continue;
    const isOfThisRun = before.run === after.run;
    const endMs = isOfThisRun ? before.endsBootMs : startMs + before.termMs;
    const decidedMs = after.endsBootMs - after.termMs;
    findings.expect(
      decidedMs >= endMs + lockDelayMs,
      () =>
        `control gave ${resource} to ${host} ${endMs + lockDelayMs - decidedMs} ms before the lease of the host before it had ended, with the lock delay of ${lockDelayMs} ms`,
      () => [seq],
    );
  }
}

/** W6. */
function checkStops({ history }: World, findings: Findings): void {
  for (const { before, after, isFound, resource, host, seq } of leaseWrites(history)) {
    if (isFound || before?.state !== 'held' || before.handover?.mode !== 'stop') continue;
    findings.expect(
      before.epoch !== after.epoch || before.endsBootMs >= after.endsBootMs,
      () =>
        `control renewed ${resource} for ${host} under epoch ${after.epoch}, after ${before.handover?.by} had ended it`,
      () => [seq],
    );
  }
}

/** W4. */
function checkStarts(world: World, findings: Findings): void {
  const { history } = world;
  const { leaseTtlMs, drift } = history.terms;
  const starts = eventsOf(history, 'daemon_started').filter(({ node }) => node === CONTROL);
  for (const [index, start] of starts.entries()) {
    const before = knownHosts(world, start.seq);
    const untilSeq = starts[index + 1]?.seq ?? Number.POSITIVE_INFINITY;
    const grants = leaseWrites(history).filter(
      ({ change, isFound, seq }) =>
        change === 'granted' && !isFound && seq > start.seq && seq < untilSeq,
    );
    for (const grant of grants) {
      const sinceMs = bootElapsedMs(start.clock, grant.clock);
      if (sinceMs === null || sinceMs >= grantorEndMs(0, leaseTtlMs, drift)) break;
      const silent = before.filter((host) => !hasSpoken(world, host, start, grant));
      findings.expect(
        silent.length === 0,
        () =>
          `control granted ${grant.resource} to ${grant.host} ${sinceMs} ms after its start, and ${silent.join(', ')} had not spoken as of an answer of this run`,
        () => [start.seq, grant.seq],
      );
    }
  }
}

function knownHosts(world: World, beforeSeq: number): NodeName[] {
  return world.history.terms.hosts.filter((host) =>
    exchangesWith(world, host, 'sync').some(
      ({ answered }) => answered.status === 200 && answered.seq < beforeSeq,
    ),
  );
}

/** It had an answer of this run, and sent a request after it that had arrived. */
function hasSpoken(
  world: World,
  host: NodeName,
  start: EventOf<'daemon_started'>,
  grant: EventOf<'lease_written'>,
): boolean {
  const heard = exchangesWith(world, host, 'sync').find(
    ({ answered }) => answered.status === 200 && answered.seq > start.seq,
  );
  if (heard === undefined || heard.answered.seq > grant.seq) return false;
  const { sentLater, arrived } = messagesOf(world, host);
  // The first of them may have been lost on its way.
  return sentLater.some(({ seq, messageId }) => {
    const arrivedSeq = arrived.get(messageId);
    return seq > heard.answered.seq && arrivedSeq !== undefined && arrivedSeq < grant.seq;
  });
}

const messages = new WeakMap<World, Map<NodeName, ReturnType<typeof readMessages>>>();

function messagesOf(world: World, host: NodeName): ReturnType<typeof readMessages> {
  const byHost = messages.get(world) ?? new Map<NodeName, ReturnType<typeof readMessages>>();
  messages.set(world, byHost);
  const known = byHost.get(host) ?? readMessages(world, host);
  byHost.set(host, known);
  return known;
}

function readMessages({ history }: World, host: NodeName) {
  const sentLater = eventsOf(history, 'message_sent').filter(
    ({ from, purpose }) => from === host && purpose === 'sync',
  );
  const arrived = new Map<number, number>();
  for (const { messageId, seq } of eventsOf(history, 'message_arrived')) {
    if (!arrived.has(messageId)) arrived.set(messageId, seq);
  }
  return { sentLater, arrived };
}

/** The clock by which it counts was set meanwhile: how long it took is not known. */
function isSetWithin(
  { history }: World,
  host: NodeName,
  { fromSeq, toSeq }: { readonly fromSeq: number; readonly toSeq: number },
): boolean {
  return eventsOf(history, 'clock_changed').some(
    ({ node, seq }) => node === host && seq > fromSeq && seq < toSeq,
  );
}

/** W5. */
function checkStrictWork(world: World, findings: Findings): void {
  const keptUntilSeq = boundKeptUntil(world);
  const { leaseTtlMs, drift } = world.history.terms;
  const grants = leaseWrites(world.history).filter(
    ({ change, isFound }) => change === 'granted' && !isFound,
  );
  const byId = new Map(world.lives.flatMap((life) => [...life.operations].map((pair) => pair)));
  for (const { request, to, sent, ended } of world.calls) {
    if (request.kind !== 'begin_effect' || ended?.end.kind !== 'ok') continue;
    const operation = byId.get(request.operationId);
    if (operation === undefined || operation.leaseResource === null) continue;
    const { leaseEpoch, replayed } = ended.end.body as {
      readonly leaseEpoch: number | null;
      readonly replayed: boolean;
    };
    if (leaseEpoch === null || replayed) continue;
    const sync = newestSync(world, to, ended.seq);
    const tookMs = (ended.atMs - sent.atMs) * CLOCK_RATE_MOST;
    const elapsedMs = sync === null ? null : bootElapsedMs(sync.sent.clock, ended.clock);
    const sinceMs = Math.floor((elapsedMs ?? 0) - tookMs);
    const mostMs = holderEndMs(0, leaseTtlMs, drift) + operation.ownershipGraceMs;
    findings.expect(
      sinceMs <= mostMs || isSetWithin(world, to, { fromSeq: sent.seq, toSeq: ended.seq }),
      () =>
        `${to} began effect ${request.effect} of ${request.operationId} under its lease of ${operation.leaseResource}, ${sinceMs} ms after its last sync was sent: ${mostMs} ms with its grace`,
      () => [sync?.sent.seq ?? null, sent.seq, ended.seq],
    );
    if (operation.ownershipMode !== 'strict' || ended.seq > keptUntilSeq) continue;
    const rival = grants.find(
      ({ resource, epoch, host, seq }) =>
        resource === operation.leaseResource && epoch > leaseEpoch && host !== to && seq < sent.seq,
    );
    findings.expect(
      rival === undefined,
      () =>
        `${to} began effect ${request.effect} of ${request.operationId} under epoch ${leaseEpoch} of ${operation.leaseResource}, and ${rival?.host} had been given epoch ${rival?.epoch}`,
      () => [rival?.seq ?? null, sent.seq, ended.seq],
    );
  }
}
