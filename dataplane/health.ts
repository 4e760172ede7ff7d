/**
 * The two verdicts of the sidecar: on the control plane as seen from here, and on its own plane.
 * They never mix.
 */
import type { HostHealth, WorkTally } from '../shared/wire/fleet-health.ts';
import type { Health, HealthPart } from '../shared/wire/health.ts';
import type { SidecarStatus } from '../shared/wire/sidecar-api.ts';
import type { DiskState } from './journal/disk-watch.ts';
import { healthPart as part, judgePlane } from '../shared/core/plane-health.ts';
import { formatDurationMs } from '../shared/core/time.ts';

export type HealthInput = {
  readonly status: SidecarStatus;
  readonly work: Pick<HostHealth, 'executing' | 'paused' | 'stuck' | 'unknown' | 'reconciling'>;
  readonly expiredConfig: HostHealth['expiredConfig'];
  /** Why control has withdrawn this host's authority, if it has. */
  readonly revoked: string | null;
  /** Rules that may rest on cached authority, and those of them for which it is too old. */
  readonly staleRules: { readonly bounded: number; readonly expired: number };
  readonly notices: { readonly inForce: number; readonly isUnknown: boolean };
  readonly queueLength: number;
  /** How long a write would wait for the disk, and whether new work is turned away for it. */
  readonly writeWait: { readonly ms: number; readonly isShedding: boolean };
  readonly disk: Pick<DiskState, 'pressure' | 'detail' | 'sinceMs'>;
  /** Why the journal takes nothing, if it does not. */
  readonly quarantine: string | null;
  /** It is sound then, and takes nothing because its file system does not. */
  readonly isReadOnly: boolean;
  /** Why reports no longer go up, if they do not. */
  readonly reportsStopped: string | null;
  readonly nowMs: number;
};

export function sidecarHealth(input: HealthInput): Health {
  const { status, nowMs } = input;
  return {
    daemon: 'sidecar',
    version: status.version,
    atMs: nowMs,
    controlPlane: judgePlane(
      {
        sync: syncPart(status),
        policy: policyPart(status, nowMs),
        leases: leasesPart(status),
        reports: reportsPart(status, input.reportsStopped),
      },
      'control is in reach and its authority is current',
    ),
    dataPlane: judgePlane(dataParts(input), 'accepted work is served'),
  };
}

function syncPart({ control }: SidecarStatus): HealthPart {
  const times = {
    lastSuccessMs: control.lastSuccessMs,
    lastError: control.lastError,
    sinceMs: control.outage?.fromMs ?? null,
  };
  if (control.state === 'connected') return part('ok', 'control answers', times);
  if (control.state === 'starting')
    return part('degraded', 'the first sync has not succeeded yet', times);
  if (control.state === 'refused')
    return part(
      'degraded',
      `control refuses this host: ${control.lastError ?? 'no reason given'}`,
      times,
    );
  return part(
    'degraded',
    `control cannot be reached: ${control.outage?.detail ?? control.lastError ?? 'no answer'}`,
    times,
  );
}

function policyPart({ policy }: SidecarStatus, nowMs: number): HealthPart {
  if (policy.activeRevision === null) return part('degraded', 'no policy has been received yet');
  const age =
    policy.stalenessMs === null
      ? 'of unknown age'
      : `confirmed ${formatDurationMs(policy.stalenessMs)} ago`;
  // Its success is a confirmation; since when it is so is not when the revision came into force.
  const { stalenessMs } = policy;
  const times = { lastSuccessMs: stalenessMs === null ? null : Math.max(0, nowMs - stalenessMs) };
  if (policy.rejected !== null) {
    return part(
      'degraded',
      `revision ${policy.rejected.policyRevision} was rejected (${policy.rejected.reason}); revision ${policy.activeRevision} stays, ${age}`,
      times,
    );
  }
  return part(
    policy.stalenessMs === null ? 'degraded' : 'ok',
    `revision ${policy.activeRevision}, ${age}`,
    times,
  );
}

