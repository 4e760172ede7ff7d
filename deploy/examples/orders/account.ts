/**
 * The reckoning: what the file asked for, what the target did, what the sidecar's journal says, and
 * what control knows, held against each other line by line. It trusts none of them.
 */
import { isDeepStrictEqual } from 'node:util';
import type {
  ControlClient,
  Operation,
  Outage,
  SidecarClient,
} from '../../../shared/client/index.ts';
import type { ReportedOperation } from '../../../shared/wire/control-api.ts';
import type { OrderLine } from './order-file.ts';
import type { Disposition } from './order-worker.ts';
import type { Ledger } from './payment-target.ts';
import { readAll } from './recovery-reading.ts';

export type Settled = { readonly line: OrderLine; readonly disposition: Disposition | null };

/** Wall time between which control was certainly away: from its death to its new start. */
export type Away = {
  /** When it was told to die: it was certainly alive before. */
  readonly aliveUntilMs: number;
  readonly fromMs: number;
  readonly toMs: number;
};

export type Account = {
  readonly lost: readonly string[];
  readonly doubled: readonly string[];
  readonly toldWrong: readonly string[];
  readonly operations: number;
  readonly explanations: number;
};

const CAPTURE_LIMIT = 500;
const EXPLAINED_AT_ONCE = 16;

/**
 * How soon after control's death an admission must already carry the outage: one sync, and its
 * time-out.
 */
const NOTICED_AFTER_MS = 5_000;

export async function takeAccount(parts: {
  readonly settled: readonly Settled[];
  readonly ledger: Ledger;
  readonly sidecar: SidecarClient;
  readonly control: ControlClient;
  readonly away: Away;
}): Promise<Account> {
  const { settled, ledger, sidecar, away } = parts;
  const page = { limit: 500 };
  const journal = await readAll((cursor) => sidecar.operations({ ...page, ...cursor }));
  const reported = await readAll((cursor) => parts.control.operations({ ...page, ...cursor }));
  const lost: string[] = [];
  const doubled: string[] = [];
  const toldWrong: string[] = [];

  const byKey = Map.groupBy(journal, ({ idempotencyKey }) => idempotencyKey);
  for (const [key, operations] of byKey)
    if (operations.length > 1) doubled.push(`key ${key} names ${operations.length} operations`);
  const done = Map.groupBy(ledger.entries, ({ effect, order }) => `${effect}.${order}`);
  for (const [what, entries] of done)
    if (entries.length > 1) doubled.push(`${what} was done ${entries.length} times`);

  for (const { line, disposition } of settled) {
    if (!line.ok) continue;
    const problem = lineProblem(line, disposition, byKey);
    if (problem !== null)
      (disposition === null || problem.lost ? lost : toldWrong).push(
        `line ${line.line}: ${problem.text}`,
      );
  }
  const outages = await sidecar.outages();
  const knownToControl = new Map(reported.map((operation) => [operation.operationId, operation]));
  for (const operation of journal) {
    toldWrong.push(
      ...ledgerProblems(operation, ledger),
      ...outageProblems(operation, away, outages),
    );
    const known = knownToControl.get(operation.operationId);
    if (known === undefined) lost.push(`${operation.operationId} is not known to control`);
    else toldWrong.push(...controlProblems(operation, known));
  }
  const unheardOf = reported.filter(
    ({ operationId }) => !journal.some((operation) => operation.operationId === operationId),
  );
  for (const { operationId } of unheardOf)
    toldWrong.push(`control knows ${operationId}, the journal does not`);
  toldWrong.push(...(await explanationProblems(journal, sidecar)));
  return { lost, doubled, toldWrong, operations: journal.length, explanations: journal.length };
}

/** What the file says must have come of a line, decided here from the line alone. */
function lineProblem(
  { order }: OrderLine & { ok: true },
  disposition: Disposition | null,
  byKey: ReadonlyMap<string, readonly Operation[]>,
): { lost: boolean; text: string } | null {
  if (disposition === null) return { lost: true, text: 'nothing is known of it' };
  const operation = byKey.get(`${order.kind}.${order.order}`)?.[0];
  if (disposition.kind === 'deferred') return { lost: true, text: 'it still waits for control' };
  if (order.kind === 'capture' && order.amount > CAPTURE_LIMIT) {
    const honest =
      disposition.kind === 'refused' ||
      (disposition.kind === 'conflicting' && operation !== undefined);
    return honest
      ? null
      : { lost: false, text: `${order.amount} is over the limit and was ${disposition.kind}` };
  }
  if (disposition.kind === 'refused')
    return {
      lost: false,
      text: `${order.amount} is within the limit and was refused: ${disposition.code}`,
    };
  if (operation === undefined)
    return { lost: true, text: `the journal has no operation for ${order.kind}.${order.order}` };
  const { amount } = operation.attributes;
  if (disposition.kind === 'conflicting')
    return amount === order.amount
      ? { lost: false, text: 'it was called conflicting and is not' }
      : null;
  return amount === order.amount
    ? null
    : { lost: false, text: `the operation says ${String(amount)} and the line ${order.amount}` };
}

