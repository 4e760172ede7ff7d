/**
 * Which entries of the sequence of notices a host lacks, and what it holds.
 *
 * E1  Every entry has the number after the one before it; no number is given twice. Only where a copy
 *     of control was restored are two of them apart: the numbers between may have been given.
 * E2  A host has confirmed an entry when it has said a position at or past it that is one of this
 *     history: a number by itself proves nothing after a restored copy.
 * E3  A host whose position is not of this history is told every notice again, with numbers that it
 *     has not seen. What it holds beside them it keeps: forgotten is not lifted.
 */
import type { NoticeEntry, NoticePosition } from '../../shared/wire/notices.ts';

/** Ascending by number. */
export type NoticeLog = readonly NoticeEntry[];

/** Nothing real jumps so far: a number beyond it is a fault of the host. */
export const SEQUENCE_JUMP_MAX = 1_000_000;

export function headOf(log: NoticeLog): number {
  return log.at(-1)?.sequence ?? 0;
}

/** E2. */
export function isOfHistory(log: NoticeLog, { sequence, entryId }: NoticePosition): boolean {
  if (sequence === 0) return true;
  return entryAt(log, sequence)?.entryId === entryId;
}

/** What it lacks, at most `limit` of them. */
export function entriesAfter(log: NoticeLog, sequence: number, limit: number): NoticeLog {
  const from = firstAfter(log, sequence);
  return log.slice(from, from + limit);
}

/** E1: the number of the next entry, and the one it follows. `floor`: given at most by any copy. */
export function nextNumber(
  log: NoticeLog,
  floor: number,
): { readonly sequence: number; readonly follows: number } {
  const head = headOf(log);
  return { sequence: Math.max(head, floor) + 1, follows: head };
}

export function isPlausible(log: NoticeLog, floor: number, reported: number): boolean {
  return reported <= Math.max(headOf(log), floor) + SEQUENCE_JUMP_MAX;
}

/** E3: those that a host at that foreign position may not have, as they are now. */
export function toSayAgain(log: NoticeLog, sequence: number): readonly NoticeEntry[] {
  return [...newestByNotice(log).values()].filter((entry) => entry.sequence <= sequence);
}

export function newestByNotice(log: NoticeLog): ReadonlyMap<string, NoticeEntry> {
  return new Map(log.map((entry) => [entry.noticeId, entry]));
}

function entryAt(log: NoticeLog, sequence: number): NoticeEntry | undefined {
  const entry = log[firstAfter(log, sequence - 1)];
  return entry?.sequence === sequence ? entry : undefined;
}

function firstAfter(log: NoticeLog, sequence: number): number {
  let [low, high] = [0, log.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((log[middle]?.sequence ?? 0) <= sequence) low = middle + 1;
    else high = middle;
  }
  return low;
}
