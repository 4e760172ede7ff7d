/**
 * Holds the operations on the disk against what clients were told. Knows nothing of how either came
 * to be, so that it can be tested with histories that contain each lie.
 *
 * K1  What was answered `ok` is recorded, under the id that was given, and at least as far.
 * K2  What is recorded was asked for by a call that did not fail.
 * K3  One key names one operation.
 */
import { callsByKey, mayHaveHappened, type Call, type CallRequest } from '../history/history.ts';
import { lie, type Lie } from './lie.ts';
import type { RecordedOperation } from './recorded.ts';

type CallOf<K extends CallRequest['kind']> = Call & {
  readonly request: CallRequest & { kind: K };
};

export function checkOperations(
  calls: readonly Call[],
  operations: readonly RecordedOperation[],
): Lie[] {
  const lies: Lie[] = [];
  const asked = callsByKey(calls);
  const recorded = Map.groupBy(operations, ({ idempotencyKey }) => idempotencyKey);
  for (const [key, those] of recorded) {
    if (!asked.has(key))
      lies.push(lie('invented', key, 'an operation under a key that nobody used'));
    if (those.length > 1)
      lies.push(lie('doubled', key, `${those.length} operations under one key (K3)`));
  }
  for (const [key, its] of asked) {
    const operation = recorded.get(key)?.[0];
    lies.push(...checkAdmission(key, its, operation));
    if (operation === undefined) lies.push(...checkNothingElse(key, its));
    else lies.push(...checkProgress(key, its, operation));
  }
  return lies;
}

function checkAdmission(
  key: string,
  calls: readonly Call[],
  operation: RecordedOperation | undefined,
): Lie[] {
  const lies: Lie[] = [];
  const admits = ofKind(calls, 'admit');
  const answered = admits.flatMap((call) =>
    call.end?.kind === 'ok' ? [{ call, answer: call.end.answer }] : [],
  );
  const ids = new Set(answered.map(({ answer }) => answer.operationId));
  if (ids.size > 1) lies.push(lie('changed_id', key, `answered with ${[...ids].join(' and ')}`));
  const asNew = answered.filter(({ answer }) => !answer.replayed);
  if (asNew.length > 1)
    lies.push(lie('doubled', key, `${asNew.length} answers said that it was accepted just now`));
  for (const { call } of asNew) {
    const before = answered.find((other) => other.call.endedAt < call.invokedAt);
    if (before !== undefined)
      lies.push(lie('lost', key, 'taken as new although it had been acknowledged before'));
  }
  if (operation === undefined) {
    if (answered.length > 0)
      lies.push(lie('lost', key, `acknowledged as ${[...ids].join(', ')}, and not there (K1)`));
    return lies;
  }
  if (ids.size > 0 && !ids.has(operation.operationId)) {
    const was = [...ids].join(', ');
    lies.push(lie('changed_id', key, `recorded as ${operation.operationId}, answered as ${was}`));
  }
  if (!admits.some(mayHaveHappened))
    lies.push(lie('told_differently', key, `recorded, and every answer was ${codes(admits)} (K2)`));
  const amount = admits[0]?.request.amount;
  if (operation.attributes['amount'] !== amount) {
    const found = String(operation.attributes['amount']);
    lies.push(lie('told_differently', key, `amount ${found} recorded, ${amount} asked for`));
  }
  return lies;
}

/** Steps of an operation that is not there: it was acknowledged at the latest with them. */
function checkNothingElse(key: string, calls: readonly Call[]): Lie[] {
  const step = calls.find(({ request, end }) => request.kind !== 'admit' && end?.kind === 'ok');
  return step === undefined
    ? []
    : [lie('lost', key, `${step.request.kind} was acknowledged, and there is no operation (K1)`)];
}

function checkProgress(key: string, calls: readonly Call[], operation: RecordedOperation): Lie[] {
  return [
    ...checkAttempts(key, calls, operation),
    ...checkEffects(key, calls, operation),
    ...checkCheckpoint(key, calls, operation),
    ...checkEnd(key, calls, operation),
  ];
}

function checkAttempts(
  key: string,
  calls: readonly Call[],
  { attempt, operationId }: RecordedOperation,
): Lie[] {
  const starts = ofKind(calls, 'start_attempt');
  const told = Math.max(
    0,
    ...starts.map(({ end }) => (end?.kind === 'ok' ? end.answer.attempt : 0)),
  );
  const asked = new Set(starts.filter(mayHaveHappened).map(({ request }) => request.token)).size;
  const lies = starts.flatMap(({ end }) =>
    end?.kind === 'ok' && end.answer.operationId !== operationId
      ? [lie('changed_id', key, `an attempt of ${end.answer.operationId} was started`)]
      : [],
  );
  if (attempt < told)
    lies.push(lie('lost', key, `attempt ${told} was acknowledged, ${attempt} is recorded (K1)`));
  if (attempt > asked) {
    const kind = starts.length === 0 ? 'invented' : asked === 0 ? 'told_differently' : 'doubled';
    lies.push(lie(kind, key, `attempt ${attempt} recorded, ${asked} can have been started (K2)`));
  }
  return lies;
}

