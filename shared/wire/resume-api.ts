/** Paused work that comes back once control does: how far it is, and the orders of operators. */
import Type, { type Static } from 'typebox';
import { count, wallMs } from './numbers.ts';
import { ActionSchema, PrincipalSchema } from './policy-document.ts';

const closed = { additionalProperties: false } as const;
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const RESUME_RATE_MAX = 10_000;
const rate = (description: string) =>
  Type.Integer({ minimum: 1, maximum: RESUME_RATE_MAX, description });
const reason = Type.String({ minLength: 1, maxLength: 1_000, description: 'why; kept with it' });

/** What was found of each paused operation, decided again under the policy in force. */
export const RESUME_VERDICTS = [
  'may_continue',
  'ask_control',
  'refused',
  'needs_person',
  'deadline_passed',
  'not_yet',
] as const;
export type ResumeVerdictKind = (typeof RESUME_VERDICTS)[number];

export const ResumeOrderSchema = Type.Object(
  {
    order: Type.Enum(['stop', 'start', 'rate']),
    isStopped: Type.Boolean(),
    ratePerSecond: nullable(rate('as ordered; null: as configured')),
    by: Type.String({ description: 'the app whose token was used' }),
    reason,
    atMs: wallMs(),
  },
  { $id: 'ResumeOrder' },
);
export type ResumeOrder = Static<typeof ResumeOrderSchema>;

export const ResumeSchema = Type.Object(
  {
    state: Type.Enum(['idle', 'waiting', 'classifying', 'releasing', 'stopped', 'held'], {
      description:
        'idle: nothing is paused; waiting: see waitingFor; held: what is left needs a person',
    }),
    waitingFor: nullable(Type.String()),
    ratePerSecond: rate('how many are released or refused in a second'),
    policyRevision: nullable(count({ description: 'under which they are decided again' })),
    remaining: count({ description: 'paused now' }),
    classified: count({ description: 'of those, looked at under that revision' }),
    byVerdict: Type.Object(
      Object.fromEntries(RESUME_VERDICTS.map((verdict) => [verdict, count()])) as Record<
        ResumeVerdictKind,
        ReturnType<typeof count>
      >,
    ),
    held: count({ description: 'of those, the ones that are not released by themselves' }),
    released: count({ description: 'since the sidecar started' }),
    refused: count({ description: 'ended because the policy refuses them now, since it started' }),
    order: nullable(ResumeOrderSchema),
    needsPerson: Type.Array(
      Type.Object({
        operationId: Type.String(),
        principal: PrincipalSchema,
        action: ActionSchema,
        reason: Type.String(),
        detail: Type.String(),
        deadlineAtMs: wallMs(),
      }),
      { description: 'the first of them, the earliest deadline first' },
    ),
  },
  { $id: 'Resume' },
);
export type Resume = Static<typeof ResumeSchema>;

export const ResumeOrderRequestSchema = Type.Object(
  { reason },
  { ...closed, $id: 'ResumeOrderRequest' },
);
export const ResumeRateRequestSchema = Type.Object(
  { reason, ratePerSecond: nullable(rate('null: as configured')) },
  { ...closed, $id: 'ResumeRateRequest' },
);
export const ResumeReleaseRequestSchema = Type.Object(
  { reason, operationId: Type.String({ minLength: 1, maxLength: 100 }) },
  { ...closed, $id: 'ResumeReleaseRequest' },
);
