/** What would be decided, asked of the sidecar or of control; nothing comes of it. */
import Type, { type Static } from 'typebox';
import { DECISION_REASONS, type Decision } from '../core/policy.ts';
import type { DecisionTrace } from './decision-trace.ts';
import { LimitStateSchema, type LimitState } from './limits.ts';
import { count, epoch } from './numbers.ts';
import { BasisSchema } from './operation.ts';
import { ResourceSchema } from './statements.ts';

const closed = { additionalProperties: false } as const;
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const DecisionQuerySchema = Type.Object(
  {
    explain: Type.Optional(
      Type.Boolean({ description: 'every rule considered, and what each expression gave' }),
    ),
  },
  closed,
);

export const PolicyDecisionQuerySchema = Type.Object(
  {
    ...DecisionQuerySchema.properties,
    revision: Type.Optional(count({ minimum: 1, description: 'default: the one in force' })),
  },
  closed,
);

const decided = {
  decision: Type.Enum(['permit', 'deny']),
  reason: Type.Enum([...DECISION_REASONS]),
  rule: nullable(Type.String()),
  message: Type.String(),
  warnings: Type.Array(Type.String()),
  leaseResource: nullable(ResourceSchema),
  policyRevision: count(),
  trace: nullable(Type.Ref('DecisionTrace')),
};

/** Of control, for operators: what the document says, and nothing about any host. */
export const PolicyDecisionSchema = Type.Object(decided, { $id: 'PolicyDecision' });

export type PolicyDecision = Omit<Decision, 'terms'> & {
  readonly policyRevision: number;
  readonly trace: DecisionTrace | null;
};

/** Of the sidecar: what would become of an admission, on what basis. */
export const DecisionAnswerSchema = Type.Object(
  {
    ...decided,
    traceMissing: nullable(
      Type.String({ description: 'why there is no trace although it was asked for' }),
    ),
    basis: BasisSchema,
    stalenessMs: nullable(count({ description: 'null: the age of the authority is not known' })),
    maxStalenessMs: nullable(count({ description: 'that the rule allows' })),
    terms: nullable(
      Type.Record(Type.String(), Type.Unknown(), {
        description: 'what the rule says about work that it accepts',
      }),
    ),
    lease: nullable(
      Type.Object({
        resource: ResourceSchema,
        owned: Type.Boolean(),
        epoch: nullable(epoch()),
        inGrace: Type.Boolean(),
        reason: nullable(Type.Enum(['lease_absent', 'lease_expired'])),
      }),
    ),
    limits: nullable(Type.Array(LimitStateSchema, { description: 'null where the rule has none' })),
    admission: Type.Object({
      outcome: Type.Enum(['admitted', 'awaiting_approval', 'refused'], {
        description: 'what an admission would end as',
      }),
      code: nullable(Type.String({ description: 'of its problem' })),
      detail: Type.String(),
      retryable: Type.Boolean(),
    }),
  },
  { $id: 'DecisionAnswer' },
);
export type DecisionAnswer = PolicyDecision &
  Omit<Static<typeof DecisionAnswerSchema>, keyof PolicyDecision | 'limits' | 'terms'> & {
    readonly limits: readonly LimitState[] | null;
    readonly terms: Readonly<Record<string, unknown>> | null;
  };
