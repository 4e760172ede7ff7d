/**
 * How much was admitted, counted again from the journals, held against the limits of each rule (I3).
 *
 * A1  Of a host's concurrency: never more that have not ended than the rule allows.
 * A2  Of a host's quota: in no window, as the same arithmetic makes them, more than the rule allows.
 * A3  Of a fleet's quota: in any stretch of one window's length at most two windows' worth.
 *     Of its concurrency: never more that are known to be under way on all hosts at one moment.
 */
import { SETTLED_STATES } from '../../../dataplane/core/operation-record.ts';
import type { LimitTerms } from '../../../shared/core/policy.ts';
import { windowAt, type QuotaWindow } from '../../../shared/core/quota-window.ts';
import type { OperationState } from '../../../shared/wire/operation.ts';
import { decidedIn, nameOf, seqsOf, type Decided } from './decided.ts';
import type { Findings } from './findings.ts';
import type { JournalLife } from './journal-life.ts';
import { faultsDuring, type World } from './world.ts';
import { CONTROL } from '../history.ts';

type Limited = { readonly decided: Decided; readonly limits: LimitTerms; readonly key: string };

export function checkAmounts(world: World, findings: Findings): void {
  const limited = decidedIn(world).flatMap((decided): Limited[] => {
    const { policyRevision, rule } = decided.operation;
    const limits = world.policies.termsOf(policyRevision, rule)?.limits ?? null;
    return limits === null ? [] : [{ decided, limits, key: subjectOf(decided, limits) }];
  });
  for (const life of world.lives) {
    const its = limited.filter((one) => one.decided.life === life);
    checkHostConcurrency(life, its, findings);
    for (const those of Map.groupBy(its, ({ key }) => key).values())
      if (those[0]?.limits.scope === 'host' && !wasSet(world, life))
        checkHostQuota(those, findings);
  }
  const ofFleet = limited.filter(({ limits }) => limits.scope === 'fleet');
  for (const those of Map.groupBy(ofFleet, ({ key }) => key).values()) {
    checkFleetQuota(world, those, findings);
  }
}

/** A window that was open when a clock was set is as long as whoever looked then made it. */
function wasSet(world: World, { host, lostUpToMs }: JournalLife): boolean {
  const at = { node: host, fromMs: 0, toMs: world.endMs };
  const kinds = ['wall_step', 'clock_jump', 'suspend', 'reboot'] as const;
  return lostUpToMs !== null || faultsDuring(world, at, kinds).length > 0;
}

function subjectOf({ operation }: Decided, { per }: LimitTerms): string {
  const { rule, principal, action, resource } = operation;
  const of = { rule: '', principal, action, resource: resource.id }[per];
  return `${rule} ${per}:${of}`;
}

/** A1. */
function checkHostConcurrency(
  { journal, lostUpToMs }: JournalLife,
  limited: readonly Limited[],
  findings: Findings,
): void {
  const byId = new Map(limited.map((one) => [one.decided.operation.operationId, one]));
  const underWay = new Map<string, Set<string>>();
  for (const { kind, operationId, body } of journal.events) {
    const one = byId.get(operationId ?? '');
    if (one === undefined || operationId === null) continue;
    const { limits, key, decided } = one;
    const its = underWay.get(key) ?? new Set();
    underWay.set(key, its);
    if (kind !== 'admitted') {
      if (isEnd(body['state'])) its.delete(operationId);
      else its.add(operationId);
      continue;
    }
    its.add(operationId);
    const { concurrency, scope } = limits;
    if (concurrency === null || scope !== 'host') continue;
    findings.expect(
      its.size <= concurrency || lostUpToMs !== null || journal.prunedSeq > 0,
      () =>
        `${nameOf(decided)} is the ${its.size}th under way of ${key}, which allows ${concurrency}`,
      () => seqsOf(decided),
    );
  }
}

function isEnd(state: unknown): boolean {
  return state === 'unknown' || SETTLED_STATES.has(state as OperationState);
}

/** A2. */
function checkHostQuota(limited: readonly Limited[], findings: Findings): void {
  let window: QuotaWindow | null = null;
  for (const { decided, limits, key } of limited) {
    const { quota } = limits;
    if (quota === null) continue;
    const open: QuotaWindow = windowAt(window, quota.windowMs, decided.at);
    window = { ...open, used: open.used + 1 };
    const { used } = window;
    findings.expect(
      used <= quota.count,
      () =>
        `${nameOf(decided)} is the ${used}th in one window of ${key}, which allows ${quota.count}`,
      () => seqsOf(decided),
    );
  }
}

/** A3: only what was answered has a true time. */
function checkFleetQuota(world: World, limited: readonly Limited[], findings: Findings): void {
  const timed = limited
    .flatMap((one) => {
      const { answered } = one.decided;
      return answered === null ? [] : [{ ...one, atMs: answered.ended.atMs }];
    })
    .toSorted((a, b) => a.atMs - b.atMs);
  const { drift } = world.history.terms;
  for (const [index, { decided, limits, atMs, key }] of timed.entries()) {
    const { quota, concurrency } = limits;
    if (quota !== null && !wasControlSet(world, atMs, quota.windowMs)) {
      const lengthMs = quota.windowMs * (1 - 2 * drift);
      const within = timed.slice(0, index + 1).filter((one) => one.atMs > atMs - lengthMs);
      findings.expect(
        within.length <= 2 * quota.count,
        () =>
          `${nameOf(decided)} is the ${within.length}th within ${quota.windowMs} ms of ${key}, of which the fleet has ${quota.count} in each window`,
        () => within.flatMap((one) => seqsOf(one.decided)),
      );
    }
    if (concurrency === null) continue;
    const alive = timed
      .slice(0, index + 1)
      .filter((one) => one.atMs <= atMs && isAliveAt(world, one.decided, atMs));
    findings.expect(
      alive.length <= concurrency,
      () =>
        `${nameOf(decided)} is the ${alive.length}th under way of ${key}, of which the fleet allows ${concurrency}`,
      () => alive.flatMap((one) => seqsOf(one.decided)),
    );
  }
}

/** Windows of the fleet are those of control's clocks: set forward, the next one comes early. */
function wasControlSet(world: World, atMs: number, windowMs: number): boolean {
  const at = { node: CONTROL, fromMs: atMs - 2 * windowMs, toMs: atMs };
  const kinds = ['wall_step', 'clock_jump', 'suspend', 'reboot', 'clock_drift'] as const;
  return faultsDuring(world, at, kinds).length > 0;
}

/** For certain: a later answer about it shows it unended, or nothing that could end it had come. */
function isAliveAt(world: World, { operation, life }: Decided, atMs: number): boolean {
  const { operationId } = operation;
  const shown = world.calls.some(
    ({ request, to, sent, ended }) =>
      to === life.host &&
      'operationId' in request &&
      request.operationId === operationId &&
      (request.kind === 'heartbeat' || request.kind === 'begin_effect') &&
      sent.atMs >= atMs &&
      ended?.end.kind === 'ok',
  );
  return shown;
}
