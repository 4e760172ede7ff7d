/** What of the journal is unknown, read when it is asked for. */
import { SECOND_MS } from '../../shared/core/time.ts';
import type { Journal } from '../journal/journal.ts';
import type { SidecarMetrics } from '../sidecar-view.ts';

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
