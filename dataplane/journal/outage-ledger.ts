/**
 * The outage that is open, as the writer counts what happens in it: each entry when it is written,
 * in its transaction, so that a count costs no reading however long the outage was.
 *
 * W1  The count is in memory, and in a row at most a second old; the entries since are counted again
 *     after a restart. When the outage is closed it is in the record, exactly, for good.
 * W2  An operation counts once under each heading, whatever befalls it how often. Where that cannot
 *     be told from the record, its own entries are looked up.
 * W3  Where a transaction is undone, the count is read anew.
 */
import type { Database } from '../../shared/platform/sqlite.ts';
import type { Outage, OutageTally, Refusal } from '../../shared/wire/operation.ts';
import { outageRecorded, type OutageEventKind } from '../core/outage-interval.ts';
import type { OpenOutageTally } from './journal-command.ts';
import { ADVANCED, ADVANCING_KINDS, STOPPING_KINDS, UNFINISHED_THEN } from './outage-queries.ts';

/** Up to so many operations that were unfinished are named; more are found by looking for them. */
const NAMED_MAX = 1_000;
/** How much is counted again after a kill. */
const FLUSH_MS = 1_000;

type Counted = { -readonly [Name in keyof OutageTally]: OutageTally[Name] };
type Open = {
  readonly outageId: string;
  readonly openedSeq: number;
  /** The first that was unfinished when it began: lists of those begin there. */
  readonly firstSeq: number;
  /** All of those, as a JSON text; `null` where they are too many. */
  readonly unfinished: string | null;
  readonly tally: Counted;
  /** The newest entry that is counted. */
  upToSeq: number;
  isDirty: boolean;
};

/** Of an entry, and the entry that admitted its operation. */
export type Change = {
  readonly kind: string;
  readonly seq: number;
  readonly operationId: string;
  readonly admittedSeq: number;
};

export class OutageLedger {
  readonly #statements: ReturnType<typeof prepare>;
  #open: Open | null = null;
  #flushedBootMs = Number.NEGATIVE_INFINITY;

  constructor(database: Database) {
    this.#statements = prepare(database);
    this.load();
  }

