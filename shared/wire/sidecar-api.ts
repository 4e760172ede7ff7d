/** Bodies of the sidecar's HTTP API. */
import Type, { type Static } from 'typebox';
import { count, epoch, leftMs, wallMs } from './numbers.ts';
import { DecisionTraceSchema } from './decision-trace.ts';
import {
  AdmitRequestSchema,
  BasisSchema,
  EffectSchema,
  JournalEventSchema,
  OperationSchema,
  OperationStateSchema,
  OutageSchema,
  traceFields,
} from './operation.ts';
import { ProblemSchema } from './problem.ts';
import { ResourceSchema } from './statements.ts';

const closed = { additionalProperties: false } as const;
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export { REQUEST_HEADER } from './request-header.ts';
export const IDEMPOTENCY_KEY_PATTERN = '^[\\x21-\\x7e]{1,200}$';

export const RESULT_BYTES_MAX = 32 * 1024;

export const BATCH_ITEMS_MAX = 1_000;

/** What is sent as header and body of one admission. */
export const BatchItemSchema = Type.Object(
  {
    idempotencyKey: Type.String({
      pattern: '^[\\x21\\x23-\\x2b\\x2d-\\x5b\\x5d-\\x7e]{1,200}$',
      description: '1 to 200 printable characters without spaces, quotes, commas or backslashes',
    }),
    ...AdmitRequestSchema.properties,
  },
  { ...closed, $id: 'BatchItem' },
);
export type BatchItem = Static<typeof BatchItemSchema>;

const admitted = OperationSchema.properties;
export const BatchVerdictSchema = Type.Object(
  {
    index: count({ description: 'place of the item in the batch, from 0' }),
    status: Type.Integer({
      minimum: 200,
      maximum: 599,
      description:
        'as one admission by itself is answered: 201 admitted, 200 replayed, 202 waiting for an approval, or an error',
    }),
    idempotencyKey: nullable(Type.String({ description: 'null where the item has none' })),
    operationId: nullable(Type.String()),
    replayed: Type.Optional(Type.Boolean()),
    state: Type.Optional(OperationStateSchema),
    policyRevision: Type.Optional(admitted.policyRevision),
    rule: Type.Optional(admitted.rule),
    basis: Type.Optional(admitted.basis),
    leaseEpoch: Type.Optional(admitted.leaseEpoch),
    deadlineAtMs: Type.Optional(admitted.deadlineAtMs),
    problem: Type.Optional(ProblemSchema),
  },
  { $id: 'BatchVerdict' },
);
export type BatchVerdict = Static<typeof BatchVerdictSchema>;

export const BatchVerdictsSchema = Type.Object(
  { items: Type.Array(BatchVerdictSchema, { description: 'in the order of the items' }) },
  { $id: 'BatchVerdicts' },
);

export const OperationQuerySchema = Type.Object(
  {
    wait: Type.Optional(
      Type.String({
        maxLength: 20,
        description: 'how long the answer may wait for what `until` says, as 50s; at most 60s',
      }),
    ),
    until: Type.Optional(
      Type.Enum(['decided', 'ended'], {
        description: 'decided (default): it waits for no approval any more; ended: nothing follows',
      }),
    ),
  },
  closed,
);

export const StartAttemptRequestSchema = Type.Object(
  {
    supersede: Type.Optional(
      Type.Boolean({
        description:
          'the caller asserts that the executing attempt is gone; it becomes stale at once',
      }),
    ),
  },
  { ...closed, $id: 'StartAttemptRequest' },
);

export const AttemptSchema = Type.Object(
  {
    operationId: Type.String(),
    attempt: count(),
    deadlineAtMs: wallMs(),
    remainingMs: leftMs(),
    heartbeatTimeoutMs: count(),
    heartbeatIntervalMs: count({
      description: 'say so often that the worker lives: two may be lost on the way',
    }),
    leaseResource: nullable(Type.String()),
    leaseEpoch: nullable(epoch({ description: 'the fencing token to send to the target' })),
    leaseInGrace: Type.Boolean(),
    checkpoint: Type.Unknown(),
    effects: Type.Array(EffectSchema),
    policyRevision: count(),
    rule: Type.String(),
    ...traceFields,
  },
  { $id: 'Attempt' },
);
export type Attempt = Static<typeof AttemptSchema>;

