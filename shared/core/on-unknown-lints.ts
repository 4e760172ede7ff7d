/** Whether what a rule says of unknown outcomes can work. */
import type { PolicyDocument, PolicyRule } from '../wire/policy-document.ts';
import type { PolicyProblem } from './policy.ts';
import type { RuleAt } from './rule-lints.ts';
import { MINUTE_MS, SECOND_MS, formatDurationMs } from './time.ts';

const INTERVAL_MS_MIN = SECOND_MS;
const TIMEOUT_MS_MIN = 100;
const TIMEOUT_MS_MAX = 30 * SECOND_MS;
const INTERVAL_MS_MAX = 24 * 60 * MINUTE_MS;

type Said = NonNullable<PolicyRule['onUnknown']>;

export function lintOnUnknown(of: RuleAt, { rules }: PolicyDocument): PolicyProblem[] {
  const said = of.rule.onUnknown;
  if (said === undefined) return [];
  const at = `${of.at}/onUnknown`;
  return [
    ...lintSections(said, at),
    ...lintTries(of, at),
    ...(said.strategy === 'retry' ? lintRetry(of, at) : []),
    ...(said.strategy === 'compensate' ? lintCompensation(said, at, rules) : []),
  ];
}

/** A section without its strategy would be read by nobody. */
function lintSections(said: Said, at: string): PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  for (const section of ['probe', 'compensate'] as const) {
    if (said.strategy === section && said[section] === undefined) {
      const wayOut =
        section === 'probe'
          ? 'say what to ask, as probe: { url: http://127.0.0.1:8080/verify }'
          : 'say what undoes it, as compensate: { action: payments.refund }';
      problems.push({
        path: `${at}/${section}`,
        message: `strategy ${section} needs it: ${wayOut}`,
      });
    }
    if (said.strategy !== section && said[section] !== undefined) {
      const message = `means nothing under strategy ${said.strategy}: remove it, or say strategy: ${section}`;
      problems.push({ path: `${at}/${section}`, message });
    }
  }
  if (said.strategy !== 'human') return problems;
  for (const field of ['interval', 'attempts'] as const) {
    if (said[field] === undefined) continue;
    const message = 'means nothing under strategy human: remove it, or say another strategy';
    problems.push({ path: `${at}/${field}`, message });
  }
  return problems;
}

function lintTries({ terms: { onUnknown } }: RuleAt, at: string): PolicyProblem[] {
  if (onUnknown.strategy === 'human') return [];
  const problems: PolicyProblem[] = [];
  const within = (field: string, ms: number, [min, max]: readonly [number, number]): void => {
    if (ms >= min && ms <= max) return;
    const bounds = `${formatDurationMs(min)} to ${formatDurationMs(max)}`;
    problems.push({
      path: `${at}/${field}`,
      message: `${formatDurationMs(ms)} is outside ${bounds}`,
    });
  };
  within('interval', onUnknown.intervalMs, [INTERVAL_MS_MIN, INTERVAL_MS_MAX]);
  if (onUnknown.strategy === 'probe')
    within('probe/timeout', onUnknown.timeoutMs, [TIMEOUT_MS_MIN, TIMEOUT_MS_MAX]);
  return problems;
}

/** I9: what may have been done is done again only where that changes nothing. */
function lintRetry({ at: rule, terms }: RuleAt, at: string): PolicyProblem[] {
  const effects = Object.entries(terms.effects);
  if (effects.length === 0) {
    const message =
      'retry runs the work again, and the rule declares no effects, so nobody knows whether that is safe: declare them, each idempotent';
    return [{ path: `${at}/strategy`, message }];
  }
  return effects.flatMap(([effect, { idempotent }]) => {
    if (idempotent) return [];
    const message = `retry runs ${effect} again, and it is not idempotent: say idempotent: true where that is so, or use strategy probe, compensate or human`;
    return [{ path: `${rule}/effects/${effect}/idempotent`, message }];
  });
}

function lintCompensation(
  { compensate }: Said,
  at: string,
  rules: PolicyDocument['rules'],
): PolicyProblem[] {
  const action = compensate?.action;
  if (action === undefined) return [];
  const path = `${at}/compensate/action`;
  const first = rules.filter(({ actions }) => actions.some((pattern) => isFor(pattern, action)));
  if (first.length === 0) {
    const message = `no rule is for action ${action}, so it would never be admitted: add one`;
    return [{ path, message }];
  }
  const chained = first.find(({ onUnknown }) => onUnknown?.strategy === 'compensate');
  if (chained === undefined) return [];
  const message = `rule ${chained.name} for ${action} says strategy: compensate itself, and a compensation is not compensated: give it another strategy`;
  return [{ path, message }];
}

function isFor(pattern: string, action: string): boolean {
  if (pattern === '*' || pattern === action) return true;
  return pattern.endsWith('.*') && action.startsWith(pattern.slice(0, -1));
}
