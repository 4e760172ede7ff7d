/** Bodies of the worklist of unknown outcomes. */
import Type, { type Static } from 'typebox';
import { count, wallMs } from './numbers.ts';
import { EffectSchema, OperationSchema } from './operation.ts';
import { ReconciliationSchema, StrategySchema } from './reconciliation.ts';

const closed = { additionalProperties: false } as const;
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** Of a person or a worker; two that give the same name are taken for one. */
const HolderSchema = Type.String({
  minLength: 1,
  maxLength: 200,
  pattern: '\\S',
  description: 'who: a name that nobody else gives, as ann or worker-7',
});

const facts = OperationSchema.properties;

/** One line of the worklist. */
export const WorkItemSchema = Type.Object(
  {
    operationId: facts.operationId,
    app: facts.app,
    action: facts.action,
    principal: facts.principal,
    resourceId: Type.String(),
    rule: facts.rule,
    state: facts.state,
    reason: facts.reason,
    attempt: facts.attempt,
    admittedAtMs: wallMs(),
    deadlineAtMs: wallMs(),
    unreported: Type.Array(EffectSchema, {
      description: 'effects that were begun and whose outcome nobody reported',
    }),
    triesMax: nullable(count({ description: 'that its rule allows; null where it tries nothing' })),
    ...ReconciliationSchema.properties,
    outcome: facts.outcome,
  },
  { $id: 'WorkItem' },
);
export type WorkItem = Static<typeof WorkItemSchema>;

export const CLAIM_TTL_MS_DEFAULT = 300_000;

export const ClaimRequestSchema = Type.Object(
  {
    by: HolderSchema,
    ttlMs: Type.Optional(
      Type.Integer({
        minimum: 1_000,
        maximum: 86_400_000,
        default: CLAIM_TTL_MS_DEFAULT,
        description: 'how long it holds others off; claim again to renew it',
      }),
    ),
  },
  { ...closed, $id: 'ClaimRequest' },
);

const force = Type.Optional(
  Type.Boolean({ description: 'over the head of whoever holds the claim; for operators' }),
);

export const ReleaseRequestSchema = Type.Object(
  { by: HolderSchema, force },
  { ...closed, $id: 'ReleaseRequest' },
);

export const SettleRequestSchema = Type.Object(
  {
    outcome: Type.Enum(['succeeded', 'failed']),
    provenance: Type.Enum(['verified', 'asserted', 'assumed']),
    reason: Type.String({ minLength: 1, maxLength: 1_000, pattern: '\\S' }),
    by: HolderSchema,
    evidence: Type.Optional(
      Type.Unknown({ description: 'what shows it: a ticket, a line of a ledger; at most 8 KiB' }),
    ),
    result: Type.Optional(Type.Unknown()),
    force,
  },
  { ...closed, $id: 'SettleRequest' },
);

export const ProbeRequestSchema = Type.Object(
  { by: HolderSchema },
  { ...closed, $id: 'ProbeRequest' },
);

export const EVIDENCE_LENGTH_MAX = 8 * 1_024;

export const ReconciliationsQuerySchema = Type.Object(
  {
    strategy: Type.Optional(StrategySchema),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 100 })),
    cursor: Type.Optional(Type.String({ maxLength: 200 })),
  },
  closed,
);
