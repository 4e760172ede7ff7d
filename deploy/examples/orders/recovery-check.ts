/**
 * The recovery view of a sidecar held against what others know: control, from the entries that were
 * reported to it and from its timeline of revisions, and the target, from its ledger. Pure: nothing of
 * the view is used to say what the view should be.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Operation, Outage, Recovery, Refusal } from '../../../shared/client/index.ts';
import type {
  ReportedOperationDetail,
  ReportedOutage,
  ReportedRefusal,
} from '../../../shared/wire/control-api.ts';
import type { LedgerEntry } from './payment-target.ts';

/** The lists whole, as the sidecar tells them. */
export type Told = {
  readonly outage: Outage;
  readonly tally: Recovery['tally'];
  readonly acceptedBefore: readonly Operation[];
  readonly continued: readonly Operation[];
  readonly stopped: readonly Operation[];
  readonly refused: readonly Refusal[];
  readonly needsReconciliation: readonly Operation[];
};

/** Of the same host. */
export type Known = {
  readonly outages: readonly (ReportedOutage & { hostName?: string; seenBy?: string })[];
  readonly operations: readonly ReportedOperationDetail[];
  readonly refusals: readonly ReportedRefusal[];
  readonly revisions: readonly {
    readonly policyRevision: number;
    readonly publishedAtMs: number;
  }[];
  /** `null` where there is no target. */
  readonly ledger: readonly LedgerEntry[] | null;
};

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
  'leaseEpoch',
  'outageId',
  'admittedAtMs',
  'attempt',
  'effects',
  'outcome',
] as const;

const ENDED = /^(succeeded|failed|cancelled|expired|unknown)$/;
const GOT_ON = /^(attempt_started|effect_begun|effect_settled|checkpoint_saved|succeeded|failed)$/;
const STOPPED = /^(paused|cancelled|expired)$/;

/** A sentence for each thing that is wrong, which names the list and the entry. */
export function recoveryProblems(told: Told, known: Known): string[] {
  const { outage } = told;
  const span = { from: outage.openedSeq ?? 0, to: outage.closedSeq ?? Number.MAX_SAFE_INTEGER };
  const lists = expectedLists(known.operations, span);
  return [
    ...outageProblems(outage, known),
    ...listProblems('accepted before', told.acceptedBefore, lists.acceptedBefore, known),
    ...listProblems('continued', told.continued, lists.continued, known),
    ...listProblems('stopped', told.stopped, lists.stopped, known),
    ...listProblems('needs reconciliation', told.needsReconciliation, lists.unknown, known),
    ...refusalProblems(told, known),
    ...tallyProblems(told),
  ];
}

type Lists = Record<'acceptedBefore' | 'continued' | 'stopped' | 'unknown', readonly string[]>;

/** By what was reported of each operation, entry by entry. */
function expectedLists(
  operations: readonly ReportedOperationDetail[],
  { from, to }: { readonly from: number; readonly to: number },
): Lists {
  const idsOf = (is: (operation: ReportedOperationDetail) => boolean): string[] =>
    operations.filter(is).map(({ operationId }) => operationId);
  const isWithin = (seq: number): boolean => seq > from && seq < to;
  const has = ({ events }: ReportedOperationDetail, kinds: RegExp): boolean =>
    events.some(({ seq, kind }) => isWithin(seq) && kinds.test(kind));
  const isUnfinished = ({ events }: ReportedOperationDetail): boolean =>
    events.some(({ seq, kind }) => seq < from && kind === 'admitted') &&
    !events.some(({ seq, kind }) => seq < from && ENDED.test(kind));
  return {
    acceptedBefore: idsOf(isUnfinished),
    continued: idsOf(
      (operation) =>
        has(operation, /^admitted$/) || (isUnfinished(operation) && has(operation, GOT_ON)),
    ),
    stopped: idsOf((operation) => has(operation, STOPPED)),
    unknown: idsOf(({ state }) => state === 'unknown'),
  };
}

function outageProblems(outage: Outage, { outages }: Known): string[] {
  const reported = outages.find(({ outageId }) => outageId === outage.outageId);
  if (reported === undefined) return [`outage ${outage.outageId} is not known to control`];
  // Beside it control says whose it is, and who saw it.
  const { hostId: _host, hostName: _name, seenBy: _seer, ...same } = reported;
  return isDeepStrictEqual(same, outage)
    ? []
    : [`outage ${outage.outageId} is ${text(outage)} here and ${text(same)} at control`];
}

