/** Plans as they are shown: with the names of hosts, and in sentences. */
import type {
  PlacementEntry,
  PlacementExplanation,
  PlacementHostView,
  PlacementPlan,
} from '../../shared/wire/placement-api.ts';
import { lanesOf } from '../core/rendezvous-hash.ts';
import { scoreOf, termsOf, type HostTerms, type ShardPlan } from '../core/placement.ts';
import { MOVES_PER_MINUTE, type GroupPlan, type Placement } from './placement.ts';

type Names = ReadonlyMap<string, string>;

export function viewEntries({ name, plans, hosts }: GroupPlan): PlacementEntry[] {
  const names: Names = new Map(hosts.map(({ hostId, hostName }) => [hostId, hostName]));
  const nameOf = (hostId: string | null): string | null =>
    hostId === null ? null : (names.get(hostId) ?? null);
  return plans.map(({ shard, resource, action, why, ownerId, hostId, isInFlight }) => ({
    group: name,
    shard,
    resource,
    action,
    why,
    fromHostId: ownerId,
    fromHostName: nameOf(ownerId),
    hostId,
    hostName: nameOf(hostId),
    isInFlight,
  }));
}

export function viewPlan(plan: GroupPlan, brake: ReturnType<Placement['brake']>): PlacementPlan {
  const items = viewEntries(plan);
  const count = (action: PlacementEntry['action']): number =>
    items.filter((item) => item.action === action && item.hostId !== null).length;
  const unplaced = items.filter(({ hostId }) => hostId === null).length;
  return {
    group: plan.name,
    brake,
    counts: { keep: count('keep'), assign: count('assign'), move: count('move'), unplaced },
    maxMovesPerMinute: plan.spec.maxMovesPerMinute ?? MOVES_PER_MINUTE,
    hosts: plan.hosts.map((host) => viewHost(termsOf(host, plan.spec), plan.plans)),
    items: items.filter(({ action, hostId }) => action !== 'keep' || hostId === null),
  };
}

export function explain(plan: GroupPlan, shard: number): PlacementExplanation | null {
  const entry = viewEntries(plan)[shard];
  if (entry === undefined) return null;
  const lanes = lanesOf(entry.resource);
  const candidates = plan.hosts
    .map((host) => {
      const terms = termsOf(host, plan.spec);
      const { capacity, weight, shardsThen, excluded } = viewHost(terms, plan.plans);
      const { hostId, hostName } = host;
      const isFull = capacity !== null && shardsThen >= capacity && hostId !== entry.hostId;
      return {
        hostId,
        hostName,
        score: scoreOf(lanes, lanesOf(hostId), weight),
        weight,
        shards: shardsThen,
        capacity,
        excluded: excluded ?? (isFull ? 'full' : null),
      };
    })
    .toSorted((a, b) => b.score - a.score);
  return { entry, summary: sentences(entry, candidates), candidates };
}

const EXCLUSIONS: Readonly<Record<string, string>> = {
  lost: 'it is lost',
  doubted: 'it is silent',
  host_drained: 'it is being drained',
  labels: 'its labels do not fit the selector',
  weight: 'its weight is 0',
  full: 'it is full',
};

function sentences(
  entry: PlacementEntry,
  candidates: PlacementExplanation['candidates'],
): string[] {
  const owner = entry.fromHostName ?? 'nobody';
  const target = entry.hostName ?? 'nobody';
  const above = candidates.slice(
    0,
    Math.max(
      0,
      candidates.findIndex(({ hostId }) => hostId === entry.hostId),
    ),
  );
  return [
    `${entry.resource} is shard ${entry.shard} of group ${entry.group}, and with ${owner}`,
    `${verbOf(entry)} ${target}: ${entry.why}`,
    ...above.map(({ hostName, excluded }) => {
      const why = excluded === null ? 'the shard is not moved for it' : EXCLUSIONS[excluded];
      return `${hostName} ranks it higher, but ${why ?? excluded}`;
    }),
  ];
}

function verbOf({ action, isInFlight }: PlacementEntry): string {
  if (isInFlight) return 'it is being handed over to';
  return action === 'keep' ? 'it stays with' : action === 'move' ? 'it moves to' : 'it goes to';
}

function viewHost(
  { host, weight, capacity, excluded }: HostTerms,
  plans: readonly ShardPlan[],
): PlacementHostView {
  const { hostId, hostName, state } = host;
  return {
    hostId,
    hostName,
    state,
    weight,
    capacity: Number.isFinite(capacity) ? capacity : null,
    excluded,
    shardsNow: plans.filter(({ ownerId }) => ownerId === hostId).length,
    shardsThen: plans.filter((plan) => plan.hostId === hostId).length,
  };
}
