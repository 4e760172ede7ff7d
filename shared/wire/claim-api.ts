/** Bodies of `POST /v1/operations:claim`: a worker takes accepted operations and begins their attempts. */
import Type, { type Static } from 'typebox';
import { OperationSchema } from './operation.ts';
import { AttemptSchema } from './sidecar-api.ts';

const closed = { additionalProperties: false } as const;

export const CLAIM_LIMIT_MAX = 100;
export const CLAIM_WAIT_MAX = '30s';
const PATTERNS_MAX = 100;

export const ClaimRequestSchema = Type.Object(
  {
    actions: Type.Array(
      Type.String({
        pattern: '^(\\*|[a-z][a-zA-Z0-9_-]*(\\.[a-z][a-zA-Z0-9_-]*)*(\\.\\*)?)$',
        maxLength: 200,
        description: 'an action, all below one as payments.*, or * for every action',
      }),
      { minItems: 1, maxItems: PATTERNS_MAX },
    ),
    limit: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: CLAIM_LIMIT_MAX,
        default: 1,
        description:
          'at most so many; 0 takes nothing new, brings back what the key has taken, and ends the key',
      }),
    ),
  },
  { ...closed, $id: 'ClaimRequest' },
);

export const ClaimQuerySchema = Type.Object(
  {
    wait: Type.Optional(
      Type.String({ description: `how long to wait for work, as 20s; at most ${CLAIM_WAIT_MAX}` }),
    ),
  },
  closed,
);

export const ClaimedSchema = Type.Object(
  { operation: OperationSchema, attempt: AttemptSchema },
  { $id: 'Claimed', description: 'An operation, and the attempt that the claim has begun' },
);
export type Claimed = Static<typeof ClaimedSchema>;

export const ClaimAnswerSchema = Type.Object(
  {
    items: Type.Array(ClaimedSchema, {
      description: 'what comes to its deadline first is first; empty where nothing came in time',
    }),
  },
  { $id: 'ClaimAnswer' },
);
export type ClaimAnswer = Static<typeof ClaimAnswerSchema>;
