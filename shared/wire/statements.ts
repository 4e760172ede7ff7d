/**
 * What control signs for a host, and what a host signs for control: compact JWS, `alg: Ed25519`, an
 * explicit `typ`, and the payloads below. An answer is bound to its request by the nonce of the
 * host's token, and to the host by `hostId`. The order of verification and its reasons are in
 * `shared/platform/signatures.ts`.
 */
import Type, { type Static } from 'typebox';
import { AllotmentGrantSchema, AllotmentRequestSchema } from './allotments.ts';
import { HostHealthSchema } from './fleet-health.ts';
import { APPROVAL_STATEMENTS_MAX } from './approval.ts';
import { NoticePositionSchema, NoticesAnswerSchema } from './notices.ts';
import { count, epoch, wallMs } from './numbers.ts';
import { OPERATION_STATES } from './operation.ts';
import { PolicyDocumentSchema } from './policy-document.ts';
import { hostSelfReport } from './rollout.ts';

export const STATEMENT_TYPES = {
  bundle: 'holdfast-bundle+jws',
  enrolment: 'holdfast-enrolment+jws',
  sync: 'holdfast-sync+jws',
  decision: 'holdfast-decision+jws',
  report: 'holdfast-report+jws',
  refusal: 'holdfast-refusal+jws',
  lease: 'holdfast-lease+jws',
  approval: 'holdfast-approval+jws',
  notices: 'holdfast-notices+jws',
  hostRequest: 'holdfast-host-request+jws',
} as const;
export type StatementType = (typeof STATEMENT_TYPES)[keyof typeof STATEMENT_TYPES];

/** Media type of an answer that is one JWS. */
export const STATEMENT_CONTENT_TYPE = 'application/jose';
export const HOST_AUTH_SCHEME = 'Holdfast-Host';
/** Carries the `HostRefusal` of an answer whose body is a problem document. */
export const REFUSAL_HEADER = 'Holdfast-Statement';

const closed = { additionalProperties: false } as const;
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const PublicKeySchema = Type.Object(
  {
    kty: Type.Literal('OKP'),
    crv: Type.Literal('Ed25519'),
    x: Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' }),
    kid: Type.Optional(Type.String({ maxLength: 100 })),
  },
  closed,
);
export type PublicKey = Static<typeof PublicKeySchema>;

export const BundleSchema = Type.Object({
  controlId: Type.String(),
  policyRevision: count({ minimum: 1 }),
  policyDigest: Type.String({ description: 'SHA-256 of the canonical document, hex' }),
  publishedAtMs: wallMs(),
  publishedBy: Type.String(),
  policy: PolicyDocumentSchema,
  trust: Type.Object({ keys: Type.Array(PublicKeySchema, { minItems: 1, maxItems: 8 }) }),
});
export type Bundle = Static<typeof BundleSchema>;

export const EnrolmentSchema = Type.Object({
  nonce: Type.String(),
  controlId: Type.String(),
  hostId: Type.String(),
  hostName: Type.String(),
  hostEpoch: epoch({ minimum: 1 }),
  trust: Type.Object({ keys: Type.Array(PublicKeySchema, { minItems: 1, maxItems: 8 }) }),
});
export type Enrolment = Static<typeof EnrolmentSchema>;

/**
 * Claims of the token that accompanies each request of a host; `path` is the path without its
 * query.
 */
export const HostRequestSchema = Type.Object({
  iss: Type.String({ description: 'host id' }),
  aud: Type.String({ description: 'control id' }),
  hostEpoch: epoch(),
  iat: count({ description: 'seconds since 1970' }),
  exp: count(),
  method: Type.String(),
  path: Type.String(),
  bodySha256: Type.String({ description: 'hex; of the empty string where there is no body' }),
  nonce: Type.String({ minLength: 16, maxLength: 64 }),
});
export type HostRequest = Static<typeof HostRequestSchema>;

