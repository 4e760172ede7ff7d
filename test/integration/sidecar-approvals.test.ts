/**
 * What waits for an approval on a host, and what ends the wait: the API over a real journal, with
 * words of control as the inbox would hand them over.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApprovalOutcome, ApprovalStatement } from '../../shared/wire/approval.ts';
import type { Operation } from '../../shared/wire/operation.ts';
import type { PolicyDocument, PolicyRule } from '../../shared/wire/policy-document.ts';
import type { Explanation } from '../../shared/wire/sidecar-api.ts';
import { activePolicy } from '../fakes/fake-authority.ts';
import { FakeClock } from '../fakes/fake-clock.ts';
import { openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { callerOf } from '../fakes/sidecar-caller.ts';
import { wordOf } from '../fakes/stored-approval.ts';

const TTL_MS = 300_000;
const approval = { required: 1, from: 'role:security', ttl: '5m' };
const WIPE = { principal: 'agent:billing', action: 'work.wipe', attributes: { table: 'a' } };

function policy(over: Partial<PolicyRule> = {}, permit = 'true'): PolicyDocument {
  const rule = (name: string, terms: Partial<PolicyRule>): PolicyRule => ({
    name,
    actions: [`work.${name}`],
    permit: [{ expression: permit }],
    effects: { remove: {} },
    ...terms,
  });
  return {
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    principals: { 'agent:billing': { roles: ['agent'] } },
    rules: [
      rule('wipe', { approval, ...over }),
      rule('fresh', { approval, freshness: 'fresh' }),
      rule('strict', { approval: { ...approval, onControlLoss: 'fail' } }),
    ],
  };
}

let directory: string;
let clock: FakeClock;
let sidecar: TestSidecar;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'approvals-'));
  clock = new FakeClock({ bootMs: 10 ** 12 });
  await open();
});
beforeEach(() => {
  Object.assign(sidecar.authority, { outage: null, outOfReach: null, revocation: null });
  sidecar.authority.active = activePolicy(policy());
});
afterAll(async () => {
  await sidecar.close();
  rmSync(directory, { recursive: true });
});
const { call, admit } = callerOf(() => sidecar);

async function open(): Promise<void> {
  sidecar = await openTestSidecar({ clock, directory });
}

async function see(operationId: string): Promise<Operation> {
  await sidecar.custodian.round();
  return (await call('GET', `/v1/operations/${operationId}`)).json<Operation>();
}

let keys = 0;

async function waiting(action = 'work.wipe'): Promise<Operation> {
  keys += 1;
  const answer = await admit({ ...WIPE, action }, `k-${keys}`);
  expect(answer.statusCode).toBe(202);
  return answer.json<Operation>();
}

function say(
  { operationId, fingerprint, approval: held }: Operation,
  outcome: ApprovalOutcome,
  over: Partial<ApprovalStatement> = {},
) {
  const word = wordOf(outcome, {
    operationId,
    payloadDigest: fingerprint,
    requestId: held?.requestId ?? '',
    policyRevision: held?.policyRevision ?? 0,
    rule: held?.rule ?? '',
    ...over,
  });
  return sidecar.approvals.receive(word, `signed ${outcome}`);
}

const startAttempt = (id: string) => call('POST', `/v1/operations/${id}/attempts`, { body: {} });

test('I1, I2: it is recorded as waiting and answered 202, and a replay gets the same record', async () => {
  const first = await waiting();
  expect(first).toMatchObject({
    state: 'awaiting_approval',
    approval: { state: 'pending', required: 1, role: 'security', ttlMs: TTL_MS, sequence: 0 },
  });
  expect(first.approval?.expiresAtMs).toBe(first.admittedAtMs + TTL_MS);
  const again = await admit(WIPE, first.idempotencyKey);
  expect([again.statusCode, again.headers['idempotency-replayed']]).toEqual([202, 'true']);
  expect(again.json()).toEqual(first);
  const started = await startAttempt(first.operationId);
  expect(started.json()).toMatchObject({ status: 409, code: 'operation_awaiting_approval' });
  await sidecar.close();
  await open();
  expect(await see(first.operationId)).toEqual(first);
});

test('I3: approved, it is accepted, once, and says by whom, why and under which revision', async () => {
  const operation = await waiting();
  expect(await say(operation, 'approved')).toBe('applied');
  expect(await say(operation, 'approved')).toBe('replayed');
  const accepted = await see(operation.operationId);
  expect(accepted).toMatchObject({
    state: 'accepted',
    approval: { state: 'approved', sequence: 1, decidedUnder: 1, votes: [{ by: 'operator:ann' }] },
  });
  expect((await startAttempt(operation.operationId)).statusCode).toBe(201);
  const explained = (
    await call('GET', `/v1/operations/${operation.operationId}/explanation`)
  ).json<Explanation>();
  expect(explained.summary.join('\n')).toMatch(
    /an approval from role:security within 5m[^]*approved by operator:ann \("looked at it"\)/,
  );
  expect(explained.events.map(({ kind }) => kind)).toContain('approved');
});

test('denied, it ends with that as its reason, and stays denied', async () => {
  const operation = await waiting();
  expect(await say(operation, 'denied')).toBe('applied');
  expect(await say(operation, 'approved', { sequence: 2 })).toBe('too_late');
  expect(await see(operation.operationId)).toMatchObject({
    state: 'cancelled',
    reason: 'approval_denied',
    approval: { state: 'denied' },
  });
});

test('I8: nobody decides: the wait ends when its time is over, whatever the wall clock says', async () => {
  const operation = await waiting();
  clock.stepWall(10 * TTL_MS);
  expect(await see(operation.operationId)).toMatchObject({ state: 'awaiting_approval' });
  await clock.advance(TTL_MS - 1);
  expect(await see(operation.operationId)).toMatchObject({ state: 'awaiting_approval' });
  await clock.advance(1);
  // What comes at that very moment comes too late, whoever is looked at first.
  expect(await say(operation, 'approved')).toBe('applied');
  expect(await see(operation.operationId)).toMatchObject({
    state: 'expired',
    reason: 'approval_expired',
    approval: { state: 'expired', votes: [] },
  });
});

test('who waits for it is answered when the approval comes, or when their time is over', async () => {
  const operation = await waiting();
  const path = `/v1/operations/${operation.operationId}`;
  const answer = call('GET', `${path}?wait=50s`);
  await say(operation, 'approved');
  expect((await answer).json()).toMatchObject({ state: 'accepted' });
  expect((await call('GET', `${path}?wait=50s`)).json()).toMatchObject({ state: 'accepted' });
  const end = call('GET', `${path}?wait=50s&until=ended`);
  await call('POST', `${path}/cancel`, { body: {} });
  expect((await end).json()).toMatchObject({ state: 'cancelled' });
  const long = await call('GET', `${path}?wait=2m`);
  expect(long.json()).toMatchObject({ code: 'invalid_request' });
  const other = await waiting();
  const short = call('GET', `/v1/operations/${other.operationId}?wait=50s`);
  await clock.whenWaiting();
  await clock.advance(50_000);
  expect((await short).json()).toMatchObject({ state: 'awaiting_approval' });
});

describe('a word that is not about this', () => {
  const wrong: [string, Partial<ApprovalStatement>][] = [
    ['request_unknown', { requestId: 'apr_other' }],
    ['operation_unknown', { operationId: 'op_other' }],
    ['digest_mismatch', { payloadDigest: 'e'.repeat(64) }],
    ['rule_mismatch', { rule: 'another' }],
    ['rule_mismatch', { policyRevision: 7 }],
    ['not_enough_approvers', { votes: [] }],
  ];
  test.each(wrong)('%s', async (outcome, over) => {
    const operation = await waiting();
    expect(await say(operation, 'approved', over)).toBe(outcome);
    expect(await see(operation.operationId)).toEqual(operation);
  });

  test('two votes of one person are one', async () => {
    sidecar.authority.active = activePolicy(policy({ approval: { ...approval, required: 2 } }));
    const operation = await waiting();
    const [vote] = wordOf('approved').votes;
    if (vote === undefined) throw new Error('no vote');
    expect(await say(operation, 'approved', { votes: [vote, vote] })).toBe('not_enough_approvers');
    const other = { ...vote, by: 'operator:bob' };
    expect(await say(operation, 'approved', { votes: [vote, other] })).toBe('applied');
  });
});

describe('a revision that came since', () => {
  test('another one that asks for the same: it is used', async () => {
    const operation = await waiting();
    sidecar.authority.active = activePolicy(policy(), 2);
    expect(await say(operation, 'approved')).toBe('applied');
    expect(await see(operation.operationId)).toMatchObject({
      state: 'accepted',
      policyRevision: 1,
      approval: { decidedUnder: 2 },
    });
  });

  test('one that refuses it: it ends, and says so', async () => {
    const operation = await waiting();
    sidecar.authority.active = activePolicy(policy({}, 'false'), 2);
    expect(await say(operation, 'approved')).toBe('applied');
    expect(await see(operation.operationId)).toMatchObject({
      state: 'cancelled',
      reason: 'approval_overruled',
      approval: { state: 'overruled', decidedUnder: 2 },
    });
  });

  test('one that is tighter: it is asked for anew, and the old approval is good for nothing', async () => {
    const operation = await waiting();
    sidecar.authority.active = activePolicy(policy({ approval: { ...approval, required: 2 } }), 2);
    expect(await say(operation, 'approved')).toBe('applied');
    const asked = await see(operation.operationId);
    expect(asked).toMatchObject({
      state: 'awaiting_approval',
      reason: 'policy_tightened',
      approval: {
        state: 'pending',
        required: 2,
        policyRevision: 2,
        replaces: operation.approval?.requestId,
      },
    });
    expect(await say(operation, 'approved')).toBe('request_unknown');
    const votes = ['operator:ann', 'operator:bob'].map((by) => ({
      by,
      verdict: 'approve' as const,
      reason: 'yes',
      atMs: 1,
    }));
    expect(await say(asked, 'approved', { votes })).toBe('applied');
    expect(await see(operation.operationId)).toMatchObject({ state: 'accepted' });
  });

  test('I4: a fresh rule is decided by control again; without its answer nothing is used up', async () => {
    const decided = activePolicy(policy());
    const { explainDecision } = await import('../../shared/core/decision-trace.ts');
    sidecar.authority.freshAnswer = (input) =>
      Promise.resolve({
        ok: true,
        decision: explainDecision(decided.compiled, input).decision,
        policyRevision: 1,
        stalenessMs: 3,
      });
    const operation = await waiting('work.fresh');
    const { freshAnswer } = sidecar.authority;
    sidecar.authority.freshAnswer = () =>
      Promise.resolve({ ok: false, reason: 'control_unreachable', detail: 'no answer' });
    expect(await say(operation, 'approved')).toBe('not_now');
    expect(await see(operation.operationId)).toEqual(operation);
    sidecar.authority.freshAnswer = freshAnswer;
    expect(await say(operation, 'approved')).toBe('applied');
    expect(await see(operation.operationId)).toMatchObject({ state: 'accepted' });
  });
});

describe('withdrawal', () => {
  test('by the app, before anybody decided', async () => {
    const operation = await waiting();
    await call('POST', `/v1/operations/${operation.operationId}/cancel`, { body: {} });
    expect(await say(operation, 'approved')).toBe('too_late');
    expect(await see(operation.operationId)).toMatchObject({
      state: 'cancelled',
      reason: 'cancelled_by_demo',
      approval: { state: 'ended' },
    });
  });

  test('by an approver: up to the first attempt, and no later', async () => {
    const [early, late] = [await waiting(), await waiting()];
    for (const each of [early, late]) await say(each, 'approved');
    await startAttempt(late.operationId);
    expect(await say(early, 'withdrawn')).toBe('applied');
    expect(await see(early.operationId)).toMatchObject({
      state: 'cancelled',
      reason: 'approval_withdrawn',
    });
    expect(await say(late, 'withdrawn')).toBe('applied');
    expect(await say(late, 'withdrawn')).toBe('replayed');
    expect(await see(late.operationId)).toMatchObject({
      state: 'executing',
      approval: { state: 'approved', sequence: 2 },
    });
  });
});

describe('control is away', () => {
  const lose = (): void => {
    sidecar.authority.outOfReach = 60_000;
  };

  test('what may wait goes on waiting and says so; it is never denied by that', async () => {
    const operation = await waiting();
    lose();
    expect(await see(operation.operationId)).toMatchObject({
      state: 'awaiting_approval',
      reason: 'control_lost',
    });
    sidecar.authority.outOfReach = null;
    expect(await see(operation.operationId)).toMatchObject({ reason: 'control_regained' });
    expect(await say(operation, 'approved')).toBe('applied');
    expect(await see(operation.operationId)).toMatchObject({ state: 'accepted', reason: null });
  });

  test('what may not wait ends, and nothing more of it is taken', async () => {
    const operation = await waiting('work.strict');
    lose();
    expect(await see(operation.operationId)).toMatchObject({
      state: 'cancelled',
      reason: 'control_lost',
      approval: { state: 'ended' },
    });
    sidecar.authority.outage = {
      outageId: 'out_1',
      fromMs: 1,
      toMs: null,
      cause: 'refused',
      detail: 'nobody there',
      policyRevision: 1,
      stalenessMs: 1,
    };
    const refused = await admit({ ...WIPE, action: 'work.strict' }, 'strict');
    expect(refused.json()).toMatchObject({ status: 503, code: 'control_unreachable' });
    expect((await admit(WIPE, 'wait')).json()).toMatchObject({ outageId: 'out_1' });
  });

  test('authority that is withdrawn and given back does not make it accepted', async () => {
    sidecar.authority.active = activePolicy(policy({ onRevoke: 'pause' }));
    const operation = await waiting();
    sidecar.authority.revocation = { reason: 'revoked' };
    expect(await see(operation.operationId)).toMatchObject({ state: 'awaiting_approval' });
    sidecar.authority.revocation = null;
    expect(await see(operation.operationId)).toMatchObject({ state: 'awaiting_approval' });
  });
});
