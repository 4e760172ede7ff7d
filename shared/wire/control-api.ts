/** Bodies of control's HTTP API for operators. What hosts send and get is in `statements.ts`. */
import Type, { type Static } from 'typebox';
import { count, epoch, leftMs, wallMs } from './numbers.ts';
import { ActionSchema, PolicyDocumentSchema, PrincipalSchema } from './policy-document.ts';
import {
  EffectSchema,
  JournalEventSchema,
  OperationStateSchema,
  OutageSchema,
  OutcomeSchema,
  RefusalSchema,
} from './operation.ts';
import { PublicationReportSchema } from './publication.ts';
import { ReconciliationSchema } from './reconciliation.ts';
import { PublicKeySchema, ResourceSchema } from './statements.ts';

const closed = { additionalProperties: false } as const;
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const OPERATOR_ROLES = ['viewer', 'publisher', 'approver', 'operator', 'admin'] as const;
export type OperatorRole = (typeof OPERATOR_ROLES)[number];

export const PageQuerySchema = Type.Object(
  {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 100 })),
    cursor: Type.Optional(Type.String({ maxLength: 200 })),
  },
  closed,
);

export const page = <T extends Type.TSchema>(item: T) =>
  Type.Object({ items: Type.Array(item), nextCursor: nullable(Type.String()) });

export const PolicyRevisionSchema = Type.Object(
  {
    policyRevision: count(),
    policyDigest: Type.String(),
    publishedAtMs: wallMs(),
    publishedBy: Type.String(),
    comment: nullable(Type.String()),
    rules: count(),
  },
  { $id: 'PolicyRevision' },
);
export type PolicyRevision = Static<typeof PolicyRevisionSchema>;

export const PublishedPolicySchema = Type.Object(
  { ...PolicyRevisionSchema.properties, policy: PolicyDocumentSchema },
  { $id: 'PublishedPolicy' },
);
export type PublishedPolicy = Static<typeof PublishedPolicySchema>;

export const PublishAnswerSchema = Type.Object(
  {
    ...PolicyRevisionSchema.properties,
    outcome: Type.Enum(['published', 'unchanged', 'valid', 'proposed']),
    report: Type.Optional(PublicationReportSchema),
    rollout: Type.Optional(
      Type.Enum(['all', 'staged'], { description: 'how it reaches the hosts' }),
    ),
    needsApproval: Type.Optional(
      Type.Boolean({ description: 'publishing it needs a second person' }),
    ),
    proposalId: Type.Optional(Type.String({ description: 'of what waits for a second person' })),
  },
  {
    $id: 'PublishAnswer',
    description:
      '`valid` answers a dry run, `proposed` waits for a second person; the revision is then the one it would get now',
  },
);
export type PublishAnswer = Static<typeof PublishAnswerSchema>;

export const HostNameSchema = Type.String({
  pattern: '^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$',
  description: 'lower case, digits, dots and hyphens',
});

export const OperatorNameSchema = Type.String({
  pattern: '^[a-z0-9]([a-z0-9._@-]{0,61}[a-z0-9])?$',
  description: 'lower case, digits, dots, hyphens, underscores and @',
});

export const OperatorRequestSchema = Type.Object(
  {
    name: OperatorNameSchema,
    roles: Type.Array(Type.Enum([...OPERATOR_ROLES]), {
      minItems: 1,
      maxItems: 5,
      uniqueItems: true,
    }),
  },
  { ...closed, $id: 'OperatorRequest' },
);

export const OperatorSchema = Type.Object(
  {
    name: OperatorNameSchema,
    roles: Type.Array(Type.Enum([...OPERATOR_ROLES])),
    createdAtMs: wallMs(),
  },
  { $id: 'Operator' },
);
export type Operator = Static<typeof OperatorSchema>;

export const OperatorTokenSchema = Type.Object(
  {
    ...OperatorSchema.properties,
    token: Type.String({ description: 'shown once; only its SHA-256 is kept' }),
  },
  { $id: 'OperatorToken' },
);
export type OperatorToken = Static<typeof OperatorTokenSchema>;

