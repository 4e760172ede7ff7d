/**
 * The policy document (DESIGN 5): one TypeBox schema gives the TypeScript type, the validation and
 * the published JSON Schema. Unknown fields are errors everywhere.
 *
 * What the schema cannot say (names that must differ, arithmetic between fields, expressions) is in
 * `shared/core/policy-lints.ts`.
 */
import Type, { type Static } from 'typebox';
import { RATE_PATTERN } from '../core/rate.ts';
import { DURATION_PATTERN } from '../core/time.ts';

export const POLICY_API_VERSION = 'holdfast/v1';
export const POLICY_BYTES_MAX = 1024 * 1024;
export const POLICY_RULES_MAX = 10_000;

const closed = { additionalProperties: false } as const;
const name = Type.String({
  pattern: '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$',
  description: 'lower case, digits and hyphens',
});
const duration = Type.String({
  pattern: DURATION_PATTERN,
  description: 'a duration with a unit, as 250ms, 5s, 15m, 1h30m',
});
const rate = Type.String({
  pattern: RATE_PATTERN,
  description: 'so many in so much time, as 50/s, 1000/15m, 10000/d',
});
const expression = Type.String({
  minLength: 1,
  maxLength: 2_000,
  pattern: '\\S',
  description: 'a CEL expression that gives a bool',
});
const sentence = Type.String({
  minLength: 1,
  maxLength: 500,
  pattern: '\\S',
  description: 'a sentence for people',
});
const text = (maxLength: number) => Type.String({ maxLength, description: 'text for people' });
/** Of the keys of a record, for what refuses one. */
const names = (form: string) => ({ ...closed, 'x-names': form });

/** `payments.capture`, `payments.*`, or `*`. */
export const ActionPatternSchema = Type.String({
  pattern: '^(\\*|[a-z][a-zA-Z0-9_-]*(\\.[a-z][a-zA-Z0-9_-]*)*(\\.\\*)?)$',
  maxLength: 200,
  description: 'an action, or a prefix that ends in .*, or *',
});

export const ActionSchema = Type.String({
  pattern: '^[a-z][a-zA-Z0-9_-]*(\\.[a-z][a-zA-Z0-9_-]*)*$',
  maxLength: 200,
  description: 'dotted lower-camel words, as payments.capture',
});

export const PrincipalSchema = Type.String({
  pattern: '^[a-z][a-z0-9-]*:[A-Za-z0-9._@/-]{1,200}$',
  description: 'kind:name, as agent:billing',
});

const role = Type.String({
  pattern: '^[a-z][a-z0-9-]*$',
  maxLength: 100,
  description: 'a role, as billing',
});

const EffectRuleSchema = Type.Object(
  {
    idempotent: Type.Optional(
      Type.Boolean({ description: 'running it twice is as running it once; default false' }),
    ),
    fencing: Type.Optional(
      Type.Enum(['enforced', 'dispatch', 'none'], {
        description:
          'enforced: the target compares tokens; dispatch: only Holdfast checks, before the call; none (default)',
      }),
    ),
  },
  closed,
);

const OwnershipRuleSchema = Type.Object(
  {
    lease: Type.String({
      minLength: 1,
      maxLength: 200,
      pattern: '^[A-Za-z0-9._/-]*(\\{[A-Za-z0-9_.]+\\}[A-Za-z0-9._/-]*)*$',
      description:
        'resource name; {path} is filled from the request, as orders/{resource.attributes.shard}',
    }),
    mode: Type.Enum(['strict', 'fenced'], {
      description:
        'strict: stops when the lease ends; fenced: goes on for `grace`, because the target compares tokens',
    }),
    grace: Type.Optional({
      ...duration,
      description: 'how long fenced work goes on after its lease, as 2m; default 0s',
    }),
  },
  closed,
);

const LimitsRuleSchema = Type.Object(
  {
    rate: Type.Optional(rate),
    burst: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1_000_000,
        description: 'how many may come at once after a quiet time; default what one second allows',
      }),
    ),
    concurrency: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1_000_000,
        description: 'accepted operations that have not ended',
      }),
    ),
    quota: Type.Optional(
      Type.String({
        pattern: RATE_PATTERN,
        description:
          'at most so many in each window of that length, as 1000/d; counted durably, windows begin at multiples of their length since 1970 (UTC)',
      }),
    ),
    per: Type.Optional(
      Type.Enum(['rule', 'principal', 'action', 'resource'], {
        description: 'each of what has a budget of its own; default rule: one for all',
      }),
    ),
    scope: Type.Optional(
      Type.Enum(['host', 'fleet'], {
        description:
          'host (default): each host has the whole budget; fleet: control lends hosts parts of one budget, which is never overspent',
      }),
    ),
  },
  { ...closed, description: 'how much of this work is admitted' },
);

