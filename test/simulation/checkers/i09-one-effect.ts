/**
 * I9: one effect, one outcome.
 *
 * R1  Attempts are numbered one by one; only the newest begins effects and reports the outcome, and an
 *     older one that asks is told that it is stale.
 * R2  A recorded success is never begun again, and its result does not change: whoever asks to begin
 *     it is given the result.
 * R3  What was begun and not reported is begun again only where it is idempotent.
 * R4  No target is asked by two attempts for an effect that is not idempotent, unless the first had
 *     been reported as failed.
 * R5, R6  One worker has an attempt, and one name each effect (`one-worker.ts`).
 */
import { canonicalJson } from '../../../shared/core/canonical-json.ts';
import type { Effect, JournalEvent } from '../../../shared/wire/operation.ts';
import type { EffectAnswer } from '../../../shared/wire/sidecar-api.ts';
import type { Checker, EventOf } from '../history.ts';
import { eventsOf, type Call } from '../history-view.ts';
import { effectIn } from './acknowledged.ts';
import { Findings } from './findings.ts';
import { isHeldIn, type JournalLife } from './journal-life.ts';
import { answeredIn, checkEffectKeys, checkWorkers } from './one-worker.ts';
import { worldOf, type World } from './world.ts';

export const i09OneEffect: Checker = (history) => {
  const world = worldOf(history);
  const findings = new Findings('I9');
  for (const life of world.lives) {
    for (const [operationId, entries] of life.entries)
      if (operationId !== '') checkEntries(life, operationId, entries, findings);
    checkAnswers(world, life, findings);
    const answered = answeredIn(world.calls, life);
    checkWorkers(answered, life, findings);
    checkEffectKeys(answered, life, findings);
  }
  checkTargets(world, findings);
  return findings.verdict();
};

/** R1 to R3, as the journal has it. */
function checkEntries(
  { host, journal }: JournalLife,
  operationId: string,
  entries: readonly JournalEvent[],
  findings: Findings,
): void {
  let attempt = 0;
  const effects = new Map<string, Effect>();
  const say = (entry: JournalEvent, what: string): string =>
    `entry ${entry.seq} of ${host}, ${operationId}: ${what}`;
  const isWhole = entries[0]?.kind === 'admitted' || journal.prunedSeq === 0;
  for (const entry of isWhole ? entries : []) {
    const { kind, body } = entry;
    if (kind === 'attempt_started') {
      const number = Number(body['attempt']);
      const before = attempt;
      findings.expect(
        number === before + 1,
        () => say(entry, `attempt ${number} follows attempt ${before}`),
        () => [],
      );
      attempt = number;
    }
    const effect = effectIn(entry);
    if (effect !== null) {
      checkEffect(entry, effect, { before: effects.get(effect.name), attempt, say }, findings);
      effects.set(effect.name, effect);
    }
    for (const one of (body['effects'] as readonly Effect[] | undefined) ?? []) {
      const before = effects.get(one.name);
      findings.expect(
        before?.state !== 'succeeded' || one.state === 'succeeded',
        () => say(entry, `effect ${one.name} had succeeded and is ${one.state}`),
        () => [],
      );
      effects.set(one.name, one);
    }
    checkWorkerLoss(entry, [...effects.values()], say, findings);
    const outcome = body['outcome'] as { attempt?: number; provenance?: string } | undefined | null;
    if (outcome?.provenance !== 'asserted' || body['resolved'] === true) continue;
    findings.expect(
      outcome.attempt === attempt,
      () =>
        say(entry, `the outcome is of attempt ${outcome.attempt}, and ${attempt} is the newest`),
      () => [],
    );
  }
}

type Saying = (entry: JournalEvent, what: string) => string;

function checkEffect(
  entry: JournalEvent,
  effect: Effect,
  at: { readonly before: Effect | undefined; readonly attempt: number; readonly say: Saying },
  findings: Findings,
): void {
  const { before, attempt, say } = at;
  if (entry.kind === 'effect_begun') {
    findings.expect(
      effect.attempt === attempt,
      () =>
        say(entry, `attempt ${effect.attempt} began ${effect.name}, and ${attempt} is the newest`),
      () => [],
    );
    findings.expect(
      before?.state !== 'succeeded',
      () => say(entry, `effect ${effect.name} was begun again, and it had succeeded`),
      () => [],
    );
    findings.expect(
      before === undefined || before.state === 'failed' || before.idempotent,
      () => say(entry, `effect ${effect.name} was begun again, and it was ${before?.state}`),
      () => [],
    );
    return;
  }
  if (entry.kind !== 'effect_settled') return;
  findings.expect(
    before !== undefined && before.attempt === effect.attempt,
    () => say(entry, `effect ${effect.name} was reported, and that attempt had not begun it`),
    () => [],
  );
  findings.expect(
    (before?.state !== 'succeeded' && before?.state !== 'failed') ||
      canonicalJson([before.state, before.result]) === canonicalJson([effect.state, effect.result]),
    () => say(entry, `effect ${effect.name} was ${before?.state} and became ${effect.state}`),
    () => [],
  );
}

