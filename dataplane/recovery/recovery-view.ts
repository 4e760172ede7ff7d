/**
 * What an outage did, from the journal alone: four lists and one verdict. Counts are whole, and cost
 * nothing to read (`journal/outage-ledger.ts`); lists come in pages.
 */
import {
  recoveryEndLine,
  recoveryHeadLine,
  recoveryPageLines,
} from '../../shared/core/recovery-lines.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import { formatDurationMs } from '../../shared/core/time.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { Operation, Outage, OutageTally, Refusal } from '../../shared/wire/operation.ts';
import {
  RECOVERY_LISTS,
  type Recovery,
  type RecoveryList,
  type RecoveryPage,
} from '../../shared/wire/recovery-api.ts';
import type { Journal } from '../journal/journal.ts';
import type { Listed, ListPage, OutageSpan, Span } from '../journal/recovery-reader.ts';
import { decodeListCursor, encodeListCursor } from './list-cursor.ts';
import { shownEntry } from './shown-entry.ts';

const FIRST_PAGE_ITEMS = 50;
const EXPORT_PAGE_ITEMS = 100;

/** Without an outage every list of one is empty; `unknown` operations are shown all the same. */
const NO_SPAN: Span = { afterSeq: 0, beforeSeq: 0, firstSeq: 0, unfinished: '[]' };
const NO_TALLY: OutageTally = {
  acceptedBefore: 0,
  advanced: 0,
  admitted: 0,
  executed: 0,
  stopped: 0,
  unknown: 0,
  refused: 0,
  refusedByReason: {},
  refusalRecords: 0,
};

/** Of one outage, or of the latest. Throws `not_found` for an id that the journal does not have. */
export function recoveryView(journal: Journal, clock: Clock, outageId: string | null): Recovery {
  const found = findOutage(journal, outageId);
  const outage = found === null ? null : withTally(journal, found);
  const tally = tallyOf(journal, outage?.tally ?? NO_TALLY);
  const nowMs = clock.now().wallMs;
  const verdict = verdictOf(journal, found, tally);
  const first = <T extends Operation | Refusal>(list: RecoveryList) => {
    const page = pageOf(journal, found, { list, afterSeq: 0, limit: FIRST_PAGE_ITEMS });
    return firstPage<T>(page, nowMs);
  };
  return {
    outage,
    verdict,
    summary: summaryOf(verdict, outage, tally, nowMs),
    pruned: found !== null && journal.reader.pruned().seq > found.afterSeq,
    tally,
    acceptedBefore: first<Operation>('accepted_before'),
    continued: first<Operation>('continued'),
    stopped: first<Operation>('stopped'),
    refused: first<Refusal>('refused'),
    needsReconciliation: first<Operation>('needs_reconciliation'),
  };
}

/** A cursor names its outage: another one may have begun since. */
export function recoveryPage(
  journal: Journal,
  query: {
    readonly list: RecoveryList;
    readonly outageId: string | null;
    readonly cursor: string | null;
    readonly limit: number;
  },
): RecoveryPage {
  const { list, limit, cursor } = query;
  const place = cursor === null ? null : decodeListCursor(cursor, query);
  const found = findOutage(journal, place?.outageId ?? query.outageId);
  return pageOf(journal, found, { list, limit, afterSeq: place?.seq ?? 0 });
}

/** All of it as NDJSON; a page is held at a time, and requests are answered between pages. */
export async function* recoveryLines(
  journal: Journal,
  clock: Clock,
  { outageId, pause }: { readonly outageId: string | null; readonly pause: () => Promise<void> },
): AsyncGenerator<string> {
  const view = recoveryView(journal, clock, outageId);
  const found = findOutage(journal, view.outage?.outageId ?? null);
  yield recoveryHeadLine(view);
  let lines = 1;
  for (const list of RECOVERY_LISTS) {
    let afterSeq: number | null = 0;
    while (afterSeq !== null) {
      const limit = EXPORT_PAGE_ITEMS;
      const { items, nextSeq }: Listed<Operation | Refusal> = readList(journal, found, {
        list,
        afterSeq,
        limit,
      });
      if (items.length > 0)
        yield recoveryPageLines({ list, items: items.map(shownEntry) } as RecoveryPage);
      lines += items.length;
      afterSeq = nextSeq;
      await pause();
    }
  }
  yield recoveryEndLine(lines);
}

/** With what has happened in it so far, where it is open. */
export function outageView(journal: Journal, outageId: string): Outage {
  const found = findOutage(journal, outageId);
  if (found === null) throw notFound(outageId);
  return withTally(journal, found);
}

function findOutage(journal: Journal, outageId: string | null): OutageSpan | null {
  const { recovery } = journal.reader;
  if (outageId === null) return recovery.latestOutage();
  const found = recovery.outage(outageId);
  if (found === null) throw notFound(outageId);
  return found;
}

function notFound(outageId: string): HoldfastError {
  return new HoldfastError('not_found', `this host has no outage ${outageId}: see GET /v1/outages`);
}