const ApprovalRuleSchema = Type.Object(
  {
    required: Type.Integer({ minimum: 1, maximum: 10, description: 'approvers, all different' }),
    from: Type.String({
      pattern: '^role:[a-z][a-z0-9-]*$',
      description: 'who may approve, as role:security',
    }),
    ttl: Type.Optional({ ...duration, description: 'how long it may be waited for; default 30m' }),
    onControlLoss: Type.Optional(
      Type.Enum(['wait', 'fail'], {
        description: 'of what waits for an approval while control is away; default wait',
      }),
    ),
    showPayload: Type.Optional(
      Type.Boolean({ description: 'approvers see the attributes, not only their digest' }),
    ),
  },
  closed,
);

const OnUnknownRuleSchema = Type.Object(
  {
    strategy: Type.Enum(['human', 'probe', 'retry', 'compensate'], {
      description:
        'human (default): a person settles it; probe: the app is asked what happened; retry: it is run again, every effect being idempotent; compensate: another action undoes it',
    }),
    interval: Type.Optional({
      ...duration,
      description: 'before the first try, doubled after each; as 30s; default 30s',
    }),
    attempts: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 100,
        description: 'tries before it is left to a person; default 5',
      }),
    ),
    probe: Type.Optional(
      Type.Object(
        {
          url: Type.String({
            minLength: 1,
            maxLength: 500,
            pattern: '^https?://[^\\s/@?#]+(/[^\\s#]*)?$',
            description:
              "the app's own verify endpoint, as http://127.0.0.1:8080/verify; probeTargets of the sidecar must allow it",
          }),
          method: Type.Optional(
            Type.Enum(['POST', 'GET'], {
              description: 'POST (default): the question is a JSON body; GET: it is the query',
            }),
          ),
          timeout: Type.Optional({
            ...duration,
            description: 'how long its answer is waited for, as 5s; default 5s, at most 30s',
          }),
        },
        { ...closed, description: 'with strategy probe' },
      ),
    ),
    compensate: Type.Optional(
      Type.Object(
        {
          action: { ...ActionSchema, description: 'the action that undoes it, as payments.refund' },
        },
        { ...closed, description: 'with strategy compensate' },
      ),
    ),
  },
  { ...closed, description: 'of work whose outcome nobody knows' },
);

const ConfigEntrySchema = Type.Object(
  {
    description: Type.Optional(text(1_000)),
    value: Type.Unknown({ description: 'any JSON, at most 32 KiB' }),
    maxStaleness: { ...duration, description: 'how long the value is good for, as 24h' },
    onExpiry: Type.Enum(['default', 'error', 'last'], {
      description:
        'what an app gets past maxStaleness: `default`, an error, or the last value, marked expired',
    }),
    default: Type.Optional(
      Type.Unknown({ description: 'any JSON, at most 32 KiB; with onExpiry default' }),
    ),
  },
  closed,
);

const ruleSettings = {
  freshness: Type.Optional(
    Type.Enum(['fresh', 'bounded'], {
      description:
        'fresh: control is asked now, and without it the work is refused; bounded (default): authority held here decides, up to maxStaleness',
    }),
  ),
  maxStaleness: Type.Optional({
    ...duration,
    description: 'how old the authority of a bounded decision may be, as 5m; default 15m',
  }),
  deadline: Type.Optional({
    ...duration,
    description: 'how long work may take that asks for no deadline, as 10m; default 10m',
  }),
  maxDeadline: Type.Optional({
    ...duration,
    description: 'the longest deadline that a request may ask for, as 1h; default 1h',
  }),
  onControlLoss: Type.Optional(
    Type.Enum(['finish', 'pause', 'abort'], {
      description: 'of accepted work when control is lost; default finish',
    }),
  ),
  onWorkerLoss: Type.Optional(
    Type.Enum(['retry', 'unknown', 'fail'], {
      description: 'of work whose worker has vanished; default unknown',
    }),
  ),
  onRevoke: Type.Optional(
    Type.Enum(['abort', 'finish', 'pause'], {
      description: 'of accepted work whose authority is taken away; default abort',
    }),
  ),
  heartbeatTimeout: Type.Optional({
    ...duration,
    description: 'silence after which a worker counts as vanished, as 30s; default 30s',
  }),
};

