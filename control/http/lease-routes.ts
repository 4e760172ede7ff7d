import Type from 'typebox';
import { parseDurationMs } from '../../shared/core/time.ts';
import type { App } from '../../shared/platform/http/app.ts';
import {
  CancelTransferRequestSchema,
  ControlLeaseSchema,
  PageQuerySchema,
  RevokeRequestSchema,
  TransferRequestSchema,
  type ControlLease,
} from '../../shared/wire/control-api.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { ResourceSchema } from '../../shared/wire/statements.ts';
import { handoverEndMs, type Handover } from '../core/lease-handover.ts';
import type { LeaseRecord } from '../core/lease-transition.ts';
import type { LeaseDesk } from '../leases/lease-desk.ts';
import type { Lessor } from '../leases/lessor.ts';
import type { ControlStore } from '../store/control-store.ts';
import { actorOf } from './access.ts';
import { PROBLEMS, notFound, pageOf, pageRequest } from './route-schemas.ts';

const viewer = { access: { kind: 'operator', role: 'viewer' } } as const;
const operator = { access: { kind: 'operator', role: 'operator' } } as const;

const DRAIN_TIMEOUT_MS = 300_000;
const DRAIN_TIMEOUT_MS_MAX = 86_400_000;

type Ports = {
  readonly store: ControlStore;
  readonly lessor: Lessor;
  readonly leaseDesk: LeaseDesk;
};

const params = Type.Object({ resource: ResourceSchema });

export function installLeaseRoutes(app: App, ports: Ports): void {
  installLeaseViews(app, ports);
  installLeaseOrders(app, ports);
}

function installLeaseViews(app: App, ports: Ports): void {
  app.get(
    '/v1/leases',
    {
      config: viewer,
      schema: {
        summary: 'Leases, by resource',
        querystring: PageQuerySchema,
        response: { 200: pageOf(ControlLeaseSchema), ...PROBLEMS },
      },
    },
    async (request) => {
      const { items, nextCursor } = await ports.store.leases.list(pageRequest(request.query));
      return { items: await viewLeases(ports, items), nextCursor };
    },
  );
  app.get(
    '/v1/leases/:resource',
    {
      config: viewer,
      schema: {
        summary: 'One lease; the resource is one percent-encoded segment',
        params,
        response: { 200: ControlLeaseSchema, ...PROBLEMS },
      },
    },
    async (request) => {
      const record = await ports.store.leases.fetch(request.params.resource);
      if (record === null)
        throw notFound(`lease of ${request.params.resource}; GET /v1/leases lists them`);
      return viewOne(ports, record);
    },
  );
}

function installLeaseOrders(app: App, ports: Ports): void {
  const { leaseDesk } = ports;
  app.post(
    '/v1/leases/:resource([^:]+)::transfer',
    {
      config: operator,
      schema: {
        summary: 'Hand a lease over to another host, once its holder has ended its work',
        params,
        body: TransferRequestSchema,
        response: { 202: ControlLeaseSchema, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { to, drainTimeout, onTimeout = 'give_up', reason = null } = request.body;
      const record = await leaseDesk.transfer(request.params.resource, {
        to,
        drainTimeoutMs: readDrainTimeout(drainTimeout),
        onTimeout,
        reason,
        by: actorOf(request.caller),
      });
      return reply.code(202).send(await viewOne(ports, record));
    },
  );
  app.post(
    '/v1/leases/:resource([^:]+)::revoke',
    {
      config: operator,
      schema: {
        summary: 'Take a lease from its holder, who is told to stop with its next sync',
        description:
          'Another host gets it when the holder has said that it has stopped, or when its term has run out.',
        params,
        body: RevokeRequestSchema,
        response: { 202: ControlLeaseSchema, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { to = null, reason = null } = request.body;
      const order = { to, reason, by: actorOf(request.caller) };
      const record = await leaseDesk.revoke(request.params.resource, order);
      return reply.code(202).send(await viewOne(ports, record));
    },
  );
  app.post(
    '/v1/leases/:resource([^:]+)::cancel-transfer',
    {
      config: operator,
      schema: {
        summary: 'Call a hand-over off: its holder keeps the lease',
        params,
        body: CancelTransferRequestSchema,
        response: { 200: ControlLeaseSchema, ...PROBLEMS },
      },
    },
    async (request) => {
      const { reason = null } = request.body;
      const order = { reason, by: actorOf(request.caller) };
      return viewOne(ports, await leaseDesk.cancel(request.params.resource, order));
    },
  );
}

function readDrainTimeout(text: string | undefined): number {
  if (text === undefined) return DRAIN_TIMEOUT_MS;
  const timeoutMs = parseDurationMs(text);
  if (timeoutMs !== null && timeoutMs <= DRAIN_TIMEOUT_MS_MAX) return timeoutMs;
  throw new HoldfastError('invalid_request', `/drainTimeout: ${text} is not a duration up to 24h`, {
    errors: [{ path: '/drainTimeout', message: 'must be a duration with a unit, at most 24h' }],
  });
}

async function viewOne(ports: Ports, record: LeaseRecord): Promise<ControlLease> {
  const [view] = await viewLeases(ports, [record]);
  if (view === undefined) throw notFound(`lease of ${record.resource}`);
  return view;
}

async function viewLeases(
  { store, lessor }: Ports,
  records: readonly LeaseRecord[],
): Promise<ControlLease[]> {
  const names = new Map<string, string | null>();
  const hostIds = records.flatMap(({ holder, handover }) => [
    holder.hostId,
    handover?.toHostId ?? holder.hostId,
  ]);
  for (const hostId of new Set(hostIds)) {
    names.set(hostId, (await store.hosts.fetch(hostId))?.hostName ?? null);
  }
  const nameOf = (hostId: string | null): string | null =>
    hostId === null ? null : (names.get(hostId) ?? null);
  return records.map((record): ControlLease => {
    const { resource, epoch, holder, grantedAtMs, renewedAtMs, transitions } = record;
    const { handover, unfinished, ...view } = lessor.view(record);
    const holderId = view.state === 'held' ? holder.hostId : null;
    return {
      resource,
      epoch,
      ...view,
      holder: holderId,
      holderName: nameOf(holderId),
      grantedAtMs,
      renewedAtMs,
      transitions,
      handover:
        handover === null
          ? null
          : {
              ...viewHandover(handover, lessor),
              toHostName: nameOf(handover.toHostId),
              unfinished,
            },
    };
  });
}

function viewHandover(handover: Handover, lessor: Lessor) {
  const { mode, toHostId, by, reason, sinceMs, onTimeout } = handover;
  const terms = lessor.terms();
  const endMs = handoverEndMs(handover, terms);
  const remainingMs = endMs === null ? null : Math.max(0, endMs - terms.now.bootMs);
  return { mode, toHostId, by, reason, sinceMs, remainingMs, onTimeout };
}
