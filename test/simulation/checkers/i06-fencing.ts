/**
 * I6: fencing tokens never go back.
 *
 * T1  Of each resource every grant has a higher epoch than every one before it: over restarts of
 *     control, and over old copies of its store.
 * T2  What a host believes to hold never goes back in epoch, while its disk is its own.
 * T3  Fences are linearizable: a token is accepted only where none above it was accepted before, and
 *     one is refused only where one above it was seen.
 * T4  In its journal a host begins nothing, and writes no register, below the highest epoch it has
 *     recorded by then; what it keeps of fences at the end is that.
 * T5  Registers are linearizable: a write replaces the version that it names, and a read gives what
 *     was written last.
 * T6  No target that compares tokens takes one that is lower than what it took before.
 */
import type { JournalEvent } from '../../../shared/wire/operation.ts';
import type { Checker, NodeName } from '../history.ts';
import { eventsOf } from '../history-view.ts';
import { effectIn } from './acknowledged.ts';
import { Findings } from './findings.ts';
import { checkFenceCalls } from './fence-order.ts';
import type { JournalLife } from './journal-life.ts';
import { leaseWrites, type LeaseWrite } from './lease-writes.ts';
import { checkRegisters } from './register-order.ts';
import { faultsDuring, worldOf, type World } from './world.ts';

export const i06Fencing: Checker = (history) => {
  const world = worldOf(history);
  const findings = new Findings('I6');
  checkGrants(world, findings);
  checkBeliefs(world, findings);
  for (const life of world.lives) {
    checkFenceCalls(world, life, findings);
    checkRegisters(world, life, findings);
    checkJournal(life, findings);
  }
  checkTargets(world, findings);
  return findings.verdict();
};

/** T1. */
function checkGrants({ history }: World, findings: Findings): void {
  const highest = new Map<string, LeaseWrite>();
  for (const written of leaseWrites(history)) {
    const { before: replaced, after, isFound } = written;
    const changesHands = replaced !== null && replaced.holder.hostId !== after.holder.hostId;
    findings.expect(
      isFound || !changesHands || after.epoch > replaced.epoch,
      () =>
        `${written.resource} went to ${written.host} under epoch ${after.epoch}, and its holder before had ${replaced?.epoch}`,
      () => [written.seq],
    );
    if (written.change !== 'granted') continue;
    const before = highest.get(written.resource);
    findings.expect(
      isFound || before === undefined || written.epoch > before.epoch,
      () =>
        `${written.resource} was granted to ${written.host} under epoch ${written.epoch}, after ${before?.host} had it under ${before?.epoch}`,
      () => [before?.seq ?? null, written.seq],
    );
    if (before === undefined || written.epoch > before.epoch)
      highest.set(written.resource, written);
  }
}

/** T2. */
function checkBeliefs(world: World, findings: Findings): void {
  const seen = new Map<
    string,
    { readonly epoch: number; readonly seq: number; readonly atMs: number }
  >();
  for (const { host, leases, seq, atMs } of eventsOf(world.history, 'leases_believed')) {
    for (const { resource, epoch, state } of leases) {
      if (epoch === null || state === 'wanted') continue;
      const place = `${host} ${resource}`;
      const before = seen.get(place);
      if (before === undefined || epoch >= before.epoch) seen.set(place, { epoch, seq, atMs });
      if (before === undefined) continue;
      findings.expect(
        epoch >= before.epoch || wasReset(world, host, before.atMs, atMs),
        () =>
          `${host} holds ${resource} under epoch ${epoch}, and held it under ${before.epoch} before`,
        () => [before.seq, seq],
      );
    }
  }
}

/** It may have forgotten: an old copy of its disk, or a new one. */
function wasReset(world: World, node: NodeName, fromMs: number, toMs: number): boolean {
  const renewed = eventsOf(world.history, 'host_renewed').some(
    (one) => one.node === node && one.atMs >= fromMs && one.atMs <= toMs,
  );
  const at = { node, fromMs, toMs };
  return renewed || faultsDuring(world, at, ['host_backup_restored']).length > 0;
}

/** T4. */
function checkJournal({ journal, host, operations }: JournalLife, findings: Findings): void {
  const highest = new Map<string, number>();
  for (const event of journal.events) {
    const used = tokenIn(event, operations);
    if (used === null) continue;
    const { resource, epoch, mustBeNewest } = used;
    const before = highest.get(resource) ?? 0;
    if (mustBeNewest) {
      findings.expect(
        epoch >= before,
        () =>
          `entry ${event.seq} of ${host} (${event.kind} of ${event.operationId ?? resource}) acts under epoch ${epoch} of ${resource}, where ${before} had been recorded`,
        () => [],
      );
    }
    highest.set(resource, Math.max(before, epoch));
  }
  for (const [resource, epoch] of highest) {
    const kept = journal.fences[resource] ?? 0;
    findings.expect(
      kept >= epoch || journal.damage !== null,
      () =>
        `${host} keeps fence ${kept} of ${resource} at the end, and its journal recorded ${epoch}`,
      () => [],
    );
  }
}

function tokenIn(
  event: JournalEvent,
  operations: JournalLife['operations'],
): { resource: string; epoch: number; mustBeNewest: boolean } | null {
  const { kind, body } = event;
  const operation = operations.get(event.operationId ?? '');
  const of = (resource: unknown, epoch: unknown, mustBeNewest: boolean) =>
    typeof resource === 'string' && typeof epoch === 'number'
      ? { resource, epoch, mustBeNewest }
      : null;
  switch (kind) {
    case 'admitted':
      return of(body['leaseResource'], body['leaseEpoch'], false);
    case 'attempt_started':
      return of(operation?.leaseResource, body['leaseEpoch'], true);
    case 'effect_begun':
      return of(operation?.leaseResource, effectIn(event)?.leaseEpoch, true);
    case 'fence_advanced':
    case 'register_written':
    case 'register_deleted':
      return of(body['resource'], body['epoch'], true);
    default:
      return null;
  }
}

/** T6. */
function checkTargets({ history }: World, findings: Findings): void {
  for (const arrived of eventsOf(history, 'effect_arrived')) {
    const { fencing, verdict, epoch, highestEpochBefore, seq } = arrived;
    if (fencing !== 'enforced' || epoch === null) continue;
    findings.expect(
      verdict !== 'taken' || epoch >= (highestEpochBefore ?? 0),
      () =>
        `${arrived.target} took effect ${arrived.effect} of ${arrived.operationId} under epoch ${epoch}, after ${highestEpochBefore}`,
      () => [seq],
    );
  }
}
