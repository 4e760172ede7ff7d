/**
 * Which host gets which shard of a group: weighted rendezvous hashing under capacity and labels, from
 * what is owned now.
 *
 * P1  The same input gives the same plan, and a plan that was carried out plans nothing further.
 * P2  A shard leaves a live owner only for a host that outranks it and has room, or because its owner
 *     may not have it any more (drained, labels, capacity), or for its pin.
 * P3  Minimal movement. When a host is lost, exactly its shards go elsewhere. When one comes, exactly
 *     the shards that rank it above their owner come to it, which is the least that rendezvous
 *     hashing allows; where hosts are full, the room that those leave behind is taken too, by shards
 *     that rank it above their owner.
 * P4  What is doubted (silent, and nobody has decided that it is lost) keeps what it owns and gets
 *     nothing; what is being handed over stays with its target.
 * P5  A plan is no right: leases are granted by their records.
 */
import type { Labels, PlacementGroupSpec } from '../../shared/wire/placement-api.ts';
import { lanesOf, unitOf, type Lanes } from './rendezvous-hash.ts';

export type PlacementHost = {
  readonly hostId: string;
  readonly hostName: string;
  readonly labels: Labels;
  readonly state: 'live' | 'draining' | 'doubted' | 'lost';
};

export type Owner = { readonly hostId: string; readonly isInFlight: boolean };

export type PlacementInput = {
  readonly spec: PlacementGroupSpec;
  readonly hosts: readonly PlacementHost[];
  /** By shard. Absent: nobody has it. */
  readonly owners: ReadonlyMap<number, Owner>;
  /** Control does not know yet who is there: what nobody has waits. */
  readonly holdsNew: boolean;
};

export type MoveReason =
  | 'pinned'
  | 'host_drained'
  | 'labels'
  | 'weight'
  | 'over_capacity'
  | 'outranked';
export type ShardPlan = {
  readonly shard: number;
  readonly resource: string;
  readonly ownerId: string | null;
  readonly hostId: string | null;
  readonly isInFlight: boolean;
} & (
  | { readonly action: 'keep'; readonly why: 'owner' | 'in_flight' | 'doubted' | 'nowhere_to_go' }
  | { readonly action: 'assign'; readonly why: 'unowned' | 'owner_lost' | 'nowhere_to_go' | 'held' }
  | { readonly action: 'move'; readonly why: MoveReason }
);

export type HostTerms = {
  readonly host: PlacementHost;
  readonly weight: number;
  readonly capacity: number;
  readonly excluded: 'lost' | 'doubted' | 'host_drained' | 'labels' | 'weight' | null;
};

export const resourceOf = (spec: PlacementGroupSpec, shard: number): string =>
  spec.resource.replace('{shard}', String(shard));

/** Why it would get nothing new; in order of precedence. */
export function termsOf(host: PlacementHost, spec: PlacementGroupSpec): HostTerms {
  const { labels, state } = host;
  const weight = numberOf(labels, spec.weight, 1);
  const capacity = numberOf(labels, spec.capacity, Number.POSITIVE_INFINITY);
  const isSelected = Object.entries(spec.selector ?? {}).every(
    ([key, value]) => labels[key] === value,
  );
  const excluded =
    state === 'lost' || state === 'doubted'
      ? state
      : state === 'draining'
        ? 'host_drained'
        : !isSelected
          ? 'labels'
          : weight > 0
            ? null
            : 'weight';
  return { host, weight, capacity, excluded };
}

const LABEL_NUMBER_MAX = 1_000_000;

/** A label that is no number counts as 0: it is better seen than guessed. */
function numberOf(
  labels: Labels,
  from: { label?: string; default?: number } | undefined,
  standard: number,
): number {
  const text = from?.label === undefined ? undefined : labels[from.label];
  if (text === undefined) return from?.default ?? standard;
  const value = /^[0-9]{1,7}$/.test(text) ? Number(text) : 0;
  return Math.min(value, LABEL_NUMBER_MAX);
}

