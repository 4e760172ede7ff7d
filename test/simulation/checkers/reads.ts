/**
 * What is read is what was written (I1).
 *
 * D4  An operation is shown as an entry of its journal made it, and never as it was before something
 *     that had been answered when it was asked for.
 * D7  Whoever begins an attempt is given the checkpoint that was saved last.
 */
import { canonicalJson } from '../../../shared/core/canonical-json.ts';
import type { JournalEvent } from '../../../shared/wire/operation.ts';
import type { Attempt } from '../../../shared/wire/sidecar-api.ts';
import type { CallBodies } from '../history.ts';
import type { Call } from '../history-view.ts';
import { acknowledgedIn } from './acknowledged.ts';
import type { Findings } from './findings.ts';
import { isHeldIn, type JournalLife } from './journal-life.ts';
import { stateAfter } from './lifecycle.ts';
import type { World } from './world.ts';

export function checkReads(world: World, life: JournalLife, findings: Findings): void {
  if (life.journal.prunedSeq > 0) return;
  const answered = Map.groupBy(acknowledgedIn(world, life), ({ operationId }) => operationId);
  for (const { request, to, sent, ended } of world.calls) {
    if (request.kind !== 'operation' || to !== life.host || ended?.end.kind !== 'ok') continue;
    if (!isHeldIn(life, sent.atMs) || !isHeldIn(life, ended.atMs)) continue;
    const { operationId } = request;
    const entries = life.entries.get(operationId) ?? [];
    if (entries.length === 0) continue;
    let from = 0;
    for (const said of answered.get(operationId) ?? [])
      if (said.kind === 'event' && (said.call.ended?.seq ?? 0) < sent.seq)
        from = Math.max(
          from,
          entries.findIndex((entry) => said.fits(entry)),
        );
    const { state, attempt } = ended.end.body as CallBodies['operation'];
    findings.expect(
      pictures(entries).slice(from).includes(`${state}, attempt ${attempt}`),
      () =>
        `${to} showed ${operationId} as ${state}, attempt ${attempt}, and ${entries[from]?.kind} (entry ${entries[from]?.seq}) had been answered before`,
      () => [sent.seq, ended.seq],
    );
  }
}

/** D7: a repeated call is told of what has been saved since. */
export function checkCheckpoints(world: World, life: JournalLife, findings: Findings): void {
  if (life.journal.prunedSeq > 0) return;
  for (const call of world.calls) {
    const { to, sent, ended } = call;
    if (to !== life.host || ended === null || !isHeldIn(life, sent.atMs)) continue;
    for (const { operationId, attempt, checkpoint = null } of begunBy(call)) {
      const saved = checkpointsOf(life.entries.get(operationId) ?? [], attempt);
      const told = canonicalJson(checkpoint);
      findings.expect(
        saved.length === 0 || saved.includes(told),
        () =>
          `${to} gave attempt ${attempt} of ${operationId} the checkpoint ${told}, and ${saved[0]} had been saved`,
        () => [sent.seq, ended.seq],
      );
    }
  }
}

function begunBy({ request, ended }: Call): readonly Attempt[] {
  if (ended?.end.kind !== 'ok') return [];
  if (request.kind === 'start_attempt') return [ended.end.body as CallBodies['start_attempt']];
  if (request.kind !== 'claim') return [];
  return (ended.end.body as CallBodies['claim']).items.map(({ attempt }) => attempt);
}

/** As that attempt found it, and whatever was saved after. */
function checkpointsOf(entries: readonly JournalEvent[], attempt: number): string[] {
  let saved = 'null';
  const later: string[] = [];
  let hasBegun = false;
  for (const { kind, body } of entries) {
    if (kind === 'attempt_started' && body['attempt'] === attempt) {
      hasBegun = true;
      later.push(saved);
    }
    if (kind !== 'checkpoint_saved') continue;
    saved = canonicalJson(body['checkpoint'] ?? null);
    if (hasBegun) later.push(saved);
  }
  return later;
}

/** After each entry. */
function pictures(entries: readonly JournalEvent[]): string[] {
  let attempt = 0;
  return entries.map((entry) => {
    const { kind, body } = entry;
    if (kind === 'attempt_started') attempt = Number(body['attempt']);
    return `${stateAfter(entry)}, attempt ${attempt}`;
  });
}
