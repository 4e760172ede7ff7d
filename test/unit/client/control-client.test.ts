import { afterEach, describe, expect, test } from 'vitest';
import { openControl, type ControlClient } from '../../../shared/client/index.ts';
import { openStandIn, problem, type Answer, type StandIn } from '../../fakes/http-stand-in.ts';

let standIn: StandIn | undefined;
let client: ControlClient | undefined;

afterEach(async () => {
  await client?.close();
  await standIn?.close();
});

async function clientFor(answer: Answer): Promise<ControlClient> {
  standIn = await openStandIn(() => answer);
  client = openControl({ endpoint: standIn.url, token: 'secret' });
  return client;
}

describe('publishing', () => {
  test('sends the document as it stands, with the revision that it replaces and the comment', async () => {
    const control = await clientFor({ status: 200, body: { policyRevision: 4 } });

    await control.publishPolicy('# kept\nkind: Policy\n', {
      format: 'yaml',
      replaces: 3,
      comment: 'why',
    });

    expect(standIn?.asked[0]).toMatchObject({
      method: 'PUT',
      path: '/v1/policy',
      body: '# kept\nkind: Policy\n',
      headers: {
        'if-match': '"3"',
        'content-type': 'application/yaml',
        'holdfast-comment': 'why',
        authorization: 'Bearer secret',
      },
    });
  });

  test('the first one must find nothing there', async () => {
    const control = await clientFor({ status: 200, body: {} });

    await control.publishPolicy('{}', { format: 'json', replaces: null, isDryRun: true });

    expect(standIn?.asked[0]).toMatchObject({
      path: '/v1/policy?dryRun=true',
      headers: { 'if-none-match': '*' },
    });
    expect(standIn?.asked[0]?.headers['if-match']).toBeUndefined();
  });

  test('everything that is wrong comes back with its place', async () => {
    const errors = [{ path: '/rules/0/permit', message: 'is required' }];
    const control = await clientFor(problem('policy_invalid', { errors }));

    await expect(
      control.publishPolicy('{}', { format: 'json', replaces: 1 }),
    ).rejects.toMatchObject({
      code: 'policy_invalid',
      problem: { errors },
    });
  });
});

describe('paths', () => {
  const calls: [string, (control: ControlClient) => Promise<unknown>, string][] = [
    ['policy', (c) => c.policy(), 'GET /v1/policy'],
    ['policyRevision', (c) => c.policyRevision(3), 'GET /v1/policy/revisions/3'],
    ['policyRevisions', (c) => c.policyRevisions({ limit: 2 }), 'GET /v1/policy/revisions?limit=2'],
    [
      'createJoinToken',
      (c) => c.createJoinToken({ hostName: 'h', ttl: '5m' }),
      'POST /v1/join-tokens {"hostName":"h","ttl":"5m"}',
    ],
    ['hosts', (c) => c.hosts(), 'GET /v1/hosts'],
    ['host', (c) => c.host('host_1'), 'GET /v1/hosts/host_1'],
    ['leases', (c) => c.leases({ cursor: 'x' }), 'GET /v1/leases?cursor=x'],
    [
      'operations',
      (c) => c.operations({ host: 'host_1', state: 'unknown' }),
      'GET /v1/operations?host=host_1&state=unknown',
    ],
    ['operation', (c) => c.operation('op_1'), 'GET /v1/operations/op_1'],
    ['refusals', (c) => c.refusals(), 'GET /v1/refusals'],
    ['outages', (c) => c.outages(), 'GET /v1/outages?seenBy=host'],
    ['unreadableEvents', (c) => c.unreadableEvents(), 'GET /v1/unreadable-events'],
    ['rereadEvents', (c) => c.rereadEvents('7'), 'POST /v1/unreadable-events:reread?cursor=7'],
    ['fleetOutages', (c) => c.fleetOutages({ open: true }), 'GET /v1/outages?open=true'],
    ['fleetOutage', (c) => c.fleetOutage('out_1'), 'GET /v1/outages/out_1'],
    ['audit', (c) => c.audit(), 'GET /v1/audit'],
    ['operators', (c) => c.operators(), 'GET /v1/operators'],
    [
      'addOperator',
      (c) => c.addOperator({ name: 'ann', roles: ['viewer'] }),
      'POST /v1/operators {"name":"ann","roles":["viewer"]}',
    ],
    ['removeOperator', (c) => c.removeOperator('ann'), 'DELETE /v1/operators/ann'],
    ['health', (c) => c.health(), 'GET /v1/health'],
  ];
  test.each(calls)('%s', async (_name, call, expected) => {
    const control = await clientFor({ status: 200, body: { items: [] } });

    await call(control);

    const { method, path, body } = standIn!.asked[0]!;
    expect([method, path, body].filter((part) => part !== '').join(' ')).toBe(expected);
  });
});

test('an empty answer is an answer', async () => {
  const control = await clientFor({ status: 204, body: '' });

  await expect(control.removeOperator('ann')).resolves.toBeUndefined();
});
