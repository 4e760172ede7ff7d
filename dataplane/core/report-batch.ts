/**
 * What goes up next (promise I12): consecutive entries after the last that control holds, within
 * its bounds.
 */
import type { JournalEvent } from '../../shared/wire/operation.ts';

export type ReportBounds = { readonly eventsMax: number; readonly bytesMax: number };

export type ReportBatch =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'batch'; readonly events: readonly JournalEvent[] }
  /** Entries that control still needs are no longer in the journal. */
  | { readonly kind: 'history_gone'; readonly neededSeq: number; readonly oldestSeq: number };

/** `sizeBytes` gives the size of an entry on the wire. */
export function nextBatch(
  entries: readonly JournalEvent[],
  position: { readonly afterSeq: number; readonly bounds: ReportBounds },
  sizeBytes: (event: JournalEvent) => number,
): ReportBatch {
  const first = entries[0];
  if (first === undefined) return { kind: 'nothing' };
  const neededSeq = position.afterSeq + 1;
  if (first.seq !== neededSeq) return { kind: 'history_gone', neededSeq, oldestSeq: first.seq };
  const events: JournalEvent[] = [];
  let totalBytes = 0;
  for (const event of entries.slice(0, position.bounds.eventsMax)) {
    const eventBytes = sizeBytes(event);
    const isOver = totalBytes + eventBytes > position.bounds.bytesMax;
    // One entry is sent whatever its size, or the reports would stand still without a word.
    if (events.length > 0 && (isOver || event.seq !== neededSeq + events.length)) break;
    events.push(event);
    totalBytes += eventBytes;
  }
  return { kind: 'batch', events };
}
