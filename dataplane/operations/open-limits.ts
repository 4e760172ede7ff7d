/** Puts the limits together from what the journal holds, before anything is admitted. */
import { makeId } from '../../shared/core/ids.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Random } from '../../shared/platform/random.ts';
import { absentBudget } from '../core/limits.ts';
import type { Journal } from '../journal/journal.ts';
import { LimitKeeper, type FleetBudgets } from './limit-keeper.ts';
import { LimitRefusals } from './limit-refusals.ts';

/** Of a host without control: it holds no part of any budget. */
export const NO_ALLOTMENTS: FleetBudgets = {
  budget: ({ terms }) => ({
    budget: absentBudget(terms, 'control has not given one'),
    sinceBootMs: 0,
  }),
  note: () => undefined,
};

export type OpenedLimits = {
  readonly limits: LimitKeeper;
  readonly limitRefusals: LimitRefusals;
};

export function openLimits(ports: {
  journal: Journal;
  clock: Clock;
  random: Random;
  logger: Logger;
  fleet: FleetBudgets;
}): OpenedLimits {
  const { journal, clock, random, logger, fleet } = ports;
  const isSound = journal.quarantine === null;
  const limits = new LimitKeeper({
    clock,
    fleet,
    quotas: isSound ? journal.reader.quotas(clock.now()) : [],
    unended: isSound ? journal.reader.unended() : [],
  });
  journal.onEnd((operation) => limits.ended(operation));
  const limitRefusals = new LimitRefusals({
    clock,
    logger,
    record: (refusal) => journal.submit({ type: 'refuse', refusal }),
    makeId: () => makeId('ref', clock.now().wallMs, random.bytes(16)),
  });
  return { limits, limitRefusals };
}
