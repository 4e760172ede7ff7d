/** Keeps the floors of `core/floors.ts` ahead of every number that is given. */
import { raiseFloor, type Floor } from '../core/floors.ts';
import type { FloorStore } from '../store/floor-file.ts';

export class FloorKeeper {
  readonly #store: FloorStore;
  #floor: Floor;
  readonly #epochAtStart: number;

  /** Writes the floor of the new run, so that the next start knows which store it belongs to. */
  constructor(store: FloorStore, floor: Floor) {
    this.#store = store;
    this.#floor = floor;
    this.#epochAtStart = floor.epoch;
    store.raise(floor);
  }

  /** Epochs up to here may have been given by an earlier run. */
  get epochAtStart(): number {
    return this.#epochAtStart;
  }

  get policyRevision(): number {
    return this.#floor.policyRevision;
  }

  /** Call before the number is given; when it returns, no later start gives it again. */
  reserve(given: { epoch?: number; policyRevision?: number }): void {
    const raised = raiseFloor(this.#floor, given);
    if (raised !== null) {
      this.#store.raise(raised);
      this.#floor = raised;
    }
    if (given.epoch !== undefined) this.#store.mark(given.epoch);
  }
}
