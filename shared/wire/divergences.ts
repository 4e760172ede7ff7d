/** Decisions that what was in force would have made otherwise, and what a person says to them. */
import Type, { type Static } from 'typebox';
import { count } from './numbers.ts';

const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

const NOTICE_KINDS = [
  'revoke_principal',
  'revoke_credential',
  'kill_action',
  'hold_resource',
] as const;
export type NoticeKind = (typeof NOTICE_KINDS)[number];

const DIVERGENCE_KINDS = ['permit_to_deny', 'deny_to_permit'] as const;
export type DivergenceKind = (typeof DIVERGENCE_KINDS)[number];

const DivergenceVerdictSchema = Type.Object(
  {
    policyRevision: nullable(count()),
    decision: Type.Enum(['permit', 'deny']),
    reason: Type.String({
      description:
        'as a policy gives it; or policy_expired, fresh_required, approval_required, ' +
        'principal_revoked, credential_revoked, action_killed, resource_held',
    }),
    rule: nullable(Type.String()),
    message: Type.String(),
    noticeId: nullable(Type.String({ description: 'the notice that spoke against it' })),
  },
  { $id: 'DivergenceVerdict' },
);
export type DivergenceVerdict = Static<typeof DivergenceVerdictSchema>;
