import Type from 'typebox';
import type { App } from '../../shared/platform/http/app.ts';
import {
  AuditEntrySchema,
  OperatorNameSchema,
  OperatorRequestSchema,
  OperatorSchema,
  OperatorTokenSchema,
  PageQuerySchema,
} from '../../shared/wire/control-api.ts';
import type { OperatorRegistry } from '../operators/operator-registry.ts';
import type { ControlStore } from '../store/control-store.ts';
import { actorOf } from './access.ts';
import { PROBLEMS, noBody, pageOf, pageRequest } from './route-schemas.ts';

const viewer = { access: { kind: 'operator', role: 'viewer' } } as const;
const admin = { access: { kind: 'operator', role: 'admin' } } as const;

export function installOperatorRoutes(app: App, ports: { operators: OperatorRegistry }): void {
  const { operators } = ports;
  app.post(
    '/v1/operators',
    {
      config: admin,
      schema: {
        summary: 'Add an operator; its token is in this answer and nowhere else',
        body: OperatorRequestSchema,
        response: { 201: OperatorTokenSchema, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const added = await operators.add(request.body, actorOf(request.caller));
      return reply.code(201).header('cache-control', 'no-store').send(added);
    },
  );
  app.get(
    '/v1/operators',
    {
      config: admin,
      schema: {
        summary: 'All operators',
        response: { 200: Type.Object({ items: Type.Array(OperatorSchema) }), ...PROBLEMS },
      },
    },
    async () => ({ items: [...(await operators.list())] }),
  );
  app.delete(
    '/v1/operators/:name',
    {
      config: admin,
      schema: {
        summary: 'Remove an operator; its token opens nothing from now on',
        params: Type.Object({ name: OperatorNameSchema }),
        response: { 204: noBody('removed'), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      await operators.remove(request.params.name, actorOf(request.caller));
      return reply.code(204).send();
    },
  );
}

export function installAuditRoutes(app: App, ports: { store: ControlStore }): void {
  app.get(
    '/v1/audit',
    {
      config: viewer,
      schema: {
        summary: 'The audit trail, newest first',
        querystring: PageQuerySchema,
        response: { 200: pageOf(AuditEntrySchema), ...PROBLEMS },
      },
    },
    async (request) => {
      const { items, nextCursor } = await ports.store.audit.list(pageRequest(request.query));
      return { items: [...items], nextCursor };
    },
  );
}
