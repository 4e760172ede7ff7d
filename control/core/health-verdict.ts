/** Health of both planes as control sees them: two verdicts that never mix (DESIGN 8). */
import { healthPart as part, type PlaneParts } from '../../shared/core/plane-health.ts';
import type { HealthPart } from '../../shared/wire/health.ts';
import type { RolloutStatus } from '../../shared/wire/rollout.ts';

export type FleetView = {
  readonly states: Readonly<Record<'enrolled' | 'connected' | 'late' | 'lost', number>>;
  readonly lastSyncAtMs: number | null;
  /**
   * Hosts in contact that run another revision than the newest, and those of them that refused it.
   */
  readonly behind: number;
  readonly rejecting: number;
  readonly unreported: number;
  /** Operations by state, as hosts last said. */
  readonly operations: Readonly<Record<string, number>>;
};

export function judgeHosts({ states, lastSyncAtMs }: FleetView): HealthPart {
  const known = { lastSuccessMs: lastSyncAtMs };
  const total = states.connected + states.late + states.lost;
  if (total === 0) return part('unknown', 'no host has synced yet', known);
  const detail = `${states.connected} connected, ${states.late} late, ${states.lost} lost`;
  if (states.lost === total) return part('failed', detail, known);
  return part(states.late + states.lost > 0 ? 'degraded' : 'ok', detail, known);
}

/** `waitMs`: how long nothing is published yet, as hosts have not been heard since the start. */
export function judgePublication(
  newest: number | null,
  fleet: FleetView,
  waitMs: number,
): HealthPart {
  if (newest === null) return part('degraded', 'no policy was ever published');
  if (fleet.rejecting > 0) {
    return part('degraded', `${fleet.rejecting} hosts could not apply revision ${newest}`);
  }
  const behind = fleet.behind > 0 ? `, ${fleet.behind} hosts are on another` : '';
  const waits =
    waitMs > 0
      ? `; the next one waits until all hosts have been heard since the start, at most ${waitMs} ms`
      : '';
  return part('ok', `revision ${newest} is in force${behind}${waits}`);
}

/** A halt needs eyes until something is published after it, though all serve again before. */
export function judgeRollout(rollout: RolloutStatus | null, newest: number | null): HealthPart {
  if (rollout === null) return part('ok', 'no revision was published in stages');
  const { policyRevision, baseRevision, state, stage, stages, reason, waitingFor, returnRevision } =
    rollout;
  const why = reason === null ? '' : `: ${reason}`;
  const where = `revision ${policyRevision}, stage ${stage} of ${stages.length}`;
  switch (state) {
    case 'running':
    case 'baking':
      return part('ok', `${where}, waits for ${waitingFor ?? 'nothing'}`);
    case 'paused':
      return part('degraded', `${where} is paused${why}`);
    case 'halted':
      return part(
        returnRevision === null || returnRevision === newest ? 'degraded' : 'ok',
        `revision ${policyRevision} was halted${why}`,
        { lastError: reason },
      );
    case 'completed':
      return part('ok', `revision ${policyRevision} has reached all stages`);
    case 'rolled_back':
      return part(
        'ok',
        `revision ${policyRevision} was rolled back; before it was ${baseRevision}`,
      );
  }
}

/** Standing still after a start is what it should do; because of silence it is a fault somewhere. */
export function judgePlacement(
  brake: { readonly reason: 'started' | 'mass_loss'; silent: number; of: number } | null,
): HealthPart {
  if (brake === null) return part('ok', 'shards are placed');
  const { reason, silent, of } = brake;
  if (reason === 'started') {
    return part('ok', 'no shard is placed anew until the hosts have been heard since the start');
  }
  return part(
    'degraded',
    `${silent} of ${of} hosts are silent at once: no shard is placed anew until they are heard, ` +
      'or an operator says so',
  );
}

export function judgeLeases(
  counts: { readonly held: number; readonly expired: number; readonly released: number },
  { kind, isOver }: { readonly kind: 'restart' | 'rollback'; readonly isOver: boolean },
): HealthPart {
  const detail = `${counts.held} held, ${counts.expired} expired, ${counts.released} released`;
  if (isOver) return part('ok', detail);
  const why =
    kind === 'rollback'
      ? 'the store is an older copy: nothing is granted until every lease of before has ended'
      : 'leases of before the start are kept for their holders';
  return part(kind === 'rollback' ? 'degraded' : 'ok', `${detail}; ${why}`);
}

/** Of work itself: what is unknown needs a person, what is unreported is not known here yet. */
export function judgeWork(fleet: FleetView): PlaneParts {
  const count = (state: string): number => fleet.operations[state] ?? 0;
  const { states, unreported } = fleet;
  return {
    executing: part('ok', `${count('executing')} executing, ${count('accepted')} accepted`),
    paused: part(count('paused') > 0 ? 'degraded' : 'ok', `${count('paused')} paused`),
    unknown: part(
      count('unknown') > 0 ? 'degraded' : 'ok',
      `${count('unknown')} operations whose outcome is not known`,
    ),
    unreported: part(
      states.lost > 0 && unreported > 0 ? 'degraded' : 'ok',
      `${unreported} events that hosts have and control has not got`,
    ),
    outOfSight: part(
      states.lost > 0 ? 'unknown' : 'ok',
      states.lost > 0
        ? `${states.lost} hosts are out of sight: they go on by the policy they hold`
        : 'every host that ever synced is in sight',
    ),
  };
}
