/**
 * A process of the simulator that runs seeds until a checker finds something, told by JSON lines:
 * `node --import preload.ts seeds-child.ts FROM COUNT`. The mutant is in its environment.
 */
import { simulate } from '../simulate.ts';
import { MINUTES_STANDARD, planOf } from '../plan.ts';
import { judge } from '../checkers/index.ts';
import type { Promised } from '../history.ts';

/** One line for each seed. */
export type SeedLine =
  | { readonly seed: number; readonly kind: 'clean' }
  | {
      readonly seed: number;
      readonly kind: 'found';
      readonly promise: Promised;
      readonly detail: string;
      readonly promises: readonly Promised[];
    }
  /** The run itself broke off, and no checker has said why: that finds nothing out. */
  | { readonly seed: number; readonly kind: 'broke_off'; readonly detail: string };

const [from = 1, count = 1] = process.argv.slice(2).map(Number);

function say(line: SeedLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

async function look(seed: number): Promise<boolean> {
  try {
    const { history } = await simulate(planOf(seed, MINUTES_STANDARD, 'quick'));
    const { violations } = judge(history);
    const [first] = violations;
    if (first === undefined) {
      say({ seed, kind: 'clean' });
      return false;
    }
    const { promise, detail } = first;
    const promises = [...new Set(violations.map((one) => one.promise))];
    say({ seed, kind: 'found', promise, detail, promises });
    return true;
  } catch (error) {
    say({
      seed,
      kind: 'broke_off',
      detail: error instanceof Error ? error.message : String(error),
    });
    return false;
  }
}

for (let seed = from; seed < from + count; seed += 1) if (await look(seed)) break;
process.exit(0);
