/** The arithmetic of one rule: what it says together must be able to work. */
import type { PolicyDocument, PolicyRule } from '../wire/policy-document.ts';
import { ruleTerms, type PolicyProblem, type RuleTerms } from './policy.ts';
import { formatDurationMs } from './time.ts';

export type RuleAt = {
  readonly rule: PolicyRule;
  /** `/rules/3`. */
  readonly at: string;
  readonly terms: RuleTerms;
  readonly defaults: NonNullable<PolicyDocument['defaults']>;
};

export function ruleAt(rule: PolicyRule, position: number, document: PolicyDocument): RuleAt {
  const terms = ruleTerms(rule, document.defaults);
  return { rule, at: `/rules/${position}`, terms, defaults: document.defaults ?? {} };
}

type Setting = keyof NonNullable<PolicyDocument['defaults']>;

/** Where the document says a setting of the rule; `null` where it is the built-in one. */
function placeOf({ rule, at, defaults }: RuleAt, setting: Setting): string | null {
  if (rule[setting] !== undefined) return `${at}/${setting}`;
  return defaults[setting] === undefined ? null : `/defaults/${setting}`;
}

/** The nearest of several places: a rule's own before the document's defaults. */
function nearestPlace(of: RuleAt, settings: readonly Setting[]): string {
  const places = settings.map((setting) => placeOf(of, setting)).filter((place) => place !== null);
  return places.find((place) => place.startsWith(of.at)) ?? places[0] ?? of.at;
}

export function lintRule(of: RuleAt): PolicyProblem[] {
  return [...lintTimes(of), ...lintOwnership(of), ...lintRecheck(of)];
}

const LONGER_THAN_ZERO: readonly [Setting, keyof RuleTerms, string][] = [
  ['deadline', 'deadlineMs', 'say how long the work may take, as 10m'],
  ['maxDeadline', 'maxDeadlineMs', 'say how long a request may ask for, as 1h'],
  [
    'maxStaleness',
    'maxStalenessMs',
    'say how old cached authority may be, as 15m, or use freshness: fresh',
  ],
  ['heartbeatTimeout', 'heartbeatTimeoutMs', 'say how long a worker may be silent, as 30s'],
];

function lintTimes(of: RuleAt): PolicyProblem[] {
  const { rule, at, terms } = of;
  const problems: PolicyProblem[] = [];
  for (const [setting, term, wayOut] of LONGER_THAN_ZERO) {
    if (terms[term] !== 0) continue;
    const path = placeOf(of, setting) ?? `${at}/${setting}`;
    problems.push({ path, message: `${setting} must be longer than zero: ${wayOut}` });
  }
  const longest = formatDurationMs(terms.maxDeadlineMs);
  if (terms.deadlineMs > terms.maxDeadlineMs) {
    problems.push({
      path: nearestPlace(of, ['deadline', 'maxDeadline']),
      message: `deadline ${formatDurationMs(terms.deadlineMs)} is longer than maxDeadline ${longest}: shorten the one or lengthen the other`,
    });
  }
  const heartbeatPlace = placeOf(of, 'heartbeatTimeout');
  if (heartbeatPlace !== null && terms.heartbeatTimeoutMs > terms.maxDeadlineMs) {
    problems.push({
      path: heartbeatPlace,
      message: `heartbeatTimeout ${formatDurationMs(terms.heartbeatTimeoutMs)} is longer than maxDeadline ${longest}, so a vanished worker would never be noticed: shorten it`,
    });
  }
  if (rule.freshness === 'fresh' && rule.maxStaleness !== undefined) {
    problems.push({
      path: `${at}/maxStaleness`,
      message:
        'a fresh rule rests on no cached authority: remove maxStaleness, or use freshness bounded',
    });
  }
  return problems;
}

const CONTEXT_ROOTS = new Set(['principal', 'action', 'resource', 'attributes']);

function lintOwnership({ rule: { ownership }, at, terms }: RuleAt): PolicyProblem[] {
  if (ownership === undefined) return [];
  const problems: PolicyProblem[] = [];
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

function lintRecheck({ rule: { recheck }, at, terms }: RuleAt): PolicyProblem[] {
  if (recheck === undefined || Object.keys(terms.effects).length > 0) return [];
  const message =
    'control is asked again before each effect begins, and the rule declares none: declare its effects, or remove recheck';
  return [{ path: `${at}/recheck`, message }];
}

/** What works, and perhaps is not what was meant. */
export function warnOfRule(of: RuleAt): PolicyProblem[] {
  const { rule, at, terms } = of;
  const warnings: PolicyProblem[] = [];
  const deadline = formatDurationMs(terms.deadlineMs);
  const { heartbeatTimeoutMs, approval } = terms;
  if (heartbeatTimeoutMs > terms.deadlineMs && heartbeatTimeoutMs <= terms.maxDeadlineMs) {
    const silence = formatDurationMs(heartbeatTimeoutMs);
    warnings.push({
      path: nearestPlace(of, ['heartbeatTimeout', 'deadline']),
      message: `heartbeatTimeout ${silence} is longer than deadline ${deadline}: work that asks for no longer deadline ends before its vanished worker is noticed; shorten heartbeatTimeout`,
    });
  }
  if (approval !== null && approval.ttlMs > terms.deadlineMs) {
    warnings.push({
      path: rule.approval?.ttl === undefined ? `${at}/approval` : `${at}/approval/ttl`,
      message: `ttl ${formatDurationMs(approval.ttlMs)} is longer than deadline ${deadline}: work that asks for no longer deadline ends before its approval does; lengthen deadline or shorten ttl`,
    });
  }
  if (rule.ownership?.mode === 'fenced' && (terms.ownership?.graceMs ?? 0) === 0) {
    warnings.push({
      path: `${at}/ownership`,
      message:
        'fenced ownership without grace stops with its lease, as strict does: add grace, as 2m, or use mode strict',
    });
  }
  return warnings;
}
