/** A file system of a given size on which others take room; the ballast is a real file, and counted. */
import { statSync } from 'node:fs';
import type { DiskSpace } from '../../dataplane/journal/disk-space.ts';

export class FakeDisk {
  readonly totalBytes: number;
  readonly #ballastPath: string;
  /** Taken by everything but the ballast. */
  takenBytes = 0;
  /** Where set, the room cannot be told. */
  failure: Error | null = null;
  looks = 0;

  constructor(totalBytes: number, ballastPath: string) {
    this.totalBytes = totalBytes;
    this.#ballastPath = ballastPath;
  }

  get ballastBytes(): number {
    return statSync(this.#ballastPath, { throwIfNoEntry: false })?.size ?? 0;
  }

  /** Others fill it until so much is free. */
  leaveFree(freeBytes: number): void {
    this.takenBytes = this.totalBytes - this.ballastBytes - freeBytes;
  }

  readonly readSpace = (): Promise<DiskSpace> => {
    this.looks += 1;
    if (this.failure !== null) return Promise.reject(this.failure);
    const freeBytes = Math.max(0, this.totalBytes - this.takenBytes - this.ballastBytes);
    return Promise.resolve({ freeBytes, totalBytes: this.totalBytes });
  };
}
