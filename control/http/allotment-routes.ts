/** How budgets of the fleet are divided now. */
import { AllotmentSchema } from '../../shared/wire/allotments.ts';
import { PageQuerySchema } from '../../shared/wire/control-api.ts';
import type { App } from '../../shared/platform/http/app.ts';
import type { Allotter } from '../leases/allotter.ts';
import type { HostStore } from '../store/control-store.ts';
import { PROBLEMS, pageOf, pageRequest } from './route-schemas.ts';

export function installAllotmentRoutes(
  app: App,
  { allotter, hosts }: { allotter: Allotter; hosts: HostStore },
): void {
  app.get(
    '/v1/allotments',
    {
      config: { access: { kind: 'operator', role: 'viewer' } },
      schema: {
        summary: 'Parts of fleet budgets that hosts hold',
        description: '`limit` counts budgets: each comes with all of its parts.',
        querystring: PageQuerySchema,
        response: { 200: pageOf(AllotmentSchema), ...PROBLEMS },
      },
    },
    async (request) => {
      const { items, nextCursor } = await allotter.list(pageRequest(request.query));
      const ids = [...new Set(items.map(({ hostId }) => hostId))];
      const known = await Promise.all(ids.map((hostId) => hosts.fetch(hostId)));
      const names = new Map(known.map((host) => [host?.hostId, host?.hostName ?? null]));
      return {
        items: items.map((item) => ({ ...item, hostName: names.get(item.hostId) ?? null })),
        nextCursor,
      };
    },
  );
}
