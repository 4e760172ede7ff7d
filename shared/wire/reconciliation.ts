/**
 * How an operation whose outcome is unknown is brought to a settled state: what its rule says, what
 * was tried, who works on it. Part of the record of the operation, and of what is reported of it.
 */
import Type, { type Static } from 'typebox';
import { count, wallMs } from './numbers.ts';
import { ActionSchema } from './policy-document.ts';

const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

const STRATEGIES = ['human', 'probe', 'retry', 'compensate'] as const;
export const StrategySchema = Type.Enum([...STRATEGIES]);

const tries = { attempts: count(), intervalMs: count() };

/** `OnUnknown` of `shared/core/on-unknown.ts`. */
export const OnUnknownSchema = Type.Union([
  Type.Object({ strategy: Type.Literal('human') }),
  Type.Object({
    strategy: Type.Literal('probe'),
    url: Type.String(),
    method: Type.Enum(['GET', 'POST']),
    timeoutMs: count(),
    ...tries,
  }),
  Type.Object({ strategy: Type.Literal('retry'), ...tries }),
  Type.Object({ strategy: Type.Literal('compensate'), action: ActionSchema, ...tries }),
]);

const ClaimSchema = Type.Object({
  holder: Type.String(),
  app: Type.String({ description: 'whose token it was made with' }),
  atMs: wallMs(),
  endsAtMs: wallMs({ description: 'it holds nobody off any more then' }),
});
export type Claim = Static<typeof ClaimSchema>;

const VERDICTS = ['succeeded', 'failed', 'unknown'] as const;
export type TryVerdict = (typeof VERDICTS)[number];

const TrySchema = Type.Object({
  number: count({ minimum: 1 }),
  strategy: StrategySchema,
  by: nullable(Type.String({ description: 'who asked for it; null: its rule did' })),
  begunAtMs: wallMs(),
  endedAtMs: nullable(
    wallMs({ description: 'null: under way, or cut off by the end of a process' }),
  ),
  verdict: nullable(Type.Enum([...VERDICTS])),
  detail: nullable(Type.String({ description: 'why it is not known, or what was said' })),
});

export const ReconciliationSchema = Type.Object({
  strategy: Type.Enum([...STRATEGIES], { description: 'what is done about it now' }),
  sinceMs: wallMs({ description: 'when its outcome became unknown' }),
  tries: count({ description: 'begun so far; each is counted before it is made' }),
  lastTry: nullable(TrySchema),
  nextTryAtMs: nullable(wallMs({ description: 'null where nothing more is tried by itself' })),
  leftToPerson: nullable(Type.String({ description: 'why its rule tries nothing more' })),
  claim: nullable(ClaimSchema),
  compensatedBy: nullable(Type.String({ description: 'the operation that is to undo it' })),
});
export type Reconciliation = Static<typeof ReconciliationSchema>;

/** In the outcome of one that was unknown. */
export const resolutionFacts = {
  by: Type.Optional(Type.String({ description: 'who settled it' })),
  evidence: Type.Optional(Type.Unknown({ description: 'what shows it, as it was given' })),
};
