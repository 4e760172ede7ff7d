/**
 * A smaller plan that still fails: faults, then tasks are left out while the same promise stays
 * broken. Each try is a run; there is a bound on them, and what is then left is what is shown.
 */
import type { Promised } from './history.ts';
import type { Plan } from './plan.ts';

export const SHRINK_TRIES_MAX = 60;

/** Which promises a plan breaks. */
export type TryPlan = (plan: Plan) => Promise<ReadonlySet<Promised>>;

export type Shrunk = { readonly plan: Plan; readonly tries: number };

export async function shrink(plan: Plan, broken: Promised, attempt: TryPlan): Promise<Shrunk> {
  let best = plan;
  let tries = 0;
  const stillBreaks = async (candidate: Plan): Promise<boolean> => {
    if (tries >= SHRINK_TRIES_MAX) return false;
    tries += 1;
    return (await attempt(candidate)).has(broken);
  };
  best = {
    ...best,
    faults: await without(best.faults, (faults) => stillBreaks({ ...best, faults })),
  };
  best = { ...best, tasks: await without(best.tasks, (tasks) => stillBreaks({ ...best, tasks })) };
  return { plan: best, tries };
}

/** By halves, quarters and so on: as few of them as still do it. */
async function without<T>(
  items: readonly T[],
  stillBreaks: (left: readonly T[]) => Promise<boolean>,
): Promise<readonly T[]> {
  let left = items;
  for (let size = Math.ceil(left.length / 2); size >= 1 && left.length > 0;) {
    let isSmaller = false;
    for (let from = 0; from < left.length;) {
      const candidate = [...left.slice(0, from), ...left.slice(from + size)];
      if (await stillBreaks(candidate)) {
        left = candidate;
        isSmaller = true;
      } else {
        from += size;
      }
    }
    if (size === 1) break;
    size = isSmaller ? Math.min(size, Math.ceil(left.length / 2)) : Math.ceil(size / 2);
  }
  return left;
}
