/**
 * How control divides one budget of the fleet among hosts. A part is leased: the host counts its
 * end from when it sent the request, control from when it answered, and longer.
 */
import Type, { type Static } from 'typebox';
import { LIMIT_KINDS, SYNC_ALLOTMENTS_MAX } from '../core/limit-kinds.ts';
import { count, wallMs } from './numbers.ts';

const closed = { additionalProperties: false } as const;
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

const budget = {
  rule: Type.String({ maxLength: 63 }),
  per: Type.Enum(['rule', 'principal', 'action', 'resource']),
  key: Type.String({ maxLength: 300 }),
  kind: Type.Enum([...LIMIT_KINDS]),
};

/** What a host says of one budget. */
export const AllotmentAskSchema = Type.Object(
  {
    ...budget,
    units: count({
      description: 'held now: of the rate its count, operations, units of the window',
    }),
    inUse: count({
      description: 'concurrency: operations that have not ended; quota: units used in the window',
    }),
    wants: count({ description: 'how much in all would be enough' }),
    window: nullable(count({ description: 'quota: the window of `units` and `inUse`' })),
    deadlineMs: count({ description: 'the longest deadline that its rule allows there' }),
  },
  closed,
);
export type AllotmentAsk = Static<typeof AllotmentAskSchema>;

export const AllotmentRequestSchema = Type.Object(
  {
    applied: nullable(
      Type.String({
        maxLength: 64,
        description:
          'nonce of the newest answer that this host acts on: only then are its units all that it may hold',
      }),
    ),
    items: Type.Array(AllotmentAskSchema, { maxItems: SYNC_ALLOTMENTS_MAX }),
  },
  closed,
);
export type AllotmentRequest = Static<typeof AllotmentRequestSchema>;

export const AllotmentGrantSchema = Type.Object({
  ...budget,
  units: count({ description: '0: none' }),
  burst: count({ description: 'rate: how many at once' }),
  windowMs: count({ description: 'rate and quota: the length in which units count' }),
  window: nullable(count({ description: 'quota: the window in which they may be used' })),
  ttlMs: count({
    description: 'counted by the host from when it sent the request; quota: the rest of the window',
  }),
  deadlineMsMax: count({
    description: 'concurrency: for operations with no longer deadline, which may outlast the part',
  }),
});
export type AllotmentGrant = Static<typeof AllotmentGrantSchema>;

export const AllotmentSchema = Type.Object({
  ...budget,
  budget: nullable(count({ description: 'of the rule in force; null where it has none any more' })),
  hostId: Type.String(),
  hostName: nullable(Type.String()),
  hostEpoch: count(),
  units: count({ description: 'what counts as given: the host may hold so much' }),
  inUse: count(),
  wants: count(),
  state: Type.Enum(['held', 'ending', 'over'], {
    description: 'ending: the part is over, and operations that began under it may not be',
  }),
  remainingMs: count({ description: 'until another host may have it, if this one stays away' }),
  heardAtMs: wallMs(),
});
export type Allotment = Static<typeof AllotmentSchema>;
