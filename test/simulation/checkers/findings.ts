/** What one checker looked at, and what it found. */
import type { Promised, Verdict, Violation } from '../history.ts';

/** So many of one promise say enough; the rest would only hide the others. */
const VIOLATIONS_MAX = 50;

export class Findings {
  readonly #promise: Promised;
  readonly #violations = new Map<string, Violation>();
  #checks = 0;

  constructor(promise: Promised) {
    this.#promise = promise;
  }

  /** One fact held against the promise. `seqs`: the events that show it, where it does not hold. */
  expect(holds: boolean, detail: () => string, seqs: () => readonly (number | null)[]): void {
    this.#checks += 1;
    if (holds || this.#violations.size >= VIOLATIONS_MAX) return;
    const text = detail();
    if (this.#violations.has(text)) return;
    const events = [...new Set(seqs().filter((seq) => seq !== null))].toSorted((a, b) => a - b);
    this.#violations.set(text, { promise: this.#promise, detail: text, events });
  }

  verdict(): Verdict {
    const violations = [...this.#violations.values()];
    return { promise: this.#promise, checks: this.#checks, violations };
  }
}

/** A moment of the run, for people: `12m03.250s`. */
export function moment(atMs: number): string {
  const minutes = Math.floor(atMs / 60_000);
  const seconds = ((atMs - minutes * 60_000) / 1_000).toFixed(3).padStart(6, '0');
  return `${minutes}m${seconds}s`;
}
