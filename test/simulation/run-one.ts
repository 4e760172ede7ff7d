/** One seed, looked at closely: its hash, what it broke, and the shortest way there that is found. */
import { simulate } from './simulate.ts';
import { judge, type Judged } from './judge.ts';
import { planOf, type Pace, type Plan } from './plan.ts';
import { shrink } from './shrink.ts';
import { timelineText } from './timeline.ts';

process.on('unhandledRejection', () => undefined);

async function judged(plan: Plan) {
  const { history, counts } = await simulate(plan);
  return { history, judged: judge(history, counts) };
}

export async function runOne(
  seed: number,
  { minutes, pace }: { readonly minutes: number; readonly pace: Pace },
  say: (text: string) => void,
): Promise<{ readonly judged: Judged; readonly text: string }> {
  const plan = planOf(seed, minutes, pace);
  const whole = await judged(plan);
  const { hash, violations, steps, simulatedMs } = whole.judged;
  const head = `seed ${seed}: ${(simulatedMs / 60_000).toFixed(1)} simulated minutes in ${steps} steps, trace ${hash}\n`;
  const [first] = violations;
  if (first === undefined) return { judged: whole.judged, text: `${head}every promise held\n` };
  say(`${first.promise} is broken; looking for a shorter way there`);
  const { plan: small, tries } = await shrink(plan, first.promise, async (candidate) => {
    const { judged: found } = await judged(candidate);
    return new Set(found.violations.map(({ promise }) => promise));
  });
  const short = await judged(small);
  const found = short.judged.violations.map(({ promise, detail }) => `  ${promise}: ${detail}\n`);
  return {
    judged: whole.judged,
    text: [
      head,
      ...violations.map(({ promise, detail }) => `  ${promise}: ${detail}\n`),
      `after ${tries} tries, with ${small.faults.length} faults of ${plan.faults.length} and ${small.tasks.length} tasks of ${plan.tasks.length}:\n`,
      ...found,
      timelineText(short.history, short.judged.violations),
    ].join(''),
  };
}