export const JoinTokenRequestSchema = Type.Object(
  {
    hostName: HostNameSchema,
    ttl: Type.Optional(Type.String({ description: 'default 10m, at most 24h' })),
  },
  { ...closed, $id: 'JoinTokenRequest' },
);

export const JoinTokenSchema = Type.Object(
  {
    joinToken: Type.String({ description: 'shown once; also pins the key of control' }),
    hostName: HostNameSchema,
    expiresAtMs: wallMs(),
  },
  { $id: 'JoinToken' },
);
export type JoinToken = Static<typeof JoinTokenSchema>;

export const EnrolRequestSchema = Type.Object(
  {
    joinToken: Type.String({ minLength: 1, maxLength: 500 }),
    hostName: HostNameSchema,
    publicKey: PublicKeySchema,
    nonce: Type.String({ minLength: 16, maxLength: 64 }),
  },
  { ...closed, $id: 'EnrolRequest' },
);
export type EnrolRequest = Static<typeof EnrolRequestSchema>;

export const HostSchema = Type.Object(
  {
    hostId: Type.String(),
    hostName: Type.String(),
    hostEpoch: epoch(),
    state: Type.Enum(['enrolled', 'connected', 'late', 'lost']),
    enrolledAtMs: wallMs(),
    lastSyncAtMs: nullable(wallMs()),
    policyRevision: nullable(count()),
    policyRejected: nullable(Type.Object({ policyRevision: count(), reason: Type.String() })),
    ackedSeq: count(),
    journalSeq: count(),
    operations: Type.Record(Type.String(), count()),
    sidecarVersion: nullable(Type.String()),
  },
  { $id: 'Host' },
);
export type Host = Static<typeof HostSchema>;

export const ControlLeaseSchema = Type.Object(
  {
    resource: ResourceSchema,
    epoch: epoch(),
    state: Type.Enum(['held', 'released', 'expired']),
    holder: nullable(Type.String({ description: 'host id' })),
    holderName: nullable(Type.String()),
    grantedAtMs: wallMs(),
    renewedAtMs: wallMs(),
    remainingMs: leftMs({
      description: 'until control may grant it again; 0 when it is free',
    }),
    transitions: count({ description: 'how often it changed hands' }),
    handover: nullable(
      Type.Object({
        mode: Type.Enum(['drain', 'stop', 'reserved'], {
          description:
            'drain: its holder ends what it has accepted; stop: its holder is told to stop now; reserved: free, and kept for the target',
        }),
        toHostId: nullable(Type.String()),
        toHostName: nullable(Type.String()),
        by: Type.String(),
        reason: nullable(Type.String()),
        sinceMs: wallMs(),
        remainingMs: nullable(count({ description: 'until the mode ends; null: it does not' })),
        onTimeout: Type.Enum(['give_up', 'revoke']),
        unfinished: nullable(
          count({ description: 'operations under it, as its holder last said' }),
        ),
      }),
    ),
  },
  { $id: 'ControlLease' },
);
export type ControlLease = Static<typeof ControlLeaseSchema>;

const OrderReasonSchema = Type.Optional(
  Type.String({ minLength: 1, maxLength: 500, description: 'why, for the audit trail' }),
);
const HostRefSchema = Type.String({
  minLength: 1,
  maxLength: 100,
  description: "a host's name or id",
});

export const TransferRequestSchema = Type.Object(
  {
    to: HostRefSchema,
    drainTimeout: Type.Optional(
      Type.String({ description: 'how long its holder may take to end its work; default 5m' }),
    ),
    onTimeout: Type.Optional(
      Type.Enum(['give_up', 'revoke'], {
        description: 'when the work has not ended by then; default give_up: the holder keeps it',
      }),
    ),
    reason: OrderReasonSchema,
  },
  { ...closed, $id: 'TransferRequest' },
);
export type TransferRequest = Static<typeof TransferRequestSchema>;

export const RevokeRequestSchema = Type.Object(
  { to: Type.Optional(HostRefSchema), reason: OrderReasonSchema },
  { ...closed, $id: 'RevokeRequest' },
);
export type RevokeRequest = Static<typeof RevokeRequestSchema>;

