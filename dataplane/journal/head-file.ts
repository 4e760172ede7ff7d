/**
 * How far the journal has come, outside of it: SQLite drops what follows a damaged frame of its WAL
 * without an error, and only a second memory can tell.
 *
 * F1  Two slots of fixed size, written in turn, each under its own checksum: a write that is torn
 *     leaves the other, which is one commit older.
 * F2  A slot is written after COMMIT returned and before anybody is answered. COMMIT has fsynced by
 *     then, so a file that is ahead of the database means that the database has lost something;
 *     one that is behind is what a kill between the two leaves.
 * F3  The write survives the process at once. It is fsynced at most once in `SYNC_INTERVAL_MS` and
 *     at the end, never for each commit: what a power cut can take of this memory is that long, and
 *     the journal itself loses nothing by it.
 */
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { sha256Hex } from '../../shared/platform/digest.ts';
import { writeDurableFile } from '../../shared/platform/durable-file.ts';
import type { HeadFileRead, JournalMemory } from '../core/journal-verdict.ts';

export const SYNC_INTERVAL_MS = 1_000;

const FORMAT = 1;
const SLOT_BYTES = 512;
/** In sectors and pages of their own, so that one torn write cannot reach both. */
const SLOT_OFFSETS = [0, 4_096] as const;

type Slot = JournalMemory & { readonly format: number; readonly generation: number };

export class HeadFile {
  readonly #file: number;
  #generation: number;
  #unsyncedSinceMs: number | null = null;

  private constructor(file: number, generation: number) {
    this.#file = file;
    this.#generation = generation;
  }

  /** Opens it, or makes it whole and durable with what is to be remembered first. */
  static open(path: string, memory: JournalMemory): HeadFile {
    const generation = newestSlot(path)?.generation ?? 0;
    if (generation === 0) createHeadFile(path, memory);
    const file = new HeadFile(openSync(path, 'r+'), Math.max(1, generation));
    // After a kill it may be behind.
    if (generation > 0) file.write(memory, 0);
    file.sync();
    return file;
  }

  /** F1, F2. */
  write(memory: JournalMemory, nowBootMs: number): void {
    this.#generation += 1;
    const slot = slotText({ format: FORMAT, generation: this.#generation, ...memory });
    const offset = SLOT_OFFSETS[this.#generation % 2 === 0 ? 0 : 1];
    const written = writeSync(this.#file, slot, offset, 'latin1');
    if (written !== SLOT_BYTES) throw new Error(`the head file took ${written} bytes of a slot`);
    this.#unsyncedSinceMs ??= nowBootMs;
    if (nowBootMs - this.#unsyncedSinceMs >= SYNC_INTERVAL_MS) this.sync();
  }

  /** F3. */
  sync(): void {
    if (this.#unsyncedSinceMs === null) return;
    fsyncSync(this.#file);
    this.#unsyncedSinceMs = null;
  }

  close(): void {
    this.sync();
    closeSync(this.#file);
  }
}

/** Replaced whole: for a journal that is new, and for one whose loss was accepted. */
export function createHeadFile(path: string, memory: JournalMemory): void {
  const slot = slotText({ format: FORMAT, generation: 1, ...memory });
  const blank = ' '.repeat(SLOT_BYTES);
  writeDurableFile(path, blank.padEnd(SLOT_OFFSETS[1]) + slot);
}

export function readHeadFile(path: string): HeadFileRead {
  const slot = newestSlot(path);
  if (slot === null) return { kind: 'absent' };
  if (slot.generation === 0)
    return { kind: 'damaged', detail: `${path}: neither of its two slots can be read` };
  return { kind: 'read', head: slot.head, acked: slot.acked, pruned: slot.pruned };
}

/** `null` where there is no file; generation 0 where nothing in it can be read. */
function newestSlot(path: string): Slot | null {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  const slots = SLOT_OFFSETS.flatMap((offset) => {
    const slot = parseSlot(bytes.toString('latin1', offset, offset + SLOT_BYTES));
    return slot === null ? [] : [slot];
  });
  const nothing = { seq: 0, hash: '' };
  return slots.reduce((newest, slot) => (slot.generation > newest.generation ? slot : newest), {
    format: FORMAT,
    generation: 0,
    head: nothing,
    acked: nothing,
    pruned: nothing,
  });
}

/** Text, so that `cat` shows it to whoever has nothing else left. */
function slotText(slot: Slot): string {
  const body = JSON.stringify(slot);
  return `${`${body} ${sha256Hex(body)}`.padEnd(SLOT_BYTES - 1)}\n`;
}

function parseSlot(text: string): Slot | null {
  const [, body = '', checksum] = /^(\{.*\}) ([0-9a-f]{64}) *\n$/.exec(text) ?? [];
  if (sha256Hex(body) !== checksum) return null;
  const slot = JSON.parse(body) as Slot;
  return slot.format === FORMAT ? slot : null;
}
