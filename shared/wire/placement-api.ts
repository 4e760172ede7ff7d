/** Bodies of control's API about placement: groups of resources, and on which hosts they are. */
import Type, { type Static } from 'typebox';
import { LABEL_KEY_PATTERN, LABEL_VALUE_PATTERN } from '../core/labels.ts';
import { DURATION_PATTERN } from '../core/time.ts';
import { HostNameSchema } from './control-api.ts';
import { count, wallMs } from './numbers.ts';
import { ResourceSchema } from './statements.ts';

const closed = { additionalProperties: false } as const;
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const SHARDS_MAX = 4_096;
const LABELS_MAX = 50;

export const GroupNameSchema = Type.String({
  pattern: '^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$',
  description: 'lower case, digits, dots and hyphens',
});

export const LabelsSchema = Type.Record(
  Type.String({ pattern: LABEL_KEY_PATTERN }),
  Type.String({ pattern: LABEL_VALUE_PATTERN }),
  { ...closed, maxProperties: LABELS_MAX },
);
export type Labels = Static<typeof LabelsSchema>;

/** A number that a label of the host may say. */
const perHost = (standard: Type.TInteger, description: string) =>
  Type.Object(
    {
      label: Type.Optional(Type.String({ maxLength: 63, description: 'a label with a number' })),
      default: Type.Optional(standard),
    },
    { ...closed, description },
  );
const number = (minimum: number) => Type.Integer({ minimum, maximum: 1_000_000 });

export const PlacementGroupSpecSchema = Type.Object(
  {
    shards: Type.Integer({ minimum: 1, maximum: SHARDS_MAX }),
    resource: Type.String({
      pattern: '^[A-Za-z0-9._/{}-]{1,200}$',
      description: 'the lease of each shard, with {shard} once, as orders/{shard}',
    }),
    selector: Type.Optional(LabelsSchema),
    weight: Type.Optional(perHost(number(1), 'share of the shards; default 1')),
    capacity: Type.Optional(perHost(number(0), 'shards of this group that a host takes at most')),
    pins: Type.Optional(
      Type.Record(Type.String({ pattern: '^[0-9]{1,4}$' }), HostNameSchema, {
        ...closed,
        description: 'shard to host: it goes there while that host is in contact',
      }),
    ),
    maxMovesPerMinute: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 10_000,
        description: 'of shards whose owner is alive; default 30',
      }),
    ),
    drainTimeout: Type.Optional(Type.String({ pattern: DURATION_PATTERN, description: '5m' })),
    onDrainTimeout: Type.Optional(Type.Enum(['give_up', 'revoke'])),
  },
  { ...closed, $id: 'PlacementGroupSpec' },
);
export type PlacementGroupSpec = Static<typeof PlacementGroupSpecSchema>;

export const PlacementGroupSchema = Type.Object(
  {
    name: GroupNameSchema,
    revision: count({ description: 'for If-Match; the ETag' }),
    spec: PlacementGroupSpecSchema,
    updatedAtMs: wallMs(),
    updatedBy: Type.String(),
  },
  { $id: 'PlacementGroup' },
);
export type PlacementGroup = Static<typeof PlacementGroupSchema>;

export const PlacementHostSchema = Type.Object({
  hostId: Type.String(),
  hostName: Type.String(),
  state: Type.Enum(['live', 'draining', 'doubted', 'lost']),
  weight: count(),
  capacity: nullable(count()),
  excluded: nullable(Type.String({ description: 'why it gets nothing new' })),
  shardsNow: count(),
  shardsThen: count(),
});
export type PlacementHostView = Static<typeof PlacementHostSchema>;

export const PlacementEntrySchema = Type.Object(
  {
    group: GroupNameSchema,
    shard: count(),
    resource: ResourceSchema,
    action: Type.Enum(['keep', 'assign', 'move']),
    why: Type.String(),
    fromHostId: nullable(Type.String()),
    fromHostName: nullable(Type.String()),
    hostId: nullable(Type.String({ description: 'null: there is nowhere to go' })),
    hostName: nullable(Type.String()),
    isInFlight: Type.Boolean({ description: 'it is being handed over' }),
  },
  { $id: 'PlacementEntry' },
);
export type PlacementEntry = Static<typeof PlacementEntrySchema>;

export const PlacementBrakeSchema = Type.Object({
  reason: Type.Enum(['started', 'mass_loss']),
  sinceMs: wallMs(),
  remainingMs: count({ description: 'until it is let go by itself' }),
  silent: count({ description: 'hosts that are not heard' }),
  of: count(),
});
export type PlacementBrakeView = Static<typeof PlacementBrakeSchema>;

export const PlacementPlanSchema = Type.Object(
  {
    group: GroupNameSchema,
    brake: nullable(PlacementBrakeSchema),
    counts: Type.Object({ keep: count(), assign: count(), move: count(), unplaced: count() }),
    maxMovesPerMinute: count(),
    hosts: Type.Array(PlacementHostSchema),
    items: Type.Array(PlacementEntrySchema, { description: 'what would change' }),
  },
  { $id: 'PlacementPlan' },
);
export type PlacementPlan = Static<typeof PlacementPlanSchema>;

export const PlanRequestSchema = Type.Object(
  { name: GroupNameSchema, spec: PlacementGroupSpecSchema },
  { ...closed, $id: 'PlanRequest' },
);

export const PlacementExplanationSchema = Type.Object(
  {
    entry: PlacementEntrySchema,
    summary: Type.Array(Type.String(), { description: 'sentences, in order' }),
    candidates: Type.Array(
      Type.Object({
        hostId: Type.String(),
        hostName: Type.String(),
        score: Type.Number({ description: 'weighted rendezvous; the highest that has room wins' }),
        weight: count(),
        shards: count(),
        capacity: nullable(count()),
        excluded: nullable(Type.String()),
      }),
      { description: 'highest score first' },
    ),
  },
  { $id: 'PlacementExplanation' },
);
export type PlacementExplanation = Static<typeof PlacementExplanationSchema>;

export const HostDrainRequestSchema = Type.Object(
  { reason: Type.Optional(Type.String({ minLength: 1, maxLength: 500 })) },
  { ...closed, $id: 'HostDrainRequest' },
);

export const HostSettingsSchema = Type.Object(
  {
    hostId: Type.String(),
    hostName: Type.String(),
    labels: LabelsSchema,
    effectiveLabels: Type.Record(Type.String(), Type.String(), {
      description: 'these over what the host says of itself: what a roll-out picks by',
    }),
    drain: nullable(
      Type.Object({ sinceMs: wallMs(), by: Type.String(), reason: nullable(Type.String()) }),
    ),
  },
  { $id: 'HostSettings' },
);
export type HostSettingsView = Static<typeof HostSettingsSchema>;
