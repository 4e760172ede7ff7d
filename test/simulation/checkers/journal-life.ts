/**
 * A journal in the time in which its host wrote it: from the start of the run, or from when the host
 * was renewed, until it was given up.
 *
 * What was acknowledged before an old copy was put back may be gone by that alone: a journal promises
 * nothing about it, but that it says so (`quarantined`), and that its host begins anew. So it is with
 * one that was damaged while it was down, from the start on that says so, and only if one does.
 */
import type { JournalEvent } from '../../../shared/wire/operation.ts';
import type { StoredOperation } from '../../../dataplane/core/operation-record.ts';
import type { EventOf, FinalJournal, History, NodeName } from '../history.ts';
import { eventsOf } from '../history-view.ts';

export type JournalLife = {
  readonly journal: FinalJournal;
  readonly host: NodeName;
  /** True time. */
  readonly fromMs: number;
  readonly toMs: number;
  /** When an older copy of it was put back last; `null`: never. */
  readonly restoredAtMs: number | null;
  /** What was acknowledged up to there may be gone: put back, or damaged and told so; `null`: never. */
  readonly lostUpToMs: number | null;
  /** Its host was enrolled anew and went on with what was left of it. */
  readonly isKept: boolean;
  readonly operations: ReadonlyMap<string, StoredOperation>;
  readonly entries: ReadonlyMap<string, readonly JournalEvent[]>;
};

export function journalLives(history: History): JournalLife[] {
  // With `--keep` the journal goes on under a new enrolment.
  const [kept, given] = [true, false].map((isKept) =>
    eventsOf(history, 'host_renewed').filter(({ detail }) => detail.includes('--keep') === isKept),
  ) as [EventOf<'host_renewed'>[], EventOf<'host_renewed'>[]];
  const renewals = Map.groupBy(given, ({ node }) => node);
  // Copied where the fault begins, put back where it ends.
  const restores = eventsOf(history, 'fault').filter(
    ({ fault, stage }) => fault === 'host_backup_restored' && stage !== 'begun',
  );
  const damages = eventsOf(history, 'fault').filter(({ fault }) => fault === 'journal_damaged');
  const quarantined = eventsOf(history, 'daemon_started').filter(
    ({ node, outcome, seq }) =>
      outcome === 'quarantined' &&
      damages.some((damage) => damage.nodes.includes(node) && damage.seq < seq),
  );
  const nth = new Map<NodeName, number>();
  const inOrder = history.final.journals.toSorted(
    (a, b) => Number(b.isGivenUp) - Number(a.isGivenUp),
  );
  return inOrder.map((journal) => {
    const { host } = journal;
    const number = nth.get(host) ?? 0;
    nth.set(host, number + 1);
    const ends = renewals.get(host) ?? [];
    const fromMs = number === 0 ? 0 : (ends[number - 1]?.atMs ?? 0);
    const toMs = ends[number]?.atMs ?? Number.POSITIVE_INFINITY;
    const restored = restores.findLast(
      ({ nodes, atMs }) => nodes.includes(host) && atMs >= fromMs && atMs <= toMs,
    );
    const told = quarantined.findLast(
      ({ node, atMs }) => node === host && atMs >= fromMs && atMs <= toMs,
    );
    const lost = [restored, told].flatMap((event) => (event === undefined ? [] : [event.atMs]));
    return {
      journal,
      host,
      fromMs,
      toMs,
      restoredAtMs: restored?.atMs ?? null,
      isKept: kept.some(({ node, atMs }) => node === host && atMs >= fromMs && atMs <= toMs),
      lostUpToMs: lost.length === 0 ? null : Math.max(...lost),
      operations: new Map(journal.operations.map((one) => [one.operationId, one])),
      entries: Map.groupBy(journal.events, ({ operationId }) => operationId ?? ''),
    };
  });
}

/** Whether what was acknowledged at that moment is to be in it. */
export function isHeldIn({ fromMs, toMs, lostUpToMs }: JournalLife, atMs: number): boolean {
  return atMs >= fromMs && atMs <= toMs && (lostUpToMs === null || atMs > lostUpToMs);
}

/** Forgotten by the retention, which takes nothing that control does not hold. */
export function mayBePruned({ journal }: JournalLife, { final }: History, id: string): boolean {
  return journal.prunedSeq > 0 && final.control.operations.some((one) => one.operationId === id);
}