/** Names of owned resources: path-like words. */
export const ResourceSchema = Type.String({
  pattern: '^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$',
  description: 'a resource that can be leased, as orders/7',
});
/** One start of control; drawn at random, as the number of a run comes again with an old copy. */
const runId = (description: string) =>
  Type.Optional(Type.String({ minLength: 16, maxLength: 64, description }));

const LeaseRefSchema = Type.Object(
  { resource: ResourceSchema, epoch: epoch({ minimum: 1 }) },
  closed,
);

export const SYNC_LEASES_MAX = 10_000;
/** Each is a signature of its own. */
export const LEASE_TOKENS_MAX = 100;

/** The sidecar's state vector. */
export const SyncRequestSchema = Type.Object(
  {
    sidecarVersion: Type.String({ maxLength: 50 }),
    policyRevision: nullable(count()),
    policyRejected: nullable(
      Type.Object({ policyRevision: count(), reason: Type.String({ maxLength: 1_000 }) }, closed),
    ),
    ...hostSelfReport,
    runId: runId('of the newest answer that this host has had; left out where that had none'),
    highWater: Type.Object(
      {
        policyRevision: count({
          description: 'highest revision this host has ever activated',
        }),
        epoch: epoch({ description: 'highest fencing token this host has ever seen' }),
      },
      closed,
    ),
    leases: Type.Object(
      {
        renew: Type.Array(LeaseRefSchema, { maxItems: SYNC_LEASES_MAX }),
        acquire: Type.Array(ResourceSchema, { maxItems: SYNC_LEASES_MAX }),
        release: Type.Array(LeaseRefSchema, { maxItems: SYNC_LEASES_MAX }),
        /** Only where control has asked for it: an older control does not know the field. */
        draining: Type.Optional(
          Type.Array(
            Type.Object(
              {
                ...LeaseRefSchema.properties,
                unfinished: count({ description: 'operations under it that have not ended' }),
              },
              closed,
            ),
            { maxItems: SYNC_LEASES_MAX },
          ),
        ),
        tokens: Type.Optional(
          Type.Array(ResourceSchema, {
            maxItems: LEASE_TOKENS_MAX,
            description: 'of those that are granted or renewed, for which a `LeaseToken` is wanted',
          }),
        ),
      },
      closed,
    ),
    journal: Type.Object(
      {
        seq: count({ minimum: 0 }),
        hash: Type.String({ pattern: '^[0-9a-f]{64}$' }),
        operations: Type.Record(
          Type.String({ pattern: `^(${OPERATION_STATES.join('|')})$` }),
          count(),
          {
            ...closed,
            description: 'operations by state',
          },
        ),
      },
      closed,
    ),
    allotments: Type.Optional({
      ...AllotmentRequestSchema,
      description: 'of budgets of the fleet; left out where the host has nothing to say of any',
    }),
    notices: Type.Optional({
      ...NoticePositionSchema,
      description: 'only where control has said that it gives them: an older one refuses the field',
    }),
    health: Type.Optional({
      ...HostHealthSchema,
      description: 'only where control has asked for it: an older one does not know the field',
    }),
  },
  { ...closed, $id: 'SyncRequest' },
);
export type SyncRequest = Static<typeof SyncRequestSchema>;

