/**
 * Looks at the room that the journal has, tells whether new work may be admitted, and keeps the
 * ballast as that says. What to do is decided in `core/disk-pressure.ts`.
 *
 * D1  One look at a time, off the event loop: a file system that hangs holds up one look and no
 *     answer.
 * D2  It is looked at on an interval, and after a commit as well: what is written between two looks
 *     must stay far below the marks.
 * D3  What cannot be told is not guessed: where the room cannot be read the last verdict stays, and
 *     that is said.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Random } from '../../shared/platform/random.ts';
import type { Task } from '../../shared/platform/task-group.ts';
import {
  diskMarks,
  judgeDisk,
  pressureDetail,
  type DiskMarks,
  type DiskPressure,
} from '../core/disk-pressure.ts';
import { Ballast } from './ballast.ts';
import type { DiskSpace, ReadDiskSpace } from './disk-space.ts';

export const LOOK_INTERVAL_MS = 1_000;
/** D2: no disk takes a mark's worth of commits in this time. */
export const LOOK_AFTER_COMMIT_MS = 50;

type DiskWatchParts = {
  /** On the file system of the journal, and there already. */
  readonly directory: string;
  readonly ballastPath: string;
  /** As configured; a small file system gets less. */
  readonly ballastBytes: number;
  readonly readSpace: ReadDiskSpace;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
};

export type DiskState = {
  readonly pressure: DiskPressure;
  readonly detail: string;
  /** Since when the pressure is what it is. */
  readonly sinceMs: number | null;
  /** `null` where it could not be read yet. */
  readonly freeBytes: number | null;
  readonly ballastBytes: number;
};

export class DiskWatch {
  readonly #parts: DiskWatchParts;
  readonly #ballast: Ballast;
  #marks: DiskMarks | null = null;
  #space: DiskSpace | null = null;
  #pressure: DiskPressure = 'ample';
  #sinceMs: number | null = null;
  #trouble: string | null = null;
  #said: string | null = null;
  #looking: Promise<void> | null = null;
  #lookedBootMs = Number.NEGATIVE_INFINITY;

  private constructor(parts: DiskWatchParts) {
    this.#parts = parts;
    this.#ballast = new Ballast(parts.ballastPath, parts.random);
  }

  /**
   * Resolves after the first look: where the disk is full the ballast is released by then, and
   * there is room to open the journal.
   */
  static async open(parts: DiskWatchParts): Promise<DiskWatch> {
    const watch = new DiskWatch(parts);
    await watch.look();
    return watch;
  }

  task(): Task {
    return {
      name: 'disk watch',
      run: async (signal) => {
        while (!signal.aborted) {
          await this.look();
          while (!signal.aborted && this.#mayGrow()) await this.#once(() => this.#grow());
          await this.#parts.clock.sleep(LOOK_INTERVAL_MS, signal);
        }
      },
    };
  }

  /** D2. */
  committed(): void {
    const sinceLookMs = this.#parts.clock.now().bootMs - this.#lookedBootMs;
    if (sinceLookMs >= LOOK_AFTER_COMMIT_MS) void this.look();
  }

  /** Why nothing new may be admitted; `null` where it may. */
  noRoom(): string | null {
    return this.#pressure === 'ample' ? null : this.state().detail;
  }

  state(): DiskState {
    const { heldBytes } = this.#ballast;
    const freeBytes = this.#space?.freeBytes ?? null;
    const told =
      freeBytes === null || this.#marks === null
        ? 'the free space has not been read'
        : pressureDetail(this.#pressure, { freeBytes, ballastBytes: heldBytes }, this.#marks);
    return {
      pressure: this.#pressure,
      detail: this.#trouble === null ? told : `${told}; ${this.#trouble}`,
      sinceMs: this.#sinceMs,
      freeBytes,
      ballastBytes: heldBytes,
    };
  }

  /** D1. Never rejects: what is wrong with the disk is told by its state. */
  look(): Promise<void> {
    return this.#once(() => this.#look());
  }

  /** A step of the ballast as well: what is free and what is held are then of one moment. */
  #once(work: () => Promise<void>): Promise<void> {
    this.#looking ??= work().finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  /** The marks are those of the file system as it is at first, and said where they are lower. */
  async #firstMarks({ totalBytes }: DiskSpace): Promise<DiskMarks> {
    const { ballastBytes, logger } = this.#parts;
    const marks = diskMarks(ballastBytes, totalBytes);
    if (marks.ballastBytes < ballastBytes) {
      logger.warn(
        { askedBytes: ballastBytes, totalBytes, ...marks },
        'the file system of the journal is small: it gets a smaller ballast and lower marks',
      );
    }
    await this.#ballast.look(marks.ballastBytes);
    return marks;
  }

  async #look(): Promise<void> {
    const { directory, readSpace, clock } = this.#parts;
    this.#lookedBootMs = clock.now().bootMs;
    try {
      const space = await readSpace(directory);
      this.#marks ??= await this.#firstMarks(space);
      this.#space = space;
      this.#trouble = null;
    } catch (error) {
      // D3.
      return this.#note('the free space cannot be read', error);
    }
    const verdict = this.#judge(this.#space, this.#marks);
    this.#change(verdict.pressure);
    if (verdict.ballast !== 'release') return;
    try {
      await this.#ballast.release();
      this.#space = await readSpace(directory);
    } catch (error) {
      this.#note('the ballast cannot be released', error);
    }
  }

  #judge(space: DiskSpace, marks: DiskMarks): ReturnType<typeof judgeDisk> {
    const view = { freeBytes: space.freeBytes, ballastBytes: this.#ballast.heldBytes };
    return judgeDisk(this.#pressure, view, marks);
  }

  #mayGrow(): boolean {
    if (this.#space === null || this.#marks === null || this.#trouble !== null) return false;
    return this.#judge(this.#space, this.#marks).ballast === 'grow';
  }

  async #grow(): Promise<void> {
    try {
      await this.#ballast.grow(this.#marks?.ballastBytes ?? 0);
    } catch (error) {
      // Tried again at the next interval.
      return this.#note('the ballast cannot be made', error);
    }
    await this.#look();
  }

  #change(pressure: DiskPressure): void {
    if (pressure === this.#pressure) return;
    const from = this.#pressure;
    this.#pressure = pressure;
    this.#sinceMs = this.#parts.clock.now().wallMs;
    const { detail, ...facts } = this.state();
    const said = { from, ...facts, detail };
    if (pressure === 'ample') this.#parts.logger.info(said, 'the disk has room: work is admitted');
    else this.#parts.logger.error(said, 'the disk is nearly full: new work is refused');
  }

  #note(what: string, error: unknown): void {
    const why = error instanceof Error ? error.message : String(error);
    const trouble = `${what}: ${why}`;
    if (trouble !== this.#said)
      this.#parts.logger.warn({ err: error, trouble }, 'the disk could not be looked after');
    this.#trouble = trouble;
    this.#said = trouble;
  }
}
