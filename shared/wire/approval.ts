/**
 * Approvals: what an operation says of the one it waits for, what control signs about it, and what
 * approvers see of it.
 */
import Type, { type Static } from 'typebox';
import { count, epoch, wallMs } from './numbers.ts';
import type { DecisionTrace } from './decision-trace.ts';
import { ActionSchema, PrincipalSchema } from './policy-document.ts';

const closed = { additionalProperties: false } as const;
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const APPROVERS_MAX = 10;
export const APPROVAL_REASON_LENGTH_MAX = 1_000;
/** Characters of JSON; a larger payload is shown as its digest alone. */
export const SHOWN_PAYLOAD_LENGTH_MAX = 16 * 1024;
/** In one answer to a sync: the rest comes with the next. */
export const APPROVAL_STATEMENTS_MAX = 50;

const RequestIdSchema = Type.String({ pattern: '^apr_[a-z0-9]{1,60}$' });
const DigestSchema = Type.String({
  pattern: '^[0-9a-f]{64}$',
  description: 'SHA-256 of the canonical payload (RFC 8785), hex: the fingerprint of the operation',
});
const reasonOf = (description: string) =>
  Type.String({ maxLength: APPROVAL_REASON_LENGTH_MAX, description });

export const ApprovalVoteSchema = Type.Object(
  {
    by: Type.String({ maxLength: 200, description: 'as the audit trail names it: operator:alice' }),
    verdict: Type.Enum(['approve', 'deny']),
    reason: reasonOf('why'),
    atMs: wallMs(),
  },
  { $id: 'ApprovalVote' },
);

const asked = {
  requestId: RequestIdSchema,
  required: count({ minimum: 1, description: 'approvers, all different' }),
  role: Type.String({ maxLength: 100, description: 'that each of them has' }),
  ttlMs: count({ description: 'how long it may be waited for' }),
  onControlLoss: Type.Enum(['wait', 'fail'], {
    description: 'what becomes of the wait while control is away',
  }),
  showPayload: Type.Boolean({ description: 'approvers see the attributes' }),
  expiresAtMs: wallMs({ description: 'of the host: the end of the wait, never past the deadline' }),
};

/** What an admission says of the approval that it needs. */
export const ApprovalAskedSchema = Type.Object(asked);
export type ApprovalAsked = Static<typeof ApprovalAskedSchema>;

/** Where a request for an approval can end; `ended`: the operation ended otherwise meanwhile. */
export const APPROVAL_STATES = [
  'pending',
  'approved',
  'denied',
  'withdrawn',
  'expired',
  'overruled',
  'ended',
] as const;

export const OperationApprovalSchema = Type.Object(
  {
    state: Type.Enum([...APPROVAL_STATES], {
      description:
        'overruled: approved, and the revision in force by then refuses it; ended: the operation ended otherwise before anybody decided',
    }),
    ...asked,
    policyRevision: count({ description: 'whose rule asks for it' }),
    rule: Type.String(),
    requestedAtMs: wallMs(),
    sequence: count({ description: 'of the statement of control that was applied; 0 before' }),
    decidedUnder: nullable(
      count({ description: 'the revision in force here when it was applied' }),
    ),
    decidedAtMs: nullable(wallMs()),
    reason: nullable(Type.String({ description: 'as the last who decided gave it' })),
    votes: Type.Array(ApprovalVoteSchema, { maxItems: APPROVERS_MAX }),
    replaces: nullable(
      Type.String({ description: 'the request before it, which did not suffice any more' }),
    ),
  },
  { $id: 'OperationApproval' },
);
export type OperationApproval = Static<typeof OperationApprovalSchema>;

export const APPROVAL_OUTCOMES = ['approved', 'denied', 'withdrawn'] as const;
export type ApprovalOutcome = (typeof APPROVAL_OUTCOMES)[number];

/**
 * Control's word about one request, for one host. Bound to the host and its epoch, the operation, its
 * digest, and the revision and rule that asked; good once, and only while the host still waits for
 * this very request, by its own clock.
 */
export const ApprovalStatementSchema = Type.Object({
  controlId: Type.String({ maxLength: 100 }),
  hostId: Type.String({ maxLength: 100 }),
  hostEpoch: epoch({ minimum: 1 }),
  requestId: RequestIdSchema,
  operationId: Type.String({ maxLength: 100 }),
  sequence: count({ minimum: 1, description: 'a later word about the same request is higher' }),
  outcome: Type.Enum([...APPROVAL_OUTCOMES]),
  payloadDigest: DigestSchema,
  policyRevision: count({ minimum: 1 }),
  rule: Type.String({ maxLength: 100 }),
  ttlMs: count({ description: 'of the request; counted by the host, from when it asked' }),
  reason: reasonOf('of the last who decided'),
  votes: Type.Array(ApprovalVoteSchema, { maxItems: APPROVERS_MAX }),
  decidedAtMs: wallMs({ description: 'of control, for people' }),
});
export type ApprovalStatement = Static<typeof ApprovalStatementSchema>;

