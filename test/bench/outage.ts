/**
 * I10: admission while control is up, killed, a black hole, silent or broken, in turns in one run, so
 * that what else goes on here meets all of them alike. Each is set beside control up in its own round.
 */
import { CONTROL_STATES, ControlLoss, type ControlState } from './control-loss.ts';
import { HostUnderLoad, median, pause } from './host-under-load.ts';

export type OutageFigures = {
  readonly states: readonly {
    readonly control: ControlState;
    readonly perSecond: number;
    readonly p99Ms: number;
    /** Medians of the rounds, each to control up in the same round. */
    readonly rateRatio: number;
    readonly p99Ratio: number;
    /** Of the sidecar, for each admission: on a busy machine it compares best. */
    readonly cpuMicros: number;
  }[];
  readonly worstRateRatio: number;
  readonly worstP99Ratio: number;
  readonly rounds: number;
  readonly requestsPerRound: number;
};

export type OutageOptions = {
  readonly rounds: number;
  readonly requests: number;
  readonly connections: number;
  readonly say: (text: string) => void;
};

type Measured = { readonly perSecond: number; readonly p99Ms: number; readonly cpuMicros: number };

/** What the change itself costs is over: the outage is open and told. */
const SETTLE_MS = 500;

export async function benchOutage(options: OutageOptions): Promise<OutageFigures> {
  const { rounds, requests, connections, say } = options;
  const host = await HostUnderLoad.start(say);
  const loss = new ControlLoss(host);
  try {
    const measured = new Map<ControlState, Measured[]>(CONTROL_STATES.map((state) => [state, []]));
    await host.admit({ connections, requests });
    for (let round = 0; round < rounds; round += 1) {
      for (const state of turned(CONTROL_STATES, round)) {
        await loss.become(state);
        await pause(SETTLE_MS);
        const cpuBefore = host.cpuMs('sidecar');
        const { perSecond, p99Ms } = await host.admit({ connections, requests });
        const cpuMicros = ((host.cpuMs('sidecar') - cpuBefore) * 1_000) / requests;
        measured.get(state)?.push({ perSecond, p99Ms, cpuMicros });
        say(
          `round ${round + 1}, control ${state}: ${Math.round(perSecond)} admissions/s, p99 ` +
            `${p99Ms.toFixed(1)} ms, of the processor ${cpuMicros.toFixed(0)} µs each`,
        );
      }
    }
    const ups = measured.get('up') ?? [];
    const states = CONTROL_STATES.map((control) => {
      const own = measured.get(control) ?? [];
      const ratio = (field: 'perSecond' | 'p99Ms'): number =>
        median(own.map((one, round) => one[field] / (ups[round]?.[field] ?? Number.NaN)));
      return {
        control,
        perSecond: median(own.map(({ perSecond }) => perSecond)),
        p99Ms: median(own.map(({ p99Ms }) => p99Ms)),
        rateRatio: ratio('perSecond'),
        p99Ratio: ratio('p99Ms'),
        cpuMicros: median(own.map(({ cpuMicros }) => cpuMicros)),
      };
    });
    const lost = states.filter(({ control }) => control !== 'up');
    return {
      states,
      worstRateRatio: Math.min(...lost.map(({ rateRatio }) => rateRatio)),
      worstP99Ratio: Math.max(...lost.map(({ p99Ratio }) => p99Ratio)),
      rounds,
      requestsPerRound: requests,
    };
  } finally {
    await loss.dispose();
    await host.dispose();
  }
}

/** In another order each round: none is always first after another. */
function turned<T>(items: readonly T[], by: number): readonly T[] {
  const at = by % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
}