function listProblems(
  list: string,
  told: readonly Operation[],
  expected: readonly string[],
  known: Known,
): string[] {
  const ids = told.map(({ operationId }) => operationId);
  const listed = new Set(ids);
  const wanted = new Set(expected);
  const byId = new Map(known.operations.map((operation) => [operation.operationId, operation]));
  return [
    ...(listed.size < ids.length ? [`${list}: an entry is listed twice`] : []),
    ...expected.filter((id) => !listed.has(id)).map((id) => `${list}: ${id} is missing`),
    ...told.flatMap((operation) => {
      const { operationId } = operation;
      const reported = byId.get(operationId);
      if (reported === undefined) return [`${list}: ${operationId} is not known to control`];
      if (!wanted.has(operationId))
        return [`${list}: ${operationId} does not belong there, by what control was reported`];
      return [
        ...differences(operation, reported),
        ...revisionProblems(operation, known),
        ...ledgerProblems(operation, known.ledger),
      ].map((problem) => `${list}: ${operationId} ${problem}`);
    }),
  ];
}

function differences(operation: Operation, reported: ReportedOperationDetail): string[] {
  return COMPARED.filter((field) => !isDeepStrictEqual(operation[field], reported[field])).map(
    (field) =>
      `has ${field} ${text(operation[field])} here and ${text(reported[field])} at control`,
  );
}

/** It was decided under a revision that there was by then. */
function revisionProblems(operation: Operation, { revisions }: Known): string[] {
  const { policyRevision, admittedAtMs } = operation;
  const published = revisions.find((each) => each.policyRevision === policyRevision);
  if (published === undefined)
    return [`was decided under revision ${policyRevision}, which control never published`];
  return published.publishedAtMs <= admittedAtMs
    ? []
    : [`was decided under revision ${policyRevision} before control published it`];
}

/** What succeeded was done once, what nobody knows at most once, and nothing else was done. */
function ledgerProblems(operation: Operation, ledger: Known['ledger']): string[] {
  if (ledger === null) return [];
  const { operationId, state } = operation;
  const entries = ledger.filter((entry) => entry.operationId === operationId).length;
  const [least, most] = state === 'succeeded' ? [1, 1] : state === 'unknown' ? [0, 1] : [0, 0];
  return entries >= least && entries <= most
    ? []
    : [`is ${state} and the ledger has ${entries} entries of it`];
}

const EFFECTS: Readonly<Record<string, string>> = {
  capture: 'charge',
  refund: 'refund',
  notify: 'send',
  delete: 'delete',
};

function refusalProblems(
  { outage, refused }: Told,
  { refusals, ledger }: Pick<Known, 'refusals' | 'ledger'>,
): string[] {
  const listed = new Set(refused.map(({ refusalId }) => refusalId));
  const byId = new Map(refusals.map((refusal) => [refusal.refusalId, refusal]));
  // One that was on its way to the journal when the outage was closed names it, and comes after it.
  const isOf = ({ outageId, atMs }: Refusal): boolean =>
    outageId === outage.outageId && atMs < (outage.toMs ?? Number.MAX_SAFE_INTEGER);
  return [
    ...refusals
      .filter((refusal) => isOf(refusal) && !listed.has(refusal.refusalId))
      .map(({ refusalId }) => `refused: ${refusalId} is missing`),
    ...refused.flatMap((refusal) => {
      const { refusalId, idempotencyKey, atMs } = refusal;
      const known = byId.get(refusalId);
      if (known === undefined) return [`refused: ${refusalId} is not known to control`];
      const { hostId: _, ...same } = known;
      const [kind = '', order] = idempotencyKey.split('.');
      const done = (ledger ?? []).some(
        (entry) => entry.order === order && entry.effect === EFFECTS[kind] && entry.atMs < atMs,
      );
      return [
        ...(isDeepStrictEqual(same, refusal)
          ? []
          : [`refused: ${refusalId} is ${text(refusal)} here and ${text(same)} at control`]),
        ...(done ? [`refused: ${refusalId} had been done: the ledger has ${idempotencyKey}`] : []),
      ];
    }),
  ];
}

function tallyProblems({ tally, ...told }: Told): string[] {
  const requests = told.refused.reduce((sum, { count = 1 }) => sum + count, 0);
  const counts: [string, number, number][] = [
    ['accepted before', tally.acceptedBefore, told.acceptedBefore.length],
    ['continued', tally.advancedDuring + tally.admittedDuring, told.continued.length],
    ['stopped', tally.stoppedDuring, told.stopped.length],
    ['refused', tally.refusedDuring, requests],
    ['needs reconciliation', tally.needsReconciliation, told.needsReconciliation.length],
  ];
  return counts.flatMap(([list, counted, listed]) =>
    counted === listed ? [] : [`${list}: ${counted} are counted and ${listed} are listed`],
  );
}

const text = (value: unknown): string => JSON.stringify(value) ?? 'nothing';
