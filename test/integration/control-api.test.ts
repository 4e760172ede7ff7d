import { execFileSync } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CONTROL_METRICS } from '../../control/metrics.ts';
import { OPERATOR_ROLES, type OperatorRole } from '../../shared/wire/control-api.ts';
import { ControlWorld } from '../fakes/control-world.ts';
import { findProgram, programTest } from '../skips.ts';

let world: ControlWorld;
beforeEach(async () => {
  world = await ControlWorld.create();
});
afterEach(() => world.dispose());

/** Everything there is, and who may use it. A route that is added or changed is added or changed here too. */
const ROUTES = [
  'DELETE /v1/operators/:name admin',
  'DELETE /v1/placement/groups/:name operator',
  'GET /.well-known/jwks.json open',
  'GET /livez open',
  'GET /metrics open',
  'GET /openapi.json open',
  'GET /readyz open',
  'GET /startupz open',
  'GET /v1/allotments viewer',
  'GET /v1/approvals viewer',
  'GET /v1/approvals/:requestId viewer',
  'GET /v1/audit viewer',
  'GET /v1/bundle host or viewer',
  'GET /v1/divergences viewer',
  'GET /v1/divergences/:divergenceId viewer',
  'GET /v1/fleet viewer',
  'GET /v1/health viewer',
  'GET /v1/health/fleet viewer',
  'GET /v1/hosts viewer',
  'GET /v1/hosts/:hostId viewer',
  'GET /v1/hosts/:hostId/settings viewer',
  'GET /v1/leases viewer',
  'GET /v1/leases/:resource viewer',
  'GET /v1/notices viewer',
  'GET /v1/notices/:noticeId viewer',
  'GET /v1/operations viewer',
  'GET /v1/operations/:operationId viewer',
  'GET /v1/operators admin',
  'GET /v1/outages viewer',
  'GET /v1/outages/:outageId viewer',
  'GET /v1/placement/assignments viewer',
  'GET /v1/placement/assignments/:resource viewer',
  'GET /v1/placement/brake viewer',
  'GET /v1/placement/groups viewer',
  'GET /v1/placement/groups/:name viewer',
  'GET /v1/placement/plan viewer',
  'GET /v1/policy viewer',
  'GET /v1/policy/proposals viewer',
  'GET /v1/policy/proposals/:proposalId viewer',
  'GET /v1/policy/revisions viewer',
  'GET /v1/policy/revisions/:policyRevision viewer',
  'GET /v1/policy/rollout viewer',
  'GET /v1/refusals viewer',
  'GET /v1/unreadable-events viewer',
  'POST /v1/approvals/:requestId:approve approver',
  'POST /v1/approvals/:requestId:deny approver',
  'POST /v1/approvals/:requestId:withdraw approver',
  'POST /v1/decisions host',
  'POST /v1/divergences/:divergenceId:resolve operator',
  'POST /v1/hosts/:hostId:drain operator',
  'POST /v1/hosts/:hostId:undrain operator',
  'POST /v1/hosts:enrol join token',
  'POST /v1/join-tokens operator',
  'POST /v1/leases/:resource:cancel-transfer operator',
  'POST /v1/leases/:resource:revoke operator',
  'POST /v1/leases/:resource:transfer operator',
  'POST /v1/notices operator',
  'POST /v1/notices/:noticeId:lift operator',
  'POST /v1/operators admin',
  'POST /v1/placement/brake:release operator',
  'POST /v1/placement/plan viewer',
  'POST /v1/policy/proposals/:proposalId:approve approver',
  'POST /v1/policy/proposals/:proposalId:reject approver',
  'POST /v1/policy/proposals/:proposalId:withdraw publisher',
  'POST /v1/policy/rollout:halt publisher',
  'POST /v1/policy/rollout:pause publisher',
  'POST /v1/policy/rollout:promote publisher',
  'POST /v1/policy/rollout:resume publisher',
  'POST /v1/policy:decide viewer',
  'POST /v1/policy:rollback publisher',
  'POST /v1/reports host',
  'POST /v1/sync host',
  'POST /v1/unreadable-events:reread operator',
  'PUT /v1/hosts/:hostId/labels operator',
  'PUT /v1/placement/groups/:name operator',
  'PUT /v1/policy publisher',
];

