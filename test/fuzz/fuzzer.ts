/**
 * What every fuzzer is given, and what it gives back. Each case is drawn from the seed and the number of
 * the case alone, so that one that failed is repeated by `--seed N --from K --requests 1`.
 */
import type { Undo } from '../faults/undo.ts';

export type FuzzOptions = {
  readonly seed: number;
  /** The number of the first case, and how many there are. */
  readonly from: number;
  readonly cases: number;
  readonly undo: Undo;
  /** Ends the fuzzer after the case in which it passes; `share`: once so much of its time is over. */
  readonly isOver: (share?: number) => boolean;
  /** The account of the run, for people. */
  readonly say: (text: string) => void;
};

export type Finding = {
  readonly what: string;
  readonly detail: string;
  /** `null`: of the run as a whole. */
  readonly case: number | null;
  /** What was given, as it is kept in `found/`. */
  readonly input: unknown;
};

export type FuzzReport = {
  readonly counts: Readonly<Record<string, number | string>>;
  readonly findings: readonly Finding[];
};

export type Fuzzer = {
  readonly name: string;
  readonly about: string;
  readonly casesAtFirst: number;
  readonly run: (options: FuzzOptions) => Promise<FuzzReport>;
};

/** More would say nothing new, and fill the memory of a run that goes wrong everywhere. */
export const FINDINGS_MAX = 50;

/** Counts by name, for the table at the end. */
export class Tally {
  readonly #counts = new Map<string, number>();

  add(name: string, amount = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + amount);
  }

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  counts(): Record<string, number> {
    return Object.fromEntries([...this.#counts].toSorted(([a], [b]) => a.localeCompare(b)));
  }
}
