import Type from 'typebox';
import type { Clock } from '../../shared/platform/clock.ts';
import type { App } from '../../shared/platform/http/app.ts';
import { PageQuerySchema } from '../../shared/wire/control-api.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { ReasonRequestSchema } from '../../shared/wire/publication.ts';
import {
  FleetHostSchema,
  PromoteRequestSchema,
  RollbackRequestSchema,
  RolloutStatusSchema,
  type RolloutStatus,
} from '../../shared/wire/rollout.ts';
import type { ControlConfig } from '../config.ts';
import { viewFleetHost } from '../core/fleet-host.ts';
import { classifyHost } from '../core/host-presence.ts';
import type { Order } from '../core/rollout.ts';
import type { HostBook } from '../policy/host-book.ts';
import type { PublicationDesk } from '../policy/publication-desk.ts';
import type { RolloutDriver } from '../policy/rollout-driver.ts';
import type { HostStore } from '../store/control-store.ts';
import { actorOf } from './access.ts';
import {
  preconditionHeaders,
  preconditionOf,
  publicationAnswers,
  publicationOptions,
  publicationQuery,
  sendPublication,
} from './policy-routes.ts';
import { PROBLEMS, notFound, pageOf, pageRequest, parseRevisionTag } from './route-schemas.ts';

const viewer = { access: { kind: 'operator', role: 'viewer' } } as const;
const publisher = { access: { kind: 'operator', role: 'publisher' } } as const;

type Body = { all?: boolean; reason?: string };

const ORDERS: Readonly<
  Record<string, { summary: string; order: (body: Body, actor: string) => Order }>
> = {
  promote: {
    summary: 'Go on to the next stage now, or to all hosts at once',
    order: ({ all = false }) => ({ kind: 'promote', all }),
  },
  pause: {
    summary: 'Stay at this stage; hosts that have the revision keep it, and trouble still halts',
    order: ({ reason = null }) => ({ kind: 'pause', reason }),
  },
  resume: { summary: 'Go on after a pause', order: () => ({ kind: 'resume' }) },
  halt: {
    summary: 'End the roll-out, and put the document of before back in force as a new revision',
    order: ({ reason }, actor) => ({ kind: 'halt', reason: reason ?? `ordered by ${actor}` }),
  },
};

export function installRolloutRoutes(
  app: App,
  ports: { driver: RolloutDriver; publications: PublicationDesk },
): void {
  const { driver, publications } = ports;
  const status = (): RolloutStatus => {
    const found = driver.status();
    if (found === null) throw notFound('roll-out: no revision was ever published in stages');
    return found;
  };
  app.get(
    '/v1/policy/rollout',
    {
      config: viewer,
      schema: {
        summary: 'The newest roll-out, under way or ended',
        response: { 200: RolloutStatusSchema, ...PROBLEMS },
      },
    },
    async () => status(),
  );
  for (const [verb, { summary, order }] of Object.entries(ORDERS)) {
    app.post(
      `/v1/policy/rollout::${verb}`,
      {
        config: publisher,
        schema: {
          summary,
          description: 'With If-Match only while it is the roll-out of that revision, as "8".',
          headers: Type.Object({ 'if-match': Type.Optional(Type.String({ maxLength: 100 })) }),
          body: Type.Optional(verb === 'promote' ? PromoteRequestSchema : ReasonRequestSchema),
          response: { 200: RolloutStatusSchema, ...PROBLEMS },
        },
      },
      async (request) => {
        const actor = actorOf(request.caller);
        const tag = (request.headers as { 'if-match'?: string })['if-match'];
        const policyRevision = tag === undefined ? null : parseRevisionTag(tag);
        if (tag !== undefined && policyRevision === null) {
          throw new HoldfastError('invalid_request', `If-Match is ${tag}: send a revision, as "8"`);
        }
        await driver.order(order(request.body ?? {}, actor), { actor, policyRevision });
        return status();
      },
    );
  }
  app.post(
    '/v1/policy::rollback',
    {
      config: publisher,
      schema: {
        summary: 'Publish the document of an earlier revision again, as a new one',
        description:
          'If-Match: the ETag of the revision in force. Goes to all hosts at once unless asked otherwise.',
        headers: Type.Object(preconditionHeaders),
        querystring: Type.Object(
          {
            dryRun: Type.Optional(Type.Boolean({ description: 'report, and publish nothing' })),
            ...publicationQuery,
          },
          { additionalProperties: false },
        ),
        body: RollbackRequestSchema,
        response: { ...publicationAnswers, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { toRevision, comment } = request.body;
      const answer = await publications.rollBack(toRevision, {
        precondition: preconditionOf(request.headers),
        isDryRun: request.query.dryRun ?? false,
        comment: comment ?? `back to revision ${toRevision}`,
        actor: actorOf(request.caller),
        ...publicationOptions(request.query),
      });
      return sendPublication(reply, answer);
    },
  );
}

export function installFleetRoutes(
  app: App,
  ports: {
    store: HostStore;
    driver: RolloutDriver;
    book: HostBook;
    config: ControlConfig;
    clock: Clock;
  },
): void {
  const { store, driver, book, config, clock } = ports;
  app.get(
    '/v1/fleet',
    {
      config: viewer,
      schema: {
        summary: 'Which host runs which revision, since when, and why it does not run its target',
        querystring: PageQuerySchema,
        response: { 200: pageOf(FleetHostSchema), ...PROBLEMS },
      },
    },
    async (request) => {
      const { items, nextCursor } = await store.list(pageRequest(request.query));
      const bounds = { lateAfterMs: config.hostLateAfterMs, lostAfterMs: config.hostLostAfterMs };
      const nowMs = clock.now().wallMs;
      const views = [];
      for (const host of items) {
        const { hostId, lastSyncAtMs } = host;
        const state = classifyHost(lastSyncAtMs, bounds, nowMs);
        const targetRevision = await driver.target(hostId);
        const facts = book.facts(hostId);
        const labels = book.labels(hostId);
        const rollout = driver.underWay;
        views.push(viewFleetHost({ host, state, facts, labels, targetRevision, rollout }));
      }
      return { items: views, nextCursor };
    },
  );
}
