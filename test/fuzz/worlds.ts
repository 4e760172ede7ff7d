/** A sidecar under a stand-in for control: one serves many cases, until it has ended or is spent. */
import { rmSync } from 'node:fs';
import type { Undo } from '../faults/undo.ts';
import { UpstreamWorld } from '../fakes/upstream-world.ts';
import type { Tally } from './fuzzer.ts';

export class Worlds {
  readonly #undo: Undo;
  readonly #tally: Tally;
  readonly #setUp: (world: UpstreamWorld) => Promise<void> | void;
  #world: UpstreamWorld | null = null;
  #remove: () => void = () => undefined;

  /** `setUp` is done in each, once a policy is in force. */
  constructor(undo: Undo, tally: Tally, setUp: (world: UpstreamWorld) => Promise<void> | void) {
    this.#undo = undo;
    this.#tally = tally;
    this.#setUp = setUp;
  }

  async open(): Promise<UpstreamWorld> {
    if (this.#world !== null) return this.#world;
    const world = await UpstreamWorld.create();
    this.#remove = this.#undo.add(`directory ${world.dataDir}`, () =>
      rmSync(world.dataDir, { recursive: true, force: true }),
    );
    await world.startWithPolicy();
    await this.#setUp(world);
    this.#world = world;
    return world;
  }

  /** The next case has another. */
  async leave(): Promise<void> {
    await this.close();
    this.#tally.add('worlds');
  }

  async close(): Promise<void> {
    await this.#world?.dispose();
    this.#world = null;
    this.#remove();
  }
}
