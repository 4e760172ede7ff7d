/**
 * Places the shards of groups on hosts: looks who is there, has `core/placement.ts` plan from what is
 * owned, puts the plan into the table that syncs read, and orders the hand-overs that are due. It
 * works in rounds, one at a time; a round changes nothing that an earlier one has done.
 *
 * Owners are not stored a second time: they are in the leases. A restart plans from those, with the
 * brake on.
 */
import type { Clock, Timer } from '../../shared/platform/clock.ts';
import { parseDurationMs } from '../../shared/core/time.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { PlacementBrakeView, PlacementGroupSpec } from '../../shared/wire/placement-api.ts';
import type { ControlConfig } from '../config.ts';
import { currentHandover } from '../core/lease-handover.ts';
import type { LeaseRecord } from '../core/lease-transition.ts';
import {
  movesDue,
  planGroup,
  resourceOf,
  type Owner,
  type PlacementHost,
  type ShardPlan,
} from '../core/placement.ts';
import {
  countSilent,
  judgePresence,
  letGo,
  presenceAtStart,
  silenceMs,
  type BrakeTerms,
  type Heard,
  type Presence,
} from '../core/placement-brake.ts';
import type { ControlMetrics } from '../metrics.ts';
import type { ControlStore, HostSettings } from '../store/control-store.ts';
import type { AssignmentTable } from './assignment-table.ts';
import type { LeaseDesk } from './lease-desk.ts';
import type { Lessor } from './lessor.ts';

export const PLACEMENT_ROUND_MS = 1_000;
export const MOVES_PER_MINUTE = 30;
const DRAIN_TIMEOUT_MS = 300_000;
const ACTOR = 'placement';

type Ports = {
  readonly store: ControlStore;
  readonly lessor: Lessor;
  readonly leaseDesk: LeaseDesk;
  readonly assignments: AssignmentTable;
  readonly clock: Clock;
  readonly config: ControlConfig;
  readonly metrics: Metrics<ControlMetrics>;
  readonly logger: Logger;
};

export type NamedSpec = { readonly name: string; readonly spec: PlacementGroupSpec };
export type GroupPlan = NamedSpec & {
  readonly plans: readonly ShardPlan[];
  readonly hosts: readonly PlacementHost[];
};

export class Placement {
  readonly #ports: Ports;
  readonly #startedBootMs: number;
  readonly #heard: Map<string, number | null>;
  readonly #begunMs = new Map<string, number[]>();
  #presence: Presence;
  /** Something may be planned otherwise than it was. */
  #isStale = true;
  #hasGroups = false;
  #unplaced = 0;
  #round: Promise<void> = Promise.resolve();
  #timer: Timer | null = null;
  #isStopped = false;

  constructor(ports: Ports, start: { readonly hosts: readonly { readonly hostId: string }[] }) {
    this.#ports = ports;
    this.#startedBootMs = ports.clock.now().bootMs;
    this.#heard = new Map(start.hosts.map(({ hostId }) => [hostId, null]));
    this.#presence = presenceAtStart(start.hosts.length, this.#terms());
    ports.assignments.onOwners(() => {
      this.#isStale = true;
    });
  }

  /** A sync of this host succeeded. */
  heard(hostId: string): void {
    const before = this.#heard.get(hostId);
    const { bootMs } = this.#ports.clock.now();
    const isNews =
      before === undefined ||
      before === null ||
      bootMs - before >= this.#ports.config.placementLostAfterMs;
    this.#heard.set(hostId, bootMs);
    if (isNews || this.#presence.lost.has(hostId)) this.#isStale = true;
  }

  async start(): Promise<void> {
    await this.changed();
  }

  stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    return this.#round;
  }

  /** A group or a setting of a host is another: what follows from it is planned when it returns. */
  async changed(): Promise<void> {
    this.#isStale = true;
    await this.round();
  }

