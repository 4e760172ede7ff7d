/** Counts by name, over many runs. */
export type Counts<Name extends string> = Partial<Record<Name, number>>;

export function addCounts<Name extends string>(
  sums: Counts<Name>,
  more: Readonly<Counts<Name>>,
): void {
  for (const [name, count] of Object.entries(more) as [Name, number][])
    sums[name] = (sums[name] ?? 0) + count;
}

export function total(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}
