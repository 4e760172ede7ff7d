/** Webhooks of a sidecar: what it sends to an app, and what it shows of that. */
import Type, { type Static } from 'typebox';
import { OperationApprovalSchema } from './approval.ts';
import { count, wallMs } from './numbers.ts';
import { OperationStateSchema } from './operation.ts';

const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const WEBHOOK_TYPES = [
  'approval.requested',
  'approval.approved',
  'approval.denied',
  'approval.withdrawn',
  'approval.expired',
  'approval.overruled',
  'approval.ended',
] as const;

/** Body of a delivery. `approval.requested` is sent where an approval did not suffice any more. */
export const WebhookMessageSchema = Type.Object(
  {
    type: Type.Enum([...WEBHOOK_TYPES]),
    timestamp: Type.String({ description: 'of the entry of the journal, ISO 8601' }),
    data: Type.Object({
      operationId: Type.String(),
      app: Type.String(),
      idempotencyKey: Type.String(),
      principal: Type.String(),
      action: Type.String(),
      resourceId: Type.String(),
      state: OperationStateSchema,
      reason: nullable(Type.String()),
      approval: OperationApprovalSchema,
    }),
  },
  { $id: 'WebhookMessage' },
);
export type WebhookMessage = Static<typeof WebhookMessageSchema>;

/** One that was given up after its last try. */
export const ParkedDeliverySchema = Type.Object({
  id: Type.String({ description: 'the header webhook-id: the same at each try' }),
  type: Type.String(),
  body: Type.String(),
  parkedAtMs: wallMs(),
  error: Type.String({ maxLength: 500 }),
});

export const WebhookSchema = Type.Object(
  {
    name: Type.String(),
    url: Type.String({ description: 'without its query' }),
    app: nullable(Type.String({ description: 'whose operations it is told of; null: of all' })),
    sentUpToSeq: count({ description: 'entry of the journal up to which it was told' }),
    failures: count({ description: 'of the delivery under way, so far' }),
    lastError: nullable(Type.String()),
    lastDeliveredAtMs: nullable(wallMs()),
    parked: Type.Array(ParkedDeliverySchema),
    parkedForgotten: count({ description: 'that were parked and had to make room for newer ones' }),
  },
  { $id: 'Webhook' },
);
export type Webhook = Static<typeof WebhookSchema>;
