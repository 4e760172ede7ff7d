/**
 * Authority over work that is accepted already: control asked again before an effect, authority
 * withdrawn and given back, and a control that knows no approvals.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { decide } from '../../shared/core/policy.ts';
import type { Explanation } from '../../shared/wire/sidecar-api.ts';
import type { Operation, Refusal } from '../../shared/wire/operation.ts';
import type {
  DecisionInput,
  PolicyDocument,
  PolicyRule,
} from '../../shared/wire/policy-document.ts';
import type { Problem } from '../../shared/wire/problem.ts';
import type { FreshAnswer } from '../../dataplane/authority/authority-view.ts';
import { activePolicy } from '../fakes/fake-authority.ts';
import { FakeClock } from '../fakes/fake-clock.ts';
import { openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { asOperator, callerOf } from '../fakes/sidecar-caller.ts';

const rule = (name: string, more: Partial<PolicyRule>): PolicyRule => ({
  name,
  actions: [`work.${name}`],
  permit: [{ expression: 'true' }],
  effects: { send: {} },
  ...more,
});
const DECIDED_AT_MS = 1_790_000_000_000;
const DOCUMENT: PolicyDocument = {
  apiVersion: 'holdfast/v1',
  kind: 'Policy',
  principals: { 'agent:billing': { roles: ['agent'] } },
  rules: [
    rule('wire', { recheck: 'commit', effects: { transfer: {}, log: { idempotent: true } } }),
    rule('abort', {}),
    rule('pause', { onRevoke: 'pause' }),
    rule('finish', { onRevoke: 'finish' }),
    rule('wipe', { approval: { required: 2, from: 'role:security' } }),
    rule('drop', { freshness: 'fresh', approval: { required: 1, from: 'role:security' } }),
  ],
};
const WORKER = { principal: 'agent:billing' };

let clock: FakeClock;
let sidecar: TestSidecar;
let asked: DecisionInput[];
const { call, admit } = callerOf(() => sidecar);

beforeEach(async () => {
  // Ahead of the real clock that the writer's thread compares with.
  clock = new FakeClock({ bootMs: 10 ** 12 });
  sidecar = await openTestSidecar({ clock });
  sidecar.authority.active = activePolicy(DOCUMENT, 3);
  asked = [];
});
afterEach(() => sidecar.close());

/** Control answers under this document. */
function controlDecidesBy(document: PolicyDocument, policyRevision = 4): void {
  const { compiled } = activePolicy(document);
  controlAnswers((input) => {
    const decision = decide(compiled, input);
    return { ok: true, decision, policyRevision, stalenessMs: 5, decidedAtMs: DECIDED_AT_MS };
  });
}

function controlAnswers(answer: (input: DecisionInput) => FreshAnswer): void {
  sidecar.authority.freshAnswer = (input) => {
    asked.push(input);
    return Promise.resolve(answer(input));
  };
}

async function accepted(action: string): Promise<string> {
  const request = { ...WORKER, action: `work.${action}`, attributes: { amount: 5 } };
  const answer = await admit(request, `k-${action}`);
  expect(answer.statusCode).toBe(201);
  return answer.json<Operation>().operationId;
}

async function executing(action: string): Promise<string> {
  const id = await accepted(action);
  await call('POST', `/v1/operations/${id}/attempts`, { body: {} });
  return id;
}

const begin = (id: string, effect: string) =>
  call('POST', `/v1/operations/${id}/attempts/1/effects/${effect}`);
const see = async (id: string): Promise<Operation> =>
  (await call('GET', `/v1/operations/${id}`)).json<Operation>();
const explain = async (id: string): Promise<Explanation> =>
  (await call('GET', `/v1/operations/${id}/explanation`)).json<Explanation>();