  /** One at a time. */
  round(): Promise<void> {
    this.#round = this.#round.then(async () => {
      try {
        await this.#oneRound();
      } catch (error) {
        // What the store cannot do ends the daemon by itself (D2).
        this.#ports.logger.error({ err: error }, 'a round of placement failed');
        this.#isStale = true;
      }
      this.#setTimer();
    });
    return this.#round;
  }

  get hasGroups(): boolean {
    return this.#hasGroups;
  }

  /** Shards without a place, as of the last round. */
  get unplacedShards(): number {
    return this.#unplaced;
  }

  brake(): PlacementBrakeView | null {
    const { brake, lost } = this.#presence;
    if (brake === null) return null;
    const { now } = this.#ports.lessor.terms();
    const terms = this.#terms();
    return {
      reason: brake.reason,
      sinceMs: now.wallMs - (now.bootMs - brake.sinceBootMs),
      remainingMs: Math.max(0, brake.endsBootMs - now.bootMs),
      ...countSilent(this.#hosts(), lost, terms),
    };
  }

  async releaseBrake(actor: string): Promise<void> {
    const { store, clock } = this.#ports;
    const { brake } = this.#presence;
    if (brake === null) throw new HoldfastError('handover_absent', 'the brake is not on');
    const detail = { reason: brake.reason };
    const atMs = clock.now().wallMs;
    const action = 'placement.brake_overridden';
    await store.placement.note({ atMs, actor, action, target: ACTOR, detail });
    this.#presence = letGo(this.#presence, this.#hosts(), this.#terms());
    await this.changed();
  }

  /** What would be, with nothing done; of the groups there are, or of one as it might be. */
  async plan(group: NamedSpec): Promise<GroupPlan> {
    return this.#planOf(group, await this.#placementHosts());
  }

  async groups(): Promise<readonly NamedSpec[]> {
    const stored = await this.#ports.store.placement.groups();
    return stored.flatMap(({ name, spec }) => (spec === null ? [] : [{ name, spec }]));
  }

  async #oneRound(): Promise<void> {
    await this.#judge();
    if (!this.#isStale || this.#isStopped) return;
    this.#isStale = false;
    const groups = await this.groups();
    this.#hasGroups = groups.length > 0;
    const hosts = await this.#placementHosts();
    const planned: GroupPlan[] = [];
    for (const group of groups) planned.push(await this.#planOf(group, hosts));
    this.#ports.assignments.replace(
      planned.flatMap(({ plans }) =>
        plans.map(({ resource, action, hostId, ownerId }) => ({
          resource,
          // Until it is handed over it is where it was.
          hostId: action === 'move' ? ownerId : hostId,
        })),
      ),
    );
    this.#count(planned);
    for (const one of planned) await this.#carryOut(one);
  }

  /** Begins what is due, and calls off what can no longer arrive. */
  async #carryOut({ name, spec, plans }: GroupPlan): Promise<void> {
    const { leaseDesk, clock, metrics, logger } = this.#ports;
    // Hand-overs and reservations end by time, too.
    if (plans.some(({ isInFlight, action }) => isInFlight || action === 'move')) {
      this.#isStale = true;
    }
    for (const { resource, isInFlight, ownerId } of plans) {
      if (!isInFlight || ownerId === null || !this.#presence.lost.has(ownerId)) continue;
      await this.#try(resource, () =>
        leaseDesk.cancel(resource, { by: ACTOR, reason: 'its target is lost' }),
      );
    }
    if (this.#presence.brake !== null) return;
    const nowMs = clock.now().bootMs;
    const perMinute = spec.maxMovesPerMinute ?? MOVES_PER_MINUTE;
    const begunAtMs = (this.#begunMs.get(name) ?? []).slice(-perMinute);
    for (const { resource, hostId, why } of movesDue(plans, { begunAtMs, nowMs, perMinute })) {
      if (hostId === null) continue;
      const order = { to: hostId, by: ACTOR, reason: why, ...drainOf(spec) };
      const isBegun = await this.#try(resource, () => leaseDesk.transfer(resource, order));
      if (!isBegun) continue;
      begunAtMs.push(nowMs);
      metrics.add('holdfast_control_placement_moves_total', { why });
      logger.info({ group: name, resource, to: hostId, why }, 'a shard is moved');
    }
    this.#begunMs.set(name, begunAtMs);
  }

  async #try(resource: string, order: () => Promise<LeaseRecord>): Promise<boolean> {
    try {
      await order();
      return true;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      this.#ports.logger.debug(
        { resource, code: error.code },
        'an order of placement was declined',
      );
      return false;
    }
  }

  async #judge(): Promise<void> {
    const { store, clock, logger, metrics } = this.#ports;
    const before = this.#presence;
    const hosts = this.#hosts();
    const next = judgePresence(before, hosts, this.#terms());
    const isSame = before.lost.size === next.lost.size && before.brake === next.brake;
    this.#presence = next;
    metrics.set('holdfast_control_placement_brake', next.brake === null ? 0 : 1);
    if (isSame) return;
    this.#isStale = true;
    if (before.brake?.sinceBootMs === next.brake?.sinceBootMs) return;
    const action = next.brake === null ? 'placement.brake_released' : 'placement.brake_engaged';
    const detail = {
      reason: (next.brake ?? before.brake)?.reason ?? null,
      ...countSilent(hosts, next.lost, this.#terms()),
      lost: next.lost.size,
    };
    if (next.brake === null) logger.info(detail, 'placement goes on');
    else logger.error(detail, 'many hosts are silent at once: no shard is placed anew');
    const atMs = clock.now().wallMs;
    await store.placement.note({ atMs, actor: ACTOR, action, target: ACTOR, detail });
  }

  async #planOf({ name, spec }: NamedSpec, hosts: readonly PlacementHost[]): Promise<GroupPlan> {
    const { store, lessor } = this.#ports;
    const shards = new Map<string, number>();
    for (let shard = 0; shard < spec.shards; shard += 1) shards.set(resourceOf(spec, shard), shard);
    const owners = new Map<number, Owner>();
    for (const record of await store.leases.named([...shards.keys()])) {
      const shard = shards.get(record.resource);
      const owner = ownerOf(record, lessor);
      if (shard !== undefined && owner !== null) owners.set(shard, owner);
    }
    const holdsNew = this.#presence.brake?.reason === 'started';
    return { name, spec, hosts, plans: planGroup({ spec, hosts, owners, holdsNew }) };
  }

  async #placementHosts(): Promise<readonly PlacementHost[]> {
    const { store } = this.#ports;
    const settings = new Map(
      (await store.placement.hostSettings()).map((one) => [one.hostId, one] as const),
    );
    return (await store.hosts.all()).map(({ hostId, hostName }) => {
      const known = settings.get(hostId);
      return { hostId, hostName, labels: known?.labels ?? {}, state: this.#stateOf(hostId, known) };
    });
  }

  #stateOf(hostId: string, settings: HostSettings | undefined): PlacementHost['state'] {
    if (this.#presence.lost.has(hostId)) return 'lost';
    const heardBootMs = this.#heard.get(hostId) ?? null;
    if (heardBootMs === null) return 'doubted';
    const terms = this.#terms();
    if (silenceMs({ hostId, heardBootMs }, terms) >= terms.lostAfterMs) return 'doubted';
    return settings !== undefined && settings.drain !== null ? 'draining' : 'live';
  }

  #hosts(): readonly Heard[] {
    return Array.from(this.#heard, ([hostId, heardBootMs]) => ({ hostId, heardBootMs }));
  }

  #terms(): BrakeTerms {
    const { clock, config } = this.#ports;
    return {
      nowMs: clock.now().bootMs,
      startedBootMs: this.#startedBootMs,
      lostAfterMs: config.placementLostAfterMs,
      share: config.placementBrakeShare,
    };
  }

  #count(planned: readonly GroupPlan[]): void {
    const counts = { placed: 0, moving: 0, unplaced: 0 };
    for (const { hostId, action, isInFlight } of planned.flatMap(({ plans }) => plans)) {
      const isMoving = action === 'move' || isInFlight;
      counts[hostId === null ? 'unplaced' : isMoving ? 'moving' : 'placed'] += 1;
    }
    this.#unplaced = counts.unplaced;
    for (const [state, shards] of Object.entries(counts)) {
      this.#ports.metrics.set('holdfast_control_placement_shards', shards, { state });
    }
  }

  /** Without groups there is nothing to look after. */
  #setTimer(): void {
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#isStopped || !this.#hasGroups) return;
    this.#timer = this.#ports.clock.startTimer(PLACEMENT_ROUND_MS, () => void this.round());
  }
}

function drainOf({ drainTimeout, onDrainTimeout = 'give_up' }: PlacementGroupSpec) {
  const timeoutMs = drainTimeout === undefined ? null : parseDurationMs(drainTimeout);
  return { drainTimeoutMs: timeoutMs ?? DRAIN_TIMEOUT_MS, onTimeout: onDrainTimeout };
}

/** What is on its way belongs to its target; what was revoked for nobody to nobody. */
function ownerOf(record: LeaseRecord, lessor: Lessor): Owner | null {
  const handover = currentHandover(record.handover, lessor.terms());
  if (handover !== null) {
    return handover.toHostId === null ? null : { hostId: handover.toHostId, isInFlight: true };
  }
  return record.state === 'held' ? { hostId: record.holder.hostId, isInFlight: false } : null;
}
