/** What both halves of the benchmark of decisions share. */
export type DecideOptions = {
  readonly rules: readonly number[];
  readonly rounds: number;
  readonly requests: number;
  readonly connections: number;
  readonly withRivals: boolean;
  readonly say: (text: string) => void;
};

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
