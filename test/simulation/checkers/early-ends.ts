/**
 * Nothing is ended before its time (I8, E4): no deadline passes, no wait for an approval is over and no
 * worker is taken as lost, earlier than the record says. What is ended so would be work that was
 * dropped, or two workers at one operation. Nor is anybody told so before it is so.
 */
import { SECOND_MS } from '../../../shared/core/time.ts';
import type { JournalEvent } from '../../../shared/wire/operation.ts';
import type { StoredOperation } from '../../../dataplane/core/operation-record.ts';
import type { FaultKind } from '../history.ts';
import type { Call } from '../history-view.ts';
import type { Findings } from './findings.ts';
import { isHeldIn, type JournalLife } from './journal-life.ts';
import { faultsDuring, type World } from './world.ts';

const CLOCKS_SET = ['wall_step', 'clock_jump', 'suspend', 'reboot', 'clock_drift'] as const;
/** What keeps an entry waiting after it was decided. */
const STALLS: readonly FaultKind[] = ['slow_disk', 'disk_full', 'disk_error'];
const ROUNDING_MS = 2;
/** A sign of life may come while the loss is on its way to the journal. */
const ON_ITS_WAY_MS = 3 * SECOND_MS;

export function checkEarlyEnds(world: World, life: JournalLife, findings: Findings): void {
  checkRefusals(world, life, findings);
  const host = { node: life.host, fromMs: 0, toMs: world.endMs };
  if (faultsDuring(world, host, CLOCKS_SET).length > 0) return;
  const isStalled = faultsDuring(world, host, STALLS).length > 0;
  for (const [operationId, entries] of life.entries) {
    const operation = life.operations.get(operationId);
    if (operation === undefined) continue;
    let attempt = 0;
    let wasLost = false;
    for (const entry of entries) {
      if (entry.kind === 'attempt_started') attempt = Number(entry.body['attempt']);
      checkEnd(life, operation, entry, findings);
      // What is asked about it later has the same reason.
      const isNew = isLoss(entry) && !wasLost;
      wasLost = isLoss(entry);
      if (!isStalled && isNew) checkLoss(world, life, { operation, entry, attempt }, findings);
    }
  }
}

function checkEnd(
  { host }: JournalLife,
  operation: StoredOperation,
  { seq, kind, body, atMs }: JournalEvent,
  findings: Findings,
): void {
  const { operationId, deadlineAtMs, approval } = operation;
  const dueMs =
    body['reason'] === 'deadline_passed'
      ? deadlineAtMs
      : body['reason'] === 'approval_expired' && kind === 'expired'
        ? approval?.expiresAtMs
        : undefined;
  if (dueMs === undefined) return;
  findings.expect(
    atMs >= dueMs - ROUNDING_MS,
    () =>
      `entry ${seq} of ${host}: ${operationId} became ${kind} (${String(body['reason'])}) ${dueMs - atMs} ms before its time`,
    () => [],
  );
}

/** By the clocks of its host when it had been said. */
function checkRefusals({ calls }: World, life: JournalLife, findings: Findings): void {
  for (const { request, to, sent, ended } of calls) {
    if (ended?.end.kind !== 'refused' || ended.end.code !== 'deadline_passed') continue;
    const operation =
      to === life.host && 'operationId' in request
        ? life.operations.get(request.operationId)
        : undefined;
    if (operation === undefined) continue;
    const { deadlineBoot, deadlineAtMs, operationId } = operation;
    const { bootId, bootMs, wallMs } = ended.clock;
    const leftMs =
      bootId === deadlineBoot.bootId ? deadlineBoot.bootMs - bootMs : deadlineAtMs - wallMs;
    findings.expect(
      leftMs <= ROUNDING_MS,
      () =>
        `${to} refused ${request.kind} of ${operationId} as past its deadline, which was ${leftMs} ms ahead`,
      () => [sent.seq, ended.seq],
    );
  }
}

function isLoss({ kind, body }: JournalEvent): boolean {
  return kind === 'worker_lost' || String(body['reason']).startsWith('worker_lost');
}

function checkLoss(
  world: World,
  life: JournalLife,
  at: {
    readonly operation: StoredOperation;
    readonly entry: JournalEvent;
    readonly attempt: number;
  },
  findings: Findings,
): void {
  const { operation, entry, attempt } = at;
  const { operationId, heartbeatTimeoutMs } = operation;
  let last: { readonly wallMs: number; readonly call: Call } | null = null;
  for (const call of world.calls) {
    const { ended, sent, to } = call;
    if (to !== life.host || ended?.end.kind !== 'ok' || !isHeldIn(life, sent.atMs)) continue;
    if (!isSignOfLife(call, operationId, attempt)) continue;
    // It was heard after that.
    const wallMs = ended.clock.wallMs - (ended.atMs - sent.atMs);
    if (wallMs > entry.atMs - ON_ITS_WAY_MS) continue;
    if (last === null || wallMs > last.wallMs) last = { wallMs, call };
  }
  if (last === null) return;
  const silentMs = entry.atMs - last.wallMs;
  const { sent } = last.call;
  findings.expect(
    silentMs >= heartbeatTimeoutMs - ROUNDING_MS,
    () =>
      `entry ${entry.seq} of ${life.host} takes the worker of ${operationId} as lost ${silentMs} ms after it was heard, and its rule gives it ${heartbeatTimeoutMs} ms`,
    () => [sent.seq],
  );
}

function isSignOfLife({ request }: Call, operationId: string, attempt: number): boolean {
  return (
    (request.kind === 'heartbeat' ||
      request.kind === 'begin_effect' ||
      request.kind === 'settle_effect') &&
    request.operationId === operationId &&
    request.attempt === attempt
  );
}
