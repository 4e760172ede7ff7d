/**
 * Policy compiled for deciding. Pure: the same document and input give the same decision on
 * control, on the sidecar and in the CLI.
 *
 * P1  A rule's settings are its own, else the document's defaults, else `POLICY_DEFAULTS`.
 * P2  The first rule in document order whose actions and `match` fit decides; there is no
 *     fall-through after a `permit` that is false. No rule: refused with `no_rule`.
 * P3  An expression that fails while it runs refuses (`rule_error`); it never permits, whatever the
 *     rule's `enforcement` says.
 * P4  Cost does not grow with rules for other actions: exact actions are indexed.
 * P5  A variable is computed at most once in a decision, when an expression first comes to it. One
 *     that fails makes every expression that comes to it fail, so it refuses (P3).
 * P6  There is one evaluation: a trace is this one, watched.
 */
import type {
  DecisionInput,
  FencingStrength,
  PolicyDocument,
  PolicyRule,
} from '../wire/policy-document.ts';
import type { OwnershipMode } from './lease.ts';
import { onUnknownTerms, type OnUnknown } from './on-unknown.ts';
import { fillLeaseTemplate, parseLeaseTemplate, type LeaseTemplate } from './lease-template.ts';
import { finish, type Steps } from './steps.ts';
import { parseRate, type Rate } from './rate.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS, parseDurationMs } from './time.ts';

export type FreshnessClass = 'fresh' | 'bounded';
export type OnControlLoss = 'finish' | 'pause' | 'abort';
export type OnWorkerLoss = 'retry' | 'unknown' | 'fail';
export type OnRevoke = 'abort' | 'finish' | 'pause';

export const POLICY_DEFAULTS = {
  freshness: 'bounded' as FreshnessClass,
  maxStalenessMs: 15 * MINUTE_MS,
  deadlineMs: 10 * MINUTE_MS,
  maxDeadlineMs: HOUR_MS,
  onControlLoss: 'finish' as OnControlLoss,
  /** Not knowing what a vanished worker did is the truth, so it is the default. */
  onWorkerLoss: 'unknown' as OnWorkerLoss,
  onRevoke: 'abort' as OnRevoke,
  heartbeatTimeoutMs: 30 * SECOND_MS,
  approvalTtlMs: 30 * MINUTE_MS,
} as const;

export type Evaluation =
  | { readonly ok: true; readonly value: boolean }
  | { readonly ok: false; readonly problem: string };

export type CompiledExpression = {
  readonly source: string;
  /** As the language names it. */
  readonly type: string;
  /** What it gives for every request, where that is known. */
  readonly constant: boolean | null;
  /** The variables it names itself, not those that these name. */
  readonly uses: readonly string[];
  /** `ok: false` when it failed at run time or gave something other than a bool. */
  evaluate(context: ExpressionContext): Evaluation;
  /** Of a variable: what it gave in the latest decision; `null` where that did not come to it. */
  shownIn(context: ExpressionContext): ShownValue | null;
};

/** A value as JSON text, cut where it is long. */
export type ShownValue =
  | { readonly ok: true; readonly text: string; readonly isCut: boolean }
  | { readonly ok: false; readonly problem: string };

export type CompiledVariable = { readonly name: string; readonly expression: CompiledExpression };

export type ExpressionContext = {
  readonly principal: { readonly id: string; readonly roles: readonly string[] };
  readonly action: string;
  readonly resource: {
    readonly id: string;
    readonly attributes: Readonly<Record<string, unknown>>;
  };
  readonly attributes: Readonly<Record<string, unknown>>;
};

/** The port to the expression language; its adapter is in `shared/platform/cel.ts`. */
export type ExpressionCompiler = (
  source: string,
  scope?: ExpressionScope,
) =>
  | { readonly ok: true; readonly expression: CompiledExpression }
  | { readonly ok: false; readonly problem: string };

export type ExpressionScope = {
  /** What it may name as `variables.NAME`, each as this compiler gave it. */
  readonly variables: readonly CompiledVariable[];
  /** Names that the document has and that cannot be used here, each with the reason and way out. */
  readonly unusable: ReadonlyMap<string, string>;
  /** A condition gives a bool; a variable gives anything. */
  readonly gives: 'bool' | 'any';
};

export type EffectTerms = { readonly idempotent: boolean; readonly fencing: FencingStrength };

export type LimitTerms = {
  readonly rate: Rate | null;
  readonly burst: number | null;
  readonly concurrency: number | null;
  readonly quota: Rate | null;
  readonly per: 'rule' | 'principal' | 'action' | 'resource';
  readonly scope: 'host' | 'fleet';
};

