/**
 * How a decision came about: the same from the command line, from control and from the sidecar.
 * Where it is made is `shared/core/decision-trace.ts`.
 */
import Type, { type Static } from 'typebox';
import { DECISION_REASONS } from '../core/policy.ts';
import { count } from './numbers.ts';

const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const ExpressionTraceSchema = Type.Object(
  {
    expression: Type.String(),
    outcome: Type.Enum(['true', 'false', 'failed', 'skipped'], {
      description: 'skipped: the decision was made before it was come to',
    }),
    message: nullable(Type.String({ description: 'why it failed, or what a false permit says' })),
  },
  { $id: 'ExpressionTrace' },
);
export type ExpressionTrace = Static<typeof ExpressionTraceSchema>;

export const RuleTraceSchema = Type.Object(
  {
    rule: Type.String(),
    path: Type.String({ description: 'its place in the document, as /rules/3' }),
    outcome: Type.Enum(['not_matched', 'decided']),
    enforcement: Type.Enum(['audit', 'warn', 'deny']),
    match: Type.Array(ExpressionTraceSchema),
    permit: Type.Array(ExpressionTraceSchema),
  },
  { $id: 'RuleTrace' },
);
export type RuleTrace = Static<typeof RuleTraceSchema>;

export const VariableTraceSchema = Type.Object(
  {
    name: Type.String(),
    expression: Type.String(),
    outcome: Type.Enum(['value', 'failed']),
    value: nullable(Type.String({ description: 'JSON text, cut after 1,000 characters' })),
    isCut: Type.Boolean(),
    message: nullable(Type.String({ description: 'why it failed' })),
  },
  { $id: 'VariableTrace' },
);
export type VariableTrace = Static<typeof VariableTraceSchema>;

export const TERM_SOURCES = ['rule', 'defaults', 'built-in'] as const;

export const TermTraceSchema = Type.Object(
  {
    term: Type.String({ description: 'as maxStalenessMs' }),
    value: Type.Unknown(),
    source: Type.Enum([...TERM_SOURCES], {
      description: 'where it is said: the rule, `defaults` of the document, or nowhere in it',
    }),
  },
  { $id: 'TermTrace' },
);
export type TermTrace = Static<typeof TermTraceSchema>;

export const DecisionTraceSchema = Type.Object(
  {
    decision: Type.Enum(['permit', 'deny']),
    reason: Type.Enum([...DECISION_REASONS]),
    rule: nullable(Type.String()),
    message: Type.String(),
    warnings: Type.Array(Type.String()),
    leaseResource: nullable(Type.String()),
    roles: nullable(Type.Array(Type.String(), { description: 'null: the principal is unknown' })),
    rules: Type.Array(RuleTraceSchema, { description: 'those considered, in order' }),
    rulesNotReached: count({
      description: 'that are for this action too, after the one that decided',
    }),
    variables: Type.Array(VariableTraceSchema, { description: 'those used, in document order' }),
    terms: Type.Array(TermTraceSchema, { description: 'of the rule that decided' }),
  },
  { $id: 'DecisionTrace' },
);
export type DecisionTrace = Static<typeof DecisionTraceSchema>;

/** The trace and its parts, for the description of an API. */
export const DECISION_TRACE_SCHEMAS = [
  DecisionTraceSchema,
  ExpressionTraceSchema,
  RuleTraceSchema,
  TermTraceSchema,
  VariableTraceSchema,
];
