/** What each expression said that was asked for one decision, in the order of the document. */
import type {
  CompiledExpression,
  CompiledPolicy,
  CompiledRule,
  ExpressionContext,
} from '../../../shared/core/policy.ts';
import type { DecisionInput } from '../../../shared/wire/policy-document.ts';

export type ExpressionTrace = {
  readonly part: 'match' | 'permit';
  readonly index: number;
  readonly expression: string;
  /** `error`: it could not be computed for this request; then `problem` says why. */
  readonly value: 'true' | 'false' | 'error';
  readonly problem: string | null;
};

export type RuleTrace = {
  readonly rule: string;
  readonly position: number;
  /** The last rule that is traced decided, when all its `match` are true. */
  readonly expressions: readonly ExpressionTrace[];
};

/**
 * The rules for the action, up to the one that decided. All expressions of that one are shown, also
 * those that its decision did not need: who mends a test wants to see them.
 */
export function traceDecision(policy: CompiledPolicy, input: DecisionInput): RuleTrace[] {
  const roles = policy.principals.get(input.principal);
  if (roles === undefined) return [];
  const context: ExpressionContext = {
    principal: { id: input.principal, roles },
    action: input.action,
    resource: { id: input.resource?.id ?? '', attributes: input.resource?.attributes ?? {} },
    attributes: input.attributes ?? {},
  };
  const traces: RuleTrace[] = [];
  for (const rule of policy.rulesFor(input.action)) {
    const match = rule.match.map((expression, index) =>
      traceExpression(expression, { part: 'match', index, context }),
    );
    const isDeciding = match.every(({ value }) => value === 'true');
    traces.push(traceOf(rule, isDeciding ? [...match, ...permitTraces(rule, context)] : match));
    if (isDeciding || match.find(({ value }) => value !== 'true')?.value === 'error') break;
  }
  return traces;
}

function permitTraces(rule: CompiledRule, context: ExpressionContext): ExpressionTrace[] {
  return rule.permit.map(({ expression }, index) =>
    traceExpression(expression, { part: 'permit', index, context }),
  );
}

function traceOf(rule: CompiledRule, expressions: readonly ExpressionTrace[]): RuleTrace {
  return { rule: rule.name, position: rule.position, expressions };
}

function traceExpression(
  expression: CompiledExpression,
  at: { part: 'match' | 'permit'; index: number; context: ExpressionContext },
): ExpressionTrace {
  const { part, index, context } = at;
  const result = expression.evaluate(context);
  return {
    part,
    index,
    expression: expression.source,
    value: !result.ok ? 'error' : result.value ? 'true' : 'false',
    problem: result.ok ? null : result.problem,
  };
}
