/**
 * Nobody is refused in the name of a policy that does not say so (I3, B9): by a decision that no
 * revision makes, or for a quota of a host of which there was something left. A daemon that refuses
 * everything would break no other promise.
 */
import { SECOND_MS } from '../../../shared/core/time.ts';
import type { AdmitRequest } from '../../../shared/wire/operation.ts';
import type { FaultKind } from '../history.ts';
import type { Call } from '../history-view.ts';
import { decidedIn } from './decided.ts';
import type { Findings } from './findings.ts';
import { isHeldIn, type JournalLife } from './journal-life.ts';
import { faultsDuring, type World } from './world.ts';

const DECISIONS: ReadonlySet<string> = new Set([
  'denied',
  'no_rule',
  'rule_error',
  'unknown_principal',
]);
/** Windows that are longer than their length, and places that were taken and given back. */
const UNSETTLED: readonly FaultKind[] = [
  'wall_step',
  'clock_jump',
  'clock_drift',
  'suspend',
  'reboot',
  'slow_disk',
  'disk_full',
  'disk_error',
];
/** What is on its way to the journal has its place already. */
const ON_ITS_WAY_MS = 5 * SECOND_MS;

export function checkRefusedAdmits(world: World, findings: Findings): void {
  for (const call of world.calls) {
    const { request, ended, sent, to } = call;
    if (request.kind !== 'admit' || ended?.end.kind !== 'refused') continue;
    const { code } = ended.end;
    if (DECISIONS.has(code))
      findings.expect(
        revisionsBefore(world, ended.seq).some((one) =>
          world.policies
            .decide(one, inputOf(request.body))
            .some(({ decision, reason }) => decision === 'deny' && reason === code),
        ),
        () => `${to} refused key ${request.key} as ${code}, and no revision decides so`,
        () => [sent.seq, ended.seq],
      );
  }
  for (const life of world.lives) checkQuotas(world, life, findings);
}

function inputOf({ deadlineMs: _, ...input }: AdmitRequest) {
  return input;
}

function revisionsBefore({ policies }: World, seq: number): number[] {
  return policies.published.flatMap((one) => (one.seq < seq ? [one.policyRevision] : []));
}

function checkQuotas(world: World, life: JournalLife, findings: Findings): void {
  const host = { node: life.host, fromMs: 0, toMs: world.endMs };
  if (life.restoredAtMs !== null || faultsDuring(world, host, UNSETTLED).length > 0) return;
  const admitted = decidedIn(world).filter((decided) => decided.life === life);
  for (const call of world.calls) {
    const { request, to, sent, ended } = call;
    if (request.kind !== 'admit' || to !== life.host || ended?.end.kind !== 'refused') continue;
    if (ended.end.code !== 'quota_exhausted' || !isHeldIn(life, sent.atMs)) continue;
    const quota = leastQuota(world, call, ended.seq);
    if (quota === null) continue;
    const toMs = ended.clock.wallMs + ON_ITS_WAY_MS;
    const fromMs = ended.clock.wallMs - (ended.atMs - sent.atMs) - quota.windowMs - SECOND_MS;
    const used = admitted.filter(
      ({ operation, at }) =>
        operation.action === request.body.action && at.wallMs >= fromMs && at.wallMs <= toMs,
    );
    findings.expect(
      used.length >= quota.count,
      () =>
        `${to} refused key ${request.key} as its quota was used, and ${used.length} of ${quota.count} were within ${quota.windowMs} ms`,
      () => [sent.seq, ended.seq],
    );
  }
}

/** Of a host, that has each rule which any revision decides it by; `null` where one has another. */
function leastQuota(
  world: World,
  { request }: Call,
  beforeSeq: number,
): { readonly count: number; readonly windowMs: number } | null {
  if (request.kind !== 'admit') return null;
  let least: { readonly count: number; readonly windowMs: number } | null = null;
  for (const revision of revisionsBefore(world, beforeSeq))
    for (const { terms } of world.policies.decide(revision, inputOf(request.body))) {
      const limits = terms?.limits ?? null;
      if (limits?.scope !== 'host' || limits.quota === null || limits.per !== 'rule') return null;
      if (least === null || limits.quota.count < least.count) least = limits.quota;
    }
  return least;
}