describe('access', () => {
  test('every route says who may use it', () => {
    const table = world.control.routes.map(({ method, path, access }) => {
      const who = {
        open: 'open',
        host: 'host',
        join_token: 'join token',
        operator: '',
        host_or_operator: 'host or ',
      };
      return `${method} ${path} ${who[access.kind]}${'role' in access ? access.role : ''}`;
    });
    expect(table.toSorted()).toEqual(ROUTES);
  });

  test('every route for operators refuses no token, an unknown one, and every role that is not enough', async () => {
    const tokens = new Map<OperatorRole, string>();
    for (const role of OPERATOR_ROLES) {
      const { json } = await world.call('POST', '/v1/operators', {
        body: { name: role, roles: [role] },
      });
      tokens.set(role, String(json['token']));
    }
    for (const { method, path, access } of world.control.routes) {
      if (access.kind !== 'operator') continue;
      const at = path.replaceAll(/\/:[a-zA-Z]+/g, '/x1');
      const ask = (token: string | null) =>
        world.call(method, at, { token, ...(method === 'POST' ? { body: {} } : {}) });
      expect((await ask(null)).json['code'], path).toBe('unauthenticated');
      expect((await ask('hfo1.nobody')).json['code'], path).toBe('unauthenticated');
      for (const role of OPERATOR_ROLES) {
        const { status } = await ask(tokens.get(role) ?? '');
        const enough = ['admin', access.role, access.or];
        const isAllowed = enough.includes(role) || access.role === 'viewer';
        expect([path, role, status === 403]).toEqual([path, role, !isAllowed]);
      }
    }
  });

  test('the Host header is one of those allowed, where any are', async () => {
    await world.dispose();
    world = await ControlWorld.create({ allowedHosts: ['control.example', '127.0.0.1'] });
    const via = async (host: string) =>
      (await world.control.app.inject({ url: '/livez', headers: { host } })).statusCode;
    expect(await via('control.example')).toBe(200);
    expect(await via('Control.Example:7480')).toBe(200);
    expect(await via('evil.example')).toBe(403);
    expect(await via('control.example.evil.example')).toBe(403);
    expect((await world.get('/livez')).status).toBe(200);
  });
});

describe('operators', () => {
  test('a token is shown once, opens its roles, and nothing after its removal', async () => {
    const added = await world.call('POST', '/v1/operators', {
      body: { name: 'ann', roles: ['publisher'] },
    });
    expect([added.status, added.headers.get('cache-control')]).toEqual([201, 'no-store']);
    const token = String(added.json['token']);
    expect((await world.call('GET', '/v1/hosts', { token })).status).toBe(200);
    const list = await world.get('/v1/operators');
    expect(list.json['items']).toMatchObject([
      { name: 'admin' },
      { name: 'ann', roles: ['publisher'] },
    ]);
    expect(
      list.text + (await world.get('/v1/audit')).text + JSON.stringify(world.logged),
    ).not.toContain(token);
    const removed = await world.call('DELETE', '/v1/operators/ann');
    expect([removed.status, removed.text]).toEqual([204, '']);
    expect((await world.call('GET', '/v1/hosts', { token })).status).toBe(401);
  });

  test('names are taken once, the last admin stays, what is unknown is not found', async () => {
    const add = (body: object) => world.call('POST', '/v1/operators', { body });
    await add({ name: 'ann', roles: ['viewer'] });
    expect((await add({ name: 'ann', roles: ['admin'] })).json['code']).toBe('operator_exists');
    expect((await add({ name: 'bob', roles: ['king'] })).status).toBe(400);
    expect((await add({ name: 'bob', roles: [] })).status).toBe(400);
    const last = await world.call('DELETE', '/v1/operators/admin');
    expect([last.status, last.json['code']]).toEqual([409, 'last_admin']);
    expect((await world.call('DELETE', '/v1/operators/eve')).status).toBe(404);
    await add({ name: 'root', roles: ['admin'] });
    expect((await world.call('DELETE', '/v1/operators/admin')).status).toBe(204);
    expect((await world.get('/v1/operators')).status).toBe(401);
  });
});

