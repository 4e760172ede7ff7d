/** Where each kind of call goes, and how it is said over the wire. */
import { FENCING_TOKEN_HEADER } from '../../../shared/wire/register-api.ts';
import type { CallRequest } from '../history.ts';

export type CallRoute = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
};

const CLAIM_WAIT = '20s';

const operationPath = (id: string): string => `/v1/operations/${id}`;
const attemptPath = ({ operationId, attempt }: { operationId: string; attempt: number }): string =>
  `${operationPath(operationId)}/attempts/${attempt}`;
const resourcePath = (resource: string): string => encodeURIComponent(resource);
const keyed = (key: string | null): Record<string, string> =>
  key === null ? {} : { 'idempotency-key': key };

export function routeOf(request: CallRequest): CallRoute {
  switch (request.kind) {
    case 'admit':
      return {
        method: 'POST',
        url: '/v1/operations',
        headers: keyed(request.key),
        body: request.body,
      };
    case 'start_attempt':
      return {
        method: 'POST',
        url: `${operationPath(request.operationId)}/attempts`,
        headers: keyed(request.key),
        body: { supersede: request.supersede },
      };
    case 'heartbeat':
      return {
        method: 'POST',
        url: `${attemptPath(request)}/heartbeat`,
        body: request.checkpoint === undefined ? {} : { checkpoint: request.checkpoint },
      };
    case 'begin_effect':
      return {
        method: 'POST',
        url: `${attemptPath(request)}/effects/${request.effect}`,
        headers: keyed(request.key),
      };
    case 'settle_effect': {
      const { outcome, result } = request;
      return {
        method: 'PUT',
        url: `${attemptPath(request)}/effects/${request.effect}`,
        body: { outcome, result },
      };
    }
    case 'report_outcome': {
      const { outcome, result } = request;
      return { method: 'PUT', url: `${attemptPath(request)}/outcome`, body: { outcome, result } };
    }
    case 'cancel':
      return { method: 'POST', url: `${operationPath(request.operationId)}/cancel`, body: {} };
    case 'claim': {
      const { actions, limit, key } = request;
      return {
        method: 'POST',
        url: `/v1/operations:claim?wait=${CLAIM_WAIT}`,
        headers: keyed(key),
        body: { actions, limit },
      };
    }
    case 'operation':
      return { method: 'GET', url: operationPath(request.operationId) };
    case 'config_value':
      return { method: 'GET', url: `/v1/config/${request.name}` };
    case 'held_leases':
      return { method: 'GET', url: '/v1/leases' };
    case 'acquire_lease':
      return {
        method: 'POST',
        url: `/v1/leases/${resourcePath(request.resource)}:acquire?wait=5s`,
      };
    case 'release_lease':
      return { method: 'POST', url: `/v1/leases/${resourcePath(request.resource)}:release` };
    case 'check_fence':
      return {
        method: 'POST',
        url: `/v1/fences/${resourcePath(request.resource)}:check`,
        body: { epoch: request.epoch },
      };
    case 'status':
      return { method: 'GET', url: '/v1/status' };
    case 'unknown_operations':
      return { method: 'GET', url: '/v1/operations?state=unknown&limit=100' };
    case 'resolve': {
      const { outcome, provenance, operationId } = request;
      const reason = 'looked at by a person';
      return {
        method: 'POST',
        url: `${operationPath(operationId)}/resolve`,
        body: { outcome, provenance, reason },
      };
    }
    case 'put_register':
    case 'register':
      return registerRouteOf(request);
    default:
      return controlRouteOf(request);
  }
}

function registerRouteOf(
  request: Extract<CallRequest, { kind: 'put_register' | 'register' }>,
): CallRoute {
  switch (request.kind) {
    case 'put_register': {
      const { register, resource, epoch, replaces, value } = request;
      return {
        method: 'PUT',
        url: `/v1/registers/${encodeURIComponent(register)}`,
        headers: {
          [FENCING_TOKEN_HEADER]: `${resource}:${epoch}`,
          ...(replaces === null ? { 'if-none-match': '*' } : { 'if-match': `"${replaces}"` }),
        },
        body: { value },
      };
    }
    case 'register':
      return { method: 'GET', url: `/v1/registers/${encodeURIComponent(request.register)}` };
  }
}

type ControlRequest = Extract<
  CallRequest,
  {
    kind:
      | 'publish_policy'
      | 'roll_back_policy'
      | 'order_rollout'
      | 'approve'
      | 'transfer_lease'
      | 'revoke_lease'
      | 'drain_host'
      | 'put_placement'
      | 'add_operator'
      | 'create_join_token'
      | 'read_control';
  }
>;

function controlRouteOf(request: ControlRequest): CallRoute {
  switch (request.kind) {
    case 'publish_policy': {
      const { replaces, document } = request;
      return {
        method: 'PUT',
        url: '/v1/policy?impact=false',
        headers: replacing(replaces),
        body: document,
      };
    }
    case 'roll_back_policy':
      return {
        method: 'POST',
        url: '/v1/policy:rollback?impact=false',
        headers: replacing(request.replaces),
        body: { toRevision: request.to },
      };
    case 'order_rollout':
      return { method: 'POST', url: `/v1/policy/rollout:${request.order}`, body: {} };
    case 'approve': {
      const { requestId, verb, digest } = request;
      return {
        method: 'POST',
        url: `/v1/approvals/${requestId}:${verb}`,
        body: { reason: 'looked at', digest },
      };
    }
    case 'transfer_lease': {
      const { resource, toHost } = request;
      const body = { to: toHost, drainTimeout: '2m', onTimeout: 'revoke' };
      return { method: 'POST', url: `/v1/leases/${resourcePath(resource)}:transfer`, body };
    }
    case 'revoke_lease':
      return {
        method: 'POST',
        url: `/v1/leases/${resourcePath(request.resource)}:revoke`,
        body: {},
      };
    case 'drain_host': {
      const { hostId, on } = request;
      return { method: 'POST', url: `/v1/hosts/${hostId}:${on ? 'drain' : 'undrain'}`, body: {} };
    }
    case 'put_placement':
      return {
        method: 'PUT',
        url: `/v1/placement/groups/${request.group}`,
        headers: { 'if-none-match': '*' },
        body: { shards: 2, resource: `${request.group}/{shard}` },
      };
    case 'add_operator': {
      const { name, roles } = request;
      return { method: 'POST', url: '/v1/operators', body: { name, roles } };
    }
    case 'create_join_token':
      return {
        method: 'POST',
        url: '/v1/join-tokens',
        body: { hostName: request.host, ttl: '1h' },
      };
    case 'read_control':
      return { method: 'GET', url: request.path };
  }
}

function replacing(revision: number | null): Record<string, string> {
  return revision === null ? { 'if-none-match': '*' } : { 'if-match': `"${revision}"` };
}
