/**
 * Makes the next report of the journal, a piece at a time, giving the thread up in between.
 *
 * M1  Each entry is looked at again before it goes up: one that is not what was written is found
 *     here, by its number, and not as the refusal of a whole report.
 */
import { entryHash } from '../../shared/platform/entry-hash.ts';
import type { Pause } from '../../shared/platform/slices.ts';
import { linesLength, type Report, type ReportEntry } from '../../shared/wire/report-lines.ts';
import { growBatch, type ReportBounds } from '../core/report-batch.ts';
import type { JournalFeed } from '../journal/journal-feed.ts';

/** Read at once: about half a millisecond. */
const PIECE_ENTRIES = 100;

export type MadeBatch =
  | { readonly kind: 'nothing' }
  | {
      readonly kind: 'batch';
      readonly afterSeq: number;
      readonly lastSeq: number;
      readonly report: Report;
      /** It has what the journal has: nothing more can go with it. */
      readonly isLast: boolean;
    }
  | { readonly kind: 'history_gone'; readonly neededSeq: number; readonly oldestSeq: number }
  | { readonly kind: 'damaged'; readonly seq: number };

export class BatchMaker {
  readonly #feed: Pick<JournalFeed, 'reportAfter'>;
  readonly #pause: Pause;

  constructor(feed: Pick<JournalFeed, 'reportAfter'>, pause: Pause) {
    this.#feed = feed;
    this.#pause = pause;
  }

  async make(afterSeq: number, bounds: ReportBounds): Promise<MadeBatch> {
    const batch: { readonly entries: ReportEntry[]; length: number } = { entries: [], length: 0 };
    let previousHash: string | null = null;
    for (let lastSeq = afterSeq; ;) {
      const limit = Math.min(PIECE_ENTRIES, bounds.eventsMax - batch.entries.length);
      const piece = this.#feed.reportAfter(lastSeq, limit);
      const growth = growBatch(batch, piece.entries, { afterSeq: lastSeq, bounds }, linesLength);
      if (growth.kind === 'history_gone') return growth;
      const damaged = firstDamaged(piece);
      if (damaged !== null) return { kind: 'damaged', seq: damaged };
      previousHash ??= piece.previousHash;
      const last = batch.entries.at(-1);
      if (last === undefined) return { kind: 'nothing' };
      lastSeq = last.seq;
      const isLast = growth.kind === 'more' && piece.entries.length < limit;
      if (growth.kind === 'full' || isLast)
        return {
          kind: 'batch',
          afterSeq,
          lastSeq,
          report: { previousHash, entries: batch.entries },
          isLast,
        };
      await this.#pause();
    }
  }
}

/** M1. */
function firstDamaged({ previousHash, entries }: Report): number | null {
  let before = previousHash;
  for (const entry of entries) {
    if (entryHash(before, entry) !== entry.hash) return entry.seq;
    before = entry.hash;
  }
  return null;
}