describe('the API of control', () => {
  test('probes say what they looked at when asked', async () => {
    expect((await world.call('GET', '/livez', { token: null })).json).toEqual({ status: 'ok' });
    const { json } = await world.call('GET', '/readyz?verbose', { token: null });
    expect(json['checks']).toMatchObject([
      { name: 'store', ok: true },
      { name: 'accepting', ok: true },
    ]);
  });

  test('a store that fails makes it unready and its control plane down, and the daemon ends', async () => {
    const running = world.control.run();
    const path = `${world.dataDir}/control.db`;
    const { DatabaseSync } = await import('node:sqlite');
    const other = new DatabaseSync(path);
    other.exec('UPDATE control_state SET run = run + 1');
    other.close();
    expect((await world.call('POST', '/v1/join-tokens', { body: { hostName: 'h' } })).status).toBe(
      500,
    );
    await expect(running).rejects.toThrow(/another control/);
    expect((await world.call('GET', '/readyz', { token: null })).status).toBe(503);
    expect((await world.call('GET', '/livez', { token: null })).status).toBe(200);
    expect((await world.call('GET', '/metrics', { token: null })).status).toBe(200);
  });

  test('is described: each route with a summary and what it answers', async () => {
    const { json } = await world.call('GET', '/openapi.json', { token: null });
    expect(json['openapi']).toBe('3.1.0');
    const paths = json['paths'] as Record<
      string,
      Record<string, { summary?: string; responses: object }>
    >;
    for (const { method, path } of world.control.routes) {
      if (path === '/openapi.json') continue;
      const described = paths[path.replaceAll(/\/:([a-zA-Z]+)/g, '/{$1}')]?.[method.toLowerCase()];
      expect(described?.summary, `${method} ${path}`).toMatch(/\w/);
      if (!path.startsWith('/v1')) continue;
      expect(Object.keys(described?.responses ?? {}), path).toEqual(
        expect.arrayContaining(['4XX', '5XX']),
      );
    }
  });

  test('what is not there, and what is not served there, is said', async () => {
    expect((await world.get('/v1/nothing')).json['code']).toBe('not_found');
    expect((await world.call('DELETE', '/v1/policy')).json).toMatchObject({
      code: 'method_not_allowed',
    });
    expect((await world.call('POST', '/v1/hosts:other', { body: {} })).status).toBe(404);
    expect((await world.get('/v1/hosts:enrol')).status).toBe(405);
  });

  test.each([
    ['text/plain', 415],
    ['application/jsonx', 415],
    ['application/json garbage', 415],
    ['application/yaml', 415],
    ['application/json; charset=utf-8', 201],
  ])('content type %s on a JSON route: %i', async (contentType, status) => {
    const answer = await world.call('POST', '/v1/join-tokens', {
      text: '{"hostName":"h"}',
      headers: { 'content-type': contentType },
    });
    expect(answer.status).toBe(status);
  });

  test.each([
    '{"hostName":"h","__proto__":{"x":1}}',
    '{"hostName":"h","constructor":{"prototype":{"x":1}}}',
    '{"hostName":"h"',
    '[]',
    '"h"',
    'null',
    '',
  ])('body %s is refused with 400', async (text) => {
    const answer = await world.call('POST', '/v1/join-tokens', { text });
    expect(answer.status).toBe(400);
    expect(({} as { x?: number }).x).toBeUndefined();
  });

  test('a null in a body stays a null', async () => {
    const host = await world.enrolHost();
    await host.sync({ policyRevision: null });
    expect((await world.get(`/v1/hosts/${host.id}`)).json).toMatchObject({ policyRevision: null });
  });

  test('health has two verdicts: no policy impairs the control plane and not the data plane', async () => {
    expect((await world.get('/v1/health')).json).toMatchObject({
      daemon: 'control',
      controlPlane: {
        verdict: 'impaired',
        parts: { store: { state: 'ok' }, publication: { state: 'degraded' } },
      },
      dataPlane: { verdict: 'ok' },
    });
  });
});

describe('metrics', () => {
  test('every metric of the table that has a value without labels is there from the start', async () => {
    const { text } = await world.call('GET', '/metrics', { token: null });
    for (const name of Object.keys(CONTROL_METRICS)) expect(text).toContain(`# HELP ${name} `);
    expect(await world.metric('holdfast_build_info{daemon="control",version="0.0.0-test"}')).toBe(
      1,
    );
  });

  programTest('promtool')('pass promtool', async () => {
    await world.publish();
    const host = await world.enrolHost();
    await host.acquire('orders/1');
    const { text } = await world.call('GET', '/metrics', { token: null });
    const output = execFileSync(findProgram('promtool') ?? 'promtool', ['check', 'metrics'], {
      input: text,
      encoding: 'utf8',
    });
    expect(output).toBe('');
  });
});
