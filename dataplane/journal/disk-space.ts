/** The room on a file system, as the operating system tells it. */
import { statfs } from 'node:fs/promises';

export type DiskSpace = { readonly freeBytes: number; readonly totalBytes: number };

/** Rejects where it cannot be told. */
export type ReadDiskSpace = (directory: string) => Promise<DiskSpace>;

export const readDiskSpace: ReadDiskSpace = async (directory) => {
  const { bavail, blocks, bsize } = await statfs(directory);
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
};