export const HeartbeatRequestSchema = Type.Object(
  { checkpoint: Type.Optional(Type.Unknown({ description: 'saved durably before the answer' })) },
  { ...closed, $id: 'HeartbeatRequest' },
);
export const HeartbeatSchema = Type.Object(
  {
    operationId: Type.String(),
    attempt: count(),
    remainingMs: leftMs(),
    leaseDraining: Type.Boolean({
      description:
        'the lease is being handed over: end the work, or save a checkpoint and report an outcome',
    }),
    leaseDrainRemainingMs: nullable(
      count({ description: 'until control gives the hand-over up, or takes the lease' }),
    ),
    leaseLost: Type.Boolean({
      description:
        'the lease under which the attempt began is gone, or at another epoch: begin nothing more',
    }),
  },
  { $id: 'Heartbeat' },
);
export type Heartbeat = Static<typeof HeartbeatSchema>;

export const EffectAnswerSchema = Type.Object(
  {
    operationId: Type.String(),
    attempt: count(),
    effect: EffectSchema,
    replayed: Type.Boolean({
      description: 'true: the recorded result is returned; do not run the effect again',
    }),
    leaseEpoch: nullable(epoch({ description: 'the fencing token to send to the target' })),
    idempotencyKey: Type.String({
      description: 'a stable key for the target, the same for every try of this effect',
    }),
  },
  { $id: 'EffectAnswer' },
);
export type EffectAnswer = Static<typeof EffectAnswerSchema>;

export const EffectResultRequestSchema = Type.Object(
  { outcome: Type.Enum(['succeeded', 'failed', 'unknown']), result: Type.Optional(Type.Unknown()) },
  { ...closed, $id: 'EffectResultRequest' },
);

export const OutcomeRequestSchema = Type.Object(
  {
    outcome: Type.Enum(['succeeded', 'failed', 'unknown']),
    result: Type.Optional(Type.Unknown()),
    reason: Type.Optional(Type.String({ minLength: 1, maxLength: 1_000 })),
  },
  { ...closed, $id: 'OutcomeRequest' },
);

export const CancelRequestSchema = Type.Object(
  { reason: Type.Optional(Type.String({ minLength: 1, maxLength: 1_000 })) },
  { ...closed, $id: 'CancelRequest' },
);

export const ResolveRequestSchema = Type.Object(
  {
    outcome: Type.Enum(['succeeded', 'failed']),
    provenance: Type.Enum(['verified', 'asserted', 'assumed']),
    reason: Type.String({ minLength: 1, maxLength: 1_000 }),
    result: Type.Optional(Type.Unknown()),
  },
  { ...closed, $id: 'ResolveRequest' },
);

export const OperationsQuerySchema = Type.Object(
  {
    state: Type.Optional(OperationStateSchema),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 100 })),
    cursor: Type.Optional(Type.String({ maxLength: 200 })),
  },
  closed,
);

export const ExplanationSchema = Type.Object(
  {
    summary: Type.Array(Type.String(), { description: 'sentences, in order' }),
    operation: OperationSchema,
    events: Type.Array(JournalEventSchema),
    outage: nullable(OutageSchema),
    decision: nullable(
      Type.Object({
        trace: DecisionTraceSchema,
        agrees: Type.Boolean({ description: 'made again, it is what was recorded' }),
      }),
    ),
    decisionMissing: nullable(
      Type.Object({ reason: Type.Literal('policy_gone'), detail: Type.String() }),
    ),
    freshness: Type.Object({
      basis: BasisSchema,
      stalenessMs: count({ description: 'age of the authority at admission' }),
      maxStalenessMs: nullable(count({ description: 'null where the revision is gone' })),
      provenBy: Type.Enum(['sync', 'question']),
      provenAtMs: wallMs({ description: 'when that was sent, on the wall clock of the host' }),
    }),
  },
  { $id: 'Explanation' },
);
export type Explanation = Static<typeof ExplanationSchema>;

export const FenceCheckRequestSchema = Type.Object(
  {
    epoch: Type.Optional(
      count({ minimum: 1, description: 'the fencing token presented; 428 where it is missing' }),
    ),
  },
  { ...closed, $id: 'FenceCheckRequest' },
);
export const FenceSchema = Type.Object(
  { resource: ResourceSchema, highestEpoch: epoch(), accepted: Type.Boolean() },
  { $id: 'Fence' },
);
export type Fence = Static<typeof FenceSchema>;

