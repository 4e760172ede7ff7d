/** Work for workers: accepted operations are taken, and their attempts begun, in one request. */
import { failpoint } from '../../shared/platform/failpoints.ts';
import { durationMs } from '../../shared/platform/configuration.ts';
import type { App } from '../../shared/platform/http/app.ts';
import {
  CLAIM_WAIT_MAX,
  ClaimQuerySchema,
  ClaimRequestSchema,
} from '../../shared/wire/claim-api.ts';
import Type from 'typebox';
import { attemptOf } from './attempt-view.ts';
import { callerOf } from './guards.ts';
import { requireIdempotencyKey } from './idempotency-key.ts';
import { problems } from './problem-responses.ts';
import type { Parts } from './route-parts.ts';
import { readWaitMs } from './wait-query.ts';

const WAIT_MS_MAX = durationMs(CLAIM_WAIT_MAX);

export function installClaimRoutes(app: App, { claims, clock }: Parts): void {
  app.post(
    '/v1/operations::claim',
    {
      schema: {
        summary: 'Claim accepted operations of the calling app, and begin their attempts',
        description:
          'Durable before the answer; no two claims get the same operation. What comes to its deadline ' +
          'first goes first, and under equal deadlines what was admitted first. With `wait` it waits for ' +
          'work. The Idempotency-Key names this one claim: after a lost answer the same key brings back ' +
          'what it has taken. Send a heartbeat every `heartbeatIntervalMs`; a worker that vanishes loses ' +
          'its attempt, and onWorkerLoss of the rule decides.',
        querystring: ClaimQuerySchema,
        headers: Type.Object({ 'idempotency-key': Type.Optional(Type.String()) }),
        body: ClaimRequestSchema,
        response: { 200: Type.Ref('ClaimAnswer'), ...problems(400, 401, 422, 503) },
      },
      onResponse: (_request, _reply, done) => {
        failpoint('claim.after_answer');
        done();
      },
    },
    async (request, reply) => {
      const key = requireIdempotencyKey(request.headers);
      const waitMs = readWaitMs(request.query.wait, { standardMs: 0, maxMs: WAIT_MS_MAX });
      const { actions, limit = 1 } = request.body;
      // Not the signal of the request: that one is over as soon as a body has been read.
      const gone = new AbortController();
      reply.raw.once('close', () => gone.abort());
      const { operations, replayed } = await claims.claim({
        app: callerOf(request).name,
        key,
        actions,
        limit,
        waitMs,
        signal: gone.signal,
      });
      if (replayed) void reply.header('idempotency-replayed', 'true');
      const now = clock.now();
      return {
        items: operations.map((operation) => ({ operation, attempt: attemptOf(operation, now) })),
      };
    },
  );
  // Before the server waits for its requests: those who wait for work are answered now.
  app.addHook('preClose', async () => claims.close());
}
