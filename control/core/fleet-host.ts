/** What one host runs beside what it should run, and why the two differ. Reasons in order. */
import type { FleetHost, Labels, Rollout } from '../../shared/wire/rollout.ts';
import type { HostFacts } from './host-facts.ts';
import type { HostState } from './host-presence.ts';

type Seen = {
  readonly host: {
    readonly hostId: string;
    readonly hostName: string;
    readonly policyRevision: number | null;
    readonly policyRejected: { readonly policyRevision: number; readonly reason: string } | null;
    readonly sidecarVersion: string | null;
  };
  readonly state: HostState;
  readonly facts: HostFacts | null;
  readonly labels: Labels;
  readonly targetRevision: number | null;
  /** Under way. */
  readonly rollout: Rollout | null;
};

export function viewFleetHost(seen: Seen): FleetHost {
  const { host, state, facts, labels, targetRevision, rollout } = seen;
  const { policyRevision } = host;
  return {
    hostId: host.hostId,
    hostName: host.hostName,
    state,
    labels,
    sidecarVersion: host.sidecarVersion,
    policyRevision,
    sinceMs: facts?.policyRevision === policyRevision ? (facts?.sinceMs ?? null) : null,
    targetRevision,
    lag: lagOf(seen),
    note:
      rollout !== null && targetRevision === rollout.baseRevision
        ? `revision ${rollout.policyRevision} is being rolled out (stage ${rollout.stage} of ${rollout.stages.length}, ${rollout.state}); this host is not in it yet`
        : null,
  };
}

function lagOf({ host, state, targetRevision }: Seen): FleetHost['lag'] {
  const { policyRevision, policyRejected } = host;
  if (targetRevision === null || policyRevision === targetRevision) return null;
  if (policyRejected?.policyRevision === targetRevision) {
    const { reason } = policyRejected;
    return {
      reason: reason.startsWith('quarantined') ? 'quarantined' : 'rejected',
      detail: reason,
    };
  }
  if (state === 'lost' || state === 'enrolled') {
    const detail = state === 'lost' ? 'it has not synced for long' : 'it has never synced';
    return { reason: 'not_connected', detail };
  }
  if ((policyRevision ?? 0) > targetRevision) {
    const detail = 'it runs a revision that this control does not know, as after a restored copy';
    return { reason: 'ahead', detail };
  }
  return {
    reason: 'downloading',
    detail: 'it has been offered it, and has not said that it runs it',
  };
}
