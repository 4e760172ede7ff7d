import Type from 'typebox';
import type { App } from '../../shared/platform/http/app.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import {
  GroupNameSchema,
  HostDrainRequestSchema,
  HostSettingsSchema,
  LabelsSchema,
  PlacementBrakeSchema,
  PlacementEntrySchema,
  PlacementExplanationSchema,
  PlacementGroupSchema,
  PlacementGroupSpecSchema,
  PlacementPlanSchema,
  PlanRequestSchema,
} from '../../shared/wire/placement-api.ts';
import { ResourceSchema } from '../../shared/wire/statements.ts';
import { resourceOf } from '../core/placement.ts';
import type { Expected, PlacementDesk } from '../leases/placement-desk.ts';
import { explain, viewEntries, viewPlan } from '../leases/placement-view.ts';
import type { Placement } from '../leases/placement.ts';
import { actorOf } from './access.ts';
import { PROBLEMS, noBody, notFound, parseRevisionTag, revisionTag } from './route-schemas.ts';

const viewer = { access: { kind: 'operator', role: 'viewer' } } as const;
const operator = { access: { kind: 'operator', role: 'operator' } } as const;

type Ports = { readonly placement: Placement; readonly placementDesk: PlacementDesk };

const groupParams = Type.Object({ name: GroupNameSchema });
const hostParams = Type.Object({ hostId: Type.String({ minLength: 1, maxLength: 100 }) });
const conditions = Type.Object({
  'if-match': Type.Optional(Type.String({ maxLength: 100 })),
  'if-none-match': Type.Optional(Type.String({ maxLength: 100 })),
});

export function installPlacementRoutes(app: App, ports: Ports): void {
  installGroups(app, ports);
  installPlans(app, ports);
  installHostSettings(app, ports);
}

