/** What of the journal is unknown, read when it is asked for. */
import { SECOND_MS, type Instant } from '../../shared/core/time.ts';
import type { WorkTally } from '../../shared/wire/fleet-health.ts';
import type { Journal } from '../journal/journal.ts';
import type { SidecarMetrics } from '../sidecar-view.ts';

/** What its rule says is tried, rather than left to a person. */
export function triedAt(journal: Journal, now: Instant): WorkTally {
  if (journal.quarantine !== null) return { count: 0, oldestMs: null };
  const tried = journal.reader.reconciliations
    .open()
    .filter(({ strategy }) => strategy !== 'human');
  if (tried.length === 0) return { count: 0, oldestMs: null };
  const since = Math.min(...tried.map(({ oldestSinceMs }) => oldestSinceMs));
  const count = tried.reduce((sum, each) => sum + each.count, 0);
  return { count, oldestMs: Math.max(0, now.wallMs - since) };
}

export function watchReconciliations(journal: Journal, metrics: SidecarMetrics): void {
  metrics.beforeScrape(() => {
    metrics.reset('holdfast_reconciliations_open');
    metrics.reset('holdfast_reconciliations_oldest_timestamp_seconds');
    if (journal.quarantine !== null) return;
    for (const { strategy, count, oldestSinceMs } of journal.reader.reconciliations.open()) {
      metrics.set('holdfast_reconciliations_open', count, { strategy });
      const oldest = oldestSinceMs / SECOND_MS;
      metrics.set('holdfast_reconciliations_oldest_timestamp_seconds', oldest, { strategy });
    }
  });
}
