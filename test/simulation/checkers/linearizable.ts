/**
 * Whether a history of calls on one object could have come from an object that does one call at a
 * time, each at some moment between its sending and its end (Wing and Gong, with the states that
 * were reached before remembered).
 *
 * A call without an answer may have happened at any moment after its sending, or never.
 */

export type Step<State> = {
  /** Events, as moments: their `seq`. */
  readonly sentSeq: number;
  /** `null`: it got no answer. */
  readonly endedSeq: number | null;
  /** The state after it, if it could have been answered as it was in `state`; `null` if not. */
  readonly apply: (state: State) => State | null;
};

export type Linearized =
  | { readonly kind: 'yes' }
  /** The furthest that any order came: what could not be placed is among `blocked`. */
  | { readonly kind: 'no'; readonly placed: number; readonly blocked: readonly number[] }
  /** Given up, and nothing is said. */
  | { readonly kind: 'too_many' };

const NODES_MAX = 200_000;

export function linearize<State>(
  steps: readonly Step<State>[],
  initial: State,
  keyOf: (state: State) => string,
): Linearized {
  const order = steps.map((_, index) => index).toSorted((a, b) => sentAt(a) - sentAt(b));
  const answered = steps.filter(({ endedSeq }) => endedSeq !== null).length;
  const seen = new Set<string>();
  let nodes = 0;
  let best = { placed: 0, blocked: [] as readonly number[] };

  function sentAt(index: number): number {
    return steps[index]?.sentSeq ?? 0;
  }

  /** `done` holds those that were placed; the rest may come next unless another ended before it. */
  function search(done: bigint, left: number, state: State): boolean {
    if (left === 0) return true;
    nodes += 1;
    if (nodes > NODES_MAX) return false;
    const place = `${done} ${keyOf(state)}`;
    if (seen.has(place)) return false;
    seen.add(place);
    const open = order.filter((index) => (done & (1n << BigInt(index))) === 0n);
    const firstEnd = Math.min(
      ...open.map((index) => steps[index]?.endedSeq ?? Number.POSITIVE_INFINITY),
    );
    const next = open.filter((index) => sentAt(index) < firstEnd);
    const blocked: number[] = [];
    for (const index of next) {
      const step = steps[index];
      const after = step?.apply(state) ?? null;
      if (step === undefined || after === null) {
        blocked.push(index);
        continue;
      }
      const rest = left - (step.endedSeq === null ? 0 : 1);
      if (search(done | (1n << BigInt(index)), rest, after)) return true;
    }
    const placed = answered - left;
    if (placed >= best.placed && blocked.length > 0) best = { placed, blocked };
    return false;
  }

  if (search(0n, answered, initial)) return { kind: 'yes' };
  return nodes > NODES_MAX ? { kind: 'too_many' } : { kind: 'no', ...best };
}
