/**
 * What an outage did, from the journal alone: four lists and one verdict. Counts are whole; lists
 * are a first page.
 */
import type { Clock } from '../../shared/platform/clock.ts';
import { formatDurationMs } from '../../shared/core/time.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { Outage, Refusal } from '../../shared/wire/operation.ts';
import type { Recovery } from '../../shared/wire/sidecar-api.ts';
import type { StoredOperation } from '../core/operation-record.ts';
import type { Journal } from '../journal/journal.ts';
import type { Listed, Span } from '../journal/journal-reader.ts';

const PAGE_ITEMS = 50;

/** Of one outage, or of the latest. Throws `not_found` for an id that the journal does not have. */
export function recoveryView(journal: Journal, clock: Clock, outageId: string | null): Recovery {
  const { reader } = journal;
  const found = outageId === null ? reader.latestOutage() : reader.outage(outageId);
  if (found === null && outageId !== null)
    throw new HoldfastError(
      'not_found',
      `this host has no outage ${outageId}: see GET /v1/outages`,
    );
  // Without an outage the span is empty, and so are the lists; `unknown` operations are shown all
  // the same.
  const span: Span = found ?? { afterSeq: Number.MAX_SAFE_INTEGER, beforeSeq: 0 };
  const nowMs = clock.now().wallMs;
  const acceptedBefore =
    found === null ? { items: [], count: 0 } : reader.acceptedBefore(span, PAGE_ITEMS);
  const refused = reader.refusedDuring(span, PAGE_ITEMS);
  const stopped = reader.stoppedDuring(span, PAGE_ITEMS);
  const unknown = reader.unknown(PAGE_ITEMS);
  const tally: Recovery['tally'] = {
    acceptedBefore: acceptedBefore.count,
    admittedDuring: reader.admittedDuring(span),
    executedDuring: reader.executedDuring(span),
    refusedDuring: refused.count,
    refusedByReason: reader.refusedByReason(span),
    stoppedDuring: stopped.count,
    needsReconciliation: unknown.count,
    unreported: journal.head().seq - journal.ackedSeq(),
  };
  const unknownSince = found === null ? tally.needsReconciliation : reader.unknownSince(span);
  const verdict = verdictOf(found?.outage ?? null, {
    unknown: unknownSince,
    unended: found === null ? 0 : reader.unendedOf(span),
    unreported: tally.unreported,
  });
  return {
    outage: found?.outage ?? null,
    verdict,
    summary: summaryOf(verdict, found?.outage ?? null, tally, nowMs),
    tally,
    acceptedBefore: pageOf(acceptedBefore, nowMs, ageOfOperation),
    continued: pageOf(reader.continuedDuring(span, PAGE_ITEMS), nowMs, ageOfOperation),
    stopped: pageOf(stopped, nowMs, ageOfOperation),
    refused: pageOf(refused, nowMs, (refusal: Refusal) => refusal.atMs),
    needsReconciliation: pageOf(unknown, nowMs, ageOfOperation),
  };
}

const ageOfOperation = (operation: StoredOperation): number => operation.admittedAtMs;

function pageOf<T>(
  listed: Listed<T>,
  nowMs: number,
  startedMs: (item: T) => number,
): { count: number; oldestMs: number | null; items: T[]; truncated: boolean } {
  const first = listed.items[0];
  return {
    count: listed.count,
    oldestMs: first === undefined ? null : Math.max(0, nowMs - startedMs(first)),
    items: [...listed.items],
    truncated: listed.count > listed.items.length,
  };
}

function verdictOf(
  outage: Outage | null,
  left: { readonly unknown: number; readonly unended: number; readonly unreported: number },
): Recovery['verdict'] {
  if (outage?.toMs === null) return 'open';
  if (left.unknown > 0) return 'needs_reconciliation';
  if (outage === null) return 'no_outage';
  return left.unended > 0 || left.unreported > 0 ? 'settling' : 'settled';
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
