/**
 * A decision together with how it came about. Pure: control, the sidecar and the command line give
 * the same trace for the same document and input.
 *
 * T1  The decision is that of `decide`, made by it and watched (P6): nothing is evaluated for the
 *     trace alone, so a trace costs a decision and cannot differ from it.
 * T2  The trace is bounded by the document: each rule at most once, the values of variables cut.
 */
import type { DecisionInput, PolicyRule } from '../wire/policy-document.ts';
import type {
  DecisionTrace,
  ExpressionTrace,
  RuleTrace,
  TermTrace,
  VariableTrace,
} from '../wire/decision-trace.ts';
import {
  decide,
  type CompiledPolicy,
  type CompiledRule,
  type CompiledVariable,
  type Decision,
  type Evaluation,
  type ExpressionContext,
  type RuleTerms,
} from './policy.ts';

export type ExplainedDecision = { readonly decision: Decision; readonly trace: DecisionTrace };

type Watched = { readonly match: Evaluation[]; readonly permit: Evaluation[] };

export function explainDecision(policy: CompiledPolicy, input: DecisionInput): ExplainedDecision {
  const watched = new Map<CompiledRule, Watched>();
  let context: ExpressionContext | null = null;
  const decision = decide(policy, input, {
    begins: (of) => {
      context = of;
    },
    evaluated: (rule, part, _index, result) => {
      let results = watched.get(rule);
      if (results === undefined) watched.set(rule, (results = { match: [], permit: [] }));
      results[part].push(result);
    },
  });
  const { reason, rule, message, warnings, leaseResource } = decision;
  const considered = [...watched.keys()];
  const deciding = rule === null ? undefined : considered.at(-1);
  const trace: DecisionTrace = {
    decision: decision.decision,
    reason,
    rule,
    message,
    warnings: [...warnings],
    leaseResource,
    roles: rolesOf(policy, input.principal),
    rules: [...watched].map(([of, results]) => ruleTrace(of, results, of === deciding)),
    rulesNotReached:
      context === null ? 0 : policy.rulesFor(input.action).length - considered.length,
    variables: context === null ? [] : policy.variables.flatMap(variableTrace(context)),
    terms: deciding === undefined ? [] : termTraces(deciding, policy.defaults),
  };
  return { decision, trace };
}

function rolesOf(policy: CompiledPolicy, principal: string): string[] | null {
  const roles = policy.principals.get(principal);
  return roles === undefined ? null : [...roles];
}

function ruleTrace(rule: CompiledRule, results: Watched, isDeciding: boolean): RuleTrace {
  return {
    rule: rule.name,
    path: `/rules/${rule.position}`,
    outcome: isDeciding ? 'decided' : 'not_matched',
    enforcement: rule.enforcement,
    match: rule.match.map(({ source }, index) =>
      expressionTrace(source, results.match[index], null),
    ),
    permit: rule.permit.map(({ expression, message }, index) =>
      expressionTrace(expression.source, results.permit[index], message),
    ),
  };
}

function expressionTrace(
  expression: string,
  result: Evaluation | undefined,
  whenFalse: string | null,
): ExpressionTrace {
  if (result === undefined) return { expression, outcome: 'skipped', message: null };
  if (!result.ok) return { expression, outcome: 'failed', message: result.problem };
  if (result.value) return { expression, outcome: 'true', message: null };
  return { expression, outcome: 'false', message: whenFalse };
}

function variableTrace(context: ExpressionContext): (of: CompiledVariable) => VariableTrace[] {
  return ({ name, expression }) => {
    const shown = expression.shownIn(context);
    if (shown === null) return [];
    const { source } = expression;
    const own = { name, expression: source };
    return shown.ok
      ? [{ ...own, outcome: 'value', value: shown.text, isCut: shown.isCut, message: null }]
      : [{ ...own, outcome: 'failed', value: null, isCut: false, message: shown.problem }];
  };
}

/** The field of the document that says each term. */
const SAID_BY: Readonly<Record<keyof RuleTerms, keyof PolicyRule>> = {
  freshness: 'freshness',
  maxStalenessMs: 'maxStaleness',
  deadlineMs: 'deadline',
  maxDeadlineMs: 'maxDeadline',
  onControlLoss: 'onControlLoss',
  onWorkerLoss: 'onWorkerLoss',
  onRevoke: 'onRevoke',
  onUnknown: 'onUnknown',
  recheck: 'recheck',
  limits: 'limits',
  approval: 'approval',
  heartbeatTimeoutMs: 'heartbeatTimeout',
  ownership: 'ownership',
  effects: 'effects',
};

function termTraces(rule: CompiledRule, defaults: CompiledPolicy['defaults']): TermTrace[] {
  return (Object.keys(SAID_BY) as (keyof RuleTerms)[]).map((term) => ({
    term,
    value: rule.terms[term],
    source: sourceOf(SAID_BY[term], rule.source, defaults ?? {}),
  }));
}

function sourceOf(
  field: keyof PolicyRule,
  rule: PolicyRule,
  defaults: Readonly<Record<string, unknown>>,
): TermTrace['source'] {
  if (rule[field] !== undefined) return 'rule';
  return defaults[field] === undefined ? 'built-in' : 'defaults';
}
