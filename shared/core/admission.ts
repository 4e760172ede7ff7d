/**
 * What an admission decided, as a journal keeps it: only what its entry does not say already and
 * what is not the same for every operation that was just admitted. Smaller on disk, and once.
 */
import type { OperationApproval } from '../wire/approval.ts';
import type { Admission, Operation } from '../wire/operation.ts';

/** The columns of the entry that admitted it. */
export type AdmittedEntry = {
  readonly operationId: string;
  readonly atMs: number;
  readonly outageId: string | null;
};

/**
 * What an admission leaves out is this, and no attributes and no warnings. It is part of the form of
 * the journal: what is on disk was written under it, whatever a policy document means by leaving
 * something out.
 */
export const UNSAID = {
  leaseResource: null,
  leaseEpoch: null,
  leaseInGrace: false,
  onControlLoss: 'finish',
  onWorkerLoss: 'unknown',
  onRevoke: 'abort',
  recheck: null,
  heartbeatTimeoutMs: 30_000,
  ownershipMode: null,
  ownershipGraceMs: 0,
} as const satisfies Partial<Operation>;

/** The operation as it was at its admission. */
export function admittedOperation(admission: Admission, entry: AdmittedEntry): Operation {
  const { deadlineBoot: _boot, ...operation } = admittedFacts(admission, entry);
  return operation;
}

/** Most have none of these. */
type Rare = 'approval' | 'onUnknown' | 'compensates' | 'traceparent' | 'tracestate';
type Carried = Required<Omit<Admission, Rare>>;

/**
 * The same, with the deadline on the boot clock: of nobody else, and made at once. Each field is
 * named: an object of so many that are copied is a table, slower to make and much slower to write.
 */
export function admittedFacts(
  admission: Admission,
  { operationId, atMs, outageId }: AdmittedEntry,
): Operation & Pick<Admission, 'deadlineBoot'> {
  const operation: Operation & Carried = {
    operationId,
    hostId: admission.hostId,
    app: admission.app,
    idempotencyKey: admission.idempotencyKey,
    fingerprint: admission.fingerprint,
    principal: admission.principal,
    action: admission.action,
    resource: admission.resource,
    attributes: admission.attributes ?? {},
    state: stateAtAdmission(admission),
    reason: null,
    policyRevision: admission.policyRevision,
    rule: admission.rule,
    basis: admission.basis,
    stalenessMs: admission.stalenessMs,
    leaseResource: admission.leaseResource ?? UNSAID.leaseResource,
    leaseEpoch: admission.leaseEpoch ?? UNSAID.leaseEpoch,
    leaseInGrace: admission.leaseInGrace ?? UNSAID.leaseInGrace,
    outageId,
    warnings: admission.warnings ?? [],
    onControlLoss: admission.onControlLoss ?? UNSAID.onControlLoss,
    onWorkerLoss: admission.onWorkerLoss ?? UNSAID.onWorkerLoss,
    onRevoke: admission.onRevoke ?? UNSAID.onRevoke,
    recheck: admission.recheck ?? UNSAID.recheck,
    heartbeatTimeoutMs: admission.heartbeatTimeoutMs ?? UNSAID.heartbeatTimeoutMs,
    ownershipMode: admission.ownershipMode ?? UNSAID.ownershipMode,
    ownershipGraceMs: admission.ownershipGraceMs ?? UNSAID.ownershipGraceMs,
    effectTerms: admission.effectTerms,
    admittedAtMs: atMs,
    deadlineAtMs: admission.deadlineAtMs,
    deadlineBoot: admission.deadlineBoot,
    updatedAtMs: atMs,
    settledAtMs: null,
    attempt: 0,
    attemptStartedAtMs: null,
    attemptLeaseEpoch: null,
    effects: [],
    checkpoint: null,
    outcome: null,
  };
  const { approval, onUnknown, compensates, traceparent, tracestate } = admission;
  if (approval !== undefined) operation.approval = askedApproval(admission, approval, atMs);
  if (onUnknown !== undefined) operation.onUnknown = onUnknown;
  if (compensates !== undefined) operation.compensates = compensates;
  if (traceparent !== undefined) operation.traceparent = traceparent;
  if (tracestate !== undefined) operation.tracestate = tracestate;
  return operation;
}

/** What needs an approval is not accepted before it has one. */
export function stateAtAdmission({
  approval,
}: Pick<Admission, 'approval'>): 'accepted' | 'awaiting_approval' {
  return approval === undefined ? 'accepted' : 'awaiting_approval';
}

function askedApproval(
  { policyRevision, rule }: Admission,
  asked: NonNullable<Admission['approval']>,
  atMs: number,
): OperationApproval {
  return {
    state: 'pending',
    ...asked,
    policyRevision,
    rule,
    requestedAtMs: atMs,
    sequence: 0,
    decidedUnder: null,
    decidedAtMs: null,
    reason: null,
    votes: [],
    replaces: null,
  };
}
