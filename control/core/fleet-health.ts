/**
 * Health of all hosts together, by plane (DESIGN 8).
 *
 * F1  A host that is silent, or that has not said how it is, is unknown. It makes every part that it
 *     could change unknown, and none ok; what it said before is not counted as if it were so now.
 * F2  A host that never synced has no policy and so no work: it is counted, and judged by nobody.
 * F3  What needs somebody goes before what is not known: one operation with an unknown outcome is
 *     not hidden by a host that is away.
 * F4  A part names at most `FLEET_HOSTS_SHOWN` hosts, those with most first, and counts the others.
 */
import { sumOfCounts } from '../../shared/core/counts.ts';
import type { FleetHealth, FleetPart, HostHealth } from '../../shared/wire/fleet-health.ts';
import { FLEET_HOSTS_SHOWN, healthPart, judgePlane } from '../../shared/core/plane-health.ts';
import type { HealthPart } from '../../shared/wire/health.ts';
import type { HostState } from './host-presence.ts';

/** A host in contact that has been offered a revision for so long should run it. */
const BEHIND_AFTER_MS = 60_000;

export type FleetHost = {
  readonly hostId: string;
  readonly hostName: string;
  readonly state: HostState;
  readonly lastSyncAtMs: number | null;
  /** With the time at which control heard it; `null` where it has not said so in this run. */
  readonly said: { readonly atMs: number; readonly health: HostHealth } | null;
  readonly policyRevision: number | null;
  readonly targetRevision: number | null;
  readonly isRejecting: boolean;
  readonly offeredAtMs: number | null;
  /** That had not ended, as it last said. */
  readonly unended: number;
};

export type FleetFacts = {
  readonly nowMs: number;
  readonly hosts: readonly FleetHost[];
  readonly newestRevision: number | null;
  /** As `health-verdict.ts` judges them by themselves. */
  readonly rollout: HealthPart;
  readonly placement: HealthPart | null;
  readonly leases: HealthPart;
  readonly proposalsOpen: number;
  readonly unplacedShards: number;
  readonly handovers: readonly {
    readonly fromHostId: string | null;
    readonly toHostId: string | null;
    readonly sinceMs: number;
  }[];
};

type Found = {
  readonly host: FleetHost;
  readonly count: number;
  readonly oldestAtMs: number | null;
};

export function judgeFleet(facts: FleetFacts): FleetHealth {
  const synced = facts.hosts.filter(({ state }) => state !== 'enrolled');
  const unheard = synced.filter((host) => !isHeard(host));
  return {
    atMs: facts.nowMs,
    hosts: {
      enrolled: facts.hosts.length - synced.length,
      heard: synced.length - unheard.length,
      unheard: unheard.length,
    },
    controlPlane: judgePlane(
      {
        scheduling: schedulingPart(facts),
        publication: publicationPart(facts, unheard.length),
        ownership: ownershipPart(facts),
        configuration: configurationPart(facts, unheard.length),
      },
      'places, publishes, hands over and configures',
    ),
    dataPlane: judgePlane(workParts(facts, unheard), 'every host is heard and needs nobody'),
  };
}

/** F1. */
function isHeard({ state, said }: FleetHost): boolean {
  return state === 'connected' && said !== null;
}

/** F4. */
function part(base: HealthPart, found: readonly Found[], total?: number): FleetPart {
  const sorted = found.toSorted(
    (a, b) => b.count - a.count || (a.oldestAtMs ?? Infinity) - (b.oldestAtMs ?? Infinity),
  );
  return {
    ...base,
    count: total ?? sumOf(found),
    oldestAtMs: oldestOf(found.map(({ oldestAtMs }) => oldestAtMs)),
    hosts: sorted
      .slice(0, FLEET_HOSTS_SHOWN)
      .map(({ host: { hostId, hostName }, count, oldestAtMs }) => ({
        hostId,
        hostName,
        count,
        oldestAtMs,
      })),
    hostsOmitted: Math.max(0, found.length - FLEET_HOSTS_SHOWN),
  };
}

const sumOf = (found: readonly Found[]): number => sumOfCounts(found.map(({ count }) => count));

function oldestOf(times: readonly (number | null)[]): number | null {
  return times.reduce((oldest, atMs) => {
    if (atMs === null) return oldest;
    return oldest === null ? atMs : Math.min(oldest, atMs);
  }, null);
}

type WorkKind = 'executing' | 'paused' | 'stuck' | 'unknown' | 'reconciling';

const WORK_KINDS: readonly {
  readonly kind: WorkKind;
  readonly needsSomebody: boolean;
  readonly what: string;
}[] = [
  { kind: 'executing', needsSomebody: false, what: 'operations are executing' },
  { kind: 'paused', needsSomebody: true, what: 'operations are paused' },
  { kind: 'stuck', needsSomebody: true, what: 'operations are past their deadline and not ended' },
  { kind: 'unknown', needsSomebody: true, what: 'operations have an outcome that is not known' },
  { kind: 'reconciling', needsSomebody: false, what: 'of them have been taken up' },
];

function workParts(facts: FleetFacts, unheard: readonly FleetHost[]): Record<string, FleetPart> {
  const parts: Record<string, FleetPart> = {};
  for (const { kind, needsSomebody, what } of WORK_KINDS) {
    const found = foundBy(facts.hosts, ({ atMs, health }) => {
      const { count, oldestMs } = health[kind];
      return { count, oldestAtMs: oldestMs === null ? null : Math.max(0, atMs - oldestMs) };
    });
    parts[kind] = worked(found, { needsSomebody, what, unheard: unheard.length });
  }
  const stale = foundBy(facts.hosts, ({ health }) => ({
    count: health.staleRules.count,
    oldestAtMs: null,
  }));
  parts['stale'] = worked(stale, {
    needsSomebody: true,
    what: 'rules are stale: the authority that their hosts hold is too old for them',
    unheard: unheard.length,
  });
  parts['outOfSight'] = outOfSightPart(unheard);
  return parts;
}