/** The score of a host for a resource; the highest wins. Weights scale the chance, as they should. */
export function scoreOf(resource: Lanes, host: Lanes, weight: number): number {
  return weight <= 0 ? 0 : -weight / Math.log(unitOf(resource, host));
}

type Seat = HostTerms & { readonly lanes: Lanes; load: number };

export function planGroup(input: PlacementInput): readonly ShardPlan[] {
  return new Planner(input).plan();
}

class Planner {
  readonly #input: PlacementInput;
  readonly #seats: ReadonlyMap<string, Seat>;
  readonly #open: readonly Seat[];
  readonly #shards: { resource: string; lanes: Lanes }[] = [];
  readonly #plans: ShardPlan[] = [];
  readonly #pins = new Map<number, Seat>();

  constructor(input: PlacementInput) {
    this.#input = input;
    const { spec, hosts } = input;
    this.#seats = new Map(
      hosts.map((host) => [
        host.hostId,
        { ...termsOf(host, spec), lanes: lanesOf(host.hostId), load: 0 },
      ]),
    );
    this.#open = [...this.#seats.values()].filter(({ excluded }) => excluded === null);
    for (let shard = 0; shard < spec.shards; shard += 1) {
      const resource = resourceOf(spec, shard);
      this.#shards.push({ resource, lanes: lanesOf(resource) });
    }
    const byName = new Map([...this.#seats.values()].map((seat) => [seat.host.hostName, seat]));
    for (const [shard, name] of Object.entries(spec.pins ?? {})) {
      const seat = byName.get(name);
      if (seat?.host.state === 'live') this.#pins.set(Number(shard), seat);
    }
  }

  plan(): readonly ShardPlan[] {
    const homeless: { shard: number; why: MoveReason | 'unowned' | 'owner_lost' }[] = [];
    for (const shard of this.#shards.keys()) {
      const why = this.#settle(shard);
      if (why !== null) homeless.push({ shard, why });
    }
    for (const shard of this.#beyondCapacity()) homeless.push({ shard, why: 'over_capacity' });
    for (const { shard, why } of homeless) this.#house(shard, why);
    while (this.#improve()) {
      // Each pass raises the score of a shard, and none ever falls: it ends.
    }
    return this.#plans;
  }

  /** Leaves the shard where it is, or says why it cannot stay. */
  #settle(shard: number): MoveReason | 'unowned' | 'owner_lost' | null {
    const owner = this.#input.owners.get(shard);
    const seat = owner === undefined ? undefined : this.#seats.get(owner.hostId);
    const pin = this.#pinOf(shard);
    if (owner === undefined) {
      if (pin === null) return 'unowned';
      this.#put(shard, pin, { action: 'assign', why: 'unowned' });
      return null;
    }
    if (seat === undefined || seat.excluded === 'lost') {
      if (pin === null) return 'owner_lost';
      this.#put(shard, pin, { action: 'assign', why: 'owner_lost' });
      return null;
    }
    if (owner.isInFlight) this.#put(shard, seat, { action: 'keep', why: 'in_flight' });
    else if (seat.excluded === 'doubted')
      this.#put(shard, seat, { action: 'keep', why: 'doubted' });
    else if (pin === seat) this.#put(shard, seat, { action: 'keep', why: 'owner' });
    else if (pin !== null) this.#put(shard, pin, { action: 'move', why: 'pinned' });
    else if (seat.excluded !== null) return seat.excluded;
    else this.#put(shard, seat, { action: 'keep', why: 'owner' });
    return null;
  }

  /** A pin wins over labels and capacity, while its host is there to take it. */
  #pinOf(shard: number): Seat | null {
    return this.#pins.get(shard) ?? null;
  }

