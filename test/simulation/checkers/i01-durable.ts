/**
 * I1: durable before acknowledged.
 *
 * D1  What was answered is in the journal at the end, whatever happened meanwhile, and at least as
 *     far as it was answered.
 * D2  What is in the journal was asked for by a call that may have happened; refused is refused.
 * D3  The journal is what was written: no gap, an unbroken chain, and no start that found it damaged
 *     where nobody had put an old copy back, or damaged it.
 * D4, D7  What is read is what was written, and nothing older than what was answered (`reads.ts`).
 * D5  What control answered is in its store (`kept-by-control.ts`).
 * D6  A journal that was damaged says so and how far it had come, admits nothing, and begins anew only by
 *     a person's word (`told-losses.ts`).
 */
import { digestOf, sha256Hex } from '../../../shared/platform/digest.ts';
import { eventHash } from '../../../shared/platform/entry-hash.ts';
import {
  FIRST_PREVIOUS_HASH,
  type Effect,
  type JournalEvent,
} from '../../../shared/wire/operation.ts';
import type { Checker } from '../history.ts';
import { eventsOf, mayHaveHappened, type Call } from '../history-view.ts';
import { acknowledgedIn, type Acknowledged } from './acknowledged.ts';
import { Findings } from './findings.ts';
import { mayBePruned, type JournalLife } from './journal-life.ts';
import { checkControl } from './kept-by-control.ts';
import { checkCheckpoints, checkReads } from './reads.ts';
import { checkToldLosses } from './told-losses.ts';
import { worldOf, type World } from './world.ts';

export const i01Durable: Checker = (history) => {
  const world = worldOf(history);
  const findings = new Findings('I1');
  for (const life of world.lives) {
    checkFiles(life, findings);
    checkAnswered(world, life, findings);
    checkAsked(world, life, findings);
    checkReads(world, life, findings);
    checkCheckpoints(world, life, findings);
  }
  checkStarts(world, findings);
  checkControl(world, findings);
  checkToldLosses(world, findings);
  return findings.verdict();
};

/** D3. */
function checkFiles(life: JournalLife, findings: Findings): void {
  const { journal, host } = life;
  const isExcused = life.lostUpToMs !== null;
  findings.expect(
    journal.damage === null || isExcused,
    () =>
      `the journal of ${host} is damaged at the end (${journal.damage}), and no old copy was put back`,
    () => [],
  );
  if (journal.damage !== null) return;
  let previous: JournalEvent | null = null;
  for (const event of journal.events) {
    const follows = previous?.seq ?? journal.prunedSeq;
    const hashBefore =
      previous?.hash ?? (journal.prunedSeq === 0 ? FIRST_PREVIOUS_HASH : event.previousHash);
    findings.expect(
      event.seq === follows + 1 || journal.prunedSeq > 0,
      () => `entry ${event.seq} of ${host} follows entry ${follows}: what was between is gone`,
      () => [],
    );
    findings.expect(
      event.previousHash === hashBefore && eventHash(event.previousHash, event) === event.hash,
      () => `entry ${event.seq} of ${host} is not what was hashed when it was written`,
      () => [],
    );
    previous = event;
  }
  const head = previous?.seq ?? journal.prunedSeq;
  findings.expect(
    head === journal.head.seq || previous === null,
    () => `the journal of ${host} ends at entry ${head} and its head says ${journal.head.seq}`,
    () => [],
  );
}

/** D3: a start that cannot believe its journal has lost something, and nobody took it. */
function checkStarts({ history, faults }: World, findings: Findings): void {
  for (const start of eventsOf(history, 'daemon_started')) {
    if (start.journalSeq === null && start.outcome === 'serving') continue;
    const excuse = faults.some(
      ({ fault, nodes, fromMs }) =>
        (fault === 'host_backup_restored' ||
          fault === 'control_backup_restored' ||
          fault === 'journal_damaged') &&
        nodes.includes(start.node) &&
        fromMs <= start.atMs,
    );
    findings.expect(
      start.outcome !== 'quarantined' || excuse,
      () =>
        `start ${start.start} of ${start.node} found its journal damaged (${start.detail}), and only a crash was before it`,
      () => [start.seq],
    );
  }
}

/** D1. */
function checkAnswered(world: World, life: JournalLife, findings: Findings): void {
  for (const said of acknowledgedIn(world, life)) {
    const { operationId, call } = said;
    if (operationId !== null && mayBePruned(life, world.history, operationId)) continue;
    const missing = missingOf(life, said);
    findings.expect(
      missing === null,
      () =>
        `${life.host} answered ${call.request.kind} of ${call.client} and its journal has no ${missing}`,
      () => [call.sent.seq, call.ended?.seq ?? null],
    );
  }
}

