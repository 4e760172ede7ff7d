/** Keeps the floors of `core/floors.ts` ahead of every number that is given. */
import { raiseFloor, type Floor, type Recovering } from '../core/floors.ts';
import type { FloorStore } from '../store/floor-file.ts';

export class FloorKeeper {
  readonly #store: FloorStore;
  #floor: Floor;
  #marked = 0;
  readonly #epochAtStart: number;

  /** Writes the floor of the new run, so that the next start knows which store it belongs to. */
  constructor(store: FloorStore, floor: Floor) {
    this.#store = store;
    this.#floor = floor;
    this.#epochAtStart = floor.epoch;
    store.raise(floor);
  }

  /** This run counts from here; epochs up to it may have been given by an earlier one. */
  get epochAtStart(): number {
    return this.#epochAtStart;
  }

  get policyRevision(): number {
    return this.#floor.policyRevision;
  }

  get noticeSequence(): number {
    return this.#floor.noticeSequence;
  }

  get disownedEpoch(): number {
    return this.#floor.disownedEpoch;
  }

  get recovering(): Recovering {
    return this.#floor.recovering;
  }

  /** F5: on disk before anything is decided on it. */
  disown(epoch: number): void {
    this.#write({
      ...this.#floor,
      disownedEpoch: Math.max(epoch, this.#floor.disownedEpoch),
      recovering: 'everything',
    });
  }

  /** F5: every lease of before has ended. */
  endRecovery(): void {
    if (this.#floor.recovering !== 'no') this.#write({ ...this.#floor, recovering: 'no' });
  }

  /** Call before the number is given; when it returns, no later start gives it again. */
  reserve(given: { epoch?: number; policyRevision?: number; noticeSequence?: number }): void {
    const raised = raiseFloor(this.#floor, given);
    if (raised !== null) this.#write(raised);
  }

  /**
   * Call when the store has it, before anybody is told: a crash between the two then leaves a mark
   * that is behind, and never one that makes a whole store look like an older copy.
   */
  mark(epoch: number): void {
    if (epoch <= this.#marked) return;
    this.#store.mark(epoch);
    this.#marked = epoch;
  }

  #write(floor: Floor): void {
    this.#store.raise(floor);
    this.#floor = floor;
  }
}
