/** The worklist of unknown outcomes: what is tried, who works on it, how it is settled. */
import Type from 'typebox';
import type { App } from '../../shared/platform/http/app.ts';
import {
  CLAIM_TTL_MS_DEFAULT,
  ClaimRequestSchema,
  EVIDENCE_LENGTH_MAX,
  ProbeRequestSchema,
  ReconciliationsQuerySchema,
  ReleaseRequestSchema,
  SettleRequestSchema,
} from '../../shared/wire/reconciliation-api.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { RESULT_BYTES_MAX } from '../../shared/wire/sidecar-api.ts';
import { workItemOf } from '../recovery/work-item.ts';
import { decodeSeq, encodeCursor } from './cursor.ts';
import { callerOf, requireOperator, scopeOf } from './guards.ts';
import { requireIdempotencyKey } from './idempotency-key.ts';
import { operationParams } from './operation-routes.ts';
import { problems } from './problem-responses.ts';
import type { Parts } from './route-parts.ts';

const item = Type.Ref('WorkItem');
const changeProblems = problems(400, 401, 403, 404, 409, 422, 503);

export function installReconciliationRoutes(app: App, parts: Parts): void {
  installReads(app, parts);
  installClaims(app, parts);
  installSettling(app, parts);
}

function installReads(app: App, { journal, executions, clock }: Parts): void {
  app.get(
    '/v1/reconciliations',
    {
      schema: {
        summary: 'Operations whose outcome is unknown, in the order of their admission',
        querystring: ReconciliationsQuerySchema,
        response: {
          200: Type.Object({
            items: Type.Array(item),
            nextCursor: Type.Union([Type.String(), Type.Null()]),
          }),
          ...problems(400, 401),
        },
      },
    },
    async (request) => {
      const { strategy = null, cursor, limit = 100 } = request.query;
      const rows = journal.reader.reconciliations.list({
        app: scopeOf(request),
        strategy,
        afterSeq: cursor === undefined ? 0 : decodeSeq(cursor),
        limit,
      });
      const last = rows.at(-1);
      const now = clock.now();
      return {
        items: rows.map(({ operation }) => workItemOf(operation, now)),
        nextCursor: last !== undefined && rows.length === limit ? encodeCursor(last.seq) : null,
      };
    },
  );

  app.get(
    '/v1/reconciliations/:id',
    {
      schema: {
        summary: 'What is known of one unknown outcome, or how it was settled',
        params: operationParams,
        response: { 200: item, ...problems(401, 404) },
      },
    },
    async (request) =>
      workItemOf(executions.find(request.params.id, scopeOf(request)), clock.now()),
  );
}

function installClaims(app: App, { executions, clock }: Parts): void {
  app.post(
    '/v1/reconciliations/:id/claim',
    {
      schema: {
        summary: 'Hold others off for a time, or for longer',
        description:
          'By the same name it is a renewal. While it lasts nobody else claims, probes or settles it, ' +
          'and its rule tries nothing; what a worker reports is recorded all the same.',
        params: operationParams,
        body: ClaimRequestSchema,
        response: { 200: item, ...changeProblems },
      },
    },
    async (request) => {
      const { by: holder, ttlMs = CLAIM_TTL_MS_DEFAULT } = request.body;
      const { operation } = await executions.apply(request.params.id, scopeOf(request), {
        kind: 'claim',
        holder,
        app: callerOf(request).name,
        ttlMs,
      });
      return workItemOf(operation, clock.now());
    },
  );

  app.post(
    '/v1/reconciliations/:id/release',
    {
      schema: {
        summary: 'Give a claim back before it ends',
        params: operationParams,
        body: ReleaseRequestSchema,
        response: { 200: item, ...changeProblems },
      },
    },
    async (request) => {
      const { by: holder, force = false } = request.body;
      if (force) requireOperator(request);
      const { operation } = await executions.apply(request.params.id, scopeOf(request), {
        kind: 'release',
        holder,
        force,
      });
      return workItemOf(operation, clock.now());
    },
  );
}

function installSettling(app: App, { executions, reconciler, clock }: Parts): void {
  app.post(
    '/v1/reconciliations/:id/resolve',
    {
      bodyLimit: RESULT_BYTES_MAX,
      schema: {
        summary: 'Settle it, by what was found out',
        description:
          'Durable before the answer. The same Idempotency-Key gets the same answer again.',
        params: operationParams,
        headers: Type.Object({ 'idempotency-key': Type.Optional(Type.String()) }),
        body: SettleRequestSchema,
        response: { 200: item, ...problems(400, 401, 403, 404, 409, 413, 422, 503) },
      },
    },
    async (request, reply) => {
      requireOperator(request);
      const key = requireIdempotencyKey(request.headers);
      const { result = null, evidence = null, force = false, ...settlement } = request.body;
      const length = JSON.stringify(evidence).length;
      if (length > EVIDENCE_LENGTH_MAX)
        throw new HoldfastError(
          'body_too_large',
          `the evidence is ${length} characters and may be ${EVIDENCE_LENGTH_MAX}: keep it elsewhere, and where it is here`,
        );
      const { operation, replayed } = await executions.apply(request.params.id, null, {
        kind: 'resolve',
        ...settlement,
        result,
        evidence,
        force,
        key,
      });
      if (replayed) void reply.header('idempotency-replayed', 'true');
      return workItemOf(operation, clock.now());
    },
  );

  app.post(
    '/v1/reconciliations/:id/probe',
    {
      schema: {
        summary: 'Ask the app at once, as its rule says; one that is under way is waited for',
        params: operationParams,
        body: ProbeRequestSchema,
        response: { 200: item, ...changeProblems },
      },
    },
    async (request) => {
      requireOperator(request);
      const operation = await reconciler.probeNow(request.params.id, request.body.by);
      return workItemOf(operation, clock.now());
    },
  );
}
