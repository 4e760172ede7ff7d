/**
 * What a publication says before and when it happens: its report, and proposals that need a second
 * person.
 */
import Type, { type Static } from 'typebox';
import { count, wallMs } from './numbers.ts';

const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const PolicyChangeSchema = Type.Object(
  {
    path: Type.String({
      description: 'JSON Pointer into the new document; into the old one where that place is gone',
    }),
    kind: Type.Enum(['looser', 'tighter', 'changed']),
    before: nullable(Type.String()),
    after: nullable(Type.String()),
    sentence: Type.String(),
  },
  { $id: 'PolicyChange' },
);

const VerdictSchema = Type.Object({
  decision: Type.Enum(['permit', 'deny']),
  reason: Type.String(),
  rule: nullable(Type.String()),
  message: Type.String(),
});

const DIFFERENCE_KINDS = [
  'permit_to_deny',
  'deny_to_permit',
  'rule_changed',
  'reason_changed',
  'terms_changed',
] as const;

const DifferenceSchema = Type.Object(
  {
    kind: Type.Enum([...DIFFERENCE_KINDS]),
    source: Type.String({ description: 'as operation op_…, refusal ref_…, or a test by its name' }),
    principal: Type.String(),
    action: Type.String(),
    resourceId: nullable(Type.String()),
    before: VerdictSchema,
    after: VerdictSchema,
  },
  { $id: 'DecisionDifference' },
);

const comparedDecisions = {
  compared: count(),
  same: count(),
  counts: Type.Object({
    permit_to_deny: count(),
    deny_to_permit: count(),
    rule_changed: count(),
    reason_changed: count(),
    terms_changed: count(),
  }),
  examples: Type.Array(DifferenceSchema, { description: 'at most 20 of each kind' }),
};

/** The recent decisions that hosts reported, decided again under both. */
export const ImpactSchema = Type.Object(
  {
    ...comparedDecisions,
    notReplayable: count({
      description: 'recorded without the attributes they were decided on, or not readable',
    }),
    fromMs: nullable(wallMs({ description: 'of the oldest that was looked at' })),
    toMs: nullable(wallMs()),
    isAll: Type.Boolean({ description: 'false: older ones were left out' }),
  },
  { $id: 'PolicyImpact' },
);
export type Impact = Static<typeof ImpactSchema>;

const AffectedOperationSchema = Type.Object(
  {
    operationId: Type.String(),
    hostId: Type.String(),
    action: Type.String(),
    principal: Type.String(),
    state: Type.String(),
    rule: Type.String({ description: 'under which it was accepted' }),
    onRevoke: nullable(
      Type.Enum(['abort', 'finish', 'pause'], {
        description: 'what that rule said of it when it was accepted',
      }),
    ),
    reason: Type.String(),
    message: Type.String(),
  },
  { $id: 'AffectedOperation' },
);
export type AffectedOperation = Static<typeof AffectedOperationSchema>;

export const AffectedOperationsSchema = Type.Object(
  {
    unfinished: count({ description: 'accepted and not ended, as far as hosts have reported' }),
    refused: count({ description: 'those of them that the new document would refuse' }),
    notReplayable: count(),
    isAll: Type.Boolean(),
    byOnRevoke: Type.Optional(
      Type.Object(
        { abort: count(), pause: count(), finish: count() },
        { description: 'those that it would refuse, by what their rules say' },
      ),
    ),
    examples: Type.Array(AffectedOperationSchema, {
      description: 'at most 20 of each `onRevoke`; those to abort first',
    }),
  },
  { $id: 'AffectedOperations' },
);
export type AffectedOperations = Static<typeof AffectedOperationsSchema>;

export const LooseningSchema = Type.Object(
  {
    mayLoosen: Type.Boolean({
      description: 'false only where every change is tighter and no sample is newly permitted',
    }),
    looser: count(),
    tighter: count(),
    changed: count(),
    changes: Type.Array(PolicyChangeSchema, { description: 'looser ones first; at most 200' }),
    tests: Type.Object(comparedDecisions, {
      description: 'what the tests of both documents ask, decided under both',
    }),
  },
  { $id: 'PolicyLoosening' },
);
export type Loosening = Static<typeof LooseningSchema>;

export const PublicationReportSchema = Type.Object(
  {
    comparedWith: nullable(
      count({ description: 'the revision in force; null where there is none to compare with' }),
    ),
    warnings: Type.Array(Type.String()),
    loosening: nullable(LooseningSchema),
    impact: nullable(ImpactSchema),
    operations: nullable(AffectedOperationsSchema),
  },
  { $id: 'PublicationReport' },
);
export type PublicationReport = Static<typeof PublicationReportSchema>;

export const PROPOSAL_STATES = [
  'open',
  'published',
  'rejected',
  'withdrawn',
  'expired',
  'superseded',
] as const;

export const ROLLOUT_MODES = ['all', 'staged'] as const;
export type RolloutMode = (typeof ROLLOUT_MODES)[number];

/** A publication that waits for a second person. */
export const ProposalSchema = Type.Object(
  {
    proposalId: Type.String(),
    state: Type.Enum([...PROPOSAL_STATES]),
    policyDigest: Type.String({ description: 'what is approved; send it as If-Match' }),
    replaces: nullable(count({ description: 'the revision it was written against' })),
    rules: count(),
    comment: nullable(Type.String()),
    rollout: Type.Enum([...ROLLOUT_MODES]),
    proposedBy: Type.String(),
    proposedAtMs: wallMs(),
    expiresAtMs: wallMs(),
    decidedBy: nullable(Type.String()),
    decidedAtMs: nullable(wallMs()),
    reason: nullable(Type.String({ description: 'why it was rejected or withdrawn' })),
    policyRevision: nullable(count({ description: 'the revision it became' })),
  },
  { $id: 'PolicyProposal' },
);
export type Proposal = Static<typeof ProposalSchema>;

export const ProposalDetailSchema = Type.Object(
  { ...ProposalSchema.properties, policy: Type.Unknown(), report: PublicationReportSchema },
  { $id: 'PolicyProposalDetail' },
);
export type ProposalDetail = Static<typeof ProposalDetailSchema>;

export const ReasonRequestSchema = Type.Object(
  { reason: Type.Optional(Type.String({ minLength: 1, maxLength: 500, pattern: '\\S' })) },
  { additionalProperties: false, $id: 'ReasonRequest' },
);
