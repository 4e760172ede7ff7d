/** Operations as both planes and every client see them. */
import Type, { type Static } from 'typebox';
import { ApprovalAskedSchema, OperationApprovalSchema } from './approval.ts';
import { LimitStateSchema } from './limits.ts';
import { count, epoch, wallMs } from './numbers.ts';
import { ActionSchema, DecisionInputSchema, PrincipalSchema } from './policy-document.ts';
import { OnUnknownSchema, ReconciliationSchema, resolutionFacts } from './reconciliation.ts';

const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const OPERATION_STATES = [
  'awaiting_approval',
  'accepted',
  'executing',
  'paused',
  'succeeded',
  'failed',
  'cancelled',
  'expired',
  'unknown',
] as const;
export const OperationStateSchema = Type.Enum([...OPERATION_STATES]);
export type OperationState = (typeof OPERATION_STATES)[number];

/** How an outcome is known. */
export const ProvenanceSchema = Type.Enum(['observed', 'asserted', 'verified', 'assumed']);
export type Provenance = 'observed' | 'asserted' | 'verified' | 'assumed';

export const EffectNameSchema = Type.String({ pattern: '^[a-z][a-zA-Z0-9_-]{0,63}$' });

export const EffectSchema = Type.Object(
  {
    name: EffectNameSchema,
    state: Type.Enum(['begun', 'succeeded', 'failed', 'unknown']),
    attempt: count(),
    idempotent: Type.Boolean(),
    fencing: Type.Enum(['enforced', 'dispatch', 'none']),
    leaseEpoch: nullable(epoch()),
    begunAtMs: wallMs(),
    settledAtMs: nullable(wallMs()),
    result: Type.Unknown(),
  },
  { $id: 'Effect' },
);
export type Effect = Static<typeof EffectSchema>;

export const OutcomeSchema = Type.Object(
  {
    outcome: Type.Enum(['succeeded', 'failed', 'unknown']),
    provenance: ProvenanceSchema,
    result: Type.Unknown(),
    reason: nullable(Type.String()),
    attempt: count(),
    atMs: wallMs(),
    late: Type.Boolean({ description: 'reported after the operation had become unknown' }),
    ownership: Type.Optional(
      Type.Enum(['held', 'in_grace', 'lost'], {
        description:
          'whether the host still held the lease of the attempt, at its epoch, when the outcome was recorded; absent where no lease was needed',
      }),
    ),
    ...resolutionFacts,
  },
  { $id: 'Outcome' },
);
export type Outcome = Static<typeof OutcomeSchema>;

/**
 * `fresh`: control decided it for this request. `cached`: decided here under authority already
 * held.
 */
export const BasisSchema = Type.Enum(['fresh', 'cached']);

/** W3C trace context; absent where the app sent none. */
export const traceFields = {
  traceparent: Type.Optional(
    Type.String({ maxLength: 55, description: 'W3C trace context, for whoever goes on with it' }),
  ),
  tracestate: Type.Optional(Type.String({ maxLength: 512 })),
};

export const OperationSchema = Type.Object(
  {
    operationId: Type.String(),
    hostId: Type.String(),
    app: Type.String({ description: 'the calling app; idempotency keys are scoped to it' }),
    idempotencyKey: Type.String(),
    fingerprint: Type.String({ description: 'SHA-256 of the canonical payload (RFC 8785), hex' }),
    principal: PrincipalSchema,
    action: ActionSchema,
    resource: Type.Object({
      id: Type.String(),
      attributes: Type.Record(Type.String(), Type.Unknown()),
    }),
    attributes: Type.Record(Type.String(), Type.Unknown()),

    state: OperationStateSchema,
    reason: nullable(Type.String({ description: 'why it is in this state' })),

    policyRevision: count(),
    rule: Type.String(),
    basis: BasisSchema,
    stalenessMs: count({ description: 'age of the authority at admission' }),
    leaseResource: nullable(Type.String()),
    leaseEpoch: nullable(epoch({ description: 'fencing token at admission' })),
    leaseInGrace: Type.Boolean(),
    outageId: nullable(Type.String({ description: 'the outage that was open at admission' })),
    warnings: Type.Array(Type.String()),

    onControlLoss: Type.Enum(['finish', 'pause', 'abort']),
    onWorkerLoss: Type.Enum(['retry', 'unknown', 'fail']),
    onRevoke: Type.Enum(['abort', 'finish', 'pause'], {
      description: 'what becomes of it when control withdraws the authority of its host',
    }),
    recheck: nullable(
      Type.Enum(['commit'], { description: 'control is asked again before each effect begins' }),
    ),
    /** Left out where the rule asks for none. */
    approval: Type.Optional(OperationApprovalSchema),
    heartbeatTimeoutMs: count(),
    ownershipMode: nullable(Type.Enum(['strict', 'fenced'])),
    ownershipGraceMs: count(),
    effectTerms: Type.Record(
      Type.String(),
      Type.Object({
        idempotent: Type.Boolean(),
        fencing: Type.Enum(['enforced', 'dispatch', 'none']),
      }),
    ),

    admittedAtMs: wallMs(),
    deadlineAtMs: wallMs(),
    updatedAtMs: wallMs(),
    settledAtMs: nullable(wallMs()),

    attempt: count({ description: 'number of the newest attempt; 0 before the first' }),
    attemptStartedAtMs: nullable(wallMs()),
    attemptLeaseEpoch: nullable(epoch({ description: 'fencing token of the newest attempt' })),
    effects: Type.Array(EffectSchema),
    checkpoint: Type.Unknown(),
    outcome: nullable(OutcomeSchema),

    onUnknown: Type.Optional({
      ...OnUnknownSchema,
      description: 'what is done where its outcome is unknown; absent: a person settles it',
    }),
    compensates: Type.Optional(
      Type.String({ description: 'the operation that this one is to undo' }),
    ),
    reconciliation: Type.Optional({
      ...ReconciliationSchema,
      description: 'where its outcome is unknown, or was',
    }),
    ...traceFields,
  },
  { $id: 'Operation', description: 'The durable record of one operation' },
);
export type Operation = Static<typeof OperationSchema>;

