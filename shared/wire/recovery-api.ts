/** What became of the work over an outage, as the sidecar tells it. */
import Type, { type Static } from 'typebox';
import { count } from './numbers.ts';
import { OperationSchema, OutageSchema, RefusalSchema } from './operation.ts';

const closed = { additionalProperties: false } as const;
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const RECOVERY_LISTS = [
  'accepted_before',
  'continued',
  'stopped',
  'refused',
  'needs_reconciliation',
] as const;
export const RecoveryListSchema = Type.Enum([...RECOVERY_LISTS], {
  description:
    'accepted_before: accepted and unfinished when the outage began. continued: of those, what got on ' +
    'while it lasted, and what was admitted then, under cached authority. stopped: paused, cancelled ' +
    'or expired. refused. needs_reconciliation: all of this host whose outcome is unknown',
});
export type RecoveryList = (typeof RECOVERY_LISTS)[number];

const nextCursor = nullable(
  Type.String({ description: 'the list goes on there, though a page be empty; null at its end' }),
);

const listing = <T extends Type.TSchema>(item: T) =>
  Type.Object({
    count: count({ description: 'of the whole list, with what the retention has taken since' }),
    oldestMs: nullable(count({ description: 'age of the oldest, in ms' })),
    items: Type.Array(item, { description: 'the first page, newest last' }),
    truncated: Type.Boolean(),
    nextCursor,
  });

/** After an outage: four lists and one verdict. */
export const RecoverySchema = Type.Object(
  {
    outage: nullable(OutageSchema),
    verdict: Type.Enum(['no_outage', 'open', 'needs_reconciliation', 'settling', 'settled']),
    summary: Type.String(),
    pruned: Type.Boolean({
      description: 'the retention has taken part of what is counted here: it is in no list',
    }),
    tally: Type.Object({
      acceptedBefore: count({
        description: 'accepted before the outage and unfinished when it began',
      }),
      advancedDuring: count({ description: 'of those, how many got on during the outage' }),
      admittedDuring: count(),
      executedDuring: count({
        description: 'operations that succeeded or failed during the outage',
      }),
      refusedDuring: count({ description: 'requests; a record may stand for several' }),
      refusedByReason: Type.Record(Type.String(), count()),
      stoppedDuring: count({
        description: 'paused, cancelled or expired during the outage',
      }),
      unknownDuring: count({ description: 'operations whose outcome became unknown during it' }),
      needsReconciliation: count({ description: 'operations whose outcome is unknown now' }),
      unreported: count({
        description: 'journal entries that control has not acknowledged',
      }),
    }),
    acceptedBefore: listing(OperationSchema),
    continued: listing(OperationSchema),
    stopped: listing(OperationSchema),
    refused: listing(RefusalSchema),
    needsReconciliation: listing(OperationSchema),
  },
  { $id: 'Recovery' },
);
export type Recovery = Static<typeof RecoverySchema>;

const ofList = {
  list: RecoveryListSchema,
  outageId: nullable(Type.String()),
  count: count({ description: 'of the whole list' }),
  nextCursor,
};
export const RecoveryPageSchema = Type.Union(
  [
    Type.Object({ ...ofList, items: Type.Array(OperationSchema) }),
    Type.Object({ ...ofList, items: Type.Array(RefusalSchema) }),
  ],
  { $id: 'RecoveryPage', description: 'refusals for the list `refused`, else operations' },
);
export type RecoveryPage = Static<typeof RecoveryPageSchema>;

const outage = Type.Optional(
  Type.String({ maxLength: 64, description: 'by default the latest; `cursor` names its own' }),
);
export const RecoveryQuerySchema = Type.Object({ outage }, closed);
export const RecoveryPageQuerySchema = Type.Object(
  {
    outage,
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 100 })),
    cursor: Type.Optional(Type.String({ maxLength: 200 })),
  },
  closed,
);

export const OutagesSchema = Type.Object(
  {
    items: Type.Array(OutageSchema, { description: 'without their moments: read one for those' }),
    nextCursor: nullable(Type.String()),
  },
  { $id: 'Outages' },
);