  /** For whoever shows it. */
  snapshot(): { readonly outage?: OpenOutageTally } {
    if (this.#open === null) return {};
    const { outageId, tally } = this.#open;
    return { outage: { outageId, tally: { ...tally } } };
  }

  /** W1, W3. */
  load(): void {
    this.#open = null;
    const row = this.#statements.newest.get();
    if (row === undefined || row['closed_seq'] !== null) return;
    const outageId = String(row['outage_id']);
    const openedSeq = Number(row['opened_seq']);
    const kept = this.#statements.find.get(outageId);
    const open: Open = {
      outageId,
      openedSeq,
      firstSeq: Number(kept?.['first_unfinished_seq'] ?? 0),
      unfinished: (kept?.['unfinished'] ?? null) as string | null,
      tally:
        kept === undefined
          ? emptyTally(this.#unfinishedThen(openedSeq))
          : (JSON.parse(String(kept['tally'])) as Counted),
      upToSeq: Number(kept?.['up_to_seq'] ?? openedSeq),
      isDirty: kept === undefined,
    };
    this.#open = open;
    for (const entry of this.#statements.later.iterate(open.upToSeq)) {
      const seq = Number(entry['seq']);
      const kind = String(entry['kind']);
      if (kind === 'admitted') this.noteAdmission(seq);
      else if (kind === 'refused') {
        const body = JSON.parse(String(entry['body'])) as { refusal: Refusal };
        this.noteRefusal(body.refusal, seq);
      } else if (entry['operation_id'] !== null) {
        const operationId = String(entry['operation_id']);
        const admittedSeq = Number(this.#statements.admittedSeq.get(operationId)?.['seq']);
        this.noteChange({ kind, seq, operationId, admittedSeq });
      }
    }
  }

  noteAdmission(seq: number): void {
    const tally = this.#counting(seq);
    if (tally !== null) tally.admitted += 1;
  }

  noteRefusal(refusal: Refusal, seq: number): void {
    const tally = this.#counting(seq);
    if (tally === null) return;
    const { reason, count = 1 } = refusal;
    tally.refusalRecords += 1;
    tally.refused += count;
    tally.refusedByReason = {
      ...tally.refusedByReason,
      [reason]: (tally.refusedByReason[reason] ?? 0) + count,
    };
  }

  /** W2. */
  noteChange(change: Change): void {
    const tally = this.#counting(change.seq);
    if (tally === null || this.#open === null) return;
    const { kind, seq, operationId, admittedSeq } = change;
    const { openedSeq: opened } = this.#open;
    if (kind === 'succeeded' || kind === 'failed') tally.executed += 1;
    if (kind === 'unknown') tally.unknown += 1;
    if (STOPPING_KINDS.has(kind)) {
      if (this.#statements.stopped.get({ id: operationId, opened, before: seq }) === undefined)
        tally.stopped += 1;
    } else if (ADVANCING_KINDS.has(kind) && admittedSeq < opened) {
      const found = this.#statements.advanced.get({ seq: admittedSeq, opened, before: seq });
      if (found !== undefined) tally.advanced += 1;
    }
  }

  /** What the entry says that is about to be written with the number `seq`. */
  recorded(
    outage: Outage,
    entry: { readonly kind: OutageEventKind; readonly seq: number },
  ): Outage {
    const known = this.#statements.openedSeq.get(outage.outageId);
    const openedSeq = Number(known?.['opened_seq'] ?? entry.seq);
    const tally = this.#open?.outageId === outage.outageId ? this.#open.tally : null;
    return outageRecorded(outage, { ...entry, openedSeq }, tally && { ...tally });
  }

  /** The entry is written; `unfinished`: operations that have not ended. */
  record(
    outage: Outage,
    entry: { readonly kind: OutageEventKind; readonly seq: number },
    unfinished: () => number,
  ): void {
    const { outageId, openedSeq = entry.seq } = outage;
    const isClosed = entry.kind === 'outage_closed';
    const closedSeq = isClosed ? entry.seq : null;
    this.#statements.put.run(outageId, openedSeq, closedSeq, JSON.stringify(outage));
    if (isClosed) {
      this.flush();
      this.#open = null;
    } else if (this.#open?.outageId !== outageId) {
      const tally = emptyTally(unfinished());
      this.#open = {
        outageId,
        openedSeq,
        firstSeq: Number(this.#statements.firstUnfinished.get()?.['seq'] ?? entry.seq),
        unfinished: tally.acceptedBefore > NAMED_MAX ? null : this.#unfinishedNow(),
        tally,
        upToSeq: entry.seq,
        isDirty: true,
      };
      this.flush();
    }
  }

  flushIfDue(bootMs: number): void {
    if (this.#open?.isDirty !== true || bootMs < this.#flushedBootMs + FLUSH_MS) return;
    this.#flushedBootMs = bootMs;
    this.flush();
  }

  flush(): void {
    if (this.#open?.isDirty !== true) return;
    const { outageId, firstSeq, unfinished, upToSeq, tally } = this.#open;
    this.#statements.keep.run(outageId, firstSeq, unfinished, upToSeq, JSON.stringify(tally));
    this.#open.isDirty = false;
  }

  #unfinishedNow(): string {
    return JSON.stringify(this.#statements.unfinished.all().map(({ seq }) => Number(seq)));
  }

  #counting(seq: number): Counted | null {
    if (this.#open === null) return null;
    this.#open.upToSeq = seq;
    this.#open.isDirty = true;
    return this.#open.tally;
  }

  /** Only for an outage that an earlier build opened: it goes through every operation. */
  #unfinishedThen(opened: number): number {
    return Number(this.#statements.unfinishedThen.get({ opened })?.['count']);
  }
}

function emptyTally(acceptedBefore: number): Counted {
  return {
    acceptedBefore,
    advanced: 0,
    admitted: 0,
    executed: 0,
    stopped: 0,
    unknown: 0,
    refused: 0,
    refusedByReason: {},
    refusalRecords: 0,
  };
}

function prepare(database: Database) {
  const stopping = [...STOPPING_KINDS].map((kind) => `'${kind}'`).join(', ');
  const eachState = (select: string): string =>
    ['awaiting_approval', 'accepted', 'executing', 'paused']
      .map((state) => `SELECT ${select} AS seq FROM operations WHERE state = '${state}'`)
      .join(' UNION ALL ');
  return {
    newest: database.prepare(
      'SELECT outage_id, opened_seq, closed_seq FROM outages ORDER BY opened_seq DESC LIMIT 1',
    ),
    openedSeq: database.prepare('SELECT opened_seq FROM outages WHERE outage_id = ?'),
    put: database.prepare(
      'INSERT INTO outages (outage_id, opened_seq, closed_seq, record) VALUES (?, ?, ?, ?) ON CONFLICT (outage_id) DO UPDATE SET closed_seq = excluded.closed_seq, record = excluded.record',
    ),
    find: database.prepare('SELECT * FROM outage_tallies WHERE outage_id = ?'),
    keep: database.prepare(
      `INSERT INTO outage_tallies (outage_id, first_unfinished_seq, unfinished, up_to_seq, tally)
       VALUES (?, ?, ?, ?, ?) ON CONFLICT (outage_id)
       DO UPDATE SET up_to_seq = excluded.up_to_seq, tally = excluded.tally`,
    ),
    later: database.prepare(
      'SELECT seq, kind, operation_id, body FROM events WHERE seq > ? ORDER BY seq',
    ),
    admittedSeq: database.prepare('SELECT min(seq) AS seq FROM events WHERE operation_id = ?'),
    firstUnfinished: database.prepare(`SELECT min(seq) AS seq FROM (${eachState('min(seq)')})`),
    unfinished: database.prepare(`${eachState('seq')} ORDER BY seq`),
    unfinishedThen: database.prepare(
      `SELECT count(*) AS count FROM operation_records WHERE ${UNFINISHED_THEN}`,
    ),
    stopped: database.prepare(
      `SELECT 1 FROM events INDEXED BY events_by_operation WHERE operation_id = :id
       AND seq > :opened AND seq < :before AND kind IN (${stopping}) LIMIT 1`,
    ),
    advanced: database.prepare(
      `SELECT 1 FROM operation_records WHERE seq = :seq AND ${UNFINISHED_THEN} AND NOT ${ADVANCED}`,
    ),
  };
}