/**
 * An operation that says it succeeded did its effect once, with the token it was given; any other
 * did nothing.
 */
function ledgerProblems(operation: Operation, ledger: Ledger): string[] {
  const { operationId, state, attemptLeaseEpoch } = operation;
  const entries = ledger.entries.filter((entry) => entry.operationId === operationId);
  const should = state === 'succeeded' ? 1 : 0;
  if (!['succeeded', 'failed', 'expired', 'cancelled'].includes(state))
    return [`${operationId} has not ended: it is ${state}`];
  if (entries.length !== should)
    return [`${operationId} is ${state} and the ledger has ${entries.length} entries`];
  return entries
    .filter(({ fencingToken }) => fencingToken !== null && fencingToken !== attemptLeaseEpoch)
    .map(
      ({ fencingToken }) =>
        `${operationId} ran with token ${fencingToken} and its record says ${attemptLeaseEpoch}`,
    );
}

/**
 * What rests on cache while control is away names the outage. A fresh answer inside an outage is
 * honest only after control had come back: the first sync that closes the outage may follow the
 * first answer.
 */
function outageProblems(
  { operationId, admittedAtMs, outageId, basis }: Operation,
  { aliveUntilMs, fromMs, toMs }: Away,
  outages: readonly Outage[],
): string[] {
  const during = admittedAtMs > fromMs && admittedAtMs < toMs;
  if (during && basis === 'fresh')
    return [`${operationId} claims a fresh decision and control was away`];
  if (
    outageId !== null &&
    admittedAtMs < aliveUntilMs &&
    !isHonestSilence(outageId, admittedAtMs, outages)
  )
    return [`${operationId} names an outage and control was still alive`];
  if (outageId === null && during && admittedAtMs > fromMs + NOTICED_AFTER_MS)
    return [`${operationId} was admitted while control was away and names no outage`];
  return [];
}

/** Control is alive and gives no answer in time where the machine has too much to do. */
function isHonestSilence(outageId: string, atMs: number, outages: readonly Outage[]): boolean {
  const outage = outages.find((one) => one.outageId === outageId);
  if (outage === undefined || atMs < outage.fromMs) return false;
  return outage.cause === 'timeout' || outage.cause === 'half_open';
}

const COMPARED = [
  'idempotencyKey',
  'principal',
  'action',
  'state',
  'reason',
  'policyRevision',
  'rule',
  'basis',
  'stalenessMs',
  'leaseResource',
  'leaseEpoch',
  'outageId',
  'admittedAtMs',
  'attempt',
  'effects',
  'outcome',
] as const;

function controlProblems(operation: Operation, known: ReportedOperation): string[] {
  return COMPARED.filter((field) => !isDeepStrictEqual(operation[field], known[field])).map(
    (field) =>
      `${operation.operationId}: ${field} is ${JSON.stringify(operation[field])} in the journal and ${JSON.stringify(known[field])} at control`,
  );
}

/** Each explanation must end where its record is, and tell of each effect that the record has. */
async function explanationProblems(
  journal: readonly Operation[],
  sidecar: SidecarClient,
): Promise<string[]> {
  const problems: string[] = [];
  const waiting = [...journal];
  const explain = async (): Promise<void> => {
    for (let operation = waiting.pop(); operation !== undefined; operation = waiting.pop()) {
      const { operationId, state, effects } = operation;
      const { events, summary } = await sidecar.explain(operationId);
      const last = events.at(-1);
      const begun = events.filter(({ kind }) => kind === 'effect_begun').length;
      if (last?.kind !== state)
        problems.push(`${operationId} is ${state} and its story ends with ${last?.kind}`);
      if (begun < effects.length)
        problems.push(`${operationId} has ${effects.length} effects and its story ${begun}`);
      if (summary.length < 3) problems.push(`${operationId} is not explained`);
    }
  };
  await Promise.all(Array.from({ length: EXPLAINED_AT_ONCE }, explain));
  return problems;
}
