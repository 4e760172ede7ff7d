import Type from 'typebox';
import type { App } from '../../shared/platform/http/app.ts';
import {
  PageQuerySchema,
  ReportedOperationDetailSchema,
  ReportedOperationSchema,
  ReportedOperationsQuerySchema,
  ReportedOutageSchema,
  ReportedRefusalSchema,
  UnreadableEventSchema,
  type ReportedOperation,
} from '../../shared/wire/control-api.ts';
import type { ProjectedOperation } from '../core/operation-projection.ts';
import type { Page, ReportStore } from '../store/control-store.ts';
import { PROBLEMS, notFound, pageOf, pageRequest } from './route-schemas.ts';

const viewer = { access: { kind: 'operator', role: 'viewer' } } as const;
const EVENTS_SHOWN_MAX = 1_000;

export function installReportRoutes(app: App, ports: { store: ReportStore }): void {
  const { store } = ports;
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
    '/v1/outages',
    {
      config: viewer,
      schema: {
        summary: 'Outages as hosts have reported them, newest first',
        querystring: PageQuerySchema,
        response: { 200: pageOf(ReportedOutageSchema), ...PROBLEMS },
      },
    },
    async (request) => shown(await store.listOutages(pageRequest(request.query)), (item) => item),
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
