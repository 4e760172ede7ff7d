/**
 * The end of a body that many admissions have in common (`core/admission-text.ts`), on disk once for
 * so many of them. The hash of an entry is over the whole of its text: an end that was changed or is
 * gone breaks the chain at each entry that has it.
 *
 * B1  An end is named by the entry that had it first, and no entry `ENTRIES_OF_AN_END_MAX` after that
 *     or later has it: it is then written anew.
 * B2  It goes with the last entry that has it, once no other can come.
 */
import { LRUCache } from 'lru-cache';
import type { Database } from '../../shared/platform/sqlite.ts';

const ENTRIES_OF_AN_END_MAX = 10_000;
const HOT_ENDS_MAX = 1_000;

/** The whole body of an entry, in a query over `events`. */
export const WHOLE_BODY =
  "body || coalesce((SELECT text FROM body_ends WHERE first_seq = events.body_end), '')";

export class BodyEnds {
  readonly #statements: ReturnType<typeof prepare>;
  /** The entry that had it first, by its text. */
  readonly #hot = new LRUCache<string, number>({ max: HOT_ENDS_MAX });

  constructor(database: Database) {
    this.#statements = prepare(database);
  }

  /** The name of the end that entry `seq` has. */
  nameOf(text: string, seq: number): number {
    const first = this.#hot.get(text);
    // B1.
    if (first !== undefined && seq - first < ENTRIES_OF_AN_END_MAX) return first;
    this.#statements.insert.run(seq, text);
    this.#hot.set(text, seq);
    return seq;
  }

  /** Where a transaction was undone. */
  forget(): void {
    this.#hot.clear();
  }

  /** B2, for those that no entry after `untilSeq` can have, and could after `fromSeq`. */
  removePassed(fromSeq: number, untilSeq: number): void {
    this.#statements.removeBetween.run(
      fromSeq - ENTRIES_OF_AN_END_MAX,
      untilSeq - ENTRIES_OF_AN_END_MAX,
    );
  }

  /** B2, for the end that an entry had which is gone now. */
  removeUnused(name: number, prunedSeq: number): void {
    if (name <= prunedSeq - ENTRIES_OF_AN_END_MAX)
      this.#statements.removeBetween.run(name - 1, name);
  }
}

function prepare(database: Database) {
  return {
    insert: database.prepare('INSERT INTO body_ends (first_seq, text) VALUES (?, ?)'),
    removeBetween: database.prepare(
      `DELETE FROM body_ends WHERE first_seq > ? AND first_seq <= ? AND NOT EXISTS
         (SELECT 1 FROM events WHERE seq >= first_seq AND seq < first_seq + ${ENTRIES_OF_AN_END_MAX}
            AND body_end = first_seq)`,
    ),
  };
}
