/**
 * I10: planes fail apart.
 *
 * P1  What is bounded is decided here: control is not asked, and that it is away refuses nothing.
 * P2  Only control's own word takes authority away: nothing is refused, stopped or cancelled as
 *     withdrawn where control has refused this host nothing, and said nothing of the operation.
 * P3  Accepted work goes on, pauses or ends while control is away as its record says (`onControlLoss`,
 *     `onRevoke`), and only while an outage is open that has lasted long enough.
 * P4  Authority that is young enough admits: no refusal for its age, by an age that its rule allows.
 * P5  An admission that needs nothing from control takes no longer because control is away.
 */
import { SECOND_MS } from '../../../shared/core/time.ts';
import type { AdmitRequest, JournalEvent, Refusal } from '../../../shared/wire/operation.ts';
import type { Checker, FaultKind } from '../history.ts';
import type { StoredOperation } from '../../../dataplane/core/operation-record.ts';
import type { Call } from '../history-view.ts';
import { decidedIn, nameOf, seqsOf } from './decided.ts';
import { Findings } from './findings.ts';
import { isHeldIn, type JournalLife } from './journal-life.ts';
import { faultsDuring, restartedDuring, worldOf, type World } from './world.ts';

export const i10PlanesApart: Checker = (history) => {
  const world = worldOf(history);
  const findings = new Findings('I10');
  checkBasis(world, findings);
  for (const life of world.lives) {
    checkRefusals(world, life, findings);
    checkStops(world, life, findings);
  }
  checkTimes(world, findings);
  return findings.verdict();
};

/** P1. */
function checkBasis(world: World, findings: Findings): void {
  for (const decided of decidedIn(world)) {
    const { operation } = decided;
    const { policyRevision, rule, basis } = operation;
    const freshness = world.policies.termsOf(policyRevision, rule)?.freshness;
    if (freshness !== 'bounded') continue;
    findings.expect(
      basis === 'cached' || mayHaveBeenFresh(world, operation),
      () => `${nameOf(decided)}: control was asked, and rule ${rule} is bounded`,
      () => seqsOf(decided),
    );
  }
}

/** The revision that was in force on the host may have had another rule for it. */
function mayHaveBeenFresh(
  { policies }: World,
  { action, principal, resource, attributes, policyRevision }: StoredOperation,
) {
  const input = { action, principal, attributes, ...(resource.id === '' ? {} : { resource }) };
  return policies.published.some(
    (one) =>
      one.policyRevision < policyRevision &&
      policies.decide(one.policyRevision, input).some(({ terms }) => terms?.freshness === 'fresh'),
  );
}

/** P1, P2, P4, by what the journal has of refusals. */
function checkRefusals(world: World, life: JournalLife, findings: Findings): void {
  for (const event of life.journal.events) {
    if (event.kind !== 'refused') continue;
    const refusal = event.body['refusal'] as Refusal;
    const { reason, rule, policyRevision, stalenessMs } = refusal;
    const terms =
      rule === null || policyRevision === null
        ? null
        : world.policies.termsOf(policyRevision, rule);
    const what = `entry ${event.seq} of ${life.host} refused ${refusal.action} (${reason})`;
    if (reason === 'control_unreachable' && terms !== null) {
      findings.expect(
        terms.freshness === 'fresh' || terms.approval?.onControlLoss === 'fail',
        () => `${what}: rule ${rule} is bounded and needs nothing from control`,
        () => [],
      );
    }
    if (reason === 'policy_expired' && terms !== null && stalenessMs !== null) {
      findings.expect(
        stalenessMs > terms.maxStalenessMs || isLate(refusal),
        () =>
          `${what}: authority was ${stalenessMs} ms old, and rule ${rule} allows ${terms.maxStalenessMs} ms`,
        () => [],
      );
    }
    if (reason !== 'control_rejected') continue;
    const said = wordsOfControl(world, life);
    findings.expect(
      said.length > 0,
      () => `${what} as withdrawn by control, and control had refused this host nothing`,
      () => [],
    );
  }
}

/** It had waited for the journal until its authority was over. */
function isLate({ message }: Refusal): boolean {
  return message.includes('ended while it waited');
}

const REFUSALS: ReadonlySet<number> = new Set([401, 403, 404, 409, 410]);

