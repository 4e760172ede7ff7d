/**
 * Breadth first, so that what it finds is found on a shortest way. Of a state that was seen only 53
 * bits of its key are kept: among a million states two are taken for one with a chance of one in ten
 * thousand.
 */
import type { Laws } from './laws.ts';
import { breachOf, initialStates, stepsOf, type ModelState, type Scenario } from './lease-model.ts';
import { keyOf } from './state-key.ts';

export type Exploration = {
  readonly states: number;
  readonly transitions: number;
  /** To which all was looked at. */
  readonly depth: number;
  /** Nothing new is behind it. */
  readonly isClosed: boolean;
  readonly breach: { readonly what: string; readonly trace: readonly string[] } | null;
};

type Visited = { readonly state: ModelState; readonly index: number };

export type Limits = { readonly depth: number; readonly statesMax?: number };

export function explore(
  scenario: Scenario,
  laws: Laws,
  limits: Limits,
  say: (text: string) => void = () => undefined,
): Exploration {
  const seen = new Set<number>();
  const parents: number[] = [];
  const labels: string[] = [];
  let transitions = 0;
  const visit = (state: ModelState, parent: number, label: string): Visited | null => {
    const hash = hashOf(keyOf(state));
    if (seen.has(hash)) return null;
    seen.add(hash);
    parents.push(parent);
    labels.push(label);
    return { state, index: parents.length - 1 };
  };
  const traceTo = (index: number, last: string): string[] => {
    const trace = [last];
    for (let at = index; at !== -1; at = parents[at] ?? -1) trace.unshift(labels[at] ?? '');
    return trace;
  };
  const ended = (
    depth: number,
    rest: Partial<Pick<Exploration, 'isClosed' | 'breach'>>,
  ): Exploration => {
    return { states: seen.size, transitions, depth, isClosed: false, breach: null, ...rest };
  };

  let level = initialStates(scenario, laws).flatMap(
    (state) => visit(state, -1, 'the beginning') ?? [],
  );
  for (let depth = 0; depth < limits.depth; depth += 1) {
    const next: Visited[] = [];
    for (const { state, index } of level) {
      for (const step of stepsOf(state, laws)) {
        transitions += 1;
        const breach = step.breach ?? breachOf(step.next, laws);
        if (breach !== null) {
          const trace = traceTo(index, step.label);
          return ended(depth + 1, { breach: { what: breach, trace } });
        }
        const visited = visit(step.next, index, step.label);
        if (visited !== null) next.push(visited);
      }
    }
    if (next.length === 0) return ended(depth, { isClosed: true });
    say(`depth ${depth + 1}: ${next.length} new states, ${seen.size} in all`);
    if (seen.size > (limits.statesMax ?? Number.POSITIVE_INFINITY)) return ended(depth + 1, {});
    level = next;
  }
  return ended(limits.depth, {});
}

/** Two runs of a 32-bit mix, together 53 bits of it. */
function hashOf(text: string): number {
  let a = 0xdeadbeef;
  let b = 0x41c6ce57;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    a = Math.imul(a ^ code, 2_654_435_761);
    b = Math.imul(b ^ code, 1_597_334_677);
  }
  a = Math.imul(a ^ (a >>> 16), 2_246_822_507) ^ Math.imul(b ^ (b >>> 13), 3_266_489_909);
  b = Math.imul(b ^ (b >>> 16), 2_246_822_507) ^ Math.imul(a ^ (a >>> 13), 3_266_489_909);
  return 4_294_967_296 * (2_097_151 & b) + (a >>> 0);
}