export const HeldLeaseSchema = Type.Object(
  {
    resource: ResourceSchema,
    state: Type.Enum(['held', 'draining', 'ended', 'wanted']),
    epoch: nullable(epoch()),
    remainingMs: leftMs({ description: 'until this host stops acting as owner (strict)' }),
    reason: nullable(Type.String({ description: 'why it is not held, as control last said' })),
    holder: nullable(Type.String({ description: 'the host that holds it, where control said so' })),
  },
  { $id: 'HeldLease' },
);
export type HeldLeaseView = Static<typeof HeldLeaseSchema>;

export const SidecarLeaseTokenSchema = Type.Object(
  {
    resource: ResourceSchema,
    epoch: epoch(),
    token: Type.String({ description: 'a JWS of control, typ holdfast-lease+jws' }),
  },
  { $id: 'LeaseToken' },
);
export type SidecarLeaseToken = Static<typeof SidecarLeaseTokenSchema>;

export const LeaseActionQuerySchema = Type.Object(
  {
    wait: Type.Optional(
      Type.String({ description: 'how long to wait for control, as 5s; at most 30s' }),
    ),
  },
  closed,
);

/** What ends the admission of an action once control is lost. */
const BudgetEndSchema = Type.Enum([
  'revoked',
  'freshness',
  'approval',
  'max_staleness',
  'allotment',
  'quota_window',
  'lease',
  'policy_absent',
]);

export const OutageBudgetSchema = Type.Object(
  {
    atMs: wallMs(),
    policyRevision: nullable(count()),
    stalenessMs: nullable(count()),
    items: Type.Array(
      Type.Object({
        rule: Type.String(),
        actions: Type.Array(Type.String()),
        admissionMs: leftMs({
          description: 'how long from now new work is admitted if control is lost this instant',
        }),
        limitedBy: BudgetEndSchema,
        onControlLoss: Type.Enum(['finish', 'pause', 'abort']),
      }),
    ),
    actions: Type.Array(
      Type.Object({
        action: Type.String({ description: 'an action, or a pattern of actions, of the policy' }),
        rule: Type.String({ description: 'the rule that ends first, of those that may decide it' }),
        admissionMs: leftMs({
          description: 'until the first part of what is admitted now is refused',
        }),
        endedBy: BudgetEndSchema,
        detail: Type.String(),
        onControlLoss: Type.Enum(['finish', 'pause', 'abort']),
        finishMs: nullable(
          leftMs({ description: 'how long accepted work goes on; null: to its own deadline' }),
        ),
        finishEndedBy: Type.Enum(['deadline', 'on_control_loss', 'lease', 'recheck']),
      }),
    ),
    config: Type.Array(
      Type.Object({
        key: Type.String(),
        servedMs: leftMs({ description: 'how long the value is served as good' }),
        onExpiry: Type.Enum(['default', 'error', 'last']),
      }),
    ),
  },
  { $id: 'OutageBudget' },
);
export type OutageBudget = Static<typeof OutageBudgetSchema>;

export const SidecarStatusSchema = Type.Object(
  {
    hostId: nullable(Type.String()),
    hostName: Type.String(),
    version: Type.String(),
    control: Type.Object({
      url: Type.String(),
      state: Type.Enum(['starting', 'connected', 'disconnected', 'refused']),
      lastAttemptMs: nullable(wallMs()),
      lastSuccessMs: nullable(wallMs()),
      lastError: nullable(Type.String()),
      outage: nullable(OutageSchema),
    }),
    policy: Type.Object({
      activeRevision: nullable(count()),
      digest: nullable(Type.String()),
      activatedAtMs: nullable(wallMs()),
      stalenessMs: nullable(count()),
      rejected: nullable(Type.Object({ policyRevision: count(), reason: Type.String() })),
    }),
    leases: Type.Object({ held: count(), wanted: count() }),
    journal: Type.Object({
      seq: count(),
      hash: Type.String(),
      ackedSeq: count(),
      operations: Type.Record(Type.String(), count()),
    }),
  },
  { $id: 'SidecarStatus' },
);
export type SidecarStatus = Static<typeof SidecarStatusSchema>;
