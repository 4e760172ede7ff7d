/**
 * What the model may be told to do wrong. The true laws change nothing; each mutant breaks one of
 * them, and the exploration must find it out.
 */
import type { LeaseRecord, Lessor } from '../../control/core/lease-transition.ts';
import type { Floor, Remembered, StoreState } from '../../control/core/floors.ts';
import type { Instant } from '../../shared/core/time.ts';

export type Laws = {
  /** From which moment the holder counts. */
  readonly countedFrom: (times: { readonly sentAt: Instant; readonly now: Instant }) => Instant;
  readonly holderDrift: (drift: number) => number;
  /** The moment that the holder compares with the end of its lease. */
  readonly lookedAt: (now: Instant) => Instant;
  readonly granted: (record: LeaseRecord) => LeaseRecord;
  readonly remembered: (store: StoreState, remembered: Remembered) => Remembered;
  readonly floorAtStart: (floor: Floor, store: StoreState) => Floor;
  readonly terms: (terms: Lessor) => Lessor;
  /** The highest epoch that a host says it has seen. */
  readonly reported: (epoch: number) => number;
  /** Whether a request was sent after this start of control. */
  readonly isOfThisRun: (isOfThisRun: boolean) => boolean;
  /** A host may be suspended, and its clock with it. */
  readonly clockStopsInSuspend: boolean;
};

export const TRUE_LAWS: Laws = {
  countedFrom: ({ sentAt }) => sentAt,
  holderDrift: (drift) => drift,
  lookedAt: (now) => now,
  granted: (record) => record,
  remembered: (_store, remembered) => remembered,
  floorAtStart: (floor) => floor,
  terms: (terms) => terms,
  reported: (epoch) => epoch,
  isOfThisRun: (isOfThisRun) => isOfThisRun,
  clockStopsInSuspend: false,
};
