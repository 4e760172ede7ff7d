/** Config values as an app reads and watches them on the sidecar. */
import Type, { type Static } from 'typebox';
import { count, leftMs, wallMs } from './numbers.ts';

const closed = { additionalProperties: false } as const;
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const CONFIG_KEY_PATTERN = '^[a-z][a-zA-Z0-9_-]*(\\.[a-z][a-zA-Z0-9_-]*)*$';
export const CONFIG_WAIT_MAX = '30s';

export const ConfigKeySchema = Type.String({ pattern: CONFIG_KEY_PATTERN, maxLength: 200 });

/** Where the value comes from; `none`: it is expired and its policy says `onExpiry: error`. */
export const CONFIG_SOURCES = ['policy', 'default', 'last', 'none'] as const;
export type ConfigSource = (typeof CONFIG_SOURCES)[number];

/** Why a value counts as expired, in order of precedence. */
export const CONFIG_EXPIRY_REASONS = ['authority_revoked', 'age_unknown', 'too_old'] as const;
export type ConfigExpiryReason = (typeof CONFIG_EXPIRY_REASONS)[number];

export const ConfigValueSchema = Type.Object(
  {
    key: ConfigKeySchema,
    value: Type.Unknown({ description: 'null where `source` is none' }),
    source: Type.Enum([...CONFIG_SOURCES]),
    expired: Type.Boolean({
      description:
        'past maxStaleness: what is served is what onExpiry says, never as if it were good',
    }),
    reason: nullable(
      Type.Enum([...CONFIG_EXPIRY_REASONS], { description: 'why it counts as expired' }),
    ),
    onExpiry: Type.Enum(['default', 'error', 'last']),
    policyRevision: count(),
    basis: Type.Literal('cached'),
    stalenessMs: nullable(
      count({ description: 'age of the authority; null where it is not known' }),
    ),
    maxStalenessMs: count(),
    expiresInMs: leftMs({ description: '0 where it is expired' }),
    expiresAtMs: nullable(wallMs({ description: 'the same on the wall clock, for people' })),
    etag: Type.String({
      description: 'of this entry: changes with its value, its terms, and whether it is expired',
    }),
  },
  { $id: 'ConfigValue' },
);
export type ConfigValue = Static<typeof ConfigValueSchema>;

export const ConfigListSchema = Type.Object(
  {
    policyRevision: count(),
    stalenessMs: nullable(count()),
    items: Type.Array(Type.Ref('ConfigValue'), { description: 'in the order of the document' }),
  },
  { $id: 'ConfigList' },
);
export type ConfigList = {
  readonly policyRevision: number;
  readonly stalenessMs: number | null;
  readonly items: readonly ConfigValue[];
};

export const ConfigReadQuerySchema = Type.Object(
  {
    wait: Type.Optional(
      Type.String({
        maxLength: 20,
        description: `with If-None-Match: wait for a change, as 30s; at most ${CONFIG_WAIT_MAX}`,
      }),
    ),
  },
  closed,
);

export const ConfigWatchQuerySchema = Type.Object(
  {
    key: Type.Optional(ConfigKeySchema),
    since: Type.Optional(
      Type.String({
        maxLength: 100,
        description:
          'the etag of the last line that was read: nothing is sent again if it still holds',
      }),
    ),
  },
  closed,
);

/** Why a stream ended that its reader did not close. */
export const CONFIG_STREAM_ENDS = ['slow_reader', 'shutting_down'] as const;
export type ConfigStreamEnd = (typeof CONFIG_STREAM_ENDS)[number];

/**
 * One line of the change stream. A `snapshot` replaces all that was known, a `change` adds to it;
 * the etag of a line, given back as `since`, goes on from there.
 */
export type ConfigLine =
  | ({ readonly type: 'snapshot'; readonly items: readonly ConfigValue[] } & ConfigLineHead)
  | ({
      readonly type: 'change';
      readonly items: readonly ConfigValue[];
      readonly removed: readonly string[];
    } & ConfigLineHead)
  | ({ readonly type: 'heartbeat' } & ConfigLineHead)
  | ({
      readonly type: 'end';
      readonly reason: ConfigStreamEnd;
      readonly detail: string;
    } & ConfigLineHead);

export type ConfigLineHead = {
  readonly etag: string;
  /** `null` where no policy has been received yet. */
  readonly policyRevision: number | null;
  readonly stalenessMs: number | null;
  readonly atMs: number;
};
