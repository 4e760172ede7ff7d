/** What control knows of all hosts together, gathered for `core/fleet-health.ts` to judge. */
import { sumOfCounts } from '../shared/core/counts.ts';
import type { Clock } from '../shared/platform/clock.ts';
import type { FleetHealth } from '../shared/wire/fleet-health.ts';
import type { ControlConfig } from './config.ts';
import { judgeFleet, type FleetFacts, type FleetHost } from './core/fleet-health.ts';
import { judgeLeases, judgePlacement, judgeRollout } from './core/health-verdict.ts';
import { classifyHost } from './core/host-presence.ts';
import type { HealthBook } from './hosts/health-book.ts';
import type { Lessor } from './leases/lessor.ts';
import type { Placement } from './leases/placement.ts';
import type { HostBook } from './policy/host-book.ts';
import type { RolloutDriver } from './policy/rollout-driver.ts';
import type { ControlStore, HostRecord } from './store/control-store.ts';

export type FleetHealthPorts = {
  readonly store: ControlStore;
  readonly lessor: Lessor;
  readonly placement: Placement;
  readonly driver: RolloutDriver;
  readonly book: HostBook;
  readonly healthBook: HealthBook;
  readonly config: ControlConfig;
  readonly clock: Clock;
};

export async function viewFleetHealth(ports: FleetHealthPorts): Promise<FleetHealth> {
  const { store, placement, driver, clock } = ports;
  const nowMs = clock.now().wallMs;
  const newestRevision = await store.policy.currentNumber();
  const hosts: FleetHost[] = [];
  for (const host of await store.hosts.all()) {
    hosts.push(hostOf(host, { ports, nowMs, target: await driver.target(host.hostId) }));
  }
  return judgeFleet({
    nowMs,
    hosts,
    newestRevision,
    rollout: judgeRollout(driver.status(), newestRevision),
    placement: placement.hasGroups ? judgePlacement(placement.brake()) : null,
    unplacedShards: placement.unplacedShards,
    proposalsOpen: await store.proposals.countOpen(nowMs),
    ...(await leasesOf(ports)),
  });
}

const UNENDED = ['accepted', 'executing', 'paused'];

function hostOf(
  host: HostRecord,
  at: { ports: FleetHealthPorts; nowMs: number; target: number | null },
): FleetHost {
  const { ports, nowMs, target } = at;
  const { hostId, hostName, lastSyncAtMs, policyRevision, policyRejected } = host;
  const { hostLateAfterMs: lateAfterMs, hostLostAfterMs: lostAfterMs } = ports.config;
  const offered = ports.book.facts(hostId)?.offered;
  return {
    hostId,
    hostName,
    state: classifyHost(lastSyncAtMs, { lateAfterMs, lostAfterMs }, nowMs),
    lastSyncAtMs,
    said: ports.healthBook.said(hostId),
    policyRevision,
    targetRevision: target,
    isRejecting: policyRejected !== null && policyRejected.policyRevision === target,
    offeredAtMs: offered?.policyRevision === target ? (offered?.atMs ?? null) : null,
    unended: sumOfCounts(UNENDED.map((state) => host.operations[state] ?? 0)),
  };
}

async function leasesOf({
  store,
  lessor,
}: FleetHealthPorts): Promise<Pick<FleetFacts, 'leases' | 'handovers'>> {
  const counts = { held: 0, expired: 0, released: 0 };
  const handovers: FleetFacts['handovers'][number][] = [];
  for (const record of await store.leases.all()) {
    const { state, handover } = lessor.view(record);
    counts[state] += 1;
    if (handover === null) continue;
    const { toHostId, sinceMs } = handover;
    const fromHostId = record.state === 'held' ? record.holder.hostId : null;
    handovers.push({ fromHostId, toHostId, sinceMs });
  }
  return { leases: judgeLeases(counts, lessor.recovery), handovers };
}