function leasesPart({ leases }: SidecarStatus): HealthPart {
  if (leases.wanted > 0)
    return part('degraded', `${leases.held} held, ${leases.wanted} asked for and not held`);
  return part('ok', `${leases.held} held`);
}

function reportsPart({ journal, control }: SidecarStatus, stopped: string | null): HealthPart {
  const behind = `${journal.seq - journal.ackedSeq} entries not yet held by control`;
  if (stopped !== null) return part('failed', `reports have stopped: ${stopped}; ${behind}`);
  const waits = journal.seq > journal.ackedSeq && control.state !== 'connected';
  return part(waits ? 'degraded' : 'ok', behind);
}

/** Accepted work goes on whatever this says: it is about new work only. */
function admissionPart({ status, revoked, staleRules }: HealthInput): HealthPart {
  if (revoked !== null) {
    return part('degraded', `nothing is admitted: control has withdrawn authority (${revoked})`);
  }
  if (status.policy.activeRevision === null) {
    return part('degraded', 'nothing is admitted: no policy has been received yet');
  }
  const { bounded, expired } = staleRules;
  if (expired === 0) return part('ok', 'bounded operations are admitted');
  const age = `cached authority is too old for ${expired} of ${bounded} bounded rules`;
  return part('degraded', expired === bounded ? `nothing bounded is admitted: ${age}` : age);
}

function noticesPart({ notices: { inForce, isUnknown } }: HealthInput): HealthPart {
  if (!isUnknown) return part('ok', `${inForce} in force`);
  return part(
    'degraded',
    'nothing is admitted: notices.json is damaged, and control has not said them anew',
  );
}

function journalPart(input: HealthInput): HealthPart {
  const { status, queueLength, quarantine, writeWait } = input;
  if (quarantine !== null)
    return part('failed', `${input.isReadOnly ? 'read-only' : 'quarantined'}: ${quarantine}`);
  const waiting = `${status.journal.seq} entries, ${queueLength} writes waiting`;
  if (!writeWait.isShedding) return part('ok', waiting);
  return part(
    'degraded',
    `new work is refused: the disk is slow, a write would wait ${formatDurationMs(writeWait.ms)}; ${waiting}`,
  );
}

function diskPart({ disk: { pressure, detail, sinceMs } }: HealthInput): HealthPart {
  if (pressure === 'ample') return part('ok', detail);
  return part('degraded', `new work is refused: ${detail}`, { sinceMs });
}

function dataParts(input: HealthInput): Record<string, HealthPart> {
  const { status, work } = input;
  const { executing, paused, stuck, unknown, reconciling } = work;
  const accepted = status.journal.operations['accepted'] ?? 0;
  return {
    admission: admissionPart(input),
    notices: noticesPart(input),
    config: configPart(input),
    journal: journalPart(input),
    disk: diskPart(input),
    executing: part(
      'ok',
      `${told(executing, 'executing')}, ${accepted} waiting, ${told(paused, 'paused')}`,
    ),
    stuck: part(
      stuck.count === 0 ? 'ok' : 'degraded',
      told(stuck, 'past their deadline and not ended'),
    ),
    unknown: part(
      unknown.count === 0 ? 'ok' : 'degraded',
      told(unknown, 'with unknown outcome need reconciliation'),
    ),
    reconciling: part('ok', told(reconciling, 'taken up to be settled')),
  };
}

/** `3 executing (the oldest for 5m)`. */
function told({ count, oldestMs }: WorkTally, what: string): string {
  const oldest = oldestMs === null ? '' : ` (the oldest for ${formatDurationMs(oldestMs)})`;
  return `${count} ${what}${oldest}`;
}

/** What apps read of it says so itself, each time. */
function configPart({ expiredConfig: { count, of } }: HealthInput): HealthPart {
  if (count === 0) return part('ok', `${of} values, none expired`);
  return part('degraded', `${count} of ${of} values are older than their policy allows`);
}
