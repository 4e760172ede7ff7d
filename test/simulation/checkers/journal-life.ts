/**
 * A journal in the time in which its host wrote it: from the start of the run, or from when the host
 * was renewed, until it was given up.
 *
 * What was acknowledged before an old copy was put back may be gone by that alone: a journal promises
 * nothing about it, but that it says so (`quarantined`), and that its host begins anew.
 */
import type { JournalEvent } from '../../../shared/wire/operation.ts';
import type { StoredOperation } from '../../../dataplane/core/operation-record.ts';
import type { FinalJournal, History, NodeName } from '../history.ts';
import { eventsOf } from '../history-view.ts';

export type JournalLife = {
  readonly journal: FinalJournal;
  readonly host: NodeName;
  /** True time. */
  readonly fromMs: number;
  readonly toMs: number;
  /** When an older copy of it was put back last; `null`: never. */
  readonly restoredAtMs: number | null;
  readonly operations: ReadonlyMap<string, StoredOperation>;
  readonly entries: ReadonlyMap<string, readonly JournalEvent[]>;
};

export function journalLives(history: History): JournalLife[] {
  // With `--keep` the journal goes on under a new enrolment.
  const renewals = Map.groupBy(
    eventsOf(history, 'host_renewed').filter(({ detail }) => !detail.includes('--keep')),
    ({ node }) => node,
  );
  // Copied where the fault begins, put back where it ends.
  const restores = eventsOf(history, 'fault').filter(
    ({ fault, stage }) => fault === 'host_backup_restored' && stage !== 'begun',
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
    return {
      journal,
      host,
      fromMs,
      toMs,
      restoredAtMs: restored?.atMs ?? null,
      operations: new Map(journal.operations.map((one) => [one.operationId, one])),
      entries: Map.groupBy(journal.events, ({ operationId }) => operationId ?? ''),
    };
  });
}

/** Whether what was acknowledged at that moment is to be in it. */
export function isHeldIn({ fromMs, toMs, restoredAtMs }: JournalLife, atMs: number): boolean {
  return atMs >= fromMs && atMs <= toMs && (restoredAtMs === null || atMs > restoredAtMs);
}

/** Forgotten by the retention, which takes nothing that control does not hold. */
export function mayBePruned({ journal }: JournalLife, { final }: History, id: string): boolean {
  return journal.prunedSeq > 0 && final.control.operations.some((one) => one.operationId === id);
}
