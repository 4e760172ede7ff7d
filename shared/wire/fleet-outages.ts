/** Outages as control knows them: those that hosts report, and what it has seen itself. */
import Type, { type Static } from 'typebox';
import { PageQuerySchema } from './control-api.ts';
import { count, wallMs } from './numbers.ts';
import { OUTAGE_CAUSES, OutageSchema } from './operation.ts';

const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** `not_heard`: a host did not sync while control ran. `control_down`: control itself did not run. */
export const OWN_OUTAGE_CAUSES = ['not_heard', 'control_down'] as const;

export const FleetOutageSchema = Type.Object(
  {
    outageId: Type.String(),
    seenBy: Type.Enum(['host', 'control'], {
      description: 'host: as its sidecar reported it; control: as control has seen it by itself',
    }),
    hostId: nullable(Type.String({ description: 'null: of control itself, so of all hosts' })),
    hostName: nullable(Type.String()),
    fromMs: wallMs({ description: 'by the clock of whoever saw it' }),
    toMs: nullable(wallMs()),
    cause: Type.Enum([...OUTAGE_CAUSES, ...OWN_OUTAGE_CAUSES]),
    detail: Type.String(),
    policyRevision: OutageSchema.properties.policyRevision,
    stalenessMs: OutageSchema.properties.stalenessMs,
  },
  { $id: 'FleetOutage' },
);
export type FleetOutage = Static<typeof FleetOutageSchema>;

export const FleetOutageDetailSchema = Type.Object(
  {
    ...FleetOutageSchema.properties,
    tally: Type.Object(
      {
        admitted: count(),
        refused: count(),
        paused: count(),
        succeeded: count(),
        failed: count(),
        cancelled: count(),
        expired: count(),
        unknown: count(),
      },
      {
        description:
          'what the host reported as done while it was open; of what is not reported yet nothing is counted',
      },
    ),
    unreported: nullable(
      count({ description: 'entries that its host has and control has not, as last heard' }),
    ),
    overlaps: Type.Array(FleetOutageSchema, {
      description: 'others in the same time: of the same host, and of control; at most 100',
    }),
  },
  { $id: 'FleetOutageDetail' },
);
export type FleetOutageDetail = Static<typeof FleetOutageDetailSchema>;

export const FleetOutagesQuerySchema = Type.Object(
  {
    host: Type.Optional(Type.String({ maxLength: 100, description: 'a host id' })),
    open: Type.Optional(
      Type.Boolean({ description: 'true: that have not ended; false: that have' }),
    ),
    seenBy: Type.Optional(FleetOutageSchema.properties.seenBy),
    ...PageQuerySchema.properties,
  },
  { additionalProperties: false },
);
export type FleetOutagesQuery = Static<typeof FleetOutagesQuerySchema>;