const facts = OperationSchema.properties;
/**
 * Body of an `admitted` entry. What is left out is as `admittedOperation` fills it in; the id, the
 * time and the outage are those of the entry.
 */
export const AdmissionSchema = Type.Object(
  {
    hostId: facts.hostId,
    app: facts.app,
    idempotencyKey: facts.idempotencyKey,
    fingerprint: facts.fingerprint,
    principal: facts.principal,
    action: facts.action,
    resource: facts.resource,
    attributes: Type.Optional(facts.attributes),
    policyRevision: facts.policyRevision,
    rule: facts.rule,
    basis: facts.basis,
    stalenessMs: facts.stalenessMs,
    leaseResource: Type.Optional(facts.leaseResource),
    leaseEpoch: Type.Optional(facts.leaseEpoch),
    leaseInGrace: Type.Optional(facts.leaseInGrace),
    warnings: Type.Optional(facts.warnings),
    onControlLoss: Type.Optional(facts.onControlLoss),
    onWorkerLoss: Type.Optional(facts.onWorkerLoss),
    onRevoke: Type.Optional(facts.onRevoke),
    recheck: Type.Optional(facts.recheck),
    onUnknown: facts.onUnknown,
    compensates: facts.compensates,
    approval: Type.Optional({
      ...ApprovalAskedSchema,
      description: 'what it waits for before it is accepted',
    }),
    heartbeatTimeoutMs: Type.Optional(facts.heartbeatTimeoutMs),
    ownershipMode: Type.Optional(facts.ownershipMode),
    ownershipGraceMs: Type.Optional(facts.ownershipGraceMs),
    effectTerms: facts.effectTerms,
    deadlineAtMs: facts.deadlineAtMs,
    deadlineBoot: Type.Object(
      { bootId: Type.String(), bootMs: Type.Number() },
      { description: 'the deadline on the boot clock of the host, for the host alone' },
    ),
    ...traceFields,
  },
  { $id: 'Admission' },
);
export type Admission = Static<typeof AdmissionSchema>;

export const AdmitRequestSchema = Type.Object(
  {
    ...DecisionInputSchema.properties,
    deadlineMs: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 30 * 86_400_000,
        description: 'time to live from admission; default and bound come from the rule',
      }),
    ),
  },
  { additionalProperties: false, $id: 'AdmitRequest' },
);
export type AdmitRequest = Static<typeof AdmitRequestSchema>;

/** A refusal is a record too; it never binds the idempotency key. */
export const RefusalSchema = Type.Object(
  {
    refusalId: Type.String(),
    app: Type.String(),
    idempotencyKey: Type.String(),
    principal: PrincipalSchema,
    action: ActionSchema,
    resourceId: Type.String(),
    resourceAttributes: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    attributes: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description:
          'with `resourceAttributes` what was decided on; both are left out where they are large',
      }),
    ),
    reason: Type.String({ description: 'an error code' }),
    message: Type.String(),
    policyRevision: nullable(count()),
    rule: nullable(Type.String()),
    basis: nullable(BasisSchema),
    stalenessMs: nullable(count()),
    leaseEpoch: nullable(epoch()),
    outageId: nullable(Type.String()),
    atMs: wallMs(),
    atBoot: Type.Optional(
      Type.Object(
        { bootId: Type.String(), bootMs: Type.Number() },
        { description: 'the same moment on the boot clock of the host' },
      ),
    ),
    limit: Type.Optional({
      ...LimitStateSchema,
      description: 'the limit that refused it, as it was then',
    }),
    count: Type.Optional(
      count({
        minimum: 1,
        description:
          'it stands for so many of this rule and reason within a second, itself the last; 1 where it is not said',
      }),
    ),
    traceId: Type.Optional(
      Type.String({ maxLength: 32, description: 'of the request, if it had one' }),
    ),
  },
  { $id: 'Refusal' },
);
export type Refusal = Static<typeof RefusalSchema>;

