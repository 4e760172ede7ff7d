/** Control's side of an approval, over its API and a real store, with a host that signs as hosts do. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openVerifier } from '../../shared/platform/signatures.ts';
import { ApprovalStatementSchema, type ApprovalRequest } from '../../shared/wire/approval.ts';
import type { OperatorRole } from '../../shared/wire/control-api.ts';
import { STATEMENT_TYPES } from '../../shared/wire/statements.ts';
import { ControlWorld, policyDocument } from '../fakes/control-world.ts';
import type { SigningHost } from '../fakes/signing-host.ts';
import { asked } from '../fakes/stored-approval.ts';
import { WAITING_DIGEST, recordWaiting } from '../fakes/waiting-approval.ts';

const TTL_MS = 300_000;

let world: ControlWorld;
let host: SigningHost;
const tokens = new Map<string, string>();

beforeAll(async () => {
  world = await ControlWorld.create();
  await world.publish(
    policyDocument({
      principals: {
        'agent:billing': { roles: ['agent'] },
        'user:ann': { roles: ['security'] },
        'user:bob': { roles: ['security'] },
        'user:billing': { roles: ['security'] },
      },
    }),
  );
  host = await world.enrolHost();
  for (const name of ['ann', 'bob', 'billing', 'eve'])
    await operator(name, name === 'eve' ? ['viewer', 'approver'] : ['approver']);
  await operator('vic', ['viewer']);
});
afterAll(() => world.dispose());

async function operator(name: string, roles: OperatorRole[]): Promise<void> {
  const { json } = await world.call('POST', '/v1/operators', { body: { name, roles } });
  tokens.set(name, String(json['token']));
}

let operations = 0;

/** An operation that waits, reported. */
async function waiting(over: { required?: number; showPayload?: boolean } = {}): Promise<string> {
  operations += 1;
  const requestId = recordWaiting(host, operations, { ttlMs: TTL_MS, ...over });
  await report();
  return requestId;
}

async function report(): Promise<void> {
  const { seq } = host.journal().at(-1) ?? { seq: 0 };
  await host.reported(host.journal(reportedSeq + 1));
  reportedSeq = seq;
}
let reportedSeq = 0;

function say(name: string, id: string, verb: string, over: Record<string, unknown> = {}) {
  const body = { reason: `${name} looked`, digest: WAITING_DIGEST, ...over };
  return world.call('POST', `/v1/approvals/${id}:${verb}`, {
    token: tokens.get(name) ?? '',
    body,
  });
}

const show = async (id: string) => (await world.get(`/v1/approvals/${id}`)).json;

async function told() {
  const verifier = await openVerifier(host.enrolment?.trust.keys ?? []);
  const { approvals = [] } = await host.sync();
  const words = approvals.map(async (statement) => {
    const expected = { type: STATEMENT_TYPES.approval, schema: ApprovalStatementSchema };
    const verified = await verifier.verify(statement, expected);
    if (!verified.ok) throw new Error(verified.detail);
    return verified.payload;
  });
  return Promise.all(words);
}

/** The host says what it made of it. */
async function confirm(id: string, state: string, over: Record<string, unknown> = {}) {
  const request = (await show(id)) as unknown as ApprovalRequest;
  const approval = {
    ...asked(id),
    state,
    policyRevision: 1,
    rule: 'capture-payment',
    requestedAtMs: 1,
    sequence: request.sequence,
    decidedUnder: 1,
    decidedAtMs: 2,
    reason: request.reason,
    votes: request.votes,
    replaces: null,
  };
  const body = { state: 'accepted', reason: null, attempt: 0, approval, ...over };
  host.record(state === 'approved' ? 'approved' : 'cancelled', body, request.operationId);
  await report();
}

test('what waits is listed, and shown with what it could touch; its payload only where the rule says so', async () => {
  const id = await waiting();
  const hidden = await waiting({ showPayload: false });
  const list = (await world.get('/v1/approvals?state=pending&limit=1')).json;
  expect(list['items']).toMatchObject([{ requestId: hidden, state: 'pending', votes: [] }]);
  const next = await world.get(`/v1/approvals?state=pending&cursor=${String(list['nextCursor'])}`);
  expect(next.json['items']).toMatchObject([{ requestId: id, delivery: 'none' }]);
  expect(await show(id)).toMatchObject({
    payloadDigest: WAITING_DIGEST,
    payload: { action: 'payments.capture', attributes: { amount: 700 } },
    payloadMissing: null,
    // What it would be decided as now, whatever was decided when it was asked for.
    wouldDecide: { decision: 'deny', rule: 'capture-payment', policyRevision: 1 },
    blastRadius: {
      resourceId: 'order-1',
      hostName: 'host-1',
      sameActionRecently: 2,
      waitingOfPrincipal: 2,
    },
  });
  expect(await show(hidden)).toMatchObject({
    payload: null,
    payloadMissing: 'rule capture-payment does not say approval.showPayload',
  });
  expect(await world.metric('holdfast_control_approvals_pending')).toBe(2);
});

test('I2: two of the role approve it, once; each word goes down with every sync until it is confirmed', async () => {
  const id = await waiting({ required: 2 });
  expect((await say('ann', id, 'approve')).json).toMatchObject({ state: 'pending' });
  expect((await say('ann', id, 'approve')).json).toMatchObject({ state: 'pending' });
  expect(await told()).toEqual([]);
  expect((await say('bob', id, 'approve')).json).toMatchObject({
    state: 'approved',
    delivery: 'waiting',
    sequence: 1,
  });
  expect((await say('bob', id, 'deny')).json).toMatchObject({ code: 'approval_settled' });
  await world.restart();
  for (const _sync of [1, 2]) {
    expect(await told()).toMatchObject([
      {
        requestId: id,
        outcome: 'approved',
        hostId: host.id,
        hostEpoch: 1,
        payloadDigest: WAITING_DIGEST,
        policyRevision: 1,
        rule: 'capture-payment',
        votes: [{ by: 'operator:ann', reason: 'ann looked' }, { by: 'operator:bob' }],
      },
    ]);
  }
  await confirm(id, 'approved');
  expect(await told()).toEqual([]);
  expect(await show(id)).toMatchObject({ state: 'approved', delivery: 'confirmed' });
});

