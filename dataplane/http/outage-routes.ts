/** The outages that this host has seen, and what became of the work over each. */
import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import Type from 'typebox';
import { NDJSON } from '../../shared/core/recovery-lines.ts';
import type { App } from '../../shared/platform/http/app.ts';
import { giveWay } from '../../shared/platform/slices.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import {
  RecoveryListSchema,
  RecoveryPageQuerySchema,
  RecoveryQuerySchema,
} from '../../shared/wire/recovery-api.ts';
import {
  outageView,
  recoveryLines,
  recoveryPage,
  recoveryView,
} from '../recovery/recovery-view.ts';
import { decodeCursor, encodeCursor } from './cursor.ts';
import { requireOperator } from './guards.ts';
import { problems } from './problem-responses.ts';
import type { Parts } from './route-parts.ts';

/** Each reads all that an outage touched; more at once would only slow each other down. */
const EXPORTS_MAX = 4;
const EXPORT_RETRY_MS = 5_000;
/** As a body is described that is no JSON document. */
const LINES = { [NDJSON]: { schema: Type.String({ description: 'lines of JSON' }) } };

export function installOutageRoutes(app: App, parts: Parts): void {
  installRecovery(app, parts);
  installOutages(app, parts);
}

function installRecovery(app: App, parts: Parts): void {
  const { journal, clock } = parts;
  const exported = exporter(parts);
  app.get(
    '/v1/recovery',
    {
      schema: {
        summary: 'Four lists and one verdict on an outage, by default the latest',
        description: `The first page of each list. Where Accept asks for ${NDJSON}, all of it, as recovery:export.`,
        querystring: RecoveryQuerySchema,
        headers: Type.Object({ accept: Type.Optional(Type.String()) }),
        response: {
          200: { content: { 'application/json': { schema: Type.Ref('Recovery') }, ...LINES } },
          ...problems(400, 401, 403, 404, 503),
        },
      },
    },
    async (request, reply) => {
      requireOperator(request);
      const outageId = request.query.outage ?? null;
      if (request.headers.accept?.includes(NDJSON) === true) return exported(outageId, reply);
      return recoveryView(journal, clock, outageId);
    },
  );

  app.get(
    '/v1/recovery/:list',
    {
      schema: {
        summary: 'A page of one of the lists',
        description:
          'Oldest first. Go on with `nextCursor` until it is null: a page may hold fewer than asked for, or nothing.',
        params: Type.Object({ list: RecoveryListSchema }),
        querystring: RecoveryPageQuerySchema,
        response: { 200: Type.Ref('RecoveryPage'), ...problems(400, 401, 403, 404) },
      },
    },
    async (request) => {
      requireOperator(request);
      const { outage: outageId = null, cursor = null, limit = 100 } = request.query;
      return recoveryPage(journal, { list: request.params.list, outageId, cursor, limit });
    },
  );

  app.get(
    '/v1/recovery::export',
    {
      // A HEAD would read all of it for nobody.
      exposeHeadRoute: false,
      schema: {
        summary: 'The lists whole, as NDJSON',
        description:
          'The first line has the verdict; each line after it says its list and one operation or refusal, ' +
          'as it was when it was read; the last says how many lines came before it.',
        querystring: RecoveryQuerySchema,
        response: { 200: { content: LINES }, ...problems(400, 401, 403, 404, 503) },
      },
    },
    async (request, reply) => {
      requireOperator(request);
      return exported(request.query.outage ?? null, reply);
    },
  );
}

type Exported = (outageId: string | null, reply: FastifyReply) => Promise<FastifyReply>;

function exporter({ journal, clock, logger }: Parts): Exported {
  let exports = 0;
  return async (outageId, reply) => {
    if (exports >= EXPORTS_MAX) {
      throw new HoldfastError(
        'overloaded',
        `${EXPORTS_MAX} exports are being read, as many as this sidecar serves: wait for one to end`,
        { retry_after_ms: EXPORT_RETRY_MS },
      );
    }
    const lines = recoveryLines(journal, clock, { outageId, pause: giveWay });
    // Before anything is sent: an outage that is not there is still answered with a problem.
    const first = await lines.next();
    if (first.done === true) return reply.code(204);
    exports += 1;
    const stream = Readable.from(after(first.value, lines), { highWaterMark: 1 });
    stream.once('close', () => {
      exports -= 1;
    });
    stream.once('error', (error) => logger.warn({ err: error }, 'an export was cut off'));
    return reply.header('content-type', NDJSON).header('cache-control', 'no-store').send(stream);
  };
}

async function* after(first: string, rest: AsyncGenerator<string>): AsyncGenerator<string> {
  yield first;
  yield* rest;
}

function installOutages(app: App, { journal }: Parts): void {
  app.get(
    '/v1/outages',
    {
      schema: {
        summary: 'Outages of control as this host saw them, newest first',
        querystring: Type.Object(
          {
            limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 100 })),
            cursor: Type.Optional(Type.String({ maxLength: 200 })),
          },
          { additionalProperties: false },
        ),
        response: { 200: Type.Ref('Outages'), ...problems(400, 401) },
      },
    },
    async (request) => {
      const { limit = 100, cursor } = request.query;
      const rows = journal.reader.recovery.outages({ beforeSeq: decodeCursor(cursor), limit });
      const last = rows.length === limit ? rows.at(-1) : undefined;
      return {
        items: rows.map(({ outage: { moments: _, ...outage } }) => outage),
        nextCursor: last === undefined ? null : encodeCursor(last.afterSeq),
      };
    },
  );

  app.get(
    '/v1/outages/:id',
    {
      schema: {
        summary: 'One outage: its moments, and what happened in it (so far)',
        params: Type.Object({ id: Type.String({ maxLength: 64 }) }),
        response: { 200: Type.Ref('Outage'), ...problems(401, 404) },
      },
    },
    async (request) => outageView(journal, request.params.id),
  );
}