describe('I4: recheck: commit', () => {
  test('is written into the operation, and control is asked with the question of its admission', async () => {
    controlDecidesBy(DOCUMENT);
    const id = await executing('wire');
    expect(await see(id)).toMatchObject({ recheck: 'commit', onRevoke: 'abort', basis: 'cached' });
    expect(asked).toEqual([]);
    expect((await begin(id, 'transfer')).statusCode).toBe(201);
    expect(asked).toMatchObject([{ ...WORKER, action: 'work.wire', attributes: { amount: 5 } }]);
    const { events } = await explain(id);
    expect(events.at(-1)).toMatchObject({
      kind: 'effect_begun',
      body: { recheck: { policyRevision: 4, stalenessMs: 5, decidedAtMs: DECIDED_AT_MS } },
    });
  });

  test('I4: refused by control: 403, nothing begun, and the operation says so', async () => {
    controlDecidesBy({
      ...DOCUMENT,
      rules: [rule('wire', { permit: [{ expression: 'false', message: 'frozen' }] })],
    });
    const id = await executing('wire');
    const answer = await begin(id, 'transfer');
    expect(answer.json<Problem>()).toMatchObject({
      status: 403,
      code: 'recheck_refused',
      retryable: false,
      policyRevision: 4,
      operationId: id,
    });
    expect(answer.json<Problem>().detail).toContain('frozen');
    expect(await see(id)).toMatchObject({
      state: 'executing',
      reason: 'recheck_refused',
      effects: [],
    });
    const { events, summary } = await explain(id);
    expect(events.at(-1)).toMatchObject({
      kind: 'effect_refused',
      body: { refusal: { effect: 'transfer', code: 'recheck_refused', policyRevision: 4 } },
    });
    expect(summary.join('\n')).toContain(
      'effect transfer did not begin: control was asked again, and denied: frozen',
    );
  });

  test('I4: no answer: 503, nothing begun, recorded; and it begins once control permits it', async () => {
    controlAnswers(() => ({ ok: false, reason: 'control_unreachable', detail: 'timeout' }));
    const id = await executing('wire');
    expect((await begin(id, 'transfer')).json()).toMatchObject({
      status: 503,
      code: 'control_unreachable',
      retryable: true,
    });
    expect(await see(id)).toMatchObject({ reason: 'control_unreachable', effects: [] });
    controlDecidesBy(DOCUMENT);
    expect((await begin(id, 'transfer')).statusCode).toBe(201);
    expect(await see(id)).toMatchObject({
      reason: null,
      effects: [{ name: 'transfer', state: 'begun' }],
    });
  });

  test('control is not asked about what is replayed or refused here anyway', async () => {
    controlDecidesBy(DOCUMENT);
    const id = await executing('wire');
    await begin(id, 'transfer');
    const settled = { body: { outcome: 'succeeded', result: { id: 7 } } };
    await call('PUT', `/v1/operations/${id}/attempts/1/effects/transfer`, settled);
    asked.length = 0;
    controlAnswers(() => ({ ok: false, reason: 'control_unreachable', detail: 'timeout' }));
    expect((await begin(id, 'transfer')).json()).toMatchObject({
      replayed: true,
      effect: { result: { id: 7 } },
    });
    expect((await begin(id, 'other')).json()).toMatchObject({ code: 'effect_undeclared' });
    expect(asked).toEqual([]);
  });

  test('each beginning is asked about, also one that is idempotent', async () => {
    controlDecidesBy(DOCUMENT);
    const id = await executing('wire');
    await begin(id, 'log');
    await begin(id, 'log');
    expect(asked).toHaveLength(2);
  });

  test('I4: a permit that waited too long for the journal begins nothing', async () => {
    await sidecar.close();
    // Far behind the writer's clock: whatever is permitted now is long past there.
    clock = new FakeClock({ bootMs: 1 });
    sidecar = await openTestSidecar({ clock });
    sidecar.authority.active = activePolicy({
      ...DOCUMENT,
      rules: [
        rule('wire', { recheck: 'commit', maxStaleness: '9000d', effects: { transfer: {} } }),
      ],
    });
    controlDecidesBy(DOCUMENT);
    const id = await executing('wire');
    const answer = await begin(id, 'transfer');
    expect(answer.json<Problem>().detail).toContain('got too old');
    expect(await see(id)).toMatchObject({ effects: [] });
  });

  test('an operation whose rule does not say so never calls control', async () => {
    const id = await executing('abort');
    expect((await begin(id, 'send')).statusCode).toBe(201);
    expect(asked).toEqual([]);
  });
});

