/** Puts the gate for hosts that come back before the routes that they use (`hosts/reconnect-gate.ts`). */
import type { FastifyRequest } from 'fastify';
import type { App } from '../../shared/platform/http/app.ts';
import { LEASE_ENDS_HEADER, parseLeaseEnds } from '../../shared/wire/reconnect.ts';
import type { SyncRequest } from '../../shared/wire/statements.ts';
import type { HostRequestKind, ReconnectGate } from '../hosts/reconnect-gate.ts';
import { claimedHostOf, hostTokenOf } from './access.ts';

const KINDS: Readonly<Record<string, HostRequestKind>> = {
  '/v1/sync': 'sync',
  '/v1/bundle': 'bundle',
  '/v1/reports': 'report',
};

/** Before the access checks: what is sent away is not verified first. */
export function installReconnectGate(app: App, gate: ReconnectGate): void {
  app.addHook('onRequest', (request, reply, done) => {
    const kind = kindOf(request);
    if (kind !== null) {
      const token = hostTokenOf(request.headers.authorization);
      if (token !== null) {
        const asking = { kind, leaseEndsMs: leaseEndsMs(request) };
        reply.raw.once('close', gate.look(asking, claimedHostOf(token)));
      }
    }
    done();
  });
  app.addHook('preHandler', (request, _reply, done) => {
    const kind = kindOf(request);
    const { caller } = request;
    if (kind !== null && caller?.kind === 'host') {
      // What it says of its leases counts for one that renews some.
      const renews = kind === 'sync' && (request.body as SyncRequest).leases.renew.length > 0;
      gate.enter({ kind, leaseEndsMs: renews ? leaseEndsMs(request) : null }, caller.host.hostId);
    }
    done();
  });
}

function kindOf(request: FastifyRequest): HostRequestKind | null {
  const { url } = request.routeOptions;
  return url === undefined ? null : (KINDS[url] ?? null);
}

function leaseEndsMs({ headers }: FastifyRequest): number | null {
  const text = headers[LEASE_ENDS_HEADER];
  return parseLeaseEnds(typeof text === 'string' ? text : undefined);
}
