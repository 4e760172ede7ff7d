/** Health of all hosts together, as control knows it from what they say with their syncs. */
import Type, { type Static } from 'typebox';
import { FLEET_HOSTS_SHOWN } from '../core/plane-health.ts';
import { HealthPartSchema } from './health.ts';
import { count, wallMs } from './numbers.ts';

const closed = { additionalProperties: false } as const;
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** Operations of one kind on one host. Durations travel: the clock of a host is its own. */
export const WorkTallySchema = Type.Object(
  {
    count: count(),
    oldestMs: nullable(count({ description: 'since the admission of the oldest of them' })),
  },
  closed,
);
export type WorkTally = Static<typeof WorkTallySchema>;

/** What a host says of its work and of its authority, small whatever it holds. */
export const HostHealthSchema = Type.Object(
  {
    executing: WorkTallySchema,
    paused: WorkTallySchema,
    stuck: { ...WorkTallySchema, description: 'past their deadline and not ended' },
    unknown: { ...WorkTallySchema, description: 'with an outcome that is not known' },
    reconciling: { ...WorkTallySchema, description: 'of the unknown ones, those taken up' },
    staleRules: Type.Object(
      { count: count(), of: count() },
      { ...closed, description: 'bounded rules for which its authority is too old' },
    ),
    expiredConfig: Type.Object(
      { count: count(), of: count() },
      { ...closed, description: 'config values that are older than their policy allows' },
    ),
  },
  closed,
);
export type HostHealth = Static<typeof HostHealthSchema>;

export const FleetPartSchema = Type.Object({
  ...HealthPartSchema.properties,
  count: count({ description: 'of what the part is about' }),
  oldestAtMs: nullable(wallMs({ description: 'of those, the beginning of the oldest' })),
  hosts: Type.Array(
    Type.Object({
      hostId: Type.String(),
      hostName: Type.String(),
      count: count(),
      oldestAtMs: nullable(wallMs()),
    }),
    { maxItems: FLEET_HOSTS_SHOWN, description: 'those with most of it' },
  ),
  hostsOmitted: count({ description: 'hosts that are not in the list' }),
});
export type FleetPart = Static<typeof FleetPartSchema>;

const FleetPlaneSchema = Type.Object({
  verdict: Type.Enum(['ok', 'impaired', 'down', 'unknown']),
  summary: Type.String(),
  parts: Type.Record(Type.String(), FleetPartSchema),
});

export const FleetHealthSchema = Type.Object(
  {
    atMs: wallMs(),
    hosts: Type.Object({
      enrolled: count({ description: 'that have never synced, and so never had work' }),
      heard: count(),
      unheard: count({ description: 'silent, or not saying how they are: unknown, never ok' }),
    }),
    controlPlane: FleetPlaneSchema,
    dataPlane: FleetPlaneSchema,
  },
  { $id: 'FleetHealth' },
);
export type FleetHealth = Static<typeof FleetHealthSchema>;
