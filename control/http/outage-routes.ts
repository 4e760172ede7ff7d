import Type from 'typebox';
import type { App } from '../../shared/platform/http/app.ts';
import {
  FleetOutageDetailSchema,
  FleetOutageSchema,
  FleetOutagesQuerySchema,
} from '../../shared/wire/fleet-outages.ts';
import type { HostStore } from '../store/control-store.ts';
import type { OutageStore } from '../store/outage-store.ts';
import { PROBLEMS, notFound, pageOf, pageRequest } from './route-schemas.ts';

const viewer = { access: { kind: 'operator', role: 'viewer' } } as const;
const OVERLAPS_MAX = 100;

export function installOutageRoutes(
  app: App,
  { store, hosts }: { readonly store: OutageStore; readonly hosts: HostStore },
): void {
  app.get(
    '/v1/outages',
    {
      config: viewer,
      schema: {
        summary: 'Outages, newest first: as hosts have reported them, and as control has seen them',
        querystring: FleetOutagesQuerySchema,
        response: { 200: pageOf(FleetOutageSchema), ...PROBLEMS },
      },
    },
    async (request) => {
      const { host, open, seenBy, ...page } = request.query;
      const filter = { hostId: host ?? null, isOpen: open ?? null, seenBy: seenBy ?? null };
      const { items, nextCursor } = await store.list(filter, pageRequest(page));
      return { items: [...items], nextCursor };
    },
  );
  app.get(
    '/v1/outages/:outageId',
    {
      config: viewer,
      schema: {
        summary: 'One outage: what its host did in it, and what else was away at that time',
        params: Type.Object({ outageId: Type.String({ maxLength: 100 }) }),
        querystring: Type.Object(
          { host: FleetOutagesQuerySchema.properties.host },
          { additionalProperties: false },
        ),
        response: { 200: FleetOutageDetailSchema, ...PROBLEMS },
      },
    },
    async (request) => {
      const { outageId } = request.params;
      const { host } = request.query;
      const found = await store.fetch(outageId);
      const outage = found.find(({ hostId }) => host === undefined || hostId === host);
      if (outage === undefined) throw notFound(`outage ${outageId}; GET /v1/outages lists them`);
      const record = outage.hostId === null ? null : await hosts.fetch(outage.hostId);
      return {
        ...outage,
        tally: await store.tally(outage),
        unreported: record === null ? null : Math.max(0, record.journalSeq - record.ackedSeq),
        overlaps: [...(await store.overlapping(outage, OVERLAPS_MAX))],
      };
    },
  );
}
