/**
 * What a policy must satisfy beyond its schema before it can have a revision number: names that
 * differ, arithmetic that can work, rules that can be reached, and its own tests. Every problem has
 * the JSON Pointer of its place and says the way out.
 */
import type { PolicyDocument, PolicyRule } from '../wire/policy-document.ts';
import { decide, ruleTerms, type CompiledPolicy, type PolicyProblem } from './policy.ts';
import { finish, type Steps } from './steps.ts';
import { formatDurationMs } from './time.ts';

type PolicyTest = NonNullable<PolicyDocument['tests']>[number];

const RULES_BETWEEN_PAUSES = 32;
const CONTEXT_ROOTS = new Set(['principal', 'action', 'resource', 'attributes']);

export function lintPolicy(document: PolicyDocument): PolicyProblem[] {
  return finish(lintPolicySteps(document));
}

/** With a pause after each few rules. */
export function* lintPolicySteps(document: PolicyDocument): Steps<PolicyProblem[]> {
  const problems: PolicyProblem[] = [];
  const seen = new Map<string, number>();
  const shadows = new Shadows();
  for (const [position, rule] of document.rules.entries()) {
    if (position % RULES_BETWEEN_PAUSES === 0) yield;
    const at = `/rules/${position}`;
    const first = seen.get(rule.name);
    if (first !== undefined) {
      problems.push({
        path: `${at}/name`,
        message: `rule name ${rule.name} is already used by /rules/${first}: rename one`,
      });
    }
    seen.set(rule.name, first ?? position);
    problems.push(...lintRule(rule, at, document), ...shadows.next(rule, position));
  }
  const testNames = new Set<string>();
  (document.tests ?? []).forEach((test, index) => {
    if (testNames.has(test.name))
      problems.push({
        path: `/tests/${index}/name`,
        message: `test name "${test.name}" is used twice`,
      });
    testNames.add(test.name);
  });
  return problems;
}

function lintRule(rule: PolicyRule, at: string, document: PolicyDocument): PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  const terms = ruleTerms(rule, document.defaults);
  if (terms.deadlineMs > terms.maxDeadlineMs) {
    problems.push({
      path: `${at}/deadline`,
      message: `deadline ${formatDurationMs(terms.deadlineMs)} is longer than maxDeadline ${formatDurationMs(terms.maxDeadlineMs)}: shorten the one or lengthen the other`,
    });
  }
  for (const [field, valueMs] of Object.entries({
    deadline: terms.deadlineMs,
    maxStaleness: terms.maxStalenessMs,
    heartbeatTimeout: terms.heartbeatTimeoutMs,
  })) {
    if (valueMs <= 0)
      problems.push({ path: `${at}/${field}`, message: `${field} must be longer than zero` });
  }
  if (rule.freshness === 'fresh' && rule.maxStaleness !== undefined) {
    problems.push({
      path: `${at}/maxStaleness`,
      message:
        'a fresh rule rests on no cached authority: remove maxStaleness, or use freshness bounded',
    });
  }
  const { ownership } = rule;
  if (ownership === undefined) return problems;
  if (ownership.mode === 'strict' && ownership.grace !== undefined) {
    problems.push({
      path: `${at}/ownership/grace`,
      message: 'strict ownership stops when the lease ends: remove grace, or use mode fenced',
    });
  }
  if (ownership.mode === 'fenced') {
    const effects = Object.entries(terms.effects);
    if (effects.length === 0) {
      problems.push({
        path: `${at}/effects`,
        message: 'fenced ownership needs its effects declared, each with fencing: enforced',
      });
    }
    for (const [effect, { fencing }] of effects) {
      if (fencing !== 'enforced') {
        problems.push({
          path: `${at}/effects/${effect}/fencing`,
          message: `fencing is ${fencing}: work may outlive its lease only where the target compares tokens; say enforced, or use mode strict`,
        });
      }
    }
  }
  for (const [, path] of ownership.lease.matchAll(/\{([^}]*)\}/g)) {
    if (!CONTEXT_ROOTS.has(path?.split('.')[0] ?? '')) {
      problems.push({
        path: `${at}/ownership/lease`,
        message: `{${path}} must begin with principal, action, resource or attributes`,
      });
    }
  }
  return problems;
}

/**
 * Rules that no request can reach because earlier ones without `match` take all their actions. Each
 * pattern remembers the first such rule, so one pass finds them all.
 */
class Shadows {
  /** Exact actions, `prefix.*` and `*`, each with the first rule that takes it. */
  readonly #taken = new Map<string, { readonly position: number; readonly name: string }>();

  /** The problem of a rule, given those before it; call it in document order. */
  next(rule: PolicyRule, position: number): PolicyProblem[] {
    const shadows = rule.actions.map((pattern) => this.#first(pattern));
    if ((rule.match ?? []).length === 0) {
      for (const pattern of rule.actions) {
        if (!this.#taken.has(pattern)) this.#taken.set(pattern, { position, name: rule.name });
      }
    }
    if (!shadows.every((found) => found !== undefined)) return [];
    return [
      {
        path: `/rules/${position}`,
        message: `rule ${rule.name} can never be reached: rule ${shadows[0]?.name} comes first and takes the same actions; reorder them or give the first a match`,
      },
    ];
  }

  #first(pattern: string): { readonly position: number; readonly name: string } | undefined {
    let first = this.#taken.get('*');
    const consider = (taken: string): void => {
      const found = this.#taken.get(taken);
      if (found !== undefined && (first === undefined || found.position < first.position)) {
        first = found;
      }
    };
    consider(pattern);
    for (let dot = pattern.indexOf('.'); dot !== -1; dot = pattern.indexOf('.', dot + 1)) {
      consider(`${pattern.slice(0, dot)}.*`);
    }
    return first;
  }
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
    const wrong = [
      decision === test.expect.decision
        ? null
        : `decision ${test.expect.decision}, got ${decision} (${reason}: ${message})`,
      test.expect.rule === undefined || rule === test.expect.rule
        ? null
        : `rule ${test.expect.rule}, got ${rule ?? 'none'}`,
      test.expect.reason === undefined || reason === test.expect.reason
        ? null
        : `reason ${test.expect.reason}, got ${reason}`,
    ].filter((line) => line !== null);
    if (wrong.length === 0) return [];
    return [
      {
        path: `/tests/${index}`,
        message: `test "${test.name}" expected ${wrong.join('; expected ')}`,
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
