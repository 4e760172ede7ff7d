export const LIMIT_KINDS = ['rate', 'concurrency', 'quota'] as const;
export type LimitKind = (typeof LIMIT_KINDS)[number];

/** Of how many budgets of the fleet one sync may speak. */
export const SYNC_ALLOTMENTS_MAX = 1_000;