/** R3: what is put back for another attempt has nothing open that must not be run again. */
function checkWorkerLoss(
  entry: JournalEvent,
  effects: readonly Effect[],
  say: Saying,
  findings: Findings,
): void {
  if (entry.kind !== 'worker_lost' && entry.kind !== 'retried') return;
  const open = effects.find(
    ({ state, idempotent }) => (state === 'begun' || state === 'unknown') && !idempotent,
  );
  findings.expect(
    open === undefined,
    () => say(entry, `is to be run again, and effect ${open?.name} is ${open?.state}`),
    () => [],
  );
}

/** R1, R2, as callers were told. */
function checkAnswers({ calls }: World, life: JournalLife, findings: Findings): void {
  const its = calls.filter(
    ({ to, sent, ended }) =>
      to === life.host && ended !== null && isHeldIn(life, sent.atMs) && isHeldIn(life, ended.atMs),
  );
  const byOperation = Map.groupBy(its, ({ request }) =>
    'operationId' in request ? request.operationId : '',
  );
  for (const [operationId, about] of byOperation) {
    if (operationId === '') continue;
    const begun = about.flatMap((call) => {
      const attempt = startedBy(call);
      return attempt === null || call.ended === null ? [] : [{ attempt, seq: call.ended.seq }];
    });
    for (const call of about) {
      checkStale(call, begun, findings);
      checkReplay(call, about, findings);
    }
  }
}

function startedBy({ request, ended }: Call): number | null {
  if (request.kind !== 'start_attempt' || ended?.end.kind !== 'ok') return null;
  return (ended.end.body as { readonly attempt: number }).attempt;
}

function checkStale(
  { request, sent, ended, to }: Call,
  begun: readonly { readonly attempt: number; readonly seq: number }[],
  findings: Findings,
): void {
  if (
    request.kind !== 'begin_effect' &&
    request.kind !== 'report_outcome' &&
    request.kind !== 'heartbeat'
  )
    return;
  const newer = begun.find(({ attempt, seq }) => attempt > request.attempt && seq < sent.seq);
  if (newer === undefined) return;
  findings.expect(
    ended?.end.kind !== 'ok',
    () =>
      `${to} took ${request.kind} of attempt ${request.attempt} of ${request.operationId} after attempt ${newer.attempt} had begun`,
    () => [newer.seq, sent.seq, ended?.seq ?? null],
  );
}

/** R2. */
function checkReplay(call: Call, about: readonly Call[], findings: Findings): void {
  const { request, sent, ended, to } = call;
  if (request.kind !== 'begin_effect' || ended?.end.kind !== 'ok') return;
  const settled = about.find(
    (other) =>
      other.request.kind === 'settle_effect' &&
      other.request.effect === request.effect &&
      other.request.outcome === 'succeeded' &&
      other.ended?.end.kind === 'ok' &&
      other.ended.seq < sent.seq,
  );
  if (settled === undefined || settled.request.kind !== 'settle_effect') return;
  const answer = ended.end.body as EffectAnswer;
  const { result } = settled.request;
  findings.expect(
    answer.replayed &&
      canonicalJson(answer.effect.result ?? null) === canonicalJson(result ?? null),
    () =>
      `${to} let effect ${request.effect} of ${request.operationId} begin again, after its result had been recorded`,
    () => [settled.sent.seq, sent.seq, ended.seq],
  );
}

/** R4. */
function checkTargets(world: World, findings: Findings): void {
  const arrivals = eventsOf(world.history, 'effect_arrived');
  const entries = new Map(world.lives.flatMap(({ entries: its }) => [...its]));
  // Whoever goes on from an old copy does again what came after it; that is what is accepted then.
  const restored = new Set(
    world.lives.flatMap(({ host, lostUpToMs }) => (lostUpToMs === null ? [] : [host])),
  );
  const byEffect = Map.groupBy(arrivals, ({ operationId, effect }) => `${operationId} ${effect}`);
  for (const its of byEffect.values()) {
    const taken = its.filter(({ isIdempotent, verdict }) => !isIdempotent && verdict === 'taken');
    const [first] = taken;
    if (first === undefined || restored.has(first.host)) continue;
    const again = taken.find(({ attempt }) => attempt !== first.attempt);
    findings.expect(
      again === undefined || wasReportedFailed(entries.get(first.operationId) ?? [], first),
      () =>
        `${first.target} was asked for effect ${first.effect} of ${first.operationId} by attempts ${first.attempt} and ${again?.attempt}, and it is not idempotent`,
      () => [first.seq, again?.seq ?? null],
    );
  }
}

function wasReportedFailed(
  entries: readonly JournalEvent[],
  { effect, attempt }: EventOf<'effect_arrived'>,
): boolean {
  return entries.some((entry) => {
    const settled = entry.kind === 'effect_settled' ? effectIn(entry) : null;
    return settled?.name === effect && settled.attempt === attempt && settled.state === 'failed';
  });
}
