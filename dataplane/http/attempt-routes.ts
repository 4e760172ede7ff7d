/** Execution: attempts, heartbeats, effects, outcomes. Each answer says how much time is left. */
import Type from 'typebox';
import type { App } from '../../shared/platform/http/app.ts';
import { EffectNameSchema } from '../../shared/wire/operation.ts';
import {
  EffectResultRequestSchema,
  HeartbeatRequestSchema,
  OutcomeRequestSchema,
  RESULT_BYTES_MAX,
  StartAttemptRequestSchema,
  type EffectAnswer,
} from '../../shared/wire/sidecar-api.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { StoredOperation } from '../core/operation-record.ts';
import { attemptOf, remainingMs } from './attempt-view.ts';
import { scopeOf } from './guards.ts';
import { readIdempotencyKey } from './idempotency-key.ts';
import { operationParams } from './operation-routes.ts';
import { problems } from './problem-responses.ts';
import type { Parts } from './route-parts.ts';

const attemptParams = Type.Object({
  ...operationParams.properties,
  attempt: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
});
const effectParams = Type.Object({ ...attemptParams.properties, effect: EffectNameSchema });
const stepProblems = problems(400, 401, 404, 409, 410, 412, 422, 503);

export function installAttemptRoutes(app: App, parts: Parts): void {
  installAttempts(app, parts);
  installEffects(app, parts);
}

function installAttempts(app: App, { executions, leases, clock }: Parts): void {
  const drainOf = ({ leaseResource }: StoredOperation) => {
    const endsMs =
      leaseResource === null ? undefined : leases.lease(leaseResource)?.drainEndsBootMs;
    const leftMs = endsMs === undefined ? null : Math.max(0, endsMs - clock.now().bootMs);
    return { leaseDraining: endsMs !== undefined, leaseDrainRemainingMs: leftMs };
  };

  app.post(
    '/v1/operations/:id/attempts',
    {
      schema: {
        summary: 'Start an attempt',
        description:
          'With an Idempotency-Key the same call gets the same attempt, so that a lost answer can be asked for again.',
        params: operationParams,
        body: StartAttemptRequestSchema,
        response: { 200: Type.Ref('Attempt'), 201: Type.Ref('Attempt'), ...stepProblems },
      },
    },
    async (request, reply) => {
      const { supersede = false } = request.body;
      const key = readIdempotencyKey(request.headers);
      const { operation, changed, trace } = await executions.startAttempt(
        request.params.id,
        scopeOf(request),
        { supersede, key },
      );
      const attempt = { ...attemptOf(operation, clock.now()), ...trace };
      return reply.code(changed ? 201 : 200).send(attempt);
    },
  );

  app.post(
    '/v1/operations/:id/attempts/:attempt/heartbeat',
    {
      bodyLimit: RESULT_BYTES_MAX,
      schema: {
        summary: 'Say that the worker is alive, and save a checkpoint',
        params: attemptParams,
        body: HeartbeatRequestSchema,
        response: { 200: Type.Ref('Heartbeat'), ...stepProblems },
      },
    },
    async (request) => {
      const { id, attempt } = request.params;
      const checkpoint =
        'checkpoint' in request.body ? { checkpoint: request.body.checkpoint } : {};
      const operation = await executions.heartbeat(id, scopeOf(request), {
        attempt,
        ...checkpoint,
      });
      const { operationId } = operation;
      return {
        operationId,
        attempt,
        remainingMs: remainingMs(operation, clock.now()),
        ...drainOf(operation),
        leaseLost: executions.isLeaseLost(operation),
      };
    },
  );

  app.put(
    '/v1/operations/:id/attempts/:attempt/outcome',
    {
      bodyLimit: RESULT_BYTES_MAX,
      schema: {
        summary: 'Report the outcome of the operation',
        params: attemptParams,
        body: OutcomeRequestSchema,
        response: { 200: Type.Ref('Operation'), ...stepProblems },
      },
    },
    async (request) => {
      const { id, attempt } = request.params;
      const { outcome, result = null, reason = null } = request.body;
      const report = { attempt, outcome, result, reason };
      return (await executions.reportOutcome(id, scopeOf(request), report)).operation;
    },
  );
}

function installEffects(app: App, { executions }: Parts): void {
  app.post(
    '/v1/operations/:id/attempts/:attempt/effects/:effect',
    {
      schema: {
        summary: 'Begin an effect',
        description:
          'Recorded before the answer: run the effect only after it. 200 with `replayed: true` returns the recorded result instead. With an Idempotency-Key a lost answer can be asked for again.',
        params: effectParams,
        response: { 200: Type.Ref('EffectAnswer'), 201: Type.Ref('EffectAnswer'), ...stepProblems },
      },
    },
    async (request, reply) => {
      const { id, attempt, effect } = request.params;
      const key = readIdempotencyKey(request.headers);
      const { operation, changed, replayed } = await executions.beginEffect(id, scopeOf(request), {
        attempt,
        name: effect,
        key,
      });
      return reply
        .code(changed ? 201 : 200)
        .send(effectAnswer(operation, { attempt, effect, replayed }));
    },
  );

  app.put(
    '/v1/operations/:id/attempts/:attempt/effects/:effect',
    {
      bodyLimit: RESULT_BYTES_MAX,
      schema: {
        summary: 'Report what became of an effect',
        params: effectParams,
        body: EffectResultRequestSchema,
        response: { 200: Type.Ref('EffectAnswer'), ...stepProblems },
      },
    },
    async (request) => {
      const { id, attempt, effect } = request.params;
      const { outcome, result = null } = request.body;
      const { operation, replayed } = await executions.settleEffect(id, scopeOf(request), {
        attempt,
        name: effect,
        outcome,
        result,
      });
      return effectAnswer(operation, { attempt, effect, replayed });
    },
  );
}

function effectAnswer(
  operation: StoredOperation,
  call: { attempt: number; effect: string; replayed: boolean },
): EffectAnswer {
  const effect = operation.effects.find(({ name }) => name === call.effect);
  if (effect === undefined)
    throw new HoldfastError(
      'effect_not_found',
      `effect ${call.effect} was never begun in operation ${operation.operationId}`,
    );
  return {
    operationId: operation.operationId,
    attempt: call.attempt,
    effect,
    replayed: call.replayed,
    leaseEpoch: effect.leaseEpoch,
    idempotencyKey: `${operation.operationId}.${effect.name}`,
  };
}