test('who may not is told why, and it is audited who did', async () => {
  const id = await waiting();
  const refusals: [string, string, Record<string, unknown>, string][] = [
    ['billing', 'approve', {}, 'self_approval'],
    ['eve', 'approve', {}, 'forbidden'],
    ['vic', 'approve', {}, 'forbidden'],
    ['ann', 'approve', { digest: 'e'.repeat(64) }, 'approval_changed'],
    ['ann', 'approve', { reason: ' ' }, 'invalid_request'],
    ['ann', 'approve', { digest: undefined }, 'invalid_request'],
    ['ann', 'withdraw', {}, 'forbidden'],
  ];
  for (const [name, verb, over, code] of refusals)
    expect([name, (await say(name, id, verb, over)).json['code']]).toEqual([name, code]);
  expect((await say('ann', 'apr_none', 'deny')).json).toMatchObject({ code: 'not_found' });
  await say('bob', id, 'deny');
  expect(await show(id)).toMatchObject({ state: 'denied', reason: 'bob looked' });
  const audit = (await world.get('/v1/audit')).json['items'] as Record<string, unknown>[];
  expect(audit[0]).toMatchObject({
    actor: 'operator:bob',
    action: 'approval.deny',
    target: id,
    detail: { reason: 'bob looked', payloadDigest: WAITING_DIGEST },
  });
  await confirm(id, 'denied', { state: 'cancelled', reason: 'approval_denied' });
});

test('a host that waits for a bundle is called at once, and no other is', async () => {
  const other = await world.enrolHost('host-2');
  const etag = (await host.request('GET', '/v1/bundle')).headers.get('etag') ?? '';
  const headers = { 'if-none-match': etag };
  const wait = (who: SigningHost) =>
    who.request('GET', '/v1/bundle?wait=30s', undefined, { headers });
  const id = await waiting();
  const polls = [wait(host), wait(other)];
  while ((await world.metric('holdfast_control_bundle_waiters')) !== 2)
    await new Promise((resolve) => setImmediate(resolve));
  await say('ann', id, 'deny');
  const called = await polls[0];
  expect([called?.status, called?.headers.get('holdfast-sync-now')]).toEqual([304, '1']);
  expect(await world.metric('holdfast_control_bundle_waiters')).toBe(1);
  await world.clock.advance(30_000);
  expect((await polls[1])?.headers.get('holdfast-sync-now')).toBeNull();
  await confirm(id, 'denied', { state: 'cancelled', reason: 'approval_denied' });
});

test('approve and deny at once: one outcome, and the other is told so', async () => {
  const id = await waiting();
  const answers = await Promise.all([say('ann', id, 'approve'), say('bob', id, 'deny')]);
  expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 409]);
  const words = await told();
  expect(words).toHaveLength(1);
  expect((await show(id))['state']).toBe(words[0]?.outcome);
  await confirm(id, String(words[0]?.outcome));
});

test('what nobody decided in time is over; what the host says of it stands', async () => {
  const id = await waiting();
  await world.clock.advance(TTL_MS);
  expect(await show(id)).toMatchObject({ state: 'expired' });
  expect((await say('ann', id, 'approve')).json).toMatchObject({ code: 'approval_settled' });
  expect((await world.get('/v1/approvals?state=expired')).json['items']).toMatchObject([
    { requestId: id },
    {},
    {},
  ]);
});

test('a copy of the store that had not heard of the approval ends where the host is', async () => {
  const id = await waiting();
  const before = reportedSeq;
  const putBack = await world.backUp();
  await say('ann', id, 'approve');
  await confirm(id, 'approved');
  await putBack();
  expect(await show(id)).toMatchObject({ state: 'pending', votes: [] });
  // Somebody else decides otherwise, in what this control knows.
  await say('bob', id, 'deny');
  await host.reported(host.journal(before + 1));
  expect(await show(id)).toMatchObject({ state: 'approved', delivery: 'confirmed' });
  expect(await told()).toEqual([]);
});

test('I12: a journal that goes on under a new enrolment tells again of what was asked anew', async () => {
  const id = await waiting();
  const operationId = `op_${operations}`;
  const anew = `${id}anew`;
  const approval = {
    ...asked(anew),
    state: 'pending',
    policyRevision: 1,
    rule: 'capture-payment',
    requestedAtMs: 2,
    sequence: 0,
    decidedUnder: null,
    decidedAtMs: null,
    reason: null,
    votes: [],
    replaces: id,
  };
  const body = { state: 'awaiting_approval', reason: null, attempt: 0, approval };
  host.record('approval_asked', body, operationId);
  await report();
  expect(await show(id)).toMatchObject({ state: 'superseded' });
  await host.enrol(await world.joinToken(host.name));
  // In two parts: between them control knows only of the first request.
  const entries = host.journal();
  await host.reported(entries.slice(0, -1));
  expect(await show(id)).toMatchObject({ state: 'pending', hostEpoch: 2 });
  expect(await show(anew)).toMatchObject({ state: 'superseded' });
  await host.reported(entries.slice(-1));
  expect(await show(id)).toMatchObject({ state: 'superseded', hostEpoch: 2 });
  expect(await show(anew)).toMatchObject({ state: 'pending', hostEpoch: 2, replaces: id });
});