/** Answers of control that refuse this host. */
function wordsOfControl(world: World, life: JournalLife): number[] {
  return (world.exchanges.get(life.host) ?? [])
    .filter(({ purpose, answered }) => purpose !== 'report' && REFUSALS.has(answered.status))
    .map(({ answered }) => answered.seq);
}

/** P2, P3. */
function checkStops(world: World, life: JournalLife, findings: Findings): void {
  const openSince = new Map<string, number>();
  const host = { node: life.host, fromMs: 0, toMs: world.endMs };
  const wasSet = faultsDuring(world, host, CLOCKS_SET).length > 0;
  for (const event of life.journal.events) {
    noteOutage(openSince, event);
    const { kind, body, operationId, outageId } = event;
    const operation = life.operations.get(operationId ?? '');
    if (operation === undefined || !STOPS.has(kind)) continue;
    const what = `entry ${event.seq} of ${life.host}: ${operationId} became ${kind} (${String(body['reason'])})`;
    switch (body['reason']) {
      case 'control_lost':
      case 'aborted_on_control_loss': {
        const isSaid =
          operation.onControlLoss !== 'finish' || operation.approval?.onControlLoss === 'fail';
        findings.expect(
          isSaid,
          () => `${what}, and its record says onControlLoss: ${operation.onControlLoss}`,
          () => [],
        );
        const sinceMs = openSince.get(outageId ?? '');
        findings.expect(
          sinceMs !== undefined,
          () => `${what} while no outage was open`,
          () => [],
        );
        const outOfReachMs = event.atMs - (sinceMs ?? event.atMs);
        const { controlLossAfterMs } = world.history.terms;
        findings.expect(
          wasSet || sinceMs === undefined || outOfReachMs >= controlLossAfterMs - SECOND_MS,
          () =>
            `${what} ${outOfReachMs} ms into an outage: ${controlLossAfterMs} ms are configured`,
          () => [],
        );
        break;
      }
      case 'authority_revoked':
      case 'aborted_on_revocation':
        findings.expect(
          wordsOfControl(world, life).length > 0 && operation.onRevoke !== 'finish',
          () =>
            `${what}, and control had refused this host nothing, or its record says onRevoke: finish`,
          () => [],
        );
        break;
      default:
    }
  }
}

const CLOCKS_SET = ['wall_step', 'clock_jump', 'suspend', 'reboot', 'clock_drift'] as const;
const STOPS: ReadonlySet<string> = new Set(['paused', 'cancelled', 'unknown']);

function noteOutage(openSince: Map<string, number>, { kind, body, atMs }: JournalEvent): void {
  const outage = body['outage'] as { readonly outageId: string } | undefined;
  if (outage === undefined) return;
  if (kind === 'outage_closed') openSince.delete(outage.outageId);
  else if (!openSince.has(outage.outageId)) openSince.set(outage.outageId, atMs);
}

const STALLS: readonly FaultKind[] = [
  'suspend',
  'reboot',
  'slow_disk',
  'disk_full',
  'disk_error',
  'clock_jump',
  'clock_drift',
  'crash',
];
/** A bounded admission waits for one or two commits of a disk that is well. */
const ADMISSION_MS_MAX = SECOND_MS;

/** P5. */
function checkTimes(world: World, findings: Findings): void {
  for (const call of world.calls) {
    const { request, sent, ended, to } = call;
    if (request.kind !== 'admit' || ended === null || ended.end.kind === 'info') continue;
    const at = { node: to, fromMs: sent.atMs, toMs: ended.atMs };
    if (!isBounded(world, request.body, call)) continue;
    const isHeldUp =
      faultsDuring(world, at, STALLS).length > 0 ||
      restartedDuring(world, at) ||
      !world.lives.some((life) => life.host === to && isHeldIn(life, sent.atMs));
    const tookMs = ended.atMs - sent.atMs;
    findings.expect(
      isHeldUp || tookMs <= ADMISSION_MS_MAX,
      () =>
        `${to} took ${tookMs} ms to decide key ${request.key}, which needs nothing from control`,
      () => [sent.seq, ended.seq],
    );
  }
}

/** By every revision that there was until then. */
function isBounded({ policies }: World, body: AdmitRequest, { sent }: Call): boolean {
  const { deadlineMs: _, ...input } = body;
  const before = policies.published.filter(({ seq }) => seq < sent.seq);
  return (
    before.length > 0 &&
    before.every(({ policyRevision }) =>
      policies.decide(policyRevision, input).every(({ terms }) => terms?.freshness === 'bounded'),
    )
  );
}