export const CancelTransferRequestSchema = Type.Object(
  { reason: OrderReasonSchema },
  { ...closed, $id: 'CancelTransferRequest' },
);

/** An operation as control knows it from reports. */
export const ReportedOperationSchema = Type.Object(
  {
    operationId: Type.String(),
    hostId: Type.String(),
    app: Type.String(),
    idempotencyKey: Type.String(),
    principal: PrincipalSchema,
    action: ActionSchema,
    resourceId: Type.String(),
    state: OperationStateSchema,
    reason: nullable(Type.String()),
    policyRevision: count(),
    rule: Type.String(),
    basis: Type.Enum(['fresh', 'cached']),
    stalenessMs: count(),
    leaseResource: nullable(Type.String()),
    leaseEpoch: nullable(epoch()),
    outageId: nullable(Type.String()),
    admittedAtMs: wallMs(),
    deadlineAtMs: wallMs(),
    updatedAtMs: wallMs(),
    attempt: count(),
    effects: Type.Array(EffectSchema),
    outcome: nullable(OutcomeSchema),
    reconciliation: Type.Optional(ReconciliationSchema),
    lastSeq: count(),
  },
  { $id: 'ReportedOperation' },
);
export type ReportedOperation = Static<typeof ReportedOperationSchema>;

export const ReportedOutageSchema = Type.Object(
  { ...OutageSchema.properties, hostId: Type.String() },
  { $id: 'ReportedOutage' },
);
export type ReportedOutage = Static<typeof ReportedOutageSchema>;

export const ReportedRefusalSchema = Type.Object(
  { ...RefusalSchema.properties, hostId: Type.String() },
  { $id: 'ReportedRefusal' },
);
export type ReportedRefusal = Static<typeof ReportedRefusalSchema>;

export const ReportedOperationsQuerySchema = Type.Object(
  {
    host: Type.Optional(Type.String({ maxLength: 100, description: 'a host id' })),
    state: Type.Optional(OperationStateSchema),
    ...PageQuerySchema.properties,
  },
  closed,
);

export const ReportedOperationDetailSchema = Type.Object(
  {
    ...ReportedOperationSchema.properties,
    events: Type.Array(JournalEventSchema, {
      description: 'in the order of the journal; at most 1000',
    }),
  },
  { $id: 'ReportedOperationDetail' },
);
export type ReportedOperationDetail = Static<typeof ReportedOperationDetailSchema>;

export const UNREADABLE_TEXT_MAX = 1_000;

/**
 * An event that control stored as it came and could not read: the rest of the stream went on
 * without it.
 */
export const UnreadableEventSchema = Type.Object(
  {
    hostId: Type.String(),
    hostEpoch: epoch(),
    seq: count(),
    kind: Type.String(),
    operationId: nullable(Type.String()),
    atMs: wallMs(),
    receivedAtMs: wallMs(),
    problem: Type.String(),
    bodyText: Type.String({
      description: `its body as it came, the first ${UNREADABLE_TEXT_MAX} characters; all of it is kept`,
    }),
  },
  { $id: 'UnreadableEvent' },
);
export type UnreadableEvent = Static<typeof UnreadableEventSchema>;

export const RereadAnswerSchema = Type.Object(
  {
    read: count({ description: 'events that are part of what they are about now' }),
    left: count({ description: 'events that still cannot be read' }),
    nextCursor: nullable(Type.String({ description: 'there are more: ask again with it' })),
  },
  { $id: 'RereadAnswer' },
);
export type RereadAnswer = Static<typeof RereadAnswerSchema>;

export const REPORT_EVENTS_MAX = 500;
export const REPORT_BYTES_MAX = 8 * 1024 * 1024;

export const AuditEntrySchema = Type.Object(
  {
    seq: count(),
    atMs: wallMs(),
    actor: Type.String(),
    action: Type.String({ description: 'as policy.published, lease.granted, host.enrolled' }),
    target: Type.String(),
    detail: Type.Record(Type.String(), Type.Unknown()),
    previousHash: Type.String(),
    hash: Type.String(),
  },
  { $id: 'AuditEntry' },
);
export type AuditEntry = Static<typeof AuditEntrySchema>;