const RuleSchema = Type.Object(
  {
    name,
    description: Type.Optional(text(1_000)),
    actions: Type.Array(ActionPatternSchema, {
      minItems: 1,
      maxItems: 100,
      uniqueItems: true,
      description: 'actions, as payments.capture or payments.*',
    }),
    match: Type.Optional(
      Type.Array(Type.Object({ expression }, closed), {
        maxItems: 16,
        description: 'conditions under which the rule is for a request; all must be true',
      }),
    ),
    permit: Type.Array(
      Type.Object(
        {
          expression,
          message: Type.Optional({ ...sentence, description: 'what a refusal says' }),
        },
        closed,
      ),
      { minItems: 1, maxItems: 16, description: 'conditions to permit; all must be true' },
    ),
    ...ruleSettings,
    recheck: Type.Optional(
      Type.Enum(['commit'], { description: 'control is asked again before each effect begins' }),
    ),
    ownership: Type.Optional(OwnershipRuleSchema),
    limits: Type.Optional(LimitsRuleSchema),
    approval: Type.Optional(ApprovalRuleSchema),
    onUnknown: Type.Optional(OnUnknownRuleSchema),
    effects: Type.Optional(
      Type.Record(Type.String({ pattern: '^[a-z][a-zA-Z0-9_-]{0,63}$' }), EffectRuleSchema, {
        ...names('an effect that begins with a small letter, as charge'),
        maxProperties: 32,
        description: 'externally visible steps, by name',
      }),
    ),
    enforcement: Type.Optional(
      Type.Enum(['audit', 'warn', 'deny'], {
        description: 'what a false permit does; default deny',
      }),
    ),
  },
  closed,
);

const attributes = Type.Record(Type.String({ minLength: 1, maxLength: 100 }), Type.Unknown(), {
  maxProperties: 100,
});

/**
 * What policy decides on. The same shape is in an admission, in a policy test, and in a fresh
 * decision.
 */
export const DecisionInputSchema = Type.Object(
  {
    principal: PrincipalSchema,
    action: ActionSchema,
    resource: Type.Optional(
      Type.Object(
        {
          id: Type.String({ minLength: 1, maxLength: 300 }),
          attributes: Type.Optional(attributes),
        },
        closed,
      ),
    ),
    attributes: Type.Optional(attributes),
  },
  closed,
);

const PolicyTestSchema = Type.Object(
  {
    name: { ...sentence, maxLength: 200 },
    given: DecisionInputSchema,
    expect: Type.Object(
      {
        decision: Type.Enum(['permit', 'deny']),
        rule: Type.Optional(name),
        message: Type.Optional(sentence),
        reason: Type.Optional(Type.Enum(['denied', 'no_rule', 'rule_error', 'unknown_principal'])),
      },
      closed,
    ),
  },
  closed,
);

export const PolicyDocumentSchema = Type.Object(
  {
    apiVersion: Type.Literal(POLICY_API_VERSION),
    kind: Type.Literal('Policy'),
    description: Type.Optional(text(2_000)),
    defaults: Type.Optional(
      Type.Object(ruleSettings, { ...closed, description: 'for rules that say nothing else' }),
    ),
    principals: Type.Record(
      PrincipalSchema,
      Type.Object(
        {
          roles: Type.Array(role, {
            minItems: 1,
            maxItems: 50,
            uniqueItems: true,
            description: 'roles, as billing',
          }),
        },
        closed,
      ),
      {
        ...names('kind:name, as agent:billing'),
        minProperties: 1,
        maxProperties: 100_000,
        description: 'principals with their roles, as agent:billing',
      },
    ),
    variables: Type.Optional(
      Type.Array(
        Type.Object(
          {
            name: Type.String({
              pattern: '^[a-z][a-zA-Z0-9]{0,63}$',
              description: 'letters and digits, the first one small, as isLarge',
            }),
            expression: {
              ...expression,
              description: 'a CEL expression; may use the variables before it',
            },
          },
          closed,
        ),
        {
          maxItems: 100,
          description:
            'named expressions that rules share, as variables.NAME; computed when first used',
        },
      ),
    ),
    rules: Type.Array(RuleSchema, {
      minItems: 1,
      maxItems: POLICY_RULES_MAX,
      description: 'rules; the first one that fits a request decides it',
    }),
    config: Type.Optional(
      Type.Record(
        Type.String({ pattern: '^[a-z][a-zA-Z0-9_-]*(\\.[a-z][a-zA-Z0-9_-]*)*$', maxLength: 200 }),
        ConfigEntrySchema,
        {
          ...names('dotted words, as checkout.banner'),
          maxProperties: 1_000,
          description: 'values that apps read',
        },
      ),
    ),
    tests: Type.Optional(
      Type.Array(PolicyTestSchema, {
        maxItems: 1_000,
        description: 'tests of the document; one that fails keeps it from publication',
      }),
    ),
  },
  { ...closed, $id: 'PolicyDocument', description: 'A Holdfast policy document' },
);

export type PolicyDocument = Static<typeof PolicyDocumentSchema>;
export type PolicyRule = Static<typeof RuleSchema>;
export type DecisionInput = Static<typeof DecisionInputSchema>;
export type FencingStrength = 'enforced' | 'dispatch' | 'none';
