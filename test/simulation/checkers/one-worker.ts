/**
 * One worker at a time, and one name for each effect (I9).
 *
 * R5  An attempt is given to one worker: to the call that began it, and whoever repeats that call.
 * R6  All who begin one effect of an operation are given the same idempotency key, whatever the attempt;
 *     no two effects have the same.
 */
import type { CallBodies } from '../history.ts';
import type { Call } from '../history-view.ts';
import type { Findings } from './findings.ts';
import { isHeldIn, type JournalLife } from './journal-life.ts';

export function checkWorkers(
  calls: readonly Call[],
  { host, restoredAtMs }: JournalLife,
  findings: Findings,
): void {
  const owners = new Map<string, { readonly key: string; readonly seq: number }>();
  for (const call of calls) {
    const { sent, ended } = call;
    if (ended === null) continue;
    for (const { place, key } of givenBy(call)) {
      const first = owners.get(place);
      if (first === undefined) owners.set(place, { key, seq: ended.seq });
      findings.expect(
        first === undefined || first.key === key || restoredAtMs !== null,
        () => `${host} gave ${place} to ${key}, and had given it to ${first?.key}`,
        () => [first?.seq ?? null, sent.seq, ended.seq],
      );
    }
  }
}

function givenBy({ client, request, callId, ended }: Call): { place: string; key: string }[] {
  if (ended?.end.kind !== 'ok') return [];
  if (request.kind === 'start_attempt') {
    const { attempt } = ended.end.body as CallBodies['start_attempt'];
    const place = `attempt ${attempt} of ${request.operationId}`;
    return [{ place, key: `${client} ${request.key ?? `call ${callId}`}` }];
  }
  if (request.kind !== 'claim') return [];
  const { items } = ended.end.body as CallBodies['claim'];
  return items.map(({ operation, attempt }) => ({
    place: `attempt ${attempt.attempt} of ${operation.operationId}`,
    key: `${client} ${request.key}`,
  }));
}

export function checkEffectKeys(
  calls: readonly Call[],
  { host }: JournalLife,
  findings: Findings,
): void {
  const keys = new Map<string, string>();
  const effects = new Map<string, string>();
  for (const { request, to, sent, ended } of calls) {
    if (request.kind !== 'begin_effect' || ended?.end.kind !== 'ok' || to !== host) continue;
    const { idempotencyKey } = ended.end.body as CallBodies['begin_effect'];
    // Of hand-written histories that say nothing of it.
    if (idempotencyKey === undefined) continue;
    const effect = `effect ${request.effect} of ${request.operationId}`;
    const known = keys.get(effect) ?? idempotencyKey;
    const other = effects.get(idempotencyKey) ?? effect;
    keys.set(effect, known);
    effects.set(idempotencyKey, other);
    findings.expect(
      known === idempotencyKey && other === effect,
      () =>
        `${host} named ${effect} ${idempotencyKey}, ${other === effect ? `and had named it ${known}` : `as it named ${other}`}`,
      () => [sent.seq, ended.seq],
    );
  }
}

/** Those of one journal, in the order in which they were answered. */
export function answeredIn(calls: readonly Call[], life: JournalLife): Call[] {
  return calls
    .filter(
      ({ to, sent, ended }) =>
        to === life.host &&
        ended !== null &&
        isHeldIn(life, sent.atMs) &&
        isHeldIn(life, ended.atMs),
    )
    .toSorted((a, b) => (a.ended?.seq ?? 0) - (b.ended?.seq ?? 0));
}
