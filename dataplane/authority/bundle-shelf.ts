/**
 * The bundles on this host's disk, and which of them is in force.
 *
 *   bundle-<revision>.jws   the signed bytes as they came, of the last three generations
 *   active.json             names the one in force with its digest, the high-water mark, what was
 *   refused activating.json         activations under way (`core/activation-marker.ts`)
 *
 * A bundle is durable before `active.json` names it, and `active.json` before anything in memory
 * changes: after a crash at any point either the old revision is in force or the new one, whole.
 */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import Type, { type Static } from 'typebox';
import { assert } from '../../shared/core/assert.ts';
import {
  makeDirectory,
  readFileIfAny,
  writeDurableFile,
} from '../../shared/platform/durable-file.ts';
import type { ActivationMark } from '../core/activation-marker.ts';
import { StateFile } from './state-file.ts';

const GENERATIONS_MAX = 3;
const BUNDLE_FILE = /^bundle-([1-9][0-9]*)\.jws$/;

const revision = { policyRevision: Type.Integer(), policyDigest: Type.String() };
const ActiveSchema = Type.Object({
  /** The newest is the one in force. */
  generations: Type.Array(
    Type.Object({
      ...revision,
      activatedAtMs: Type.Integer(),
      etag: Type.Union([Type.String(), Type.Null()]),
    }),
  ),
  highWater: Type.Union([Type.Object(revision), Type.Null()]),
  rejected: Type.Union([Type.Object({ ...revision, reason: Type.String() }), Type.Null()]),
});
const MarksSchema = Type.Array(
  Type.Object({ ...revision, deaths: Type.Integer(), underWay: Type.Boolean() }),
);

export type ShelfRecord = Static<typeof ActiveSchema>;
export type Generation = ShelfRecord['generations'][number];

const EMPTY: ShelfRecord = { generations: [], highWater: null, rejected: null };

export class BundleShelf {
  readonly #directory: string;
  readonly #active: StateFile<typeof ActiveSchema>;
  readonly #marker: StateFile<typeof MarksSchema>;
  #record: ShelfRecord = EMPTY;

  constructor(directory: string) {
    this.#directory = directory;
    this.#active = new StateFile(join(directory, 'active.json'), ActiveSchema);
    this.#marker = new StateFile(join(directory, 'activating.json'), MarksSchema);
  }

  /**
   * `damaged` where `active.json` could not be used: then `strayRevisions` has what lies beside it.
   */
  open(): { damaged: string | null } {
    makeDirectory(this.#directory);
    const read = this.#active.read();
    this.#record = read.kind === 'read' ? read.value : EMPTY;
    return { damaged: read.kind === 'damaged' ? read.detail : null };
  }

  get record(): ShelfRecord {
    return this.#record;
  }

  /** Revisions of all bundle files, newest first. */
  strayRevisions(): readonly number[] {
    return readdirSync(this.#directory)
      .flatMap((name) => BUNDLE_FILE.exec(name)?.[1] ?? [])
      .map(Number)
      .toSorted((a, b) => b - a);
  }

  statement(policyRevision: number): string | null {
    return readFileIfAny(this.#path(policyRevision));
  }

  /** Before `putInForce`: see the head of the file. */
  keep({ policyRevision }: Generation, statement: string): void {
    writeDurableFile(this.#path(policyRevision), statement);
  }

  putInForce(generation: Generation): void {
    const { highWater, generations } = this.#record;
    const others = generations.filter(
      ({ policyRevision }) => policyRevision !== generation.policyRevision,
    );
    const { policyRevision, policyDigest } = generation;
    const isHighest = highWater === null || policyRevision >= highWater.policyRevision;
    assert(isHighest, `revision ${policyRevision} would go back behind the high-water mark`);
    this.write({
      generations: [generation, ...others].slice(0, GENERATIONS_MAX),
      highWater: { policyRevision, policyDigest },
      rejected: null,
    });
    const kept = new Set(this.#record.generations.map((each) => each.policyRevision));
    for (const stray of this.strayRevisions()) {
      if (!kept.has(stray)) rmSync(this.#path(stray), { force: true });
    }
  }

  write(record: ShelfRecord): void {
    this.#active.writeDurably(record);
    this.#record = record;
  }

  readMarks(): readonly ActivationMark[] {
    const read = this.#marker.read();
    return read.kind === 'read' ? read.value : [];
  }

  writeMarks(marks: readonly ActivationMark[]): void {
    if (marks.length === 0) this.#marker.remove();
    else this.#marker.writeDurably([...marks]);
  }

  #path(policyRevision: number): string {
    return join(this.#directory, `bundle-${policyRevision}.jws`);
  }
}