function missingOf(life: JournalLife, said: Acknowledged): string | null {
  const { operationId } = said;
  if (said.kind === 'fence') {
    const found = life.journal.fences[said.resource] ?? 0;
    return found >= said.epoch
      ? null
      : `fence of ${said.resource} at ${said.epoch}: it has ${found}`;
  }
  if (said.kind === 'entry') {
    const entry = life.journal.events.find(({ seq }) => seq === said.seq);
    return said.seq <= life.journal.prunedSeq || entry?.kind === said.entry
      ? null
      : `entry ${said.seq} that is ${said.entry}`;
  }
  if (said.kind === 'refusal') {
    const isThere = life.journal.refusals.some(({ refusalId }) => refusalId === said.refusalId);
    return isThere || life.journal.prunedSeq > 0 ? null : `refusal ${said.refusalId}`;
  }
  if (operationId === null || !life.operations.has(operationId)) return `operation ${operationId}`;
  if (said.kind === 'operation') return null;
  const entries = life.entries.get(operationId) ?? [];
  return entries.some((entry) => said.fits(entry)) ? null : `${said.what} of ${operationId}`;
}

/** D2. */
function checkAsked(world: World, life: JournalLife, findings: Findings): void {
  const calls = world.calls.filter(
    (call) => call.to === life.host && call.sent.atMs <= life.toMs && mayHaveHappened(call),
  );
  const byOperation = Map.groupBy(calls, (call) => operationOf(call) ?? '');
  const admits = calls.filter((call): call is Call<'admit'> => call.request.kind === 'admit');
  const byKey = Map.groupBy(admits, ({ client, request }) => `${client} ${request.key}`);
  for (const event of life.journal.events) {
    const explained = explainedBy(event, life, { byOperation, byKey, calls });
    if (explained === null) continue;
    findings.expect(
      explained,
      () =>
        `entry ${event.seq} of ${life.host} (${event.kind} of ${event.operationId}) was asked for by no call that may have happened`,
      () => callsAbout(world, event).map((call) => call.sent.seq),
    );
  }
}

type Asking = {
  readonly byOperation: ReadonlyMap<string, readonly Call[]>;
  readonly byKey: ReadonlyMap<string, readonly Call<'admit'>[]>;
  readonly calls: readonly Call[];
};

/** `null`: nobody has to ask for what this entry says. */
function explainedBy(event: JournalEvent, life: JournalLife, asking: Asking): boolean | null {
  const { kind, body, operationId } = event;
  const about = asking.byOperation.get(operationId ?? '') ?? [];
  const has = (test: (call: Call) => boolean): boolean => about.some(test);
  const effect = body['effect'] as Effect | undefined;
  switch (kind) {
    case 'admitted': {
      if (body['compensates'] !== undefined) return null;
      const asked =
        asking.byKey.get(`${String(body['app'])} ${String(body['idempotencyKey'])}`) ?? [];
      return asked.some(({ request }) => digestOf(request.body) === body['fingerprint']);
    }
    case 'attempt_started':
      return (
        has(({ request }) => request.kind === 'start_attempt') ||
        asking.calls.some(({ request }) => request.kind === 'claim')
      );
    case 'effect_begun':
      return has(
        ({ request }) =>
          request.kind === 'begin_effect' &&
          request.effect === effect?.name &&
          request.attempt === effect.attempt,
      );
    case 'effect_settled':
      return has(
        ({ request }) =>
          request.kind === 'settle_effect' &&
          request.effect === effect?.name &&
          request.outcome === effect.state,
      );
    case 'succeeded': {
      const operation = life.operations.get(operationId ?? '');
      if (body['resolved'] === true || operation?.onUnknown !== undefined) return null;
      return has(
        ({ request }) =>
          request.kind === 'report_outcome' &&
          request.outcome === 'succeeded' &&
          request.attempt === body['attempt'],
      );
    }
    case 'fence_advanced':
      return asking.calls.some(
        ({ request }) =>
          request.kind === 'check_fence' &&
          request.resource === body['resource'] &&
          request.epoch === body['epoch'],
      );
    case 'register_written':
      return asking.calls.some(
        ({ request }) =>
          request.kind === 'put_register' &&
          request.register === body['key'] &&
          request.epoch === body['epoch'] &&
          sha256Hex(JSON.stringify(request.value ?? null)) === body['valueSha256'],
      );
    default:
      return null;
  }
}

function operationOf({ request }: Call): string | null {
  return 'operationId' in request ? request.operationId : null;
}

function callsAbout({ calls }: World, { operationId, body }: JournalEvent): readonly Call[] {
  return calls.filter(
    (call) =>
      (operationId !== null && operationOf(call) === operationId) ||
      (call.request.kind === 'admit' && call.request.key === body['idempotencyKey']),
  );
}
