/** Decisions that diverge from what was in force, and what people say to them. */
import Type from 'typebox';
import type { App } from '../../shared/platform/http/app.ts';
import {
  DivergenceDetailSchema,
  DivergenceSchema,
  DivergencesQuerySchema,
  DivergencesSchema,
  ResolveDivergenceSchema,
} from '../../shared/wire/divergences.ts';
import type { DivergenceDesk } from '../reports/divergence-desk.ts';
import { actorOf } from './access.ts';
import { PROBLEMS, pageRequest } from './route-schemas.ts';

const viewer = { access: { kind: 'operator', role: 'viewer' } } as const;
const operator = { access: { kind: 'operator', role: 'operator' } } as const;

const params = Type.Object({ divergenceId: Type.String({ maxLength: 100 }) });
/** The pattern ends the name before the colon of the verb. */
const DIVERGENCE = '/v1/divergences/:divergenceId(^[a-z0-9_]+$)';

export function installDivergenceRoutes(app: App, ports: { divergences: DivergenceDesk }): void {
  const { divergences } = ports;
  app.get(
    '/v1/divergences',
    {
      config: viewer,
      schema: {
        summary:
          'Decisions of hosts that what was in force would have made otherwise, newest first',
        querystring: DivergencesQuerySchema,
        response: { 200: DivergencesSchema, ...PROBLEMS },
      },
    },
    async (request) => {
      const { host = null, outage = null, state = null, ...page } = request.query;
      return divergences.list({ hostId: host, outageId: outage, state }, pageRequest(page));
    },
  );
  app.get(
    '/v1/divergences/:divergenceId',
    {
      config: viewer,
      schema: {
        summary: 'One divergence, with how both decisions came about',
        params,
        response: { 200: DivergenceDetailSchema, ...PROBLEMS },
      },
    },
    async (request) => divergences.show(request.params.divergenceId),
  );
  app.post(
    `${DIVERGENCE}::resolve`,
    {
      config: operator,
      schema: {
        summary: 'Accept it, say that it was compensated, or revoke the operation',
        params,
        body: ResolveDivergenceSchema,
        response: { 200: DivergenceSchema, ...PROBLEMS },
      },
    },
    async (request) => {
      const by = actorOf(request.caller);
      return divergences.resolve(request.params.divergenceId, { ...request.body, by });
    },
  );
}
