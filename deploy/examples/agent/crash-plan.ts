/** What goes wrong in a story, and where: as the file of turns says, or drawn from a seed. Pure. */
import { canonicalJson } from '../../../shared/core/canonical-json.ts';
import { seededRandom } from '../orders/order-file.ts';
import type { Crash, RecordedTurn } from './turn-file.ts';

/** Turns are counted from 1. */
export type CrashPoint = Crash & { readonly turn: number };
export type CrashPlan = {
  readonly points: readonly CrashPoint[];
  readonly control: { readonly awayFrom: number; readonly backAt: number } | null;
};

export function recordedPlan(turns: readonly RecordedTurn[]): CrashPlan {
  const points = turns.flatMap(({ crashes }, index) =>
    crashes.map((crash) => ({ ...crash, turn: index + 1 })),
  );
  const [awayFrom, backAt] = (['away', 'back'] as const).map(
    (state) => turns.findIndex(({ control }) => control === state) + 1,
  ) as [number, number];
  return { points, control: awayFrom === 0 ? null : { awayFrom, backAt } };
}

/** One kill of the agent, one of the sidecar, one outage of control, each anywhere. */
export function seededPlan(seed: number, turns: readonly RecordedTurn[]): CrashPlan {
  const random = seededRandom(seed + 1);
  const pick = <T>(from: readonly [T, ...T[]]): T =>
    from[Math.floor(random() * from.length)] ?? from[0];
  const [first, ...others] = firstCalls(turns);
  if (first === undefined) throw new Error('the turns propose no call at which to kill');
  const places = [first, ...others] as const;
  const agent = { ...pick(places), when: pick(['before', 'after', 'answered'] as const) };
  const sidecar = { ...pick(places), when: pick(['before', 'after'] as const) };
  const backAt = turns.findIndex(({ control }) => control === 'back') + 1;
  const awayFrom = 1 + Math.floor(random() * (backAt - 2));
  return {
    points: [
      { victim: 'agent', ...agent },
      { victim: 'sidecar', ...sidecar },
    ],
    control: { awayFrom, backAt },
  };
}

/**
 * Of many conversations at once: each kills its agent. They share the daemons, so a few of them are
 * enough to kill one for all.
 */
export function sharedPlan(seed: number, turns: readonly RecordedTurn[]): CrashPlan {
  const { points, control } = seededPlan(seed, turns);
  return {
    points: points.filter(({ victim }) => victim === 'agent' || seed % 10 === 3),
    control: seed % 20 === 5 ? control : null,
  };
}

/** A call that was proposed before reaches no tool, so nothing can be killed in the middle of it. */
function firstCalls(turns: readonly RecordedTurn[]): { turn: number; call: number }[] {
  const seen = new Set<string>();
  return turns.flatMap(({ calls }, index) =>
    calls.flatMap((call, at) => {
      const text = canonicalJson(call);
      if (seen.has(text)) return [];
      seen.add(text);
      return [{ turn: index + 1, call: at + 1 }];
    }),
  );
}