function checkEffects(key: string, calls: readonly Call[], operation: RecordedOperation): Lie[] {
  const lies: Lie[] = [];
  const begins = ofKind(calls, 'begin_effect');
  const settles = ofKind(calls, 'settle_effect');
  const names = new Set([
    ...operation.effects.map(({ name }) => name),
    ...[...begins, ...settles].map(({ request }) => request.effect),
  ]);
  for (const name of names) {
    const about = `${key} ${name}`;
    const found = operation.effects.filter((effect) => effect.name === name);
    const [effect] = found;
    if (found.length > 1) lies.push(lie('doubled', about, 'recorded twice'));
    const begun = begins.filter(({ request }) => request.effect === name);
    const settled = settles.filter(({ request }) => request.effect === name);
    if (effect === undefined) {
      if ([...begun, ...settled].some(({ end }) => end?.kind === 'ok'))
        lies.push(lie('lost', about, 'acknowledged as begun, and not there (K1)'));
      continue;
    }
    lies.push(...checkAsked(about, begun, 'begun'));
    const told = settled.find(({ end }) => end?.kind === 'ok');
    if (effect.state === 'begun') {
      if (told !== undefined) lies.push(lie('lost', about, 'its result was acknowledged (K1)'));
      continue;
    }
    const said = `${effect.state} with ${JSON.stringify(effect.result)}`;
    const matching = settled.filter(({ request }) => isSame(request, effect));
    lies.push(...checkAsked(about, matching, said));
  }
  return lies;
}

function checkCheckpoint(
  key: string,
  calls: readonly Call[],
  { checkpoint }: RecordedOperation,
): Lie[] {
  const saves = ofKind(calls, 'save_checkpoint');
  if (checkpoint === null || checkpoint === undefined) {
    return saves.some(({ end }) => end?.kind === 'ok')
      ? [lie('lost', key, 'its checkpoint was acknowledged (K1)')]
      : [];
  }
  const said = `checkpoint ${JSON.stringify(checkpoint)}`;
  const matching = saves.filter(({ request }) => request.checkpoint === checkpoint);
  return checkAsked(key, matching, said);
}

function checkEnd(key: string, calls: readonly Call[], operation: RecordedOperation): Lie[] {
  const { outcome, state, reason } = operation;
  const reports = ofKind(calls, 'report_outcome');
  const cancels = ofKind(calls, 'cancel');
  const lies: Lie[] = [];
  if (reports.some(({ end }) => end?.kind === 'ok') && outcome === null)
    lies.push(lie('lost', key, `its outcome was acknowledged, it is ${state} (K1)`));
  if (cancels.some(({ end }) => end?.kind === 'ok') && state !== 'cancelled')
    lies.push(lie('lost', key, `its cancellation was acknowledged, it is ${state} (K1)`));
  if (state === 'cancelled') lies.push(...checkAsked(key, cancels, 'cancelled'));
  if (outcome !== null) {
    const said = `${outcome.outcome} with ${JSON.stringify(outcome.result)}`;
    lies.push(
      ...checkAsked(
        key,
        reports.filter(({ request }) => isSame(request, { ...outcome, state: outcome.outcome })),
        said,
      ),
    );
    if (state !== outcome.outcome)
      lies.push(lie('told_differently', key, `it is ${state} and its outcome ${outcome.outcome}`));
  } else if (!['accepted', 'executing', 'cancelled'].includes(state)) {
    // The policy of the campaigns gives the sidecar no cause to end anything by itself.
    lies.push(lie('invented', key, `it became ${state} (${reason ?? 'no reason'}) unasked (K2)`));
  }
  return lies;
}

function isSame(
  request: { readonly outcome: string; readonly result: string },
  found: { readonly state: string; readonly result: unknown },
): boolean {
  return request.outcome === found.state && request.result === found.result;
}

/** K2: `calls` are those that would explain what is `said`. */
function checkAsked(about: string, calls: readonly Call[], said: string): Lie[] {
  if (calls.some(mayHaveHappened)) return [];
  return calls.length === 0
    ? [lie('invented', about, `recorded as ${said}, which nobody said (K2)`)]
    : [lie('told_differently', about, `recorded as ${said}, and answered ${codes(calls)} (K2)`)];
}

function codes(calls: readonly Call[]): string {
  return [...new Set(calls.flatMap(({ end }) => (end?.kind === 'fail' ? [end.code] : [])))].join(
    ', ',
  );
}

function ofKind<K extends CallRequest['kind']>(calls: readonly Call[], kind: K): CallOf<K>[] {
  return calls.filter((call): call is CallOf<K> => call.request.kind === kind);
}
