/** What the journal keeps for limits: counts of quotas, and what has not ended. Plain data. */
import type { LimitTerms } from '../../shared/core/policy.ts';
import type { QuotaWindow } from '../../shared/core/quota-window.ts';

/** The use of one quota. With an admission: the window in which it is counted. */
export type QuotaNote = {
  readonly rule: string;
  readonly per: LimitTerms['per'];
  readonly key: string;
  readonly scope: LimitTerms['scope'];
  readonly window: QuotaWindow;
};

/** What an operation is counted by while it has not ended. */
export type UnendedOperation = {
  readonly rule: string;
  readonly principal: string;
  readonly action: string;
  readonly resourceId: string;
};

/**
 * What is stored after one admission more. Of a window that is new here it is what the note says,
 * which has counted those before it in that window; so one that is not recorded in the end costs a
 * unit at the most, and none is gained.
 */
export function countedQuota(stored: QuotaWindow | null, counted: QuotaWindow): QuotaWindow {
  if (stored?.number !== counted.number || stored.lengthMs !== counted.lengthMs) return counted;
  return { ...counted, used: stored.used + 1 };
}
