/** What an admission puts into the journal, and the record that it stands for. */
import { assert } from '../../shared/core/assert.ts';
import { UNSAID, admittedFacts, type AdmittedEntry } from '../../shared/core/admission.ts';
import { LEFT_TO_A_PERSON } from '../../shared/core/on-unknown.ts';
import type { TraceContext } from '../../shared/core/trace-context.ts';
import type { Instant } from '../../shared/core/time.ts';
import type { Admission, AdmitRequest } from '../../shared/wire/operation.ts';
import type { Admissible, Plan } from './admission.ts';
import { askFor } from './approval-use.ts';
import type { StoredOperation } from './operation-record.ts';

export type Admitter = {
  readonly hostId: string;
  readonly app: string;
  readonly idempotencyKey: string;
  readonly fingerprint: string;
  /** The operation that it is to undo. */
  readonly compensates?: string | undefined;
  /** Of the approval that it will wait for, where its rule asks for one. */
  readonly approvalRequestId?: string;
  /** Of the request, or of the span that was made for it. */
  readonly trace?: TraceContext | null;
};

/** A4. */
export function newAdmission(
  by: Admitter,
  request: AdmitRequest,
  plan: Plan & { kind: 'decided' },
  admissible: Admissible,
  now: Instant,
): Admission {
  const { decision, terms, basis } = plan;
  const { deadlineMs } = admissible;
  const { resource } = request;
  const deadline = {
    deadlineAtMs: now.wallMs + deadlineMs,
    deadlineBoot: { bootId: now.bootId, bootMs: now.bootMs + deadlineMs },
  };
  const { approval } = terms;
  const requestId = by.approvalRequestId ?? '';
  assert(approval === null || requestId !== '', 'a request for an approval has an id');
  return {
    hostId: by.hostId,
    app: by.app,
    idempotencyKey: by.idempotencyKey,
    fingerprint: by.fingerprint,
    principal: request.principal,
    action: request.action,
    resource: { id: resource?.id ?? '', attributes: resource?.attributes ?? {} },
    policyRevision: basis.policyRevision,
    rule: decision.rule ?? '',
    basis: basis.basis,
    stalenessMs: basis.stalenessMs,
    effectTerms: terms.effects,
    ...deadline,
    ...(approval === null ? {} : { approval: askFor(approval, { requestId, now, deadline }) }),
    ...optionalFacts(request, plan, admissible),
    ...(by.compensates === undefined ? {} : { compensates: by.compensates }),
    ...by.trace,
  };
}

/** What is as it mostly is goes unsaid: it would be on disk once for each operation. */
function optionalFacts(
  { attributes }: AdmitRequest,
  { decision, terms }: Plan & { kind: 'decided' },
  { ownership }: Admissible,
): Partial<Admission> {
  const facts: { -readonly [Name in keyof Admission]?: Admission[Name] } = {};
  if (attributes !== undefined) facts.attributes = attributes;
  if (decision.leaseResource !== null) facts.leaseResource = decision.leaseResource;
  if (ownership !== null) facts.leaseEpoch = ownership.epoch;
  if (ownership?.inGrace === true) facts.leaseInGrace = true;
  if (decision.warnings.length > 0) facts.warnings = [...decision.warnings];
  if (terms.onControlLoss !== UNSAID.onControlLoss) facts.onControlLoss = terms.onControlLoss;
  if (terms.onWorkerLoss !== UNSAID.onWorkerLoss) facts.onWorkerLoss = terms.onWorkerLoss;
  if (terms.onRevoke !== UNSAID.onRevoke) facts.onRevoke = terms.onRevoke;
  if (terms.recheck !== UNSAID.recheck) facts.recheck = terms.recheck;
  // A control of before there were strategies says none.
  const onUnknown = terms.onUnknown ?? LEFT_TO_A_PERSON;
  if (onUnknown.strategy !== 'human') facts.onUnknown = onUnknown;
  if (terms.heartbeatTimeoutMs !== UNSAID.heartbeatTimeoutMs)
    facts.heartbeatTimeoutMs = terms.heartbeatTimeoutMs;
  if (terms.ownership !== null) facts.ownershipMode = terms.ownership.mode;
  const graceMs = terms.ownership?.graceMs ?? UNSAID.ownershipGraceMs;
  if (graceMs !== UNSAID.ownershipGraceMs) facts.ownershipGraceMs = graceMs;
  return facts;
}

/** The record of an operation that nothing has befallen since. */
export function storedAsAdmitted(admission: Admission, entry: AdmittedEntry): StoredOperation {
  return Object.assign(admittedFacts(admission, entry), { effects: [], attemptKeys: [] });
}