export const SyncAnswerSchema = Type.Object({
  nonce: Type.String(),
  hostId: Type.String(),
  controlId: Type.String(),
  runId: runId('to be said with the next request, which then was sent after this start of control'),
  policyRevision: nullable(count({ description: 'the newest published for this host' })),
  leases: Type.Array(Type.Object({ resource: ResourceSchema, epoch: epoch(), ttlMs: count() }), {
    description:
      'granted or renewed by this answer; a duration, counted by the host from when it sent the request',
  }),
  lost: Type.Array(
    Type.Object({
      resource: ResourceSchema,
      epoch: epoch(),
      reason: Type.Enum(['superseded', 'expired', 'unknown', 'revoked']),
    }),
  ),
  pending: Type.Array(
    Type.Object({
      resource: ResourceSchema,
      reason: Type.Enum([
        'held',
        'lock_delay',
        'recovering',
        'limit',
        'reserved',
        'revoked',
        'placed',
      ]),
      holder: nullable(Type.String()),
      retryAfterMs: count(),
    }),
    { description: 'asked for and not granted' },
  ),
  drain: Type.Optional(
    Type.Array(Type.Object({ resource: ResourceSchema, epoch: epoch(), remainingMs: count() }), {
      description:
        'renewed and to be handed over: nothing new under it; release it when all has ended',
    }),
  ),
  allotments: Type.Optional(
    Type.Array(AllotmentGrantSchema, { description: 'one for each that was asked for' }),
  ),
  approvals: Type.Optional(
    Type.Array(Type.String({ maxLength: 64 * 1024 }), {
      maxItems: APPROVAL_STATEMENTS_MAX,
      description:
        'an `ApprovalStatement` for each that the host has not confirmed; left out by a control that knows no approvals',
    }),
  ),
  notices: Type.Optional({
    ...NoticesAnswerSchema,
    description: 'left out by a control that gives none',
  }),
  tokens: Type.Optional(
    Type.Array(Type.Object({ resource: ResourceSchema, token: Type.String() }), {
      description: 'a `LeaseToken` for each that was asked for and granted or renewed',
    }),
  ),
  stop: Type.Optional(
    Type.Array(Type.String({ maxLength: 100 }), {
      description: 'operations that a person has revoked: each goes as its `onRevoke` says',
    }),
  ),
  drift: Type.Number({ description: 'declared clock rate bound, as 0.01' }),
  asksHealth: Type.Optional(
    Type.Boolean({ description: 'the next sync is to say how the host is' }),
  ),
  ackedSeq: count({
    description: 'reports up to this journal position are held by control',
  }),
});
export type SyncAnswer = Static<typeof SyncAnswerSchema>;

/**
 * That control granted this lease, for a service that verifies it by the published keys alone. What
 * counts there is the epoch; `iat` and `ttlMs` say how old the grant is, for people.
 */
export const LeaseTokenSchema = Type.Object({
  controlId: Type.String(),
  hostId: Type.String(),
  resource: ResourceSchema,
  epoch: epoch({ minimum: 1 }),
  iat: count({ description: 'seconds since 1970, of control' }),
  ttlMs: count(),
});
export type LeaseToken = Static<typeof LeaseTokenSchema>;

/** Control's answer to a `fresh` question, for one request of one host. */
/**
 * Of an answer to `GET /v1/bundle`: there is something for this host that it gets with a sync.
 * Unsigned: it only makes a host sync.
 */
export const SYNC_NOW_HEADER = 'Holdfast-Sync-Now';

export const FreshDecisionSchema = Type.Object({
  nonce: Type.String(),
  hostId: Type.String(),
  inputDigest: Type.String({ description: 'SHA-256 of the canonical DecisionInput, hex' }),
  policyRevision: count(),
  decision: Type.Unknown({ description: 'a Decision of shared/core/policy.ts' }),
  decidedAtMs: Type.Optional(
    wallMs({ description: 'by the clock of control; an older one does not say' }),
  ),
});
export type FreshDecision = Static<typeof FreshDecisionSchema>;

export const ReportAnswerSchema = Type.Object({
  nonce: Type.String(),
  hostId: Type.String(),
  ackedSeq: count(),
});
export type ReportAnswer = Static<typeof ReportAnswerSchema>;

/**
 * That control refused one request of a host: what a problem document says, so that it can be
 * believed. It is no refusal of an operation; those are the sidecar's.
 */
export const HostRefusalSchema = Type.Object({
  nonce: Type.String({ minLength: 16, maxLength: 64 }),
  hostId: Type.String({ maxLength: 100, description: 'as the token of the request has it' }),
  tokenSha256: Type.String({
    description:
      'hex; of the token as it came, so that what is said about a token that only resembles it ' +
      'is not taken for an answer to it',
  }),
  status: count(),
  code: Type.String({ maxLength: 100 }),
  detail: Type.String({ maxLength: 500 }),
});
export type HostRefusal = Static<typeof HostRefusalSchema>;
