/**
 * How much work is in which state and how old the oldest of it is: for the health of this host, and
 * for what it tells control. Each is a look at an index of the journal, whatever the journal holds.
 */
import type { Instant } from '../shared/core/time.ts';
import type { HostHealth, WorkTally } from '../shared/wire/fleet-health.ts';
import type { OperationState } from '../shared/wire/operation.ts';
import type { ActivePolicy } from './core/active-policy.ts';
import { configEntries, expiredCount } from './core/config-value.ts';
import { deadlinePassed, type StoredOperation } from './core/operation-record.ts';
import type { Journal } from './journal/journal.ts';
import { FIRST_DEADLINE } from './journal/journal-reader.ts';

/** An operation this long past its deadline and not ended is stuck: the custodian should have seen to it. */
const STUCK_AFTER_MS = 10_000;
const STUCK_COUNTED_MAX = 100;

export type AuthorityNow = {
  readonly active: ActivePolicy | null;
  readonly stalenessMs: number | null;
  readonly isRevoked: boolean;
};

/** What has been taken up to be settled; none where nobody takes anything up. */
export type Reconciling = (now: Instant) => WorkTally;

const NONE: WorkTally = { count: 0, oldestMs: null };

export function tallyWork(
  journal: Journal,
  now: Instant,
  reconciling?: Reconciling,
): Pick<HostHealth, 'executing' | 'paused' | 'stuck' | 'unknown' | 'reconciling'> {
  const counts = journal.operationCounts();
  const tally = (state: OperationState): WorkTally => {
    const count = counts[state] ?? 0;
    if (count === 0 || journal.quarantine !== null) return { count, oldestMs: null };
    return { count, oldestMs: ageOf(journal.reader.withState(state, 1)[0], now) };
  };
  const stuck = journal.quarantine === null ? stuckOperations(journal, now) : [];
  return {
    executing: tally('executing'),
    paused: tally('paused'),
    stuck: { count: stuck.length, oldestMs: oldestAge(stuck, now) },
    unknown: tally('unknown'),
    reconciling: reconciling?.(now) ?? NONE,
  };
}

/** Of the rules that may rest on cached authority, those for which it is too old by now. */
export function staleRules({ active, stalenessMs }: AuthorityNow): {
  readonly bounded: number;
  readonly expired: number;
} {
  const rules = active?.compiled.rules ?? [];
  const bounded = rules.filter(({ terms }) => terms.freshness === 'bounded');
  const isStale = (maxMs: number): boolean => stalenessMs === null || stalenessMs > maxMs;
  const expired = bounded.filter(({ terms }) => isStale(terms.maxStalenessMs));
  return { bounded: bounded.length, expired: expired.length };
}

export function expiredConfig(
  { active, stalenessMs, isRevoked }: AuthorityNow,
  now: Instant,
): HostHealth['expiredConfig'] {
  const entries = configEntries(active?.document.config);
  return { count: expiredCount(entries, { stalenessMs, isRevoked, now }), of: entries.length };
}

/** The wall clock only finds the candidates; the record says whether its deadline has passed. */
function stuckOperations({ reader }: Journal, now: Instant): StoredOperation[] {
  const before = {
    ...now,
    wallMs: now.wallMs - STUCK_AFTER_MS,
    bootMs: now.bootMs - STUCK_AFTER_MS,
  };
  return reader
    .overdue({ after: FIRST_DEADLINE, untilMs: before.wallMs, limit: STUCK_COUNTED_MAX })
    .flatMap(({ operationId }) => reader.operation(operationId) ?? [])
    .filter((operation) => deadlinePassed(operation, before));
}

function oldestAge(operations: readonly StoredOperation[], now: Instant): number | null {
  const ages = operations.map((operation) => ageOf(operation, now) ?? 0);
  return ages.length === 0 ? null : Math.max(...ages);
}

/** A wall clock that went back makes it new, not negative. */
function ageOf(operation: StoredOperation | undefined, now: Instant): number | null {
  return operation === undefined ? null : Math.max(0, now.wallMs - operation.admittedAtMs);
}
