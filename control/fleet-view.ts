/** Counts over all hosts, for health and metrics. */
import type { Clock } from '../shared/platform/clock.ts';
import type { ControlConfig } from './config.ts';
import type { FleetView } from './core/health-verdict.ts';
import { classifyHost } from './core/host-presence.ts';
import type { RolloutDriver } from './policy/rollout-driver.ts';
import type { HostStore } from './store/control-store.ts';

export async function viewFleet(ports: {
  readonly hosts: HostStore;
  readonly driver: Pick<RolloutDriver, 'target'>;
  readonly config: ControlConfig;
  readonly clock: Clock;
}): Promise<FleetView> {
  const { hosts, driver, config, clock } = ports;
  const bounds = { lateAfterMs: config.hostLateAfterMs, lostAfterMs: config.hostLostAfterMs };
  const nowMs = clock.now().wallMs;
  const states = { enrolled: 0, connected: 0, late: 0, lost: 0 };
  const operations: Record<string, number> = {};
  let [behind, rejecting, unreported] = [0, 0, 0];
  let lastSyncAtMs: number | null = null;
  for (const host of await hosts.all()) {
    const state = classifyHost(host.lastSyncAtMs, bounds, nowMs);
    states[state] += 1;
    if (state === 'enrolled') continue;
    lastSyncAtMs = Math.max(lastSyncAtMs ?? 0, host.lastSyncAtMs ?? 0);
    const target = await driver.target(host.hostId);
    if (state !== 'lost' && host.policyRevision !== target) behind += 1;
    if (host.policyRejected !== null && host.policyRejected.policyRevision === target)
      rejecting += 1;
    unreported += Math.max(0, host.journalSeq - host.ackedSeq);
    for (const [name, held] of Object.entries(host.operations)) {
      operations[name] = (operations[name] ?? 0) + held;
    }
  }
  return { states, lastSyncAtMs, behind, rejecting, unreported, operations };
}
