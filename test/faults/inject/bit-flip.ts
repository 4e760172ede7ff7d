/** One bit of a file, turned over where it lies. */
import { closeSync, openSync, readSync, statSync, writeSync } from 'node:fs';

export type Flip = { readonly path: string; readonly offset: number; readonly bit: number };

export function flipBit({ path, offset, bit }: Flip): void {
  const file = openSync(path, 'r+');
  try {
    const byte = Buffer.alloc(1);
    readSync(file, byte, 0, 1, offset);
    byte[0] = (byte[0] ?? 0) ^ (1 << bit);
    writeSync(file, byte, 0, 1, offset);
  } finally {
    closeSync(file);
  }
}

export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