export type ApprovalTerms = {
  readonly required: number;
  readonly role: string;
  readonly ttlMs: number;
  readonly onControlLoss: 'wait' | 'fail';
  readonly showPayload: boolean;
};

/**
 * What a rule says about work it accepts: written into the operation, so later revisions do not
 * change it.
 */
export type RuleTerms = {
  readonly freshness: FreshnessClass;
  readonly maxStalenessMs: number;
  readonly deadlineMs: number;
  readonly maxDeadlineMs: number;
  readonly onControlLoss: OnControlLoss;
  readonly onWorkerLoss: OnWorkerLoss;
  readonly onRevoke: OnRevoke;
  readonly onUnknown: OnUnknown;
  readonly recheck: 'commit' | null;
  readonly limits: LimitTerms | null;
  readonly approval: ApprovalTerms | null;
  readonly heartbeatTimeoutMs: number;
  readonly ownership: {
    readonly lease: string;
    readonly mode: OwnershipMode;
    readonly graceMs: number;
  } | null;
  readonly effects: Readonly<Record<string, EffectTerms>>;
};

export type CompiledRule = {
  readonly name: string;
  readonly position: number;
  /** As the document has it. */
  readonly source: PolicyRule;
  readonly actions: readonly string[];
  readonly match: readonly CompiledExpression[];
  readonly permit: readonly {
    readonly expression: CompiledExpression;
    readonly message: string | null;
  }[];
  readonly enforcement: 'audit' | 'warn' | 'deny';
  readonly terms: RuleTerms;
  /** Of `terms.ownership`, taken apart. */
  readonly lease: LeaseTemplate | null;
};

export type CompiledPolicy = {
  readonly principals: ReadonlyMap<string, readonly string[]>;
  readonly defaults: PolicyDocument['defaults'];
  readonly variables: readonly CompiledVariable[];
  readonly rules: readonly CompiledRule[];
  rulesFor(action: string): readonly CompiledRule[];
};

export type PolicyProblem = { readonly path: string; readonly message: string };

export type CompileResult =
  | { readonly ok: true; readonly policy: CompiledPolicy }
  | { readonly ok: false; readonly problems: readonly PolicyProblem[] };

function durationOr(text: string | undefined, fallbackMs: number): number {
  return (text === undefined ? null : parseDurationMs(text)) ?? fallbackMs;
}

function limitTerms(limits: PolicyRule['limits']): LimitTerms | null {
  if (limits === undefined) return null;
  return {
    rate: limits.rate === undefined ? null : parseRate(limits.rate),
    burst: limits.burst ?? null,
    concurrency: limits.concurrency ?? null,
    quota: limits.quota === undefined ? null : parseRate(limits.quota),
    per: limits.per ?? 'rule',
    scope: limits.scope ?? 'host',
  };
}

function approvalTerms(approval: PolicyRule['approval']): ApprovalTerms | null {
  if (approval === undefined) return null;
  return {
    required: approval.required,
    role: approval.from.slice('role:'.length),
    ttlMs: durationOr(approval.ttl, POLICY_DEFAULTS.approvalTtlMs),
    onControlLoss: approval.onControlLoss ?? 'wait',
    showPayload: approval.showPayload ?? false,
  };
}

/** P1. */
export function ruleTerms(rule: PolicyRule, defaults: PolicyDocument['defaults']): RuleTerms {
  const merged = { ...defaults, ...rule };
  const effects: Record<string, EffectTerms> = {};
  for (const [effect, terms] of Object.entries(rule.effects ?? {})) {
    effects[effect] = { idempotent: terms.idempotent ?? false, fencing: terms.fencing ?? 'none' };
  }
  return {
    freshness: merged.freshness ?? POLICY_DEFAULTS.freshness,
    maxStalenessMs: durationOr(merged.maxStaleness, POLICY_DEFAULTS.maxStalenessMs),
    deadlineMs: durationOr(merged.deadline, POLICY_DEFAULTS.deadlineMs),
    maxDeadlineMs: durationOr(merged.maxDeadline, POLICY_DEFAULTS.maxDeadlineMs),
    onControlLoss: merged.onControlLoss ?? POLICY_DEFAULTS.onControlLoss,
    onWorkerLoss: merged.onWorkerLoss ?? POLICY_DEFAULTS.onWorkerLoss,
    onRevoke: merged.onRevoke ?? POLICY_DEFAULTS.onRevoke,
    onUnknown: onUnknownTerms(rule.onUnknown),
    recheck: rule.recheck ?? null,
    limits: limitTerms(rule.limits),
    approval: approvalTerms(rule.approval),
    heartbeatTimeoutMs: durationOr(merged.heartbeatTimeout, POLICY_DEFAULTS.heartbeatTimeoutMs),
    ownership: rule.ownership
      ? {
          lease: rule.ownership.lease,
          mode: rule.ownership.mode,
          graceMs: durationOr(rule.ownership.grace, 0),
        }
      : null,
    effects,
  };
}