function installGroups(app: App, { placementDesk: desk, placement }: Ports): void {
  app.get(
    '/v1/placement/groups',
    {
      config: viewer,
      schema: {
        summary: 'Placement groups, by name',
        response: { 200: Type.Object({ items: Type.Array(PlacementGroupSchema) }), ...PROBLEMS },
      },
    },
    async () => {
      const groups = await placement.groups();
      return { items: await Promise.all(groups.map(({ name }) => desk.group(name))) };
    },
  );
  app.get(
    '/v1/placement/groups/:name',
    {
      config: viewer,
      schema: {
        summary: 'One placement group, with its ETag',
        params: groupParams,
        response: { 200: PlacementGroupSchema, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const group = await desk.group(request.params.name);
      return reply.header('etag', revisionTag(group.revision)).send(group);
    },
  );
  app.put(
    '/v1/placement/groups/:name',
    {
      config: operator,
      schema: {
        summary: 'Make or change a placement group',
        description: 'If-Match: the ETag that it replaces; If-None-Match: * for a new one.',
        params: groupParams,
        headers: conditions,
        body: PlacementGroupSpecSchema,
        response: { 200: PlacementGroupSchema, 201: PlacementGroupSchema, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { group, isNew } = await desk.put(request.params.name, request.body, {
        expected: expectedOf(request.headers),
        actor: actorOf(request.caller),
      });
      void reply.header('etag', revisionTag(group.revision));
      return reply.code(isNew ? 201 : 200).send(group);
    },
  );
  app.delete(
    '/v1/placement/groups/:name',
    {
      config: operator,
      schema: {
        summary: 'Delete a placement group; its leases stay with those who hold them',
        params: groupParams,
        headers: conditions,
        response: { 204: noBody('deleted'), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      await desk.remove(request.params.name, {
        expected: expectedOf(request.headers),
        actor: actorOf(request.caller),
      });
      return reply.code(204).send();
    },
  );
}

function installPlans(app: App, { placement, placementDesk: desk }: Ports): void {
  const groupQuery = Type.Object({ group: GroupNameSchema }, { additionalProperties: false });
  app.get(
    '/v1/placement/plan',
    {
      config: viewer,
      schema: {
        summary: 'What placement would change now in a group, and why',
        querystring: groupQuery,
        response: { 200: PlacementPlanSchema, ...PROBLEMS },
      },
    },
    async ({ query }) =>
      viewPlan(await placement.plan(await desk.group(query.group)), placement.brake()),
  );
  app.post(
    '/v1/placement/plan',
    {
      config: viewer,
      schema: {
        summary: 'What placement would change if a group were so; nothing is done',
        body: PlanRequestSchema,
        response: { 200: PlacementPlanSchema, ...PROBLEMS },
      },
    },
    async ({ body }) => {
      await desk.check(body.name, body.spec);
      return viewPlan(await placement.plan(body), placement.brake());
    },
  );
  app.get(
    '/v1/placement/assignments',
    {
      config: viewer,
      schema: {
        summary: 'Where each shard of a group is, and what placement does with it',
        querystring: groupQuery,
        response: { 200: Type.Object({ items: Type.Array(PlacementEntrySchema) }), ...PROBLEMS },
      },
    },
    async ({ query }) => ({
      items: viewEntries(await placement.plan(await desk.group(query.group))),
    }),
  );
  app.get(
    '/v1/placement/assignments/:resource',
    {
      config: viewer,
      schema: {
        summary: 'Why a resource is where it is: every host with its score, or why it is excluded',
        params: Type.Object({ resource: ResourceSchema }),
        response: { 200: PlacementExplanationSchema, ...PROBLEMS },
      },
    },
    async ({ params }) => {
      for (const group of await placement.groups()) {
        for (let shard = 0; shard < group.spec.shards; shard += 1) {
          if (resourceOf(group.spec, shard) !== params.resource) continue;
          const explanation = explain(await placement.plan(group), shard);
          if (explanation !== null) return explanation;
        }
      }
      throw notFound(
        `placement group with ${params.resource}; GET /v1/placement/groups lists them`,
      );
    },
  );
  installBrake(app, placement);
}

function installBrake(app: App, placement: Placement): void {
  const answer = Type.Object({ brake: Type.Union([PlacementBrakeSchema, Type.Null()]) });
  app.get(
    '/v1/placement/brake',
    {
      config: viewer,
      schema: {
        summary: 'Whether placement stands still because many hosts are silent at once',
        response: { 200: answer, ...PROBLEMS },
      },
    },
    async () => ({ brake: placement.brake() }),
  );
  app.post(
    '/v1/placement/brake::release',
    {
      config: operator,
      schema: {
        summary: 'Take the silent hosts for lost, and place their shards elsewhere',
        response: { 200: answer, ...PROBLEMS },
      },
    },
    async (request) => {
      await placement.releaseBrake(actorOf(request.caller));
      return { brake: placement.brake() };
    },
  );
}

function installHostSettings(app: App, { placementDesk: desk }: Ports): void {
  const response = { 200: HostSettingsSchema, ...PROBLEMS };
  app.get(
    '/v1/hosts/:hostId/settings',
    {
      config: viewer,
      schema: {
        summary: 'Labels and drain of a host, by name or id',
        params: hostParams,
        response,
      },
    },
    async ({ params }) => desk.hostSettings(params.hostId),
  );
  app.put(
    '/v1/hosts/:hostId/labels',
    {
      config: operator,
      schema: {
        summary: 'Replace the labels of a host',
        params: hostParams,
        body: LabelsSchema,
        response,
      },
    },
    async (request) => desk.setLabels(request.params.hostId, request.body, actorOf(request.caller)),
  );
  app.post(
    '/v1/hosts/:hostId([^:]+)::drain',
    {
      config: operator,
      schema: {
        summary: 'Place nothing on a host, and move its shards elsewhere',
        params: hostParams,
        body: HostDrainRequestSchema,
        response,
      },
    },
    async (request) =>
      desk.drain(request.params.hostId, request.body.reason ?? null, actorOf(request.caller)),
  );
  app.post(
    '/v1/hosts/:hostId([^:]+)::undrain',
    {
      config: operator,
      schema: { summary: 'Place shards on a host again', params: hostParams, response },
    },
    async (request) => desk.undrain(request.params.hostId, actorOf(request.caller)),
  );
}

function expectedOf(headers: { 'if-match'?: string; 'if-none-match'?: string }): Expected {
  const { 'if-match': match, 'if-none-match': none } = headers;
  if (none?.trim() === '*') return { kind: 'none' };
  if (match === undefined) {
    throw new HoldfastError(
      'precondition_required',
      'send If-Match with the ETag of the group, or If-None-Match: * for a new one',
    );
  }
  const revision = parseRevisionTag(match);
  if (revision !== null) return { kind: 'revision', revision };
  throw new HoldfastError('invalid_request', `If-Match ${match} is no ETag of control`, {
    errors: [{ path: 'header:if-match', message: 'must be as "3"' }],
  });
}
