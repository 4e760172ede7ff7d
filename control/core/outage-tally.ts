/** What a host did while one of its outages was open, counted as its events are taken in. */
import type { FleetOutageDetail } from '../../shared/wire/fleet-outages.ts';

export type OutageTally = FleetOutageDetail['tally'];
type Kind = keyof OutageTally;

export const NO_TALLY: OutageTally = {
  admitted: 0,
  refused: 0,
  paused: 0,
  succeeded: 0,
  failed: 0,
  cancelled: 0,
  expired: 0,
  unknown: 0,
};

const KINDS = Object.keys(NO_TALLY) as Kind[];
const isKind = (kind: string): kind is Kind => Object.hasOwn(NO_TALLY, kind);

/** By outage. `times`: a refusal may stand for several. */
export class OutageTallies {
  readonly #tallies = new Map<string, OutageTally>();

  count({ outageId, kind }: { outageId: string | null; kind: string }, times = 1): void {
    if (outageId === null || !isKind(kind)) return;
    const tally = this.#tallies.get(outageId) ?? NO_TALLY;
    this.#tallies.set(outageId, { ...tally, [kind]: tally[kind] + times });
  }

  get all(): ReadonlyMap<string, OutageTally> {
    return this.#tallies;
  }
}

export function addTallies(one: OutageTally, other: OutageTally): OutageTally {
  const sum = { ...one };
  for (const kind of KINDS) sum[kind] += other[kind];
  return sum;
}