function foundBy(
  hosts: readonly FleetHost[],
  tell: (said: NonNullable<FleetHost['said']>) => { count: number; oldestAtMs: number | null },
): Found[] {
  return hosts.flatMap((host) => {
    if (!isHeard(host) || host.said === null) return [];
    const told = tell(host.said);
    return told.count === 0 ? [] : [{ host, ...told }];
  });
}

/** F3. */
function worked(
  found: readonly Found[],
  { needsSomebody, what, unheard }: { needsSomebody: boolean; what: string; unheard: number },
): FleetPart {
  const count = sumOf(found);
  const state = needsSomebody && count > 0 ? 'degraded' : unheard > 0 ? 'unknown' : 'ok';
  const away = unheard === 0 ? '' : `; ${unheard} hosts are not heard`;
  return part(healthPart(state, `${count} ${what}${away}`), found);
}

function outOfSightPart(unheard: readonly FleetHost[]): FleetPart {
  if (unheard.length === 0)
    return part(healthPart('ok', 'every host that ever synced is heard'), []);
  const found = unheard.map((host) => ({
    host,
    count: host.unended,
    oldestAtMs: host.lastSyncAtMs,
  }));
  const detail =
    `${unheard.length} hosts are not heard: they go on by the policy they hold, ` +
    `with ${sumOf(found)} operations as they last said`;
  return part(healthPart('unknown', detail), found, unheard.length);
}

function schedulingPart({ placement, unplacedShards }: FleetFacts): FleetPart {
  if (placement === null)
    return part(healthPart('ok', 'no placement group: a lease goes to who asks for it'), []);
  if (placement.state !== 'ok' || unplacedShards === 0) return part(placement, [], unplacedShards);
  return part(healthPart('degraded', `${unplacedShards} shards have no place`), [], unplacedShards);
}

function publicationPart(facts: FleetFacts, unheard: number): FleetPart {
  const { newestRevision, rollout, nowMs, proposalsOpen } = facts;
  if (newestRevision === null)
    return part(healthPart('degraded', 'no policy was ever published'), []);
  const behind = facts.hosts.filter(
    (host) => isHeard(host) && host.policyRevision !== host.targetRevision,
  );
  const found = behind.map((host) => ({ host, count: 1, oldestAtMs: host.offeredAtMs }));
  const rejecting = behind.filter(({ isRejecting }) => isRejecting).length;
  const isLate = behind.some(
    ({ offeredAtMs }) => offeredAtMs !== null && nowMs - offeredAtMs >= BEHIND_AFTER_MS,
  );
  const detail = [
    `revision ${newestRevision} is the newest; ${behind.length} hosts do not run what they should`,
    ...(rejecting > 0 ? [`${rejecting} of them could not apply it`] : []),
    ...(rollout.state === 'ok' ? [] : [rollout.detail]),
    ...(proposalsOpen > 0 ? [`${proposalsOpen} publications wait for a second person`] : []),
    ...(unheard > 0 ? [`${unheard} hosts are not heard`] : []),
  ].join('; ');
  const needsSomebody = rejecting > 0 || isLate || rollout.state !== 'ok';
  const state = needsSomebody ? 'degraded' : unheard > 0 ? 'unknown' : 'ok';
  return part(healthPart(state, detail), found);
}

/** A hand-over whose target is not there ends by its time-out only. */
function ownershipPart({ handovers, leases, hosts }: FleetFacts): FleetPart {
  const byId = new Map(hosts.map((host) => [host.hostId, host]));
  const found = new Map<string, Found>();
  for (const { fromHostId, toHostId, sinceMs } of handovers) {
    const host = byId.get(fromHostId ?? toHostId ?? '');
    if (host === undefined) continue;
    const held = found.get(host.hostId);
    const oldestAtMs = oldestOf([held?.oldestAtMs ?? null, sinceMs]);
    found.set(host.hostId, { host, count: (held?.count ?? 0) + 1, oldestAtMs });
  }
  const waiting = handovers.filter(({ toHostId }) => {
    const target = toHostId === null ? undefined : byId.get(toHostId);
    return target !== undefined && target.state !== 'connected';
  }).length;
  const detail = [
    `${handovers.length} leases are being handed over`,
    ...(waiting > 0 ? [`${waiting} of them to hosts that are not heard`] : []),
    leases.detail,
  ].join('; ');
  const state = waiting > 0 ? 'degraded' : leases.state;
  return part(healthPart(state, detail), [...found.values()], handovers.length);
}

function configurationPart({ hosts, newestRevision }: FleetFacts, unheard: number): FleetPart {
  const expired = foundBy(hosts, ({ health }) => ({
    count: health.expiredConfig.count,
    oldestAtMs: null,
  }));
  const holding = hosts.filter(
    (host) => isHeard(host) && host.policyRevision === host.targetRevision,
  ).length;
  const away = unheard === 0 ? '' : `; ${unheard} hosts are not heard`;
  const detail =
    newestRevision === null
      ? 'no policy was ever published, and with it no config'
      : `${holding} hosts hold the values that they should; ` +
        `${sumOf(expired)} values are expired${away}`;
  const state = expired.length > 0 ? 'degraded' : unheard > 0 ? 'unknown' : 'ok';
  return part(healthPart(state, detail), expired);
}