function withTally(journal: Journal, found: OutageSpan): Outage {
  const { outage } = found;
  if (outage.tally !== undefined) return outage;
  const { recovery } = journal.reader;
  const tally =
    journal.openTally(outage.outageId) ??
    recovery.keptTally(outage.outageId) ??
    recovery.recount(found);
  return { ...outage, tally };
}

function tallyOf(journal: Journal, tally: OutageTally): Recovery['tally'] {
  return {
    acceptedBefore: tally.acceptedBefore,
    advancedDuring: tally.advanced,
    admittedDuring: tally.admitted,
    executedDuring: tally.executed,
    refusedDuring: tally.refused,
    refusedByReason: tally.refusedByReason,
    stoppedDuring: tally.stopped,
    unknownDuring: tally.unknown,
    needsReconciliation: journal.operationCounts()['unknown'] ?? 0,
    unreported: journal.head().seq - journal.ackedSeq(),
  };
}

type ListRequest = ListPage & { readonly list: RecoveryList };

function readList(
  journal: Journal,
  found: OutageSpan | null,
  { list, ...page }: ListRequest,
): Listed<Operation | Refusal> {
  const { recovery } = journal.reader;
  const span = found ?? NO_SPAN;
  switch (list) {
    case 'accepted_before':
      return recovery.acceptedBefore(span, page);
    case 'continued':
      return recovery.continued(span, page);
    case 'stopped':
      return recovery.stopped(span, page);
    case 'refused':
      return recovery.refused(span, page);
    case 'needs_reconciliation':
      return recovery.unknown(page);
  }
}

function pageOf(journal: Journal, found: OutageSpan | null, request: ListRequest): RecoveryPage {
  const { list } = request;
  const { items, nextSeq } = readList(journal, found, request);
  const outageId = found?.outage.outageId ?? null;
  return {
    list,
    outageId,
    count: countOf(journal, found, list),
    nextCursor: nextSeq === null ? null : encodeListCursor({ list, outageId, seq: nextSeq }),
    items: [...items],
  } as RecoveryPage;
}

function countOf(journal: Journal, found: OutageSpan | null, list: RecoveryList): number {
  if (list === 'needs_reconciliation') return journal.operationCounts()['unknown'] ?? 0;
  const { tally = NO_TALLY } = found === null ? {} : withTally(journal, found);
  switch (list) {
    case 'accepted_before':
      return tally.acceptedBefore;
    case 'continued':
      return tally.advanced + tally.admitted;
    case 'stopped':
      return tally.stopped;
    case 'refused':
      return tally.refusalRecords;
  }
}

function firstPage<T extends Operation | Refusal>(page: RecoveryPage, nowMs: number) {
  const { count, nextCursor } = page;
  const items = page.items as T[];
  const first = items[0];
  const startedMs =
    first === undefined ? null : 'admittedAtMs' in first ? first.admittedAtMs : first.atMs;
  const oldestMs = startedMs === null ? null : Math.max(0, nowMs - startedMs);
  return { count, oldestMs, items, truncated: nextCursor !== null, nextCursor };
}

function verdictOf(
  journal: Journal,
  found: OutageSpan | null,
  tally: Recovery['tally'],
): Recovery['verdict'] {
  const { recovery } = journal.reader;
  if (found?.outage.toMs === null) return 'open';
  const isAnyUnknown = tally.needsReconciliation > 0;
  if (found === null) return isAnyUnknown ? 'needs_reconciliation' : 'no_outage';
  if (isAnyUnknown && recovery.hasUnknownSince(found)) return 'needs_reconciliation';
  return tally.unreported > 0 || recovery.hasUnended(found) ? 'settling' : 'settled';
}

function summaryOf(
  verdict: Recovery['verdict'],
  outage: Outage | null,
  tally: Recovery['tally'],
  nowMs: number,
): string {
  const lasted = outage === null ? '' : formatDurationMs((outage.toMs ?? nowMs) - outage.fromMs);
  const during = `${tally.admittedDuring} admitted, ${tally.executedDuring} executed, ${tally.refusedDuring} refused, ${tally.stoppedDuring} stopped`;
  switch (verdict) {
    case 'no_outage':
      return 'This host has recorded no outage of control.';
    case 'open':
      return `Control has been out of reach for ${lasted}: so far ${during}, ${tally.needsReconciliation} with unknown outcome.`;
    case 'needs_reconciliation':
      return outage === null
        ? `${tally.needsReconciliation} operations have an unknown outcome and need a person or a probe.`
        : `The outage lasted ${lasted} (${during}); ${tally.needsReconciliation} operations have an unknown outcome and need a person or a probe.`;
    case 'settling':
      return `The outage lasted ${lasted} (${during}); work it touched is still ending, and ${tally.unreported} entries are yet to be reported.`;
    case 'settled':
      return `The outage lasted ${lasted} (${during}); everything it touched has ended and control knows all of it.`;
  }
}
