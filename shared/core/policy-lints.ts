/**
 * What a policy must satisfy beyond its schema before it can have a revision number: names that
 * differ, arithmetic that can work, rules that can be reached, and its own tests. Every problem has
 * the JSON Pointer of its place and says the way out.
 *
 * L1  A problem is what cannot work, or cannot be meant; it keeps the document from publication.
 *     What works and is perhaps not meant is a warning, and keeps nothing.
 */
import type { PolicyDocument } from '../wire/policy-document.ts';
import { lintConfig } from './config-lints.ts';
import { lintApproval, lintLimits, warnOfApproval, warnOfLimits } from './limit-lints.ts';
import { nearestWord } from './nearest-word.ts';
import { decide, type CompiledPolicy, type PolicyProblem } from './policy.ts';
import { lintOnUnknown } from './on-unknown-lints.ts';
import { Shadows, lintConstants, warnOfConstants, warnOfUnused } from './reach-lints.ts';
import { lintRule, ruleAt, warnOfRule } from './rule-lints.ts';
import { finish, type Steps } from './steps.ts';

type PolicyTest = NonNullable<PolicyDocument['tests']>[number];

const RULES_BETWEEN_PAUSES = 32;

/** `compiled` is `null` where an expression does not compile. */
export function lintPolicy(
  document: PolicyDocument,
  compiled: CompiledPolicy | null = null,
): PolicyProblem[] {
  return finish(lintPolicySteps(document, compiled));
}

/** With a pause after each few rules. */
export function* lintPolicySteps(
  document: PolicyDocument,
  compiled: CompiledPolicy | null,
): Steps<PolicyProblem[]> {
  const shadows = new Shadows();
  const problems = lintNames(document);
  for (const [position, rule] of document.rules.entries()) {
    if (position % RULES_BETWEEN_PAUSES === 0) yield;
    const of = ruleAt(rule, position, document);
    problems.push(
      ...lintRule(of),
      ...lintLimits(of),
      ...lintApproval(of),
      ...lintOnUnknown(of, document),
      ...shadows.next(rule, position),
    );
  }
  return distinct([
    ...problems,
    ...(compiled === null ? [] : lintConstants(compiled)),
    ...lintConfig(document.config),
    ...lintDescriptions(document),
    ...lintTests(document),
  ]);
}

export function policyWarnings(
  document: PolicyDocument,
  compiled: CompiledPolicy,
): PolicyProblem[] {
  const roles = roleCounts(document.principals);
  return distinct([
    ...warnOfUnused(compiled),
    ...document.rules.flatMap((rule, position) => {
      const of = ruleAt(rule, position, document);
      return [...warnOfRule(of), ...warnOfLimits(of), ...warnOfApproval(of, roles)];
    }),
    ...warnOfConstants(compiled),
  ]);
}

/** What is wrong in the defaults is found again in each rule that has them. */
function distinct(problems: readonly PolicyProblem[]): PolicyProblem[] {
  return [...new Map(problems.map((problem) => [JSON.stringify(problem), problem])).values()];
}

function roleCounts(principals: PolicyDocument['principals']): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { roles } of Object.values(principals)) {
    for (const role of roles) counts.set(role, (counts.get(role) ?? 0) + 1);
  }
  return counts;
}

function lintNames({ rules, variables, tests }: PolicyDocument): PolicyProblem[] {
  const lists = { rules, variables: variables ?? [], tests: tests ?? [] };
  return Object.entries(lists).flatMap(([list, items]) => {
    const first = new Map<string, number>();
    return items.flatMap(({ name }, index): PolicyProblem[] => {
      const earlier = first.get(name);
      if (earlier === undefined) {
        first.set(name, index);
        return [];
      }
      const message = `${list.slice(0, -1)} name ${name} is already used by /${list}/${earlier}: rename one`;
      return [{ path: `/${list}/${index}/name`, message }];
    });
  });
}

/** Blank text is not refused by the schema, which what is published already must go on to fit. */
function lintDescriptions({ description, rules, config }: PolicyDocument): PolicyProblem[] {
  const described = [
    { path: '', text: description },
    ...rules.map((rule, index) => ({ path: `/rules/${index}`, text: rule.description })),
    ...Object.entries(config ?? {}).map(([key, entry]) => ({
      path: `/config/${key}`,
      text: entry.description,
    })),
  ];
  return described.flatMap(({ path, text }) =>
    text === undefined || text.trim() !== ''
      ? []
      : [{ path: `${path}/description`, message: 'is blank: say something or remove it' }],
  );
}

/** Expectations that no decision could meet. */
function lintTests({ rules, tests }: PolicyDocument): PolicyProblem[] {
  const names = new Set(rules.map(({ name }) => name));
  return (tests ?? []).flatMap(({ expect }, index) => {
    const at = `/tests/${index}/expect`;
    const problems: PolicyProblem[] = [];
    if (expect.decision === 'permit' && expect.reason !== undefined) {
      const message = `a permit has no reason ${expect.reason}: remove it, or expect deny`;
      problems.push({ path: `${at}/reason`, message });
    }
    const { rule, reason } = expect;
    if (rule === undefined) return problems;
    if (reason === 'no_rule' || reason === 'unknown_principal') {
      const message = `nothing is decided by a rule for the reason ${reason}: remove rule or reason`;
      problems.push({ path: `${at}/rule`, message });
    } else if (!names.has(rule)) {
      const meant = nearestWord(rule, [...names]);
      const wayOut = meant === null ? 'name one of /rules' : `did you mean ${meant}?`;
      problems.push({ path: `${at}/rule`, message: `there is no rule ${rule}: ${wayOut}` });
    }
    return problems;
  });
}

/** Runs the document's own tests; each that fails is a problem at its place. */
export function runPolicyTests(document: PolicyDocument, policy: CompiledPolicy): PolicyProblem[] {
  return finish(runPolicyTestsSteps(document, policy));
}

/** With a pause after each: one may cost as much as a decision may. */
export function* runPolicyTestsSteps(
  document: PolicyDocument,
  policy: CompiledPolicy,
): Steps<PolicyProblem[]> {
  const runTest = (test: PolicyTest, index: number): PolicyProblem[] => {
    const { decision, rule, reason, message } = decide(policy, test.given);
    const { expect } = test;
    const wrong = [
      decision === expect.decision
        ? null
        : `decision ${expect.decision}, got ${decision} (${reason}: ${message})`,
      expect.rule === undefined || rule === expect.rule
        ? null
        : `rule ${expect.rule}, got ${rule ?? 'none'}`,
      expect.reason === undefined || reason === expect.reason
        ? null
        : `reason ${expect.reason}, got ${reason}`,
      expect.message === undefined || message === expect.message
        ? null
        : `message "${expect.message}", got "${message}"`,
    ].filter((line) => line !== null);
    if (wrong.length === 0) return [];
    return [
      {
        path: `/tests/${index}`,
        message: `test "${test.name}" expected ${wrong.join('; expected ')}: mend the rule, or what the test expects`,
      },
    ];
  };
  const problems: PolicyProblem[] = [];
  for (const [index, test] of (document.tests ?? []).entries()) {
    problems.push(...runTest(test, index));
    yield;
  }
  return problems;
}
