/** Operations: admission, listing, explanation, cancellation, resolution. */
import Type from 'typebox';
import { failpoint } from '../../shared/platform/failpoints.ts';
import type { App } from '../../shared/platform/http/app.ts';
import { AdmitRequestSchema } from '../../shared/wire/operation.ts';
import {
  CancelRequestSchema,
  OperationQuerySchema,
  OperationsQuerySchema,
  RESULT_BYTES_MAX,
  ResolveRequestSchema,
} from '../../shared/wire/sidecar-api.ts';
import { recallDecision } from '../core/decision-recall.ts';
import { explainOperation } from '../core/explanation.ts';
import { requireMaySpeakFor } from './app-tokens.ts';
import { callerOf, requireOperator, scopeOf } from './guards.ts';
import { requireIdempotencyKey } from './idempotency-key.ts';
import { decodeCursor, encodeCursor } from './cursor.ts';
import { problems } from './problem-responses.ts';
import { admissionStatus } from '../operations/admissions.ts';
import type { Parts } from './route-parts.ts';
import { readWaitMs } from './wait-query.ts';

const EXPLAINED_EVENTS_MAX = 500;
const OPERATION_WAIT_MS_MAX = 60_000;

export const operationParams = Type.Object({ id: Type.String({ maxLength: 64 }) });

export function installOperationRoutes(app: App, parts: Parts): void {
  installAdmission(app, parts);
  installReads(app, parts);
  installSettling(app, parts);
}

function installAdmission(app: App, { admissions }: Parts): void {
  app.post(
    '/v1/operations',
    {
      schema: {
        summary: 'Admit an operation',
        description:
          'Durable before the answer. The same Idempotency-Key with the same payload gets the same record (200). 202: recorded, and waiting for an approval; `approval` says of whom and until when.',
        headers: Type.Object({ 'idempotency-key': Type.Optional(Type.String()) }),
        body: AdmitRequestSchema,
        response: {
          200: Type.Ref('Operation'),
          201: Type.Ref('Operation'),
          202: Type.Ref('Operation'),
          ...problems(400, 401, 403, 409, 422, 429, 503, 507),
        },
      },
      onResponse: (_request, _reply, done) => {
        failpoint('admission.after_answer');
        done();
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const idempotencyKey = requireIdempotencyKey(request.headers);
      const { principal } = request.body;
      requireMaySpeakFor(caller, principal);
      const { operation, replayed } = await admissions.admit(
        { app: caller.name, idempotencyKey },
        request.body,
      );
      if (replayed) void reply.header('idempotency-replayed', 'true');
      return reply
        .code(admissionStatus({ operation, replayed }))
        .header('location', `/v1/operations/${operation.operationId}`)
        .send(operation);
    },
  );
}

function installReads(app: App, { executions, journal, revisions, waits }: Parts): void {
  app.get(
    '/v1/operations',
    {
      schema: {
        summary: 'List operations, newest first',
        querystring: OperationsQuerySchema,
        response: {
          200: Type.Object({
            items: Type.Array(Type.Ref('Operation')),
            nextCursor: Type.Union([Type.String(), Type.Null()]),
          }),
          ...problems(400, 401),
        },
      },
    },
    async (request) => {
      const { state = null, cursor, limit = 100 } = request.query;
      const rows = journal.reader.operations({
        app: scopeOf(request),
        state,
        beforeSeq: decodeCursor(cursor),
        limit,
      });
      const last = rows.at(-1);
      return {
        items: rows.map(({ operation }) => operation),
        nextCursor: last !== undefined && rows.length === limit ? encodeCursor(last.seq) : null,
      };
    },
  );

  app.get(
    '/v1/operations/:id',
    {
      schema: {
        summary: 'Read one operation',
        description:
          'With wait, the answer comes once the operation waits for no approval any more (or, with until=ended, has ended), or when the time is over: look at its state.',
        params: operationParams,
        querystring: OperationQuerySchema,
        response: { 200: Type.Ref('Operation'), ...problems(400, 401, 404, 503) },
      },
    },
    async (request) => {
      const { wait, until: waitFor = 'decided' } = request.query;
      const read = () => executions.find(request.params.id, scopeOf(request));
      const waitMs = readWaitMs(wait, { standardMs: 0, maxMs: OPERATION_WAIT_MS_MAX });
      if (waitMs === 0) return read();
      return waits.until(read, { waitFor, waitMs, signal: request.signal });
    },
  );

  app.get(
    '/v1/operations/:id/explanation',
    {
      schema: {
        summary: 'Why it was admitted and what became of it',
        description:
          'The decision is made again under the revision that it was made under, with every rule ' +
          'considered and what each expression gave; where that revision is not kept any more: policy_gone.',
        params: operationParams,
        response: { 200: Type.Ref('Explanation'), ...problems(401, 404) },
      },
    },
    async (request) => {
      const operation = executions.find(request.params.id, scopeOf(request));
      const events = journal.reader.operationEvents(operation.operationId, EXPLAINED_EVENTS_MAX);
      const outage =
        operation.outageId === null
          ? null
          : (journal.reader.recovery.outage(operation.outageId)?.outage ?? null);
      const policy = await revisions.find(operation.policyRevision);
      const { summary, ...recalled } = recallDecision(operation, policy);
      const story = [...explainOperation(operation, events, outage), ...summary];
      return { summary: story, operation, events, outage, ...recalled };
    },
  );
}

function installSettling(app: App, { executions }: Parts): void {
  app.post(
    '/v1/operations/:id/cancel',
    {
      bodyLimit: RESULT_BYTES_MAX,
      schema: {
        summary: 'Cancel an operation that has no effect under way',
        params: operationParams,
        body: CancelRequestSchema,
        response: { 200: Type.Ref('Operation'), ...problems(400, 401, 404, 409, 503) },
      },
    },
    async (request) => {
      const reason = request.body.reason ?? `cancelled_by_${callerOf(request).name}`;
      return (
        await executions.apply(request.params.id, scopeOf(request), { kind: 'cancel', reason })
      ).operation;
    },
  );

  app.post(
    '/v1/operations/:id/resolve',
    {
      bodyLimit: RESULT_BYTES_MAX,
      schema: {
        summary: 'Settle an operation whose outcome is unknown',
        params: operationParams,
        body: ResolveRequestSchema,
        response: { 200: Type.Ref('Operation'), ...problems(400, 401, 403, 404, 409, 503) },
      },
    },
    async (request) => {
      requireOperator(request);
      const { result = null, ...resolution } = request.body;
      return (
        await executions.apply(request.params.id, null, { kind: 'resolve', ...resolution, result })
      ).operation;
    },
  );
}
