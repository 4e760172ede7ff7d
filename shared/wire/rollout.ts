/** Roll-outs of a revision by stages, what hosts say about it, and which host runs what. */
import Type, { type Static } from 'typebox';
import { LABEL_KEY_PATTERN, LABEL_VALUE_PATTERN } from '../core/labels.ts';
import { count, wallMs } from './numbers.ts';

const closed = { additionalProperties: false } as const;
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** Of a host, as its own configuration says. */
export const LabelsSchema = Type.Record(
  Type.String({ pattern: LABEL_KEY_PATTERN }),
  Type.String({ pattern: LABEL_VALUE_PATTERN }),
  { ...closed, maxProperties: 32, description: 'labels of the host, as canary: "true"' },
);
export type Labels = Static<typeof LabelsSchema>;

export const TALLIES_MAX = 4;

/**
 * Decisions of one process of a sidecar under one revision. What had nothing to do with the
 * revision (authority too old, a lease not held, a full disk) counts as neither.
 */
export const TallySchema = Type.Object(
  {
    policyRevision: count(),
    admitted: count(),
    refused: count({ description: 'by what the policy says; rule errors are in it' }),
    ruleErrors: count({ description: 'expressions that failed' }),
  },
  closed,
);
export type Tally = Static<typeof TallySchema>;

/** Parts of a sync that say how a host does under which revision. */
export const hostSelfReport = {
  labels: Type.Optional(LabelsSchema),
  processId: Type.Optional(
    Type.String({ minLength: 1, maxLength: 64, description: 'another one after each start' }),
  ),
  activationDeaths: Type.Optional(
    nullable(
      Type.Object(
        {
          policyRevision: count(),
          deaths: count({ description: 'times the process ended while putting it in force' }),
        },
        closed,
      ),
    ),
  ),
  clock: Type.Optional(
    Type.Object(
      {
        bootId: Type.String({ minLength: 1, maxLength: 100 }),
        bootMs: count({ description: 'boot clock of the host, when this request was built' }),
        answered: nullable(
          Type.Object(
            { bootMs: count(), tookMs: count() },
            {
              ...closed,
              description:
                'the last request of this process that was answered, and from its building to its answer',
            },
          ),
        ),
      },
      { ...closed, description: 'by which control places what this host decides' },
    ),
  ),
  decisions: Type.Optional(
    Type.Array(TallySchema, {
      maxItems: TALLIES_MAX,
      description: 'since the process began, by revision; the newest ones',
    }),
  ),
};

export const ROLLOUT_STATES = [
  'running',
  'baking',
  'paused',
  'halted',
  'completed',
  'rolled_back',
] as const;
export type RolloutState = (typeof ROLLOUT_STATES)[number];

export const RolloutStageSchema = Type.Object({
  labels: LabelsSchema,
  percentage: Type.Integer({ minimum: 1, maximum: 100 }),
  bakeMs: count(),
});
export type RolloutStage = Static<typeof RolloutStageSchema>;

export const RolloutSchema = Type.Object(
  {
    policyRevision: count({ description: 'what is rolled out' }),
    baseRevision: count({ description: 'what the other hosts run' }),
    state: Type.Enum([...ROLLOUT_STATES]),
    stage: count({ description: 'number of the stage, from 1' }),
    stages: Type.Array(RolloutStageSchema),
    startedAtMs: wallMs(),
    startedBy: Type.String(),
    stageAtMs: wallMs({ description: 'when this stage began' }),
    bakedMs: count({ description: 'time that all hosts of the stage have run it' }),
    reason: nullable(Type.String({ description: 'why it was paused or halted' })),
    endedAtMs: nullable(wallMs()),
    returnRevision: nullable(
      count({ description: 'the revision that put the former document back in force' }),
    ),
  },
  { $id: 'Rollout' },
);
export type Rollout = Static<typeof RolloutSchema>;

/** A roll-out as it stands at this moment. */
export const RolloutStatusSchema = Type.Object(
  {
    ...RolloutSchema.properties,
    selected: count({ description: 'hosts that are to run it by now' }),
    activated: count({ description: 'those of them that do' }),
    waitingFor: nullable(Type.String({ description: 'what the next step waits for' })),
  },
  { $id: 'RolloutStatus' },
);
export type RolloutStatus = Static<typeof RolloutStatusSchema>;

export const PromoteRequestSchema = Type.Object(
  {
    all: Type.Optional(
      Type.Boolean({ description: 'to every host at once, without the stages in between' }),
    ),
  },
  { ...closed, $id: 'PromoteRequest' },
);

export const RollbackRequestSchema = Type.Object(
  {
    toRevision: count({ minimum: 1, description: 'whose document is published again' }),
    comment: Type.Optional(Type.String({ minLength: 1, maxLength: 500, pattern: '\\S' })),
  },
  { ...closed, $id: 'RollbackRequest' },
);

export const LAG_REASONS = [
  'not_connected',
  'rejected',
  'quarantined',
  'downloading',
  'ahead',
] as const;

/** One host, and which revision it runs, should run, and why it does not. */
export const FleetHostSchema = Type.Object(
  {
    hostId: Type.String(),
    hostName: Type.String(),
    state: Type.Enum(['enrolled', 'connected', 'late', 'lost']),
    labels: Type.Record(Type.String(), Type.String(), {
      description: 'what the host says of itself, and over it what operators say',
    }),
    sidecarVersion: nullable(Type.String()),
    policyRevision: nullable(count()),
    sinceMs: nullable(wallMs({ description: 'when control first heard that it runs this' })),
    targetRevision: nullable(count()),
    lag: nullable(
      Type.Object(
        { reason: Type.Enum([...LAG_REASONS]), detail: Type.String() },
        {
          description: 'why it does not run its target',
        },
      ),
    ),
    note: nullable(
      Type.String({ description: 'as that its stage of the roll-out is still to come' }),
    ),
  },
  { $id: 'FleetHost' },
);
export type FleetHost = Static<typeof FleetHostSchema>;
