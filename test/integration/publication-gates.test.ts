/**
 * What stands between a document and the fleet, on control's side: the report, the second person,
 * and the outages of others that it is made for.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { POLICY_BYTES_MAX } from '../../shared/wire/policy-document.ts';
import type { PublishAnswer } from '../../shared/wire/control-api.ts';
import { ControlWorld, policyDocument, type Answer } from '../fakes/control-world.ts';
import type { SigningHost } from '../fakes/signing-host.ts';

let world: ControlWorld;
beforeEach(async () => {
  world = await ControlWorld.create();
});
afterEach(() => world.dispose());

const limit = (most: number) =>
  policyDocument({
    rules: [
      {
        name: 'capture-payment',
        actions: ['payments.capture'],
        permit: [{ expression: `attributes.amount <= ${most}`, message: `at most ${most}` }],
        onRevoke: 'pause',
      },
    ],
  });

const put = (document: unknown, revision: number, query = '', token?: string) =>
  world.call('PUT', `/v1/policy${query}`, {
    body: document,
    headers: { 'if-match': `"${revision}"` },
    ...(token === undefined ? {} : { token }),
  });

const reportOf = (answer: Answer) => (answer.json as unknown as PublishAnswer).report;

let ids = 0;
const nextId = (prefix: string) => `${prefix}_${String((ids += 1)).padStart(26, '0')}`;

function admitted(host: SigningHost, amount: number, over: Record<string, unknown> = {}) {
  const operationId = nextId('op');
  const body = {
    hostId: host.id,
    app: 'shop',
    idempotencyKey: operationId,
    fingerprint: 'f'.repeat(64),
    principal: 'agent:billing',
    action: 'payments.capture',
    resource: { id: 'order-1', attributes: {} },
    attributes: { amount },
    policyRevision: 1,
    rule: 'capture-payment',
    basis: 'cached',
    stalenessMs: 1,
    effectTerms: {},
    deadlineAtMs: 9_999_999_999_999,
    deadlineBoot: { bootId: 'b', bootMs: 1 },
    ...over,
  };
  host.record('admitted', body, operationId);
  return operationId;
}

function refused(host: SigningHost, amount: number, attributes: unknown = { amount }) {
  const refusalId = nextId('ref');
  host.record('refused', {
    refusal: {
      refusalId,
      app: 'shop',
      idempotencyKey: refusalId,
      principal: 'agent:billing',
      action: 'payments.capture',
      resourceId: '',
      ...(attributes === null ? {} : { resourceAttributes: {}, attributes }),
      reason: 'denied',
      message: `${amount}`,
      policyRevision: 1,
      rule: 'capture-payment',
      basis: 'cached',
      stalenessMs: 1,
      leaseEpoch: null,
      outageId: null,
      atMs: 1,
    },
  });
  return refusalId;
}

describe('the report of a publication', () => {
  let host: SigningHost;
  beforeEach(async () => {
    await world.publish(limit(500));
    host = await world.enrolHost();
  });

  test('says what gets looser, and what recent requests would meet', async () => {
    admitted(host, 100);
    const gained = refused(host, 700);
    refused(host, 9_000);
    refused(host, 800, null);
    await host.reported(host.journal());
    const answer = await put(limit(1_000), 1, '?dryRun=true');
    expect(answer.json).toMatchObject({ outcome: 'valid', policyRevision: 2 });
    const report = reportOf(answer);
    expect(report).toMatchObject({
      comparedWith: 1,
      loosening: { mayLoosen: true, changed: 1, looser: 0, tighter: 0 },
      impact: { compared: 3, same: 2, notReplayable: 1, isAll: true },
      operations: { unfinished: 1, refused: 0 },
    });
    expect(report?.impact?.examples).toMatchObject([
      {
        kind: 'deny_to_permit',
        source: `refusal ${gained}`,
        before: { reason: 'denied', message: 'at most 500' },
        after: { decision: 'permit' },
      },
    ]);
    expect((await world.get('/v1/policy')).headers.get('etag')).toBe('"1"');
  });

  test('of a tighter one says which accepted work it would refuse, and what its rule says', async () => {
    const operationId = admitted(host, 400, { onRevoke: 'pause' });
    admitted(host, 10);
    const ended = admitted(host, 450);
    host.record('cancelled', { state: 'cancelled', reason: null, attempt: 0 }, ended);
    await host.reported(host.journal());
    const answer = await put(limit(100), 1);
    expect(answer.status).toBe(201);
    expect(reportOf(answer)?.impact).toMatchObject({ counts: { permit_to_deny: 2 } });
    expect(reportOf(answer)?.operations).toEqual({
      unfinished: 2,
      refused: 1,
      notReplayable: 0,
      isAll: true,
      byOnRevoke: { abort: 0, pause: 1, finish: 0 },
      examples: [
        {
          operationId,
          hostId: host.id,
          action: 'payments.capture',
          principal: 'agent:billing',
          state: 'accepted',
          rule: 'capture-payment',
          onRevoke: 'pause',
          reason: 'denied',
          message: 'at most 100',
        },
      ],
    });
  });

  test('replays the newest, as many as asked for, or none', async () => {
    for (const amount of [600, 601, 1, 2, 3]) refused(host, amount);
    await host.reported(host.journal());
    const few = reportOf(await put(limit(1_000), 1, '?dryRun=true&impactDecisions=3'));
    expect(few?.impact).toMatchObject({ compared: 3, same: 3, isAll: false });
    const all = reportOf(await put(limit(1_000), 1, '?dryRun=true'));
    expect(all?.impact).toMatchObject({ compared: 5, same: 3, isAll: true });
    const none = reportOf(await put(limit(1_000), 1, '?dryRun=true&impact=false'));
    expect(none).toMatchObject({ impact: null, operations: null });
  });

  test('goes over more decisions than one page holds, each once', async () => {
    for (let count = 0; count < 4; count += 1) {
      for (let amount = 0; amount < 45; amount += 1) refused(host, amount * 20);
      await host.reported(host.journal(count * 45 + 1));
    }
    const report = reportOf(await put(limit(1_000), 1, '?dryRun=true'));
    // Of 0, 20, … 880 those over 500 are 19.
    expect(report?.impact).toMatchObject({ compared: 180, counts: { deny_to_permit: 4 * 19 } });
    expect(report?.impact?.examples).toHaveLength(20);
  });

  test('has warnings, and nothing to compare the first policy with', async () => {
    await world.dispose();
    world = await ControlWorld.create();
    const first = await world.publish(limit(5));
    expect(reportOf(first)).toMatchObject({ comparedWith: null, loosening: null, impact: null });
    expect(reportOf(first)?.warnings).toEqual([
      'the document has no tests: nothing says what it is meant to do',
    ]);
  });
});

describe('two persons publish', () => {
  const tokens = new Map<string, string>();
  const as = (name: string) => ({ token: tokens.get(name) ?? '' });

  beforeEach(async () => {
    await world.publish(limit(500));
    await world.restart({ twoPersonPublication: 'always' });
    for (const [name, roles] of [
      ['ann', ['publisher']],
      ['bob', ['approver']],
      ['cy', ['publisher', 'approver']],
      ['eve', ['operator']],
    ] as const) {
      const { json } = await world.call('POST', '/v1/operators', { body: { name, roles } });
      tokens.set(name, String(json['token']));
    }
  });

  const propose = async (name = 'ann', revision = 1, document: unknown = limit(900)) => {
    const answer = await put(document, revision, '', tokens.get(name));
    expect([answer.status, answer.json['outcome']]).toEqual([202, 'proposed']);
    return String(answer.json['proposalId']);
  };
  const read = async (id: string) => (await world.get(`/v1/policy/proposals/${id}`)).json;
  const decide = async (name: string, id: string, verb: string, tag?: string) => {
    const etag = tag ?? `"${String((await read(id))['policyDigest'])}"`;
    const answer = await world.call('POST', `/v1/policy/proposals/${id}:${verb}`, {
      ...as(name),
      headers: verb === 'approve' ? { 'if-match': etag } : {},
      ...(verb === 'approve' ? {} : { body: { reason: 'no' } }),
    });
    return [answer.status, answer.json['code'] ?? answer.json['outcome'] ?? answer.json['state']];
  };

  test('one proposes, another approves, and then it has a number', async () => {
    const id = await propose();
    expect((await world.get('/v1/policy')).headers.get('etag')).toBe('"1"');
    expect(await world.metric('holdfast_control_proposals_open')).toBe(1);
    expect(await read(id)).toMatchObject({
      state: 'open',
      proposedBy: 'operator:ann',
      replaces: 1,
      policy: limit(900),
      report: { loosening: { mayLoosen: true } },
    });
    expect(await decide('bob', id, 'approve')).toEqual([201, 'published']);
    expect((await world.get('/v1/policy')).json).toMatchObject({
      policyRevision: 2,
      publishedBy: 'operator:ann with operator:bob',
    });
    expect(await read(id)).toMatchObject({
      state: 'published',
      policyRevision: 2,
      decidedBy: 'operator:bob',
    });
    expect(await decide('bob', id, 'approve')).toEqual([409, 'proposal_settled']);
    const { json } = await world.get('/v1/audit');
    const actions = (json['items'] as { action: string }[]).map(({ action }) => action);
    expect(actions.slice(0, 2)).toEqual(['policy.published', 'policy.proposed']);
  });

  test('who proposed it does not approve it, whatever else they may', async () => {
    const id = await propose('cy');
    expect(await decide('cy', id, 'approve')).toEqual([403, 'forbidden']);
    expect(await decide('cy', id, 'reject')).toEqual([403, 'forbidden']);
    expect(await decide('eve', id, 'approve')).toEqual([403, 'forbidden']);
    expect(await decide('ann', id, 'withdraw')).toEqual([403, 'forbidden']);
    expect(await decide('ann', id, 'approve')).toEqual([201, 'published']);
  });

  test('only the document that was read is approved', async () => {
    const id = await propose();
    expect(await decide('bob', id, 'approve', `"${'0'.repeat(64)}"`)).toEqual([
      412,
      'revision_conflict',
    ]);
    expect(await decide('bob', id, 'approve', '*')).toEqual([428, 'precondition_required']);
    expect(await read(id)).toMatchObject({ state: 'open' });
  });

  test('is rejected, withdrawn, or expires after a day, and is decided once', async () => {
    const rejected = await propose();
    expect(await decide('bob', rejected, 'reject')).toEqual([200, 'rejected']);
    expect(await read(rejected)).toMatchObject({ reason: 'no', decidedBy: 'operator:bob' });
    await world.clock.advance(1);
    const withdrawn = await propose();
    expect(await decide('ann', withdrawn, 'withdraw')).toEqual([200, 'withdrawn']);
    await world.clock.advance(1);
    const late = await propose();
    await world.clock.advance(24 * 3_600_000);
    expect(await decide('bob', late, 'approve')).toEqual([409, 'proposal_settled']);
    expect(await read(late)).toMatchObject({ state: 'expired' });
    const { json } = await world.get('/v1/policy/proposals?limit=2');
    expect((json['items'] as { state: string }[]).map(({ state }) => state)).toEqual([
      'expired',
      'withdrawn',
    ]);
    expect((await world.get('/v1/policy')).headers.get('etag')).toBe('"1"');
  });

  test('survives a restart of control', async () => {
    const id = await propose();
    await world.restart();
    expect(await decide('bob', id, 'approve')).toEqual([201, 'published']);
  });

  test('of what may loosen only, where that is configured', async () => {
    await world.restart({ twoPersonPublication: 'loosening' });
    const tighter = policyDocument({
      rules: limit(500).rules.map((rule) => ({
        ...rule,
        maxStaleness: '1m',
        permit: [...rule.permit, { expression: 'attributes.amount > 0' }],
      })),
    });
    const published = await put(tighter, 1, '', tokens.get('ann'));
    expect([published.status, published.json['needsApproval']]).toEqual([201, undefined]);
    const dry = await put(limit(500), 2, '?dryRun=true');
    expect(dry.json).toMatchObject({ outcome: 'valid', needsApproval: true });
    await propose('ann', 2, limit(500));
  });

  test('a rollback needs the second person as well', async () => {
    await decide('bob', await propose(), 'approve');
    const answer = await world.call('POST', '/v1/policy:rollback', {
      ...as('ann'),
      headers: { 'if-match': '"2"' },
      body: { toRevision: 1 },
    });
    expect([answer.status, answer.json['outcome']]).toEqual([202, 'proposed']);
  });

  describe('2025-10-20 an old plan applied over a newer one', () => {
    test('a writer who has not read the newer one is refused', async () => {
      await world.restart({ twoPersonPublication: 'off' });
      await put(limit(600), 1);
      const late = await put(limit(100), 1);
      expect([late.status, late.json['code']]).toEqual([412, 'revision_conflict']);
      expect((await world.get('/v1/policy')).json).toMatchObject({ policy: limit(600) });
    });

    test('a proposal approved after another publication is a conflict, for good', async () => {
      const [old, newer] = [
        await propose('ann', 1, limit(100)),
        await propose('ann', 1, limit(600)),
      ];
      expect(await decide('bob', newer, 'approve')).toEqual([201, 'published']);
      expect(await decide('bob', old, 'approve')).toEqual([412, 'revision_conflict']);
      expect(await read(old)).toMatchObject({ state: 'superseded' });
      expect(await decide('bob', old, 'approve')).toEqual([409, 'proposal_settled']);
      expect((await world.get('/v1/policy')).json).toMatchObject({ policy: limit(600) });
    });

    test('an old document comes back only under a new number', async () => {
      await world.restart({ twoPersonPublication: 'off' });
      await put(limit(600), 1);
      const back = await world.call('POST', '/v1/policy:rollback', {
        headers: { 'if-match': '"2"' },
        body: { toRevision: 1, comment: 'as it was' },
      });
      expect(back.json).toMatchObject({ policyRevision: 3, comment: 'as it was' });
      expect((await world.get('/v1/policy')).json).toMatchObject({
        policyRevision: 3,
        policy: limit(500),
      });
    });
  });
});

describe('2025-11-18 a file that doubled past its bound', () => {
  const sized = (bytes: number) => {
    const rule = limit(1).rules[0];
    const rules = Array.from({ length: Math.ceil(bytes / 1_000) }, (_, index) => ({
      ...rule,
      name: `rule-${index}`,
      actions: [`payments.capture${index}`],
      description: 'x'.repeat(1_000 - JSON.stringify(rule).length - 40),
    }));
    return policyDocument({ rules } as never);
  };

  test('is refused with its size, and gets no number; what is in force stays', async () => {
    const half = sized(POLICY_BYTES_MAX * 0.6);
    expect((await world.publish(half)).status).toBe(201);
    const doubled = sized(POLICY_BYTES_MAX * 1.2);
    const answer = await world.publish(doubled);
    expect([answer.status, answer.json['code']]).toEqual([413, 'body_too_large']);
    expect((await world.get('/v1/policy/revisions')).json['items']).toHaveLength(1);
    expect((await world.get('/v1/policy')).headers.get('etag')).toBe('"1"');
  });

  test('one that doubles within its bound is published with a warning', async () => {
    await world.publish(sized(50_000));
    const answer = await world.publish(sized(150_000));
    expect(reportOf(answer)?.warnings.join()).toMatch(
      /the document is \d\.\d times the size of the one in force/,
    );
  });
});

describe('2025-06-12 blank fields', () => {
  const rule = { name: 'a', actions: ['b'], permit: [{ expression: 'true' }] };
  test.each<[string, object]>([
    ['no rules', { rules: [] }],
    ['no principals', { principals: {} }],
    ['a principal without roles', { principals: { 'agent:billing': { roles: [] } } }],
    ['a blank name', { rules: [{ ...rule, name: '' }] }],
    ['no actions', { rules: [{ ...rule, actions: [] }] }],
    ['a blank action', { rules: [{ ...rule, actions: [''] }] }],
    ['no permit', { rules: [{ ...rule, permit: [] }] }],
    ['a blank expression', { rules: [{ ...rule, permit: [{ expression: ' ' }] }] }],
    ['a blank match', { rules: [{ ...rule, match: [{ expression: '' }] }] }],
    ['a blank time', { rules: [{ ...rule, deadline: '' }] }],
    ['a null rule', { rules: [null] }],
  ])('%s is refused by its place, and gets no number', async (_, over) => {
    await world.publish(limit(500));
    const answer = await world.publish(policyDocument(over));
    expect([answer.status, answer.json['code']]).toEqual([422, 'policy_invalid']);
    const errors = answer.json['errors'] as { path: string }[];
    expect(errors[0]?.path).toMatch(/^\/(rules|principals)/);
    expect((await world.get('/v1/policy/revisions')).json['items']).toHaveLength(1);
  });
});