  /** Those that rank their full host lowest; what is pinned or in flight stays. */
  #beyondCapacity(): number[] {
    const leaving: number[] = [];
    for (const seat of this.#open) {
      if (seat.load <= seat.capacity) continue;
      const movable = this.#plans
        .filter((plan) => plan.hostId === seat.host.hostId && this.#mayMove(plan))
        .toSorted((a, b) => this.#score(a.shard, seat) - this.#score(b.shard, seat));
      leaving.push(...movable.slice(0, seat.load - seat.capacity).map(({ shard }) => shard));
    }
    return leaving.toSorted((a, b) => a - b);
  }

  #house(shard: number, why: MoveReason | 'unowned' | 'owner_lost'): void {
    const owner = this.#input.owners.get(shard);
    const present = owner === undefined ? undefined : this.#seats.get(owner.hostId);
    const isHeld = this.#input.holdsNew && why === 'unowned';
    const best = isHeld ? null : this.#best(shard);
    if (why === 'unowned' || why === 'owner_lost') {
      const nowhere = isHeld ? 'held' : 'nowhere_to_go';
      this.#put(shard, best, { action: 'assign', why: best === null ? nowhere : why });
    } else if (best === null) {
      this.#put(shard, present ?? null, { action: 'keep', why: 'nowhere_to_go' });
    } else {
      this.#put(shard, best, { action: 'move', why });
    }
  }

  /** One pass of P2; whether anything moved. */
  #improve(): boolean {
    let hasMoved = false;
    for (const plan of this.#plans) {
      const seat = plan.hostId === null ? undefined : this.#seats.get(plan.hostId);
      if (seat === undefined || seat.excluded !== null || !this.#mayMove(plan)) continue;
      const best = this.#best(plan.shard);
      if (best === null || best === seat) continue;
      if (this.#score(plan.shard, best) <= this.#score(plan.shard, seat)) continue;
      hasMoved = true;
      const verdict =
        plan.action === 'keep' ? ({ action: 'move', why: 'outranked' } as const) : plan;
      this.#put(plan.shard, best, verdict);
    }
    return hasMoved;
  }

  #mayMove(plan: ShardPlan): boolean {
    return !plan.isInFlight && this.#pinOf(plan.shard) === null;
  }

  /** The highest score among those with room; of equal ones the lower id. */
  #best(shard: number): Seat | null {
    let best: Seat | null = null;
    let highest = -1;
    for (const seat of this.#open) {
      if (seat.load >= seat.capacity) continue;
      const score = this.#score(shard, seat);
      const isLower = best !== null && seat.host.hostId > best.host.hostId;
      if (score < highest || (score === highest && isLower)) continue;
      best = seat;
      highest = score;
    }
    return best;
  }

  #score(shard: number, seat: Seat): number {
    const lanes = this.#shards[shard]?.lanes;
    return lanes === undefined ? 0 : scoreOf(lanes, seat.lanes, seat.weight);
  }

  #put(shard: number, seat: Seat | null, verdict: Pick<ShardPlan, 'action' | 'why'>): void {
    const before = this.#plans[shard];
    const left = before?.hostId === undefined ? undefined : this.#seats.get(before.hostId ?? '');
    if (left !== undefined) left.load -= 1;
    if (seat !== null) seat.load += 1;
    const owner = this.#input.owners.get(shard);
    this.#plans[shard] = {
      shard,
      resource: this.#shards[shard]?.resource ?? '',
      ownerId: owner?.hostId ?? null,
      hostId: seat?.host.hostId ?? null,
      isInFlight: owner?.isInFlight ?? false,
      action: verdict.action,
      why: verdict.why,
    } as ShardPlan;
  }
}

/** What must leave first. */
const URGENCY: readonly MoveReason[] = [
  'host_drained',
  'pinned',
  'labels',
  'weight',
  'over_capacity',
  'outranked',
];
const MINUTE_MS = 60_000;

/** The moves that may begin now, with those begun in the minute before. */
export function movesDue(
  plans: readonly ShardPlan[],
  pace: {
    readonly begunAtMs: readonly number[];
    readonly nowMs: number;
    readonly perMinute: number;
  },
): readonly (ShardPlan & { readonly action: 'move' })[] {
  const recent = pace.begunAtMs.filter((atMs) => pace.nowMs - atMs < MINUTE_MS).length;
  return plans
    .filter((plan) => plan.action === 'move')
    .toSorted((a, b) => URGENCY.indexOf(a.why) - URGENCY.indexOf(b.why) || a.shard - b.shard)
    .slice(0, Math.max(0, pace.perMinute - recent));
}