export const EVENT_KINDS = [
  'admitted',
  'refused',
  'attempt_started',
  'effect_begun',
  'effect_refused',
  'effect_settled',
  'checkpoint_saved',
  'worker_lost',
  'approval_waiting',
  'approval_asked',
  'approved',
  'approval_refused',
  'paused',
  'resumed',
  'succeeded',
  'failed',
  'cancelled',
  'expired',
  'unknown',
  'reconciliation_try_begun',
  'reconciliation_try_ended',
  'reconciliation_left_to_person',
  'reconciliation_claimed',
  'reconciliation_released',
  'compensation_admitted',
  'retried',
  'fence_advanced',
  'register_written',
  'register_deleted',
  'outage_opened',
  'outage_changed',
  'outage_closed',
  'policy_activated',
  'policy_rejected',
  'resume_ordered',
] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

/**
 * One entry of a host's journal, as it is chained on disk and reported upwards. `hash` is the
 * SHA-256 of `previousHash`, `seq`, `atMs`, `kind`, `operationId`, `outageId` (the last two empty
 * where null) and the text of `body` as it stands in the entry, in this order, with a newline
 * between; the first entry follows 64 zeros.
 *
 * Bodies: `admitted` has the `Admission`, `refused` has `{ refusal: Refusal }`; every
 * other event of an operation has `{ state, reason, attempt }` after it, and `effect`, `outcome`,
 * `checkpoint` or `effects` where they changed; `effect_begun` has `recheck` and
 * `effect_refused` has `refusal` where control was asked again; what changes a reconciliation has
 * `reconciliation`; what changes or ends the wait for an approval has `approval`, and the `statement`
 * of control that did; all of them have `traceId` where the operation
 * has a trace; outage events have `{ outage: Outage }`.
 */
export const JournalEventSchema = Type.Object(
  {
    seq: count({ minimum: 1 }),
    atMs: wallMs(),
    kind: Type.Enum([...EVENT_KINDS]),
    operationId: nullable(Type.String()),
    outageId: nullable(Type.String()),
    body: Type.Record(Type.String(), Type.Unknown()),
    previousHash: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    hash: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  },
  { $id: 'JournalEvent', additionalProperties: false },
);
export type JournalEvent = Static<typeof JournalEventSchema>;
export const FIRST_PREVIOUS_HASH = '0'.repeat(64);

/**
 * How control could not be reached. `timeout`: no connection came about in time. `half_open`: it
 * took the connection, and then there was silence. `reset`: it took the connection, and that was cut
 * before the answer was whole.
 */
export const OUTAGE_CAUSES = [
  'refused',
  'timeout',
  'dns',
  'tls',
  'half_open',
  'reset',
  'server_error',
  'bad_answer',
] as const;

const authorityThen = {
  policyRevision: nullable(count({ description: 'revision in force then: the last good one' })),
  stalenessMs: nullable(count({ description: 'age of the authority then; null: not known' })),
};

export const OutageMomentSchema = Type.Object(
  {
    atMs: wallMs(),
    kind: Type.Enum(['opened', 'cause_changed', 'revision_changed', 'restarted'], {
      description: 'restarted: the sidecar, while the outage was open',
    }),
    cause: Type.Enum([...OUTAGE_CAUSES]),
    detail: Type.String(),
    ...authorityThen,
    seq: Type.Optional(count({ description: 'the entry of the journal that says so' })),
  },
  { $id: 'OutageMoment' },
);
export type OutageMoment = Static<typeof OutageMomentSchema>;

/** What happened between the entry that opened an outage and the one that closed it. */
export const OutageTallySchema = Type.Object(
  {
    acceptedBefore: count({ description: 'operations accepted and unfinished when it began' }),
    advanced: count({ description: 'of those, how many got on while it lasted' }),
    admitted: count(),
    executed: count({ description: 'operations that succeeded or failed' }),
    stopped: count({ description: 'operations that were paused, cancelled or expired' }),
    unknown: count({ description: 'operations whose outcome became unknown' }),
    refused: count({ description: 'requests' }),
    refusedByReason: Type.Record(Type.String(), count()),
    refusalRecords: count({ description: 'one may stand for several requests (`count`)' }),
  },
  { $id: 'OutageTally' },
);
export type OutageTally = Static<typeof OutageTallySchema>;

/** What is optional is not in records of earlier builds. */
export const OutageSchema = Type.Object(
  {
    outageId: Type.String(),
    fromMs: wallMs(),
    toMs: nullable(wallMs()),
    cause: Type.Enum([...OUTAGE_CAUSES], { description: 'how it began' }),
    detail: Type.String(),
    ...authorityThen,
    openedSeq: Type.Optional(
      count({ description: 'the entry that opened it: what it did has later ones' }),
    ),
    closedSeq: Type.Optional(count({ description: 'the entry that closed it' })),
    moments: Type.Optional(
      Type.Array(OutageMomentSchema, { description: 'where something changed, in order' }),
    ),
    momentsOmitted: Type.Optional(
      count({ description: 'others before the last, past the bound of what is kept' }),
    ),
    tally: Type.Optional(OutageTallySchema),
  },
  { $id: 'Outage' },
);
export type Outage = Static<typeof OutageSchema>;
export type OutageCause = (typeof OUTAGE_CAUSES)[number];
