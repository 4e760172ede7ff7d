/** Leases and fences of this host. */
import Type from 'typebox';
import { durationMs } from '../../shared/platform/configuration.ts';
import type { App } from '../../shared/platform/http/app.ts';
import {
  FenceCheckRequestSchema,
  LeaseActionQuerySchema,
  type HeldLeaseView,
} from '../../shared/wire/sidecar-api.ts';
import { ResourceSchema } from '../../shared/wire/statements.ts';
import { ERRORS, HoldfastError } from '../../shared/wire/problem.ts';
import type { Instant } from '../../shared/core/time.ts';
import type { LeaseStatus } from '../authority/authority-view.ts';
import { requireOperator } from './guards.ts';
import { problems } from './problem-responses.ts';
import { readWaitMs } from './wait-query.ts';
import type { Parts } from './route-parts.ts';

const TOKEN_RETRY_MS = 1_000;
const WAIT_MS_MAX = durationMs('30s');
const WAIT_MS_DEFAULT = durationMs('5s');
const resourceParams = Type.Object({ resource: ResourceSchema });

export function installAuthorityRoutes(app: App, parts: Parts): void {
  installLeaseRoutes(app, parts);
  installFenceRoutes(app, parts);
}

function installLeaseRoutes(app: App, { leases, leaseTokens, clock }: Parts): void {
  app.get(
    '/v1/leases',
    {
      schema: {
        summary: 'Leases that this host holds or wants',
        response: {
          200: Type.Object({ items: Type.Array(Type.Ref('HeldLease')) }),
          ...problems(401),
        },
      },
    },
    async () => ({ items: leases.statuses().map((status) => viewOf(status, clock.now())) }),
  );

  // The resource is one percent-encoded path segment; the action follows its colon.
  app.post(
    '/v1/leases/:resource([^:]+)::acquire',
    {
      schema: {
        summary: 'Ask control for a lease, and wait for its word',
        params: resourceParams,
        querystring: LeaseActionQuerySchema,
        response: { 200: Type.Ref('HeldLease'), ...problems(400, 401, 403, 503) },
      },
    },
    async (request) => {
      requireOperator(request);
      const { resource } = request.params;
      leases.want(resource);
      return viewOf(
        await leases.settled(
          resource,
          readWaitMs(request.query.wait, { standardMs: WAIT_MS_DEFAULT, maxMs: WAIT_MS_MAX }),
        ),
        clock.now(),
      );
    },
  );

  app.post(
    '/v1/leases/:resource([^:]+)::release',
    {
      schema: {
        summary: 'Give a lease up',
        params: resourceParams,
        response: { 200: Type.Ref('HeldLease'), ...problems(400, 401, 403) },
      },
    },
    async (request) => {
      requireOperator(request);
      const { resource } = request.params;
      leases.release(resource);
      return viewOf({ resource, lease: null, reason: 'released', holder: null }, clock.now());
    },
  );

  app.get(
    '/v1/leases/:resource/token',
    {
      schema: {
        summary: 'An authority token: that control granted this lease, for a service elsewhere',
        params: resourceParams,
        querystring: LeaseActionQuerySchema,
        response: { 200: Type.Ref('LeaseToken'), ...problems(400, 401, 503) },
      },
    },
    async (request, reply) => {
      const { resource } = request.params;
      const waitMs = readWaitMs(request.query.wait, {
        standardMs: WAIT_MS_DEFAULT,
        maxMs: WAIT_MS_MAX,
      });
      const token = await leaseTokens.token(resource, waitMs);
      if (token === null)
        throw new HoldfastError(
          'lease_absent',
          `no token for ${resource}: this host does not hold its lease in time, or control gave none`,
          { retry_after_ms: TOKEN_RETRY_MS },
        );
      void reply.header('cache-control', 'no-store');
      return token;
    },
  );
}

function installFenceRoutes(app: App, { executions }: Parts): void {
  app.post(
    '/v1/fences/:resource([^:]+)::check',
    {
      schema: {
        summary: 'Compare a fencing token with the highest seen on this host, and remember it',
        params: resourceParams,
        body: FenceCheckRequestSchema,
        response: { 200: Type.Ref('Fence'), ...problems(400, 401, 412, 428, 503) },
      },
    },
    async (request) => {
      const { resource } = request.params;
      const { epoch } = request.body;
      if (epoch === undefined) {
        throw new HoldfastError(
          'precondition_required',
          `send {"epoch": <fencing token>}: without one nobody can say whether the owner of ${resource} is stale`,
        );
      }
      const { highestEpoch, accepted } = await executions.checkFence(resource, epoch);
      if (!accepted) {
        throw new HoldfastError(
          'stale_owner',
          `epoch ${epoch} for ${resource} is below ${highestEpoch}, the highest seen: ${ERRORS.stale_owner.title}`,
          { leaseEpoch: highestEpoch },
        );
      }
      return { resource, highestEpoch, accepted };
    },
  );
}

function viewOf({ resource, lease, reason, holder }: LeaseStatus, now: Instant): HeldLeaseView {
  if (lease === null)
    return { resource, state: 'wanted', epoch: null, remainingMs: 0, reason, holder };
  const remainingMs = lease.bootId === now.bootId ? Math.max(0, lease.endsBootMs - now.bootMs) : 0;
  return {
    resource,
    state: remainingMs <= 0 ? 'ended' : lease.drainEndsBootMs === undefined ? 'held' : 'draining',
    epoch: lease.epoch,
    remainingMs,
    reason,
    holder,
  };
}
