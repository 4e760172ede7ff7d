/** How much of a limit is used, as refusals, decisions and views show it. */
import Type, { type Static } from 'typebox';
import { LIMIT_KINDS } from '../core/limit-kinds.ts';
import { count } from './numbers.ts';

const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** Without a name: it stands inside others that are registered apart. */
export const LimitStateSchema = Type.Object({
  rule: Type.String(),
  kind: Type.Enum([...LIMIT_KINDS]),
  per: Type.Enum(['rule', 'principal', 'action', 'resource']),
  key: Type.String({ description: 'whose budget it is; empty where the rule has one for all' }),
  scope: Type.Enum(['host', 'fleet']),
  limit: count({
    description: 'what this host may use: rate: at once; of a fleet budget, the part held here',
  }),
  windowMs: nullable(count({ description: 'rate, quota: in so much time; null for concurrency' })),
  used: count(),
  remaining: count(),
  resetsMs: nullable(
    count({ description: 'until all of it is there again; null: when operations end' }),
  ),
  budget: count({ description: 'of the rule: on this host, or in all of the fleet' }),
  shareEndsMs: nullable(
    count({ description: 'fleet: until the part held here ends, if control stays away' }),
  ),
});
export type LimitState = Static<typeof LimitStateSchema>;

/** What a view shows at most, the most used first. */
export const LIMITS_SHOWN_MAX = 1_000;

export const LimitsSchema = Type.Object(
  {
    items: Type.Array(LimitStateSchema, { description: 'the least remaining first' }),
    count: count({ description: 'of all that are known on this host' }),
    truncated: Type.Boolean(),
  },
  { $id: 'Limits' },
);
export type Limits = Static<typeof LimitsSchema>;