/** Each has up to 32 expressions. */
const RULES_BETWEEN_PAUSES = 8;

/** Compiles every expression; all problems are returned, each with its JSON Pointer. */
export function compilePolicy(
  document: PolicyDocument,
  compile: ExpressionCompiler,
): CompileResult {
  return finish(compilePolicySteps(document, compile));
}

/** With a pause after each few rules. */
export function* compilePolicySteps(
  document: PolicyDocument,
  compile: ExpressionCompiler,
): Steps<CompileResult> {
  const problems: PolicyProblem[] = [];
  const { variables, unusable } = compileVariables(document, compile, problems);
  const scope: ExpressionScope = { variables, unusable, gives: 'bool' };
  const compileAt = (path: string, source: string): CompiledExpression | null => {
    const result = compile(source, scope);
    if (result.ok) return result.expression;
    problems.push({ path, message: result.problem });
    return null;
  };
  const compileRule = (rule: PolicyRule, position: number): CompiledRule => {
    const at = `/rules/${position}`;
    const match = (rule.match ?? []).map((item, index) =>
      compileAt(`${at}/match/${index}/expression`, item.expression),
    );
    const permit = rule.permit.map((item, index) => ({
      expression: compileAt(`${at}/permit/${index}/expression`, item.expression),
      message: item.message ?? null,
    }));
    return {
      name: rule.name,
      position,
      source: rule,
      actions: rule.actions,
      match: match.filter((expression) => expression !== null),
      permit: permit.flatMap(({ expression, message }) =>
        expression === null ? [] : [{ expression, message }],
      ),
      enforcement: rule.enforcement ?? 'deny',
      terms: ruleTerms(rule, document.defaults),
      lease: rule.ownership ? parseLeaseTemplate(rule.ownership.lease) : null,
    };
  };
  const rules: CompiledRule[] = [];
  for (const rule of document.rules) {
    rules.push(compileRule(rule, rules.length));
    if (rules.length % RULES_BETWEEN_PAUSES === 0) yield;
  }
  if (problems.length > 0) return { ok: false, problems };
  const principals = new Map(
    Object.entries(document.principals).map(([id, { roles }]) => [id, roles]),
  );
  const { defaults } = document;
  const rulesFor = indexByAction(rules);
  return { ok: true, policy: { principals, defaults, variables, rules, rulesFor } };
}

/** In document order: each may use those before it, so there are no cycles. */
function compileVariables(
  document: PolicyDocument,
  compile: ExpressionCompiler,
  problems: PolicyProblem[],
): Pick<ExpressionScope, 'variables' | 'unusable'> {
  const declared = document.variables ?? [];
  const variables: CompiledVariable[] = [];
  const unusable = new Map(
    declared.map(({ name }, index) => [
      name,
      `variables.${name} is declared at /variables/${index}, not before this: move it up`,
    ]),
  );
  declared.forEach(({ name, expression: source }, index) => {
    const scope = { variables: [...variables], unusable: new Map(unusable), gives: 'any' } as const;
    const compiled = compile(source, scope);
    if (compiled.ok) {
      variables.push({ name, expression: compiled.expression });
      unusable.delete(name);
      return;
    }
    const place = `/variables/${index}`;
    problems.push({ path: `${place}/expression`, message: compiled.problem });
    unusable.set(name, `variables.${name} does not compile itself: mend ${place} first`);
  });
  return { variables, unusable };
}

/**
 * P4. Rules are found by the pattern that would fit, so wildcards cost no more than exact actions:
 * `a.b.c` is looked up as itself, `*`, `a.*` and `a.b.*`, and what is found is put in document
 * order.
 */
