/** One case after the other, each drawn by itself, until all are done, or the time, or too much was found. */
import { Draw } from './draw.ts';
import { FINDINGS_MAX, Tally, type Finding, type FuzzOptions, type FuzzReport } from './fuzzer.ts';

export type Case = {
  readonly draw: Draw;
  readonly tally: Tally;
  /** `input`: what was given in this case, as it is kept in `found/`. */
  readonly find: (detail: string, input: unknown) => void;
};

export async function fuzzCases(
  { seed, from, cases, isOver, say }: FuzzOptions,
  kind: {
    /** Of the findings, and of what is counted. */
    readonly name: string;
    readonly counted: string;
    readonly tally?: Tally;
    readonly saidEvery?: number;
  },
  one: (its: Case) => Promise<void> | void,
): Promise<FuzzReport> {
  const { name, counted, tally = new Tally(), saidEvery = Infinity } = kind;
  const findings: Finding[] = [];
  let number = from;
  for (; number < from + cases && !isOver() && findings.length < FINDINGS_MAX; number += 1) {
    await one({
      draw: Draw.ofCase(seed, number),
      tally,
      find: (detail, input) => void findings.push({ what: name, detail, case: number, input }),
    });
    const done = number + 1 - from;
    if (done % saidEvery === 0) say(`${done} ${counted}`);
  }
  return { counts: { [counted]: number - from, ...tally.counts() }, findings };
}