describe('I8: authority withdrawn: accepted work goes as its onRevoke said at admission', () => {
  const revoke = async (): Promise<void> => {
    sidecar.authority.revocation = { reason: 'host_epoch_stale: enrolled again' };
    await sidecar.custodian.round();
  };

  test('abort ends it, pause holds it, finish lets it go on', async () => {
    const ids = [await accepted('abort'), await executing('pause'), await executing('finish')];
    await revoke();
    const [aborted, paused, finishing] = await Promise.all(ids.map(see));
    expect(aborted).toMatchObject({ state: 'cancelled', reason: 'authority_revoked' });
    expect(paused).toMatchObject({ state: 'paused', reason: 'authority_revoked' });
    expect(finishing).toMatchObject({ state: 'executing', reason: null });
    expect((await begin(ids[2] ?? '', 'send')).statusCode).toBe(201);
    expect((await begin(ids[1] ?? '', 'send')).json()).toMatchObject({ code: 'operation_paused' });
  });

  test('an effect under way makes it unknown, never cancelled', async () => {
    const id = await executing('abort');
    await begin(id, 'send');
    await revoke();
    expect(await see(id)).toMatchObject({
      state: 'unknown',
      reason: 'aborted_on_revocation',
      effects: [{ state: 'unknown' }],
    });
  });

  test('a later revision does not change what was said at admission', async () => {
    const id = await accepted('pause');
    sidecar.authority.active = activePolicy({ ...DOCUMENT, defaults: { onRevoke: 'abort' } }, 4);
    await revoke();
    expect(await see(id)).toMatchObject({ state: 'paused' });
  });

  test('what is paused stays so until control gives authority again, and then goes on', async () => {
    const id = await accepted('pause');
    await revoke();
    // Control can be reached: that alone releases nothing.
    await sidecar.custodian.round();
    expect(await see(id)).toMatchObject({ state: 'paused' });
    sidecar.authority.revocation = null;
    sidecar.authority.staleness = 0;
    await sidecar.custodian.round();
    expect(await see(id)).toMatchObject({ state: 'accepted', reason: 'authority_regained' });
    const { summary } = await explain(id);
    expect(summary.join('\n')).toMatch(
      /paused, because control withdrew .*\n.*control gave authority again/,
    );
  });

  test('what was paused by an outage and would be aborted is, once control withdraws authority', async () => {
    const loses = rule('loses', { onControlLoss: 'pause' });
    sidecar.authority.active = activePolicy({ ...DOCUMENT, rules: [loses] }, 3);
    const id = await accepted('loses');
    sidecar.authority.outOfReach = 5_000;
    await sidecar.custodian.round();
    expect(await see(id)).toMatchObject({ state: 'paused', reason: 'control_lost' });
    sidecar.authority.outOfReach = null;
    await revoke();
    expect(await see(id)).toMatchObject({ state: 'cancelled', reason: 'authority_revoked' });
  });

  test('many that are to finish do not hold up those that are to stop', async () => {
    const finishing = Array.from({ length: 210 }, (_, index) =>
      admit({ ...WORKER, action: 'work.finish' }, `f-${index}`),
    );
    await Promise.all(finishing);
    const id = await accepted('abort');
    await revoke();
    await sidecar.custodian.round();
    expect(await see(id)).toMatchObject({ state: 'cancelled' });
  });
});

describe('approval', () => {
  test('a control that knows no approvals: a rule that asks for one refuses, recorded: bounded and fresh', async () => {
    sidecar.authority.approvalsServed = false;
    controlDecidesBy(DOCUMENT);
    const wipe = await admit({ ...WORKER, action: 'work.wipe' }, 'k-1');
    expect(wipe.json<Problem>()).toMatchObject({
      status: 403,
      code: 'approval_required',
      retryable: false,
      rule: 'wipe',
      basis: 'cached',
    });
    expect(wipe.json<Problem>().detail).toContain('2 approvals from role:security');
    const drop = await admit({ ...WORKER, action: 'work.drop' }, 'k-2');
    expect(drop.json<Problem>()).toMatchObject({ code: 'approval_required', basis: 'fresh' });
    const { items } = (await call('GET', '/v1/refusals', { headers: asOperator })).json<{
      items: Refusal[];
    }>();
    expect(items.map(({ reason }) => reason)).toEqual(['approval_required', 'approval_required']);
  });
});

describe('one revision for the whole life of a request', () => {
  test('I3: a swap while control is asked: the refusal names the revision whose rule asked for it', async () => {
    sidecar.authority.freshAnswer = () => {
      sidecar.authority.active = activePolicy({ ...DOCUMENT, rules: [rule('other', {})] }, 9);
      return Promise.resolve({ ok: false, reason: 'control_unreachable', detail: 'timeout' });
    };
    const answer = await admit({ ...WORKER, action: 'work.drop' }, 'k-1');
    expect(answer.json()).toMatchObject({
      code: 'control_unreachable',
      rule: 'drop',
      policyRevision: 3,
    });
  });

  test('I3: a swap between the plan and the commit: revision, rule and terms are all of the first', async () => {
    const old = rule('job', {
      onRevoke: 'pause',
      deadline: '1m',
      effects: { send: { idempotent: true } },
    });
    const next = rule('job-next', {
      actions: old.actions,
      onRevoke: 'finish',
      deadline: '2m',
      effects: {},
    });
    sidecar.authority.active = activePolicy({ ...DOCUMENT, rules: [old] }, 3);
    const { journal } = sidecar;
    const commit = journal.admit.bind(journal);
    journal.admit = (entry) => {
      sidecar.authority.active = activePolicy({ ...DOCUMENT, rules: [next] }, 4);
      return commit(entry);
    };
    const first = (await admit({ ...WORKER, action: 'work.job' }, 'k-1')).json<Operation>();
    expect(first).toMatchObject({
      policyRevision: 3,
      rule: 'job',
      onRevoke: 'pause',
      effectTerms: { send: { idempotent: true } },
      deadlineAtMs: clock.now().wallMs + 60_000,
    });
    const second = (await admit({ ...WORKER, action: 'work.job' }, 'k-2')).json<Operation>();
    expect(second).toMatchObject({
      policyRevision: 4,
      rule: 'job-next',
      onRevoke: 'finish',
      effectTerms: {},
      deadlineAtMs: clock.now().wallMs + 120_000,
    });
  });
});
