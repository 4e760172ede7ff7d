import Type from 'typebox';
import type { App } from '../../shared/platform/http/app.ts';
import {
  PageQuerySchema,
  ReportedOperationDetailSchema,
  ReportedOperationSchema,
  ReportedOperationsQuerySchema,
  ReportedRefusalSchema,
  RereadAnswerSchema,
  UnreadableEventSchema,
  type ReportedOperation,
} from '../../shared/wire/control-api.ts';
import type { ProjectedOperation } from '../core/operation-projection.ts';
import type { ParkedEvents } from '../reports/parked-events.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { actorOf } from './access.ts';
import type { Page, ReportStore } from '../store/control-store.ts';
import { PROBLEMS, notFound, pageOf, pageRequest } from './route-schemas.ts';

const viewer = { access: { kind: 'operator', role: 'viewer' } } as const;
const EVENTS_SHOWN_MAX = 1_000;

export function installReportRoutes(
  app: App,
  ports: { store: ReportStore; parked: ParkedEvents },
): void {
  const { store } = ports;
  installReread(app, ports.parked);
  app.get(
    '/v1/operations',
    {
      config: viewer,
      schema: {
        summary: 'Operations as hosts have reported them, newest first',
        querystring: ReportedOperationsQuerySchema,
        response: { 200: pageOf(ReportedOperationSchema), ...PROBLEMS },
      },
    },
    async (request) => {
      const { host, state, ...page } = request.query;
      const filter = { hostId: host ?? null, state: state ?? null };
      return shown(await store.listOperations(filter, pageRequest(page)), viewOperation);
    },
  );
  app.get(
    '/v1/operations/:operationId',
    {
      config: viewer,
      schema: {
        summary: 'One operation with the events that made it',
        params: Type.Object({ operationId: Type.String({ maxLength: 100 }) }),
        response: { 200: ReportedOperationDetailSchema, ...PROBLEMS },
      },
    },
    async (request) => {
      const { operationId } = request.params;
      const operation = (await store.operations([operationId])).get(operationId);
      if (operation === undefined)
        throw notFound(`operation ${operationId} in what hosts have reported`);
      const events = await store.eventsOf(operationId, EVENTS_SHOWN_MAX);
      return { ...viewOperation(operation), events: [...events] };
    },
  );
  app.get(
    '/v1/refusals',
    {
      config: viewer,
      schema: {
        summary: 'Refusals as hosts have reported them, newest first',
        querystring: PageQuerySchema,
        response: { 200: pageOf(ReportedRefusalSchema), ...PROBLEMS },
      },
    },
    async (request) => shown(await store.listRefusals(pageRequest(request.query)), (item) => item),
  );
  app.get(
    '/v1/unreadable-events',
    {
      config: viewer,
      schema: {
        summary: 'Reported events that are stored and could not be read, newest first',
        querystring: PageQuerySchema,
        response: { 200: pageOf(UnreadableEventSchema), ...PROBLEMS },
      },
    },
    async (request) =>
      shown(await store.listUnreadable(pageRequest(request.query)), (item) => item),
  );
}

const PLACE = /^[0-9]{1,15}$/;

function installReread(app: App, parked: ParkedEvents): void {
  app.post(
    '/v1/unreadable-events::reread',
    {
      config: { access: { kind: 'operator', role: 'operator' } },
      schema: {
        summary: 'Read again what could not be read, as after an upgrade; at most 10,000 at once',
        querystring: Type.Object(
          { cursor: PageQuerySchema.properties.cursor },
          { additionalProperties: false },
        ),
        response: { 200: RereadAnswerSchema, ...PROBLEMS },
      },
    },
    async (request) => {
      const { cursor = '0' } = request.query;
      if (!PLACE.test(cursor))
        throw new HoldfastError('invalid_request', 'the cursor is not one that this gave', {
          errors: [{ path: 'query:cursor', message: 'is not a cursor of this' }],
        });
      const { nextPlace, ...counts } = await parked.readAgain(
        Number(cursor),
        actorOf(request.caller),
      );
      return { ...counts, nextCursor: nextPlace === null ? null : String(nextPlace) };
    },
  );
}

function viewOperation({
  hostEpoch: _hostEpoch,
  ...operation
}: ProjectedOperation): ReportedOperation {
  return operation;
}

function shown<T, V>(
  page: Page<T>,
  view: (item: T) => V,
): { items: V[]; nextCursor: string | null } {
  return { items: page.items.map(view), nextCursor: page.nextCursor };
}
