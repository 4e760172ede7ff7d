/** What all checkers make of one history, and what a table says of it. */
import { historyHash } from './engine/history-log.ts';
import { judge as judgeAll } from './checkers/index.ts';
import { PROMISES, type History, type Promised, type Violation } from './history.ts';
import type { RunCounts } from './simulate.ts';

export type Judged = {
  readonly seed: number;
  readonly hash: string;
  readonly simulatedMs: number;
  readonly steps: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly calls: Readonly<Record<string, number>>;
  readonly operations: number;
  readonly checks: Readonly<Record<Promised, number>>;
  readonly violations: readonly Violation[];
};

export function judge(history: History, counts: RunCounts): Judged {
  const { verdicts, violations } = judgeAll(history);
  const checks = Object.fromEntries(PROMISES.map((promise) => [promise, 0])) as Record<
    Promised,
    number
  >;
  for (const { promise, checks: count } of verdicts) checks[promise] += count;
  const faults: Record<string, number> = {};
  const calls: Record<string, number> = {};
  for (const event of history.events) {
    if (event.kind === 'fault' && event.stage !== 'ended') add(faults, event.fault);
    if (event.kind === 'call_ended') add(calls, event.end.kind);
  }
  return {
    seed: history.terms.seed,
    hash: historyHash(history),
    ...counts,
    faults,
    calls,
    operations: history.final.journals.reduce((sum, { operations }) => sum + operations.length, 0),
    checks,
    violations,
  };
}

function add(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}