function indexByAction(
  rules: readonly CompiledRule[],
): (action: string) => readonly CompiledRule[] {
  const exact = new Map<string, CompiledRule[]>();
  const wildcards = new Map<string, CompiledRule[]>();
  for (const rule of rules) {
    for (const pattern of rule.actions) {
      const index = pattern === '*' || pattern.endsWith('.*') ? wildcards : exact;
      const sharing = index.get(pattern);
      if (sharing === undefined) index.set(pattern, [rule]);
      else sharing.push(rule);
    }
  }
  return (action) => {
    const named = exact.get(action) ?? [];
    if (wildcards.size === 0) return named;
    const patterns = ['*'];
    for (let dot = action.indexOf('.'); dot !== -1; dot = action.indexOf('.', dot + 1)) {
      patterns.push(`${action.slice(0, dot)}.*`);
    }
    const fitting = patterns.flatMap((pattern) => wildcards.get(pattern) ?? []);
    if (fitting.length === 0) return named;
    return [...new Set([...named, ...fitting])].toSorted((a, b) => a.position - b.position);
  };
}

/** Reasons in order of precedence. */
export const DECISION_REASONS = [
  'unknown_principal',
  'no_rule',
  'rule_error',
  'denied',
  'permitted',
] as const;
export type DecisionReason = (typeof DECISION_REASONS)[number];

export type Decision = {
  readonly decision: 'permit' | 'deny';
  readonly reason: DecisionReason;
  readonly rule: string | null;
  readonly message: string;
  /** A rule under `warn` or `audit` would have refused. */
  readonly warnings: readonly string[];
  readonly terms: RuleTerms | null;
  /** The lease this request needs, its template filled; `null` where the rule asks for none. */
  readonly leaseResource: string | null;
};

/** Told of each step of a decision as it is made (P6). */
export type DecisionWatcher = {
  begins(context: ExpressionContext): void;
  evaluated(rule: CompiledRule, part: 'match' | 'permit', index: number, result: Evaluation): void;
};

export function decide(
  policy: CompiledPolicy,
  input: DecisionInput,
  watcher: DecisionWatcher | null = null,
): Decision {
  const roles = policy.principals.get(input.principal);
  if (roles === undefined) {
    return refusal('unknown_principal', null, `principal ${input.principal} is not in the policy`);
  }
  const context: ExpressionContext = {
    principal: { id: input.principal, roles },
    action: input.action,
    resource: { id: input.resource?.id ?? '', attributes: input.resource?.attributes ?? {} },
    attributes: input.attributes ?? {},
  };
  watcher?.begins(context);
  for (const rule of policy.rulesFor(input.action)) {
    const fits = matches(rule, context, watcher);
    if (!fits.ok)
      return refusal('rule_error', rule, `match of rule ${rule.name} failed: ${fits.problem}`);
    if (fits.value) return decideByRule(rule, context, watcher);
  }
  return refusal('no_rule', null, `no rule of the policy matches action ${input.action}`);
}

function decideByRule(
  rule: CompiledRule,
  context: ExpressionContext,
  watcher: DecisionWatcher | null,
): Decision {
  let failed: string | null = null;
  let index = 0;
  for (const { expression, message } of rule.permit) {
    const result = expression.evaluate(context);
    watcher?.evaluated(rule, 'permit', index, result);
    index += 1;
    if (!result.ok)
      return refusal('rule_error', rule, `permit of rule ${rule.name} failed: ${result.problem}`);
    if (!result.value) {
      failed = message ?? `${expression.source} is false`;
      break;
    }
  }
  if (failed !== null && rule.enforcement === 'deny') return refusal('denied', rule, failed);
  const lease = fillLeaseTemplate(rule.lease, context);
  if (!lease.ok) return refusal('rule_error', rule, `lease of rule ${rule.name}: ${lease.problem}`);
  return {
    decision: 'permit',
    reason: 'permitted',
    rule: rule.name,
    message: failed ?? '',
    warnings: failed === null ? [] : [`${rule.enforcement}: ${failed}`],
    terms: rule.terms,
    leaseResource: lease.resource,
  };
}

function refusal(reason: DecisionReason, rule: CompiledRule | null, message: string): Decision {
  return {
    decision: 'deny',
    reason,
    rule: rule?.name ?? null,
    message,
    warnings: [],
    terms: rule?.terms ?? null,
    leaseResource: null,
  };
}

function matches(
  rule: CompiledRule,
  context: ExpressionContext,
  watcher: DecisionWatcher | null,
): Evaluation {
  let index = 0;
  for (const expression of rule.match) {
    const result = expression.evaluate(context);
    watcher?.evaluated(rule, 'match', index, result);
    index += 1;
    if (!result.ok || !result.value) return result;
  }
  return { ok: true, value: true };
}