/** Of control: `superseded` is a request in whose place the host has asked anew. */
export const REQUEST_STATES = [...APPROVAL_STATES, 'superseded'] as const;
export type RequestState = (typeof REQUEST_STATES)[number];

export const ApprovalRequestSchema = Type.Object(
  {
    requestId: RequestIdSchema,
    operationId: Type.String(),
    hostId: Type.String(),
    hostEpoch: epoch(),
    app: Type.String(),
    principal: PrincipalSchema,
    action: ActionSchema,
    resourceId: Type.String(),
    leaseResource: nullable(Type.String()),
    payloadDigest: DigestSchema,
    policyRevision: count({ description: 'whose rule asks for it' }),
    rule: Type.String(),
    required: asked.required,
    role: asked.role,
    ttlMs: asked.ttlMs,
    onControlLoss: asked.onControlLoss,
    showPayload: asked.showPayload,
    requestedAtMs: wallMs({ description: 'of the host' }),
    receivedAtMs: wallMs(),
    expiresAtMs: wallMs({
      description: 'of control, at the latest: the host ends the wait itself',
    }),
    state: Type.Enum([...REQUEST_STATES]),
    votes: Type.Array(ApprovalVoteSchema, { maxItems: APPROVERS_MAX }),
    sequence: count({ description: 'of the newest statement signed about it; 0 where none was' }),
    decidedAtMs: nullable(wallMs()),
    reason: nullable(Type.String()),
    delivery: Type.Enum(['none', 'waiting', 'confirmed'], {
      description:
        'waiting: the host is told with each sync until it reports what it made of it; confirmed: state is what the host says',
    }),
    confirmedAtMs: nullable(wallMs()),
    replaces: nullable(Type.String()),
  },
  { $id: 'ApprovalRequest' },
);
export type ApprovalRequest = Static<typeof ApprovalRequestSchema>;

export const ApprovalDetailSchema = Type.Object(
  {
    ...ApprovalRequestSchema.properties,
    payload: Type.Unknown({ description: 'null where it is not shown' }),
    payloadMissing: nullable(Type.String({ description: 'why it is not shown' })),
    wouldDecide: nullable(
      Type.Object(
        {
          policyRevision: count(),
          decision: Type.Enum(['permit', 'deny']),
          rule: nullable(Type.String()),
          message: Type.String(),
          trace: Type.Ref('DecisionTrace'),
        },
        { description: 'what the newest revision says of it now' },
      ),
    ),
    blastRadius: Type.Object({
      resourceId: Type.String(),
      leaseResource: nullable(Type.String()),
      hostName: nullable(Type.String()),
      hostState: Type.String(),
      sameActionRecently: count({
        description: 'operations of this principal with this action, among those looked at',
      }),
      operationsLookedAt: count({ description: 'the newest that hosts have reported' }),
      waitingOfPrincipal: count({ description: 'requests of this principal that are pending' }),
    }),
  },
  { $id: 'ApprovalDetail' },
);
export type ApprovalDetail = Omit<Static<typeof ApprovalDetailSchema>, 'wouldDecide'> & {
  readonly wouldDecide:
    | (Omit<NonNullable<Static<typeof ApprovalDetailSchema>['wouldDecide']>, 'trace'> & {
        readonly trace: DecisionTrace;
      })
    | null;
};

export const ApprovalVerdictRequestSchema = Type.Object(
  {
    reason: Type.String({
      minLength: 1,
      maxLength: APPROVAL_REASON_LENGTH_MAX,
      pattern: '\\S',
      description: 'why; it is recorded on both sides',
    }),
    digest: {
      ...DigestSchema,
      description: 'of what was looked at: payloadDigest, as it was shown',
    },
  },
  { ...closed, $id: 'ApprovalVerdictRequest' },
);
export type ApprovalVerdictRequest = Static<typeof ApprovalVerdictRequestSchema>;

export const APPROVAL_VERBS = ['approve', 'deny', 'withdraw'] as const;
export type ApprovalVerb = (typeof APPROVAL_VERBS)[number];
