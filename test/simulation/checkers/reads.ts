/**
 * What is read is what was written (I1, D4): an operation is shown as an entry of its journal made it,
 * and never as it was before something that had been answered when it was asked for.
 */
import type { JournalEvent } from '../../../shared/wire/operation.ts';
import type { CallBodies } from '../history.ts';
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

/** After each entry. */
function pictures(entries: readonly JournalEvent[]): string[] {
  let attempt = 0;
  return entries.map((entry) => {
    const { kind, body } = entry;
    if (kind === 'attempt_started') attempt = Number(body['attempt']);
    return `${stateAfter(entry)}, attempt ${attempt}`;
  });
}
