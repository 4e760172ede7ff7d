/**
 * A file that takes up room, so that there is some to give back when the disk is full.
 *
 * B1  It is made of blocks that are really there: bytes that no file system stores as a hole or
 *     compresses away, each step on disk before the next.
 * B2  Given back at once: the cut is fsynced, since a file system hands out the blocks of a file
 *     only after the change that freed them is on disk.
 * B3  Made in steps and never on the event loop: commits go on between two of them.
 */
import { open, stat, type FileHandle } from 'node:fs/promises';
import type { Random } from '../../shared/platform/random.ts';

export const BALLAST_STEP_BYTES = 1024 * 1024;
/** Repeated within a step: more than any file system compresses at once. */
const PATTERN_BYTES = 256 * 1024;
/** What `stat` counts in, on every system. */
const BLOCK_BYTES = 512;

export class Ballast {
  readonly path: string;
  readonly #random: Random;
  #heldBytes = 0;

  constructor(path: string, random: Random) {
    this.path = path;
    this.#random = random;
  }

  /** As it was last looked at or changed. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Reads what an earlier run left; one that is larger than `sizeBytes` is cut. */
  async look(sizeBytes: number): Promise<void> {
    try {
      const { size, blocks } = await stat(this.path);
      this.#heldBytes = Math.min(size, blocks * BLOCK_BYTES);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      this.#heldBytes = 0;
    }
    if (this.#heldBytes > sizeBytes) await this.#cut(sizeBytes);
  }

  /** B1, B3: one step towards `sizeBytes`. */
  async grow(sizeBytes: number): Promise<void> {
    const stepBytes = Math.min(BALLAST_STEP_BYTES, sizeBytes - this.#heldBytes);
    if (stepBytes <= 0) return;
    const step = Buffer.alloc(stepBytes, this.#random.bytes(PATTERN_BYTES));
    await this.#use(this.#heldBytes === 0 ? 'w' : 'r+', async (file) => {
      // Not at its end, which is no measure of a sparse file: what is missing is written anew.
      const { bytesWritten } = await file.write(step, 0, stepBytes, this.#heldBytes);
      await file.sync();
      this.#heldBytes += bytesWritten;
    });
  }

  /** B2. */
  async release(): Promise<void> {
    await this.#cut(0);
  }

  async #cut(sizeBytes: number): Promise<void> {
    await this.#use('r+', async (file) => {
      await file.truncate(sizeBytes);
      this.#heldBytes = sizeBytes;
      await file.sync();
    });
  }

  async #use(flags: 'w' | 'r+', work: (file: FileHandle) => Promise<void>): Promise<void> {
    const file = await open(this.path, flags, 0o600);
    try {
      await work(file);
    } finally {
      await file.close();
    }
  }
}
