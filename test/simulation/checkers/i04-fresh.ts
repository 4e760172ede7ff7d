/**
 * I4: fresh fails closed.
 *
 * F1  What a rule of class `fresh` admitted, control decided; what says `recheck: commit` began no
 *     effect without control's word.
 * F2  Where control could not be asked the answer is a refusal that is recorded with its reason, and
 *     it comes within the configured time: never a hang.
 */
import { SECOND_MS } from '../../../shared/core/time.ts';
import type { AdmitRequest } from '../../../shared/wire/operation.ts';
import type { Checker, FaultKind } from '../history.ts';
import type { Call } from '../history-view.ts';
import { decidedIn, nameOf, seqsOf } from './decided.ts';
import { Findings } from './findings.ts';
import { effectIn } from './acknowledged.ts';
import { isHeldIn, type JournalLife } from './journal-life.ts';
import { exchangesWith, faultsDuring, restartedDuring, worldOf, type World } from './world.ts';

/** What stops the clock of a caller, or of the host, apart from control. */
const STALLS: readonly FaultKind[] = [
  'suspend',
  'reboot',
  'slow_disk',
  'disk_full',
  'disk_error',
  'clock_jump',
  'crash',
];
/** Beside the time-out itself: the journal is asked before and after, and a retry of the caller. */
const SLACK_MS = 5 * SECOND_MS;

export const i04Fresh: Checker = (history) => {
  const world = worldOf(history);
  const findings = new Findings('I4');
  checkBasis(world, findings);
  for (const life of world.lives) checkRechecks(world, life, findings);
  checkRefusals(world, findings);
  return findings.verdict();
};

/** F1. */
function checkBasis(world: World, findings: Findings): void {
  for (const decided of decidedIn(world)) {
    const { operation } = decided;
    const { policyRevision, rule } = operation;
    if (world.policies.termsOf(policyRevision, rule)?.freshness !== 'fresh') continue;
    findings.expect(
      operation.basis === 'fresh',
      () =>
        `${nameOf(decided)}: rule ${rule} of revision ${policyRevision} is of class fresh, and the record was decided from cache, ${operation.stalenessMs} ms old`,
      () => seqsOf(decided),
    );
  }
}

/** F1: the answer to this effect, by the calls that asked to begin it. */
function checkRechecks(world: World, life: JournalLife, findings: Findings): void {
  const asked = exchangesWith(world, life.host, 'decision').filter(
    ({ answered }) => answered.status === 200,
  );
  for (const operation of life.journal.operations) {
    if (operation.recheck !== 'commit') continue;
    for (const entry of life.entries.get(operation.operationId) ?? []) {
      const effect = effectIn(entry);
      if (entry.kind !== 'effect_begun' || effect === null) continue;
      const begins = world.calls.filter(
        ({ request, to }) =>
          to === life.host &&
          request.kind === 'begin_effect' &&
          request.operationId === operation.operationId &&
          request.effect === effect.name &&
          request.attempt === effect.attempt,
      );
      const fromSeq = Math.min(...begins.map(({ sent }) => sent.seq));
      const isAsked = asked.some(({ sent }) => sent.seq > fromSeq);
      findings.expect(
        entry.body['recheck'] !== undefined && (begins.length === 0 || isAsked),
        () =>
          `effect ${effect.name} of ${operation.operationId} on ${life.host} began (entry ${entry.seq}) without control's word, and its rule says recheck: commit`,
        () => begins.map(({ sent }) => sent.seq),
      );
    }
  }
}

/** F2. */
function checkRefusals(world: World, findings: Findings): void {
  const { freshTimeoutMs, drift } = world.history.terms;
  const boundMs = freshTimeoutMs * (1 + 2 * drift) + SLACK_MS;
  for (const call of world.calls) {
    const { request, ended, sent } = call;
    if (request.kind !== 'admit' || ended === null) continue;
    if (ended.end.kind === 'refused' && ended.end.code === 'control_unreachable') {
      const { refusalId } = ended.end.problem;
      findings.expect(
        typeof refusalId === 'string' || ended.end.problem['retryable'] === undefined,
        () => `the refusal of key ${request.key} by ${call.to} for want of control is not recorded`,
        () => [sent.seq, ended.seq],
      );
    }
    const at = { node: call.to, fromMs: sent.atMs, toMs: ended.atMs };
    if (!mayBeFresh(world, request.body, call)) continue;
    const isHeldUp =
      faultsDuring(world, at, STALLS).length > 0 ||
      restartedDuring(world, at) ||
      !world.lives.some((life) => life.host === call.to && isHeldIn(life, sent.atMs));
    const tookMs = ended.atMs - sent.atMs;
    findings.expect(
      isHeldUp || tookMs <= boundMs,
      () =>
        `key ${request.key} asked ${call.to} for what only control may decide, and heard nothing for ${tookMs} ms: ${freshTimeoutMs} ms are configured`,
      () => [sent.seq, ended.seq],
    );
  }
}

/** Under the newest revision when it was asked. */
function mayBeFresh({ policies }: World, body: AdmitRequest, { sent }: Call): boolean {
  const newest = policies.published.findLast(({ seq }) => seq < sent.seq);
  if (newest === undefined) return false;
  const { deadlineMs: _, ...input } = body;
  return policies
    .decide(newest.policyRevision, input)
    .some(({ terms }) => terms?.freshness === 'fresh');
}
