/**
 * What goes up next (promise I12): consecutive entries after the last that control holds, within
 * its bounds. Read in pieces, so that a long backlog holds nobody up.
 */
import type { ReportEntry } from '../../shared/wire/report-lines.ts';

export type ReportBounds = { readonly eventsMax: number; readonly lengthMax: number };

export type Growth =
  /** There may be more of it. */
  | { readonly kind: 'more' }
  | { readonly kind: 'full' }
  /** Entries that control still needs are no longer in the journal. */
  | { readonly kind: 'history_gone'; readonly neededSeq: number; readonly oldestSeq: number };

/** Puts of `piece`, which was read after `afterSeq`, as much into `batch` as it takes. */
export function growBatch(
  batch: { readonly entries: ReportEntry[]; length: number },
  piece: readonly ReportEntry[],
  at: { readonly afterSeq: number; readonly bounds: ReportBounds },
  lengthOf: (entry: ReportEntry) => number,
): Growth {
  const { entries } = batch;
  let neededSeq = at.afterSeq + 1;
  for (const entry of piece) {
    if (entry.seq !== neededSeq) {
      if (entries.length > 0) return { kind: 'full' };
      return { kind: 'history_gone', neededSeq, oldestSeq: entry.seq };
    }
    const length = lengthOf(entry);
    const isOver = batch.length + length > at.bounds.lengthMax;
    // One entry is sent whatever its size, or the reports would stand still without a word.
    if (entries.length > 0 && (isOver || entries.length >= at.bounds.eventsMax))
      return { kind: 'full' };
    entries.push(entry);
    batch.length += length;
    neededSeq += 1;
  }
  return { kind: entries.length >= at.bounds.eventsMax ? 'full' : 'more' };
}
