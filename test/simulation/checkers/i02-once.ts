/**
 * I2: one key of one app names at most one operation, over retries, restarts and callers at once.
 *
 * O1  All answers under a key name the same operation, and at most one says that it is new.
 * O2  A payload is answered with an operation of that payload, or refused as `idempotency_key_reused`;
 *     that is said only where the key had another payload.
 * O3  A journal admits a key once.
 */
import { digestOf } from '../../../shared/platform/digest.ts';
import type { Operation } from '../../../shared/wire/operation.ts';
import type { CallEnd, Checker } from '../history.ts';
import { mayHaveHappened, type Call } from '../history-view.ts';
import { Findings } from './findings.ts';
import { isHeldIn, type JournalLife } from './journal-life.ts';
import { worldOf } from './world.ts';

type Admit = Call<'admit'>;
type Answered = { readonly call: Admit; readonly status: number; readonly operation: Operation };

const STATUS_NEW = 201;

export const i02Once: Checker = (history) => {
  const world = worldOf(history);
  const findings = new Findings('I2');
  const admits = world.calls.filter((call): call is Admit => call.request.kind === 'admit');
  for (const life of world.lives) {
    // A key may come again where an old copy, or an empty journal, knows nothing of it.
    const its = admits.filter(
      ({ to, sent, ended }) =>
        to === life.host && isHeldIn(life, sent.atMs) && isHeldIn(life, ended?.atMs ?? sent.atMs),
    );
    const all = Map.groupBy(
      admits.filter(({ to, sent }) => to === life.host && sent.atMs <= life.toMs),
      keyOf,
    );
    for (const [key, calls] of Map.groupBy(its, keyOf)) {
      checkNames(key, life, calls, findings);
      checkPayloads(key, all.get(key) ?? calls, calls, findings);
    }
    checkJournal(life, findings);
  }
  return findings.verdict();
};

function keyOf({ client, request }: Admit): string {
  return `${client} ${request.key}`;
}

function answersOf(calls: readonly Admit[]): Answered[] {
  return calls.flatMap((call) => {
    const end = call.ended?.end;
    if (end?.kind !== 'ok') return [];
    return [{ call, status: end.status, operation: end.body as Operation }];
  });
}

const seqsOf = (calls: readonly Admit[]): number[] =>
  calls.flatMap(({ sent, ended }) => (ended === null ? [sent.seq] : [sent.seq, ended.seq]));

/** O1. */
function checkNames(
  key: string,
  { host }: JournalLife,
  calls: readonly Admit[],
  findings: Findings,
): void {
  const answers = answersOf(calls);
  const ids = [...new Set(answers.map(({ operation }) => operation.operationId))];
  findings.expect(
    ids.length <= 1,
    () => `key ${key} on ${host} was answered with ${ids.join(' and ')}`,
    () => seqsOf(answers.map(({ call }) => call)),
  );
  const asNew = answers.filter(({ status }) => status === STATUS_NEW);
  findings.expect(
    asNew.length <= 1,
    () => `key ${key} on ${host} was admitted as new ${asNew.length} times`,
    () => seqsOf(asNew.map(({ call }) => call)),
  );
}

/** O2. */
function checkPayloads(
  key: string,
  all: readonly Admit[],
  calls: readonly Admit[],
  findings: Findings,
): void {
  const payloads = new Set(
    all.filter(mayHaveHappened).map(({ request }) => digestOf(request.body)),
  );
  for (const call of calls) {
    const digest = digestOf(call.request.body);
    const end: CallEnd | undefined = call.ended?.end;
    if (end?.kind === 'ok') {
      const operation = end.body as Operation;
      findings.expect(
        operation.fingerprint === digest,
        () =>
          `key ${key} was answered with ${operation.operationId} for a payload that is not its own`,
        () => seqsOf([call]),
      );
    }
    if (end?.kind !== 'refused' || end.code !== 'idempotency_key_reused') continue;
    findings.expect(
      [...payloads].some((other) => other !== digest),
      () => `key ${key} was refused as used with another payload, and nobody used it with one`,
      () => seqsOf([call]),
    );
  }
}

/** O3. */
function checkJournal({ journal, host }: JournalLife, findings: Findings): void {
  const seen = new Map<string, string>();
  for (const { operationId, app, idempotencyKey } of journal.operations) {
    const key = `${app} ${idempotencyKey}`;
    const other = seen.get(key);
    seen.set(key, operationId);
    findings.expect(
      other === undefined,
      () => `the journal of ${host} has ${other} and ${operationId} under key ${key}`,
      () => [],
    );
  }
}
