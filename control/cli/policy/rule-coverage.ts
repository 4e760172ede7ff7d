/** Which rules decide in no test: their next change would be published unseen. */
import type { CompiledPolicy, Decision, PolicyProblem } from '../../../shared/core/policy.ts';

export type RuleCoverage = {
  readonly rule: string;
  readonly position: number;
  /** How many tests it decided, by what it decided. */
  readonly permitted: number;
  readonly refused: number;
};

export type Coverage = {
  readonly rules: readonly RuleCoverage[];
  readonly reached: number;
  /** Rounded down, so that 100 means all of them. */
  readonly percent: number;
};

export function coverageOf(policy: CompiledPolicy, decisions: readonly Decision[]): Coverage {
  const tallies = new Map(policy.rules.map(({ name }) => [name, { permitted: 0, refused: 0 }]));
  for (const { rule, decision } of decisions) {
    const tally = rule === null ? undefined : tallies.get(rule);
    if (tally === undefined) continue;
    if (decision === 'permit') tally.permitted += 1;
    else tally.refused += 1;
  }
  const rules = policy.rules.map(({ name, position }) => ({
    rule: name,
    position,
    ...(tallies.get(name) ?? { permitted: 0, refused: 0 }),
  }));
  const reached = rules.filter(isReached).length;
  return { rules, reached, percent: Math.floor((reached / rules.length) * 100) };
}

export const isReached = ({ permitted, refused }: RuleCoverage): boolean => permitted + refused > 0;

export function coverageWarnings(
  policy: CompiledPolicy,
  decisions: readonly Decision[],
): PolicyProblem[] {
  if (decisions.length === 0) {
    return [{ path: '/tests', message: 'there are none, so nothing says what this policy is for' }];
  }
  return coverageOf(policy, decisions)
    .rules.filter((rule) => !isReached(rule))
    .map(({ rule, position }) => ({
      path: `/rules/${position}`,
      message: `rule ${rule} decides in no test`,
    }));
}
