/**
 * Reads again what was parked because this control could not read it: after an upgrade, most of the
 * time (I12).
 *
 * K1  An operation is folded anew from all of its events, in the order of its host's journal, so that
 *     it is what it would be had each been read when it came.
 * K2  What still cannot be read stays as it is, listed and counted.
 * K3  It is decided on what is there, and written only where no report of those hosts came in
 *     between; else it is done again.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import { giveWay } from '../../shared/platform/slices.ts';
import type { Outage, Refusal } from '../../shared/wire/operation.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { projectEvent, type ProjectedOperation } from '../core/operation-projection.ts';
import { OutageTallies } from '../core/outage-tally.ts';
import type { ParkedStore, PlacedEvent, RereadWrite } from '../store/parked-store.ts';
import { readEvent } from './event-reader.ts';

/** In one transaction. */
const EVENTS_AT_ONCE = 200;
/** For one request, so that its answer comes in time. */
const ROUNDS_MAX = 50;
/** An operation of more is left as it is: folding it would hold others up. */
const OPERATION_EVENTS_MAX = 10_000;
const TRIES_MAX = 4;

export type Reread = {
  readonly read: number;
  readonly left: number;
  /** Where to go on; `null` at the end. */
  readonly nextPlace: number | null;
};

export class ParkedEvents {
  readonly #store: ParkedStore;
  readonly #clock: Clock;

  constructor({ store, clock }: { readonly store: ParkedStore; readonly clock: Clock }) {
    this.#store = store;
    this.#clock = clock;
  }

  async readAgain(afterPlace: number, actor: string): Promise<Reread> {
    let [place, read, left] = [afterPlace, 0, 0];
    let isEnd = false;
    for (let round = 0; round < ROUNDS_MAX && !isEnd; round += 1) {
      const parked = await this.#store.parkedAfter(place, EVENTS_AT_ONCE);
      isEnd = parked.length < EVENTS_AT_ONCE;
      const last = parked.at(-1);
      if (last === undefined) break;
      const places = await this.#readAll(parked);
      const done = parked.filter((event) => places.has(event.place)).length;
      read += done;
      left += parked.length - done;
      ({ place } = last);
      await giveWay();
    }
    await this.#store.note({
      atMs: this.#clock.now().wallMs,
      actor,
      action: 'reports.reread',
      target: 'unreadable events',
      detail: { read, left },
    });
    return { read, left, nextPlace: isEnd ? null : place };
  }

  /** The places that are not parked any more. */
  async #readAll(parked: readonly PlacedEvent[]): Promise<ReadonlySet<number>> {
    const hosts = [...new Set(parked.map(({ hostId }) => hostId))];
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const positions = await this.#store.positions(hosts);
      const reading = new Rereading();
      for (const event of parked) {
        const { operationId } = event;
        const isOfOperation = operationId !== null && readsAsOperation(event);
        if (!isOfOperation) reading.take(event);
        else if (!reading.hasFolded(operationId)) {
          const events = await this.#store.eventsOf(operationId, OPERATION_EVENTS_MAX);
          if (events.length < OPERATION_EVENTS_MAX) reading.fold(operationId, events);
        }
      }
      if (reading.places.size === 0) return reading.places;
      if ((await this.#store.apply(reading.write(positions))) === 'ok') return reading.places;
    }
    throw new HoldfastError(
      'overloaded',
      'reports of these hosts arrive faster than what is parked can be read: try again later',
      { retry_after_ms: 1_000 },
    );
  }
}

function readsAsOperation(event: PlacedEvent): boolean {
  const reading = readEvent(event);
  return reading.ok && (reading.event.type === 'admitted' || reading.event.type === 'changed');
}

/** What comes of one page of parked events. */
class Rereading {
  readonly places = new Set<number>();
  readonly #operations = new Map<string, ProjectedOperation>();
  readonly #folded = new Set<string>();
  readonly #refusals: (Refusal & { hostId: string })[] = [];
  readonly #outages: (Outage & { hostId: string })[] = [];
  readonly #tallies = new Map<string, OutageTallies>();

  hasFolded(operationId: string): boolean {
    return this.#folded.has(operationId);
  }

  /** One that is about no operation. */
  take(event: PlacedEvent): void {
    const reading = readEvent(event);
    if (!reading.ok) return;
    const projected = projectEvent(undefined, reading.event, event);
    if (projected.kind === 'refusal') {
      this.#refusals.push({ ...projected.refusal, hostId: event.hostId });
      this.#clear(event, projected.refusal.count);
    } else if (projected.kind === 'outage') {
      this.#outages.push({ ...projected.outage, hostId: event.hostId });
      this.#clear(event);
    } else if (projected.kind === 'none') this.#clear(event);
  }

  /** K1. */
  fold(operationId: string, events: readonly PlacedEvent[]): void {
    this.#folded.add(operationId);
    let known: ProjectedOperation | undefined;
    for (const event of events) {
      const reading = readEvent(event);
      if (!reading.ok) continue;
      const projected = projectEvent(known, reading.event, event);
      if (projected.kind === 'unreadable') continue;
      if (projected.kind === 'operation') known = projected.operation;
      if (event.isParked) this.#clear(event);
    }
    if (known !== undefined) this.#operations.set(operationId, known);
  }

  write(positions: RereadWrite['positions']): RereadWrite {
    return {
      positions,
      places: [...this.places],
      operations: [...this.#operations.values()],
      refusals: this.#refusals,
      outages: this.#outages,
      tallies: new Map([...this.#tallies].map(([hostId, { all }]) => [hostId, all])),
    };
  }

  #clear(event: PlacedEvent, times = 1): void {
    this.places.add(event.place);
    const tallies = this.#tallies.get(event.hostId) ?? new OutageTallies();
    tallies.count(event, times);
    this.#tallies.set(event.hostId, tallies);
  }
}
