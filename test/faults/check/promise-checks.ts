/** How much of what clients were told is held against which promise, by the checkers of this folder. */
import type { Promised } from '../../simulation/history.ts';
import type { Counts } from '../counts.ts';
import { keyOf, type Call } from '../history/history.ts';
import { ONCE_EFFECT } from '../history/workload.ts';

export type Checks = Counts<Promised>;

/**
 * I1: acknowledged calls that were looked for in the record. I2: keys whose operations were counted. I6:
 * accepted tokens that none below may follow. I9: effects that may begin only once.
 */
export function historyChecks(calls: readonly Call[]): Checks {
  const acknowledged = calls.filter(({ end }) => end?.kind === 'ok');
  return {
    I1: acknowledged.length,
    I2: new Set(calls.flatMap(({ request }) => keyOf(request) ?? [])).size,
    I6: acknowledged.filter(({ request }) => request.kind === 'check_fence').length,
    I9: acknowledged.filter(
      ({ request }) => request.kind === 'begin_effect' && request.effect === ONCE_EFFECT,
    ).length,
  };
}
