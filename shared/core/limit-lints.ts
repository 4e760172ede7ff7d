/** Limits and approvals of one rule: what can never be used, or never be met. */
import { POLICY_DEFAULTS, type PolicyProblem } from './policy.ts';
import type { RuleAt } from './rule-lints.ts';
import { MINUTE_MS, formatDurationMs } from './time.ts';

/** Control lends parts of a quota for its window, one exchange with each host at a time. */
const FLEET_WINDOW_MIN_MS = MINUTE_MS;

export function lintLimits({ rule, at, terms: { limits } }: RuleAt): PolicyProblem[] {
  if (limits === null) return [];
  const path = `${at}/limits`;
  if (limits.rate === null && limits.concurrency === null && limits.quota === null) {
    if (rule.limits?.burst !== undefined) return [burstWithoutRate(path)];
    return [{ path, message: 'limits nothing: add rate, concurrency or quota, or remove limits' }];
  }
  const problems: PolicyProblem[] = [];
  if (limits.burst !== null && limits.rate === null) problems.push(burstWithoutRate(path));
  if (
    limits.scope === 'fleet' &&
    limits.quota !== null &&
    limits.quota.windowMs < FLEET_WINDOW_MIN_MS
  ) {
    const [window, least] = [limits.quota.windowMs, FLEET_WINDOW_MIN_MS].map(formatDurationMs);
    problems.push({
      path: `${path}/quota`,
      message: `a window of ${window} is over before control can lend its parts to the hosts: use a window of at least ${least}, a rate, or scope host`,
    });
  }
  return problems;
}

function burstWithoutRate(path: string): PolicyProblem {
  const message = 'burst says how much of a rate may come at once: add rate, or remove burst';
  return { path: `${path}/burst`, message };
}

export function warnOfLimits({ at, terms: { limits } }: RuleAt): PolicyProblem[] {
  if (limits === null) return [];
  const { rate, burst, quota, scope } = limits;
  const path = `${at}/limits`;
  const warnings: PolicyProblem[] = [];
  if (burst !== null && quota !== null && burst > quota.count) {
    warnings.push({
      path: `${path}/burst`,
      message: `burst ${burst} is more than the quota of ${quota.count} ever allows: lower the one or raise the other`,
    });
  }
  if (rate !== null && quota !== null) {
    const most = (rate.count * quota.windowMs) / rate.windowMs + (burst ?? 0);
    if (most < quota.count) {
      warnings.push({
        path: `${path}/quota`,
        message: `the rate allows at most ${Math.floor(most)} in a window of the quota, which allows ${quota.count}: lower the quota, or leave it out`,
      });
    }
  }
  if (scope !== 'fleet') return warnings;
  for (const [field, units] of [
    ['rate', rate?.count],
    ['concurrency', limits.concurrency],
    ['quota', quota?.count],
  ] as const) {
    if (units !== 1) continue;
    warnings.push({
      path: `${path}/${field}`,
      message: `a fleet ${field} of 1 cannot be divided: one host has it and all others refuse until it gives it back; use ownership with a lease, or more`,
    });
  }
  return warnings;
}

/** How many principals of the document have each role. */
export type RoleCounts = ReadonlyMap<string, number>;

export function lintApproval({ rule, at, terms }: RuleAt): PolicyProblem[] {
  const { approval } = terms;
  if (approval === null) return [];
  const problems: PolicyProblem[] = [];
  const place = rule.approval?.ttl === undefined ? `${at}/approval` : `${at}/approval/ttl`;
  if (approval.ttlMs === 0) {
    const usual = formatDurationMs(POLICY_DEFAULTS.approvalTtlMs);
    problems.push({
      path: place,
      message: `ttl must be longer than zero: say how long an approval may be waited for, as ${usual}`,
    });
  }
  if (approval.ttlMs > terms.maxDeadlineMs) {
    problems.push({
      path: place,
      message: `ttl ${formatDurationMs(approval.ttlMs)} is longer than maxDeadline ${formatDurationMs(terms.maxDeadlineMs)}, so the work would always end first: shorten ttl or lengthen maxDeadline`,
    });
  }
  return problems;
}

/** Approvers may be operators, whom the document does not name: a role without holders may be meant. */
export function warnOfApproval({ at, terms }: RuleAt, roles: RoleCounts): PolicyProblem[] {
  const { approval } = terms;
  if (approval === null) return [];
  const path = `${at}/approval`;
  const holders = roles.get(approval.role) ?? 0;
  if (holders === 0) {
    return [
      {
        path: `${path}/from`,
        message: `no principal of this document has the role ${approval.role}: where its approvers are no operators either, give it to ${approval.required} of /principals, or name another role`,
      },
    ];
  }
  if (holders >= approval.required) return [];
  const have =
    holders === 1 ? 'principal of this document has' : 'principals of this document have';
  return [
    {
      path: `${path}/required`,
      message: `needs ${approval.required} different approvers, and ${holders} ${have} the role ${approval.role}: where operators do not make up for it, give it to more, or require fewer`,
    },
  ];
}
