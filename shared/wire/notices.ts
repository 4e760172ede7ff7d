/**
 * Notices: small urgent facts that every host obeys before any policy. A principal or credential is
 * revoked, an action is stopped, a resource is held.
 */
import Type, { type Static } from 'typebox';
import { NOTICE_KINDS } from './divergences.ts';
import { count, wallMs } from './numbers.ts';

const closed = { additionalProperties: false } as const;
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const NOTICE_SUBJECT_LENGTH_MAX = 300;
export const NOTICE_REASON_LENGTH_MAX = 500;
/** In one answer to a sync: the rest comes with the next. */
export const NOTICE_ENTRIES_MAX = 200;
/** Every host looks at all of them. */
export const NOTICES_IN_FORCE_MAX = 10_000;
/** Hosts named with one notice; beyond it they are counted. */
export const NOTICE_HOSTS_MAX = 1_000;

const noticeKind = Type.Enum([...NOTICE_KINDS]);
const NoticeIdSchema = Type.String({ pattern: '^ntc_[a-z0-9]{1,60}$' });
const subject = Type.String({
  minLength: 1,
  maxLength: NOTICE_SUBJECT_LENGTH_MAX,
  description:
    'revoke_principal: a principal; revoke_credential: app:NAME or host:ID; kill_action: an ' +
    'action; hold_resource: a resource id; the last two may end in * for all that begin so',
});

/** That a notice begins or ends: one number of the sequence. */
export const NoticeEntrySchema = Type.Object({
  sequence: count({ minimum: 1 }),
  follows: count({
    description: 'the number before it; they are apart only where a copy of control was restored',
  }),
  entryId: Type.String({ minLength: 1, maxLength: 100 }),
  noticeId: NoticeIdSchema,
  kind: noticeKind,
  subject,
  reason: Type.String({ maxLength: NOTICE_REASON_LENGTH_MAX }),
  inForce: Type.Boolean({ description: 'false: it is lifted' }),
  atMs: wallMs({ description: 'of control' }),
});
export type NoticeEntry = Static<typeof NoticeEntrySchema>;

/** Entries in the order of their numbers; the same words for every host that lacks them. */
export const NoticesStatementSchema = Type.Object({
  controlId: Type.String(),
  entries: Type.Array(NoticeEntrySchema, { minItems: 1, maxItems: NOTICE_ENTRIES_MAX }),
});
export type NoticesStatement = Static<typeof NoticesStatementSchema>;

/** Up to where a host has them on disk; `entryId` tells histories apart. */
export const NoticePositionSchema = Type.Object(
  { sequence: count(), entryId: nullable(Type.String({ maxLength: 100 })) },
  closed,
);
export type NoticePosition = Static<typeof NoticePositionSchema>;

/** What an answer to a sync says of notices. */
export const NoticesAnswerSchema = Type.Object({
  sequence: count({ description: 'the newest number there is' }),
  statement: Type.Optional(
    Type.String({
      maxLength: 1024 * 1024,
      description: 'a `NoticesStatement` with the next that the host lacks',
    }),
  ),
});
export type NoticesAnswer = Static<typeof NoticesAnswerSchema>;

/** Of an answer to `GET /v1/bundle`: the newest number. Unsigned: it only makes a host sync. */
export const NOTICES_HEADER = 'Holdfast-Notices';
/** Of the same answer: the `NoticesStatement` that the host lacks, where it is short enough. */
export const NOTICES_STATEMENT_HEADER = 'Holdfast-Notices-Statement';
/** An HTTP client takes 16 KiB of headers. */
export const NOTICES_STATEMENT_HEADER_LENGTH_MAX = 8_000;

export const NoticeRequestSchema = Type.Object(
  {
    kind: noticeKind,
    subject,
    reason: Type.String({ minLength: 1, maxLength: NOTICE_REASON_LENGTH_MAX, pattern: '\\S' }),
  },
  { ...closed, $id: 'NoticeRequest' },
);
export type NoticeRequest = Static<typeof NoticeRequestSchema>;

export const LiftNoticeSchema = Type.Object(
  { reason: Type.String({ minLength: 1, maxLength: NOTICE_REASON_LENGTH_MAX, pattern: '\\S' }) },
  { ...closed, $id: 'LiftNoticeRequest' },
);

/** Of one host, about the newest entry of one notice. */
export const NOTICE_HOST_STATES = ['confirmed', 'may_act', 'bound_passed'] as const;

export const NoticeHostSchema = Type.Object(
  {
    hostId: Type.String(),
    hostName: Type.String(),
    state: Type.Enum([...NOTICE_HOST_STATES], {
      description:
        'confirmed: it has the notice on disk and obeys it; may_act: it has not said so, and ' +
        'actsUntilMs is to come; bound_passed: it has not said so, and can act no more',
    }),
    sequence: count({ description: 'up to here it has confirmed' }),
    silentMs: count({
      description: 'since it was last heard; since the start of control where that was later',
    }),
    admitsUntilMs: nullable(
      wallMs({ description: 'it admits nothing against the notice after this; null: confirmed' }),
    ),
    actsUntilMs: nullable(
      wallMs({ description: 'the last deadline of what it may have admitted by then' }),
    ),
  },
  { $id: 'NoticeHost' },
);
export type NoticeHost = Static<typeof NoticeHostSchema>;

const confirmations = {
  confirmed: count({ description: 'hosts that obey the newest entry of it' }),
  unconfirmed: count({ description: 'hosts that have not said so' }),
  admitsUntilMs: nullable(wallMs({ description: 'the latest of any host; null: all confirmed' })),
  actsUntilMs: nullable(wallMs()),
};

export const NoticeSchema = Type.Object(
  {
    noticeId: Type.String(),
    sequence: count({ description: 'of its newest entry' }),
    kind: noticeKind,
    subject: Type.String(),
    reason: Type.String(),
    inForce: Type.Boolean(),
    recordedAtMs: wallMs(),
    liftedAtMs: nullable(wallMs()),
    liftReason: nullable(Type.String()),
    ...confirmations,
  },
  { $id: 'Notice' },
);
export type NoticeView = Static<typeof NoticeSchema>;

export const NoticeDetailSchema = Type.Object(
  {
    ...NoticeSchema.properties,
    hosts: Type.Array(NoticeHostSchema, {
      description: 'those that have not confirmed first, by how long they could act',
    }),
    hostsLeftOut: count({ description: `beyond the first ${NOTICE_HOSTS_MAX}` }),
  },
  { $id: 'NoticeDetail' },
);
export type NoticeDetail = Static<typeof NoticeDetailSchema>;
