/** Decisions that what was in force would have made otherwise, and what a person says to them. */
import Type, { type Static } from 'typebox';
import { DecisionTraceSchema } from './decision-trace.ts';
import { count, wallMs } from './numbers.ts';
import { BasisSchema, OperationStateSchema, ProvenanceSchema } from './operation.ts';
import { ActionSchema, PrincipalSchema } from './policy-document.ts';

const closed = { additionalProperties: false } as const;
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const NOTICE_KINDS = [
  'revoke_principal',
  'revoke_credential',
  'kill_action',
  'hold_resource',
] as const;
export type NoticeKind = (typeof NOTICE_KINDS)[number];

export const DIVERGENCE_KINDS = ['permit_to_deny', 'deny_to_permit'] as const;
export type DivergenceKind = (typeof DIVERGENCE_KINDS)[number];

export const DIVERGENCE_STATES = ['open', 'accepted', 'compensated', 'revoked'] as const;
export type DivergenceState = (typeof DIVERGENCE_STATES)[number];
export const RESOLUTION_VERDICTS = ['accepted', 'compensated', 'revoked'] as const;
export type ResolutionVerdict = (typeof RESOLUTION_VERDICTS)[number];

export const DivergenceVerdictSchema = Type.Object(
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

const lineMs = (description: string) => count({ description });

export const PlacedInstantSchema = Type.Object(
  {
    fromMs: lineMs("not before, in control's time"),
    toMs: lineMs("not after, in control's time"),
    by: Type.Enum(['boot_clock', 'journal_order'], {
      description: 'what it was placed by; never by the wall clock of the host',
    }),
    claimedAtMs: wallMs({ description: 'what the wall clock of the host said' }),
  },
  { $id: 'PlacedInstant' },
);

/** What becomes of an operation that a person revoked. */
const STOP_STATES = ['not_needed', 'finishes', 'not_held', 'pending', 'done'] as const;
export const StopSchema = Type.Object(
  {
    state: Type.Enum([...STOP_STATES], {
      description:
        'not_needed: it had ended; finishes: its rule lets it end; not_held: its rule would pause it, ' +
        'and one operation cannot be held back, so cancel it there; pending: its host is told with ' +
        'its syncs; done: its host has reported what came of it',
    }),
    onRevoke: nullable(Type.Enum(['abort', 'finish', 'pause'])),
  },
  { $id: 'DivergenceStop' },
);
export type DivergenceStop = Static<typeof StopSchema>;

export const ResolutionSchema = Type.Object(
  {
    verdict: Type.Enum([...RESOLUTION_VERDICTS]),
    reason: Type.String(),
    by: Type.String(),
    atMs: wallMs(),
    provenance: ProvenanceSchema,
    stop: nullable(StopSchema),
  },
  { $id: 'DivergenceResolution' },
);
export type Resolution = Static<typeof ResolutionSchema>;

export const DivergenceSchema = Type.Object(
  {
    divergenceId: Type.String(),
    kind: Type.Enum([...DIVERGENCE_KINDS]),
    certainty: Type.Enum(['certain', 'possible'], {
      description: 'possible: what was in force changed within the interval of its instant',
    }),
    state: Type.Enum([...DIVERGENCE_STATES]),
    operationId: nullable(Type.String({ description: 'null: it is about a refusal' })),
    refusalId: nullable(Type.String()),
    hostId: Type.String(),
    outageId: nullable(Type.String()),
    app: Type.String(),
    principal: PrincipalSchema,
    action: ActionSchema,
    resourceId: Type.String(),
    basis: BasisSchema,
    stalenessMs: count(),
    decided: DivergenceVerdictSchema,
    current: DivergenceVerdictSchema,
    instant: PlacedInstantSchema,
    foundAtMs: wallMs(),
    resolution: nullable(ResolutionSchema),
  },
  { $id: 'Divergence' },
);
export type Divergence = Static<typeof DivergenceSchema>;

export const DivergenceDetailSchema = Type.Object(
  {
    ...DivergenceSchema.properties,
    operationState: nullable(OperationStateSchema),
    decidedTrace: nullable(DecisionTraceSchema),
    currentTrace: nullable(DecisionTraceSchema),
    traceMissing: nullable(Type.String({ description: 'why there is none' })),
  },
  { $id: 'DivergenceDetail' },
);
export type DivergenceDetail = Static<typeof DivergenceDetailSchema>;

export const DivergencesQuerySchema = Type.Object(
  {
    outage: Type.Optional(Type.String({ maxLength: 100, description: 'an outage id' })),
    host: Type.Optional(Type.String({ maxLength: 100, description: 'a host id' })),
    state: Type.Optional(Type.Enum([...DIVERGENCE_STATES])),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 100 })),
    cursor: Type.Optional(Type.String({ maxLength: 200 })),
  },
  closed,
);

export const ReevaluationSchema = Type.Object(
  {
    behindEvents: count({ description: 'reported events that are still to be looked at' }),
    failure: nullable(Type.String({ description: 'why it does not go on' })),
  },
  { $id: 'Reevaluation' },
);
export type Reevaluation = Static<typeof ReevaluationSchema>;

export const DivergencesSchema = Type.Object(
  {
    items: Type.Array(DivergenceSchema),
    nextCursor: nullable(Type.String()),
    reevaluation: ReevaluationSchema,
  },
  { $id: 'Divergences' },
);
export type Divergences = Static<typeof DivergencesSchema>;

export const ResolveDivergenceSchema = Type.Object(
  {
    verdict: Type.Enum([...RESOLUTION_VERDICTS], {
      description:
        'accepted: it may stand; compensated: it was undone elsewhere; revoked: it is to be stopped',
    }),
    reason: Type.String({ minLength: 1, maxLength: 500, pattern: '\\S' }),
  },
  { ...closed, $id: 'ResolveDivergenceRequest' },
);
