import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DAY_MS, MINUTE_MS, SECOND_MS } from '../../shared/core/time.ts';
import { SystemClock } from '../../shared/platform/clock.ts';
import type { PolicyRule } from '../../shared/wire/policy-document.ts';
import type { LimitState, Limits } from '../../shared/wire/limits.ts';
import type { Refusal } from '../../shared/wire/operation.ts';
import type { Problem } from '../../shared/wire/problem.ts';
import { TEST_POLICY, activePolicy } from '../fakes/fake-authority.ts';
import { FakeClock } from '../fakes/fake-clock.ts';
import { openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { asOperator, callerOf } from '../fakes/sidecar-caller.ts';

const WORK = { principal: 'agent:billing', action: 'work.do' };

let directory: string;
let clock: FakeClock;
let sidecar: TestSidecar;
let limits: PolicyRule['limits'];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'limits-'));
  // The journal looks at the boot clock of the machine once more: this one is never behind it.
  clock = new FakeClock({ bootMs: new SystemClock().now().bootMs + MINUTE_MS });
});
afterEach(async () => {
  await sidecar.close();
  rmSync(directory, { recursive: true });
});
const { call, admit } = callerOf(() => sidecar);

async function open(rule: PolicyRule['limits']): Promise<void> {
  limits = rule;
  sidecar = await openTestSidecar({ clock, directory });
  sidecar.authority.active = activePolicy({
    ...TEST_POLICY,
    rules: [
      {
        name: 'work',
        actions: ['work.*'],
        permit: [{ expression: 'true' }],
        ...(rule === undefined ? {} : { limits: rule }),
      },
      {
        name: 'owned',
        actions: ['owned.do'],
        permit: [{ expression: 'true' }],
        ownership: { lease: 'orders/7', mode: 'strict' },
        limits: { quota: '1/d' },
      },
    ],
  });
}

async function restart(): Promise<void> {
  await sidecar.close();
  await open(limits);
}

const statuses = async (keys: readonly string[], body: unknown = WORK): Promise<number[]> =>
  (await Promise.all(keys.map((key) => admit(body, key)))).map(({ statusCode }) => statusCode);
const keys = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
const countOf = (all: readonly number[], status: number): number =>
  all.filter((one) => one === status).length;

async function refusals(): Promise<Refusal[]> {
  const answer = await call('GET', '/v1/refusals', { headers: asOperator });
  return answer.json<{ items: Refusal[] }>().items;
}
async function shownLimits(): Promise<LimitState[]> {
  const { items } = (await call('GET', '/v1/limits', { headers: asOperator })).json<Limits>();
  return items.filter(({ rule }) => rule === 'work');
}
async function end(key: string): Promise<void> {
  const { operationId } = (await admit(WORK, key)).json<{ operationId: string }>();
  const path = `/v1/operations/${operationId}`;
  const { statusCode } = await call('POST', `${path}/cancel`, { body: {} });
  expect(statusCode).toBe(200);
}

describe('concurrency', () => {
  test('I3: fifty requests at once against ten admit exactly ten', async () => {
    await open({ concurrency: 10 });
    const all = await statuses(keys('k', 50));
    expect([countOf(all, 201), countOf(all, 429)]).toEqual([10, 40]);
    const refused = await admit(WORK, 'one-more');
    expect(refused.json()).toMatchObject({
      code: 'concurrency_limited',
      retryable: true,
      rule: 'work',
      policyRevision: 1,
      basis: 'cached',
      limit: { kind: 'concurrency', limit: 10, used: 10, remaining: 0, scope: 'host' },
    });
    expect(refused.headers['retry-after']).toBe('1');
    expect(refused.headers['ratelimit']).toBe('"work-concurrency";r=0');
    expect(refused.headers['ratelimit-policy']).toBe(
      '"work-concurrency";q=10;qu="concurrent-requests"',
    );
  });

  test('I2: a replay spends nothing, and is answered where nothing is left', async () => {
    await open({ concurrency: 2 });
    expect(await statuses(['a', 'a', 'a', 'a', 'b'])).toEqual([201, 200, 200, 200, 201]);
    expect(await statuses(['a', 'b', 'c'])).toEqual([200, 200, 429]);
    expect(await shownLimits()).toMatchObject([{ kind: 'concurrency', used: 2 }]);
  });

  test('I2: replays that hold room for a moment take it from nobody', async () => {
    await open({ concurrency: 2 });
    await admit(WORK, 'a');
    const all = await Promise.all(['a', 'a', 'a', 'b'].map((k) => admit(WORK, k)));
    expect(all.map(({ statusCode }) => statusCode)).toEqual([200, 200, 200, 201]);
  });

  test('every end frees it: cancelled, succeeded, expired, and unknown', async () => {
    await open({ concurrency: 1 });
    await end('cancelled');
    expect(await statuses(['expires', 'no'])).toEqual([201, 429]);
    clock.jump(11 * MINUTE_MS);
    await sidecar.custodian.round();
    const succeeds = (await admit(WORK, 'succeeds')).json<{ operationId: string }>();
    const path = `/v1/operations/${succeeds.operationId}/attempts`;
    await call('POST', path, { body: {} });
    expect(await statuses(['no'])).toEqual([429]);
    await call('PUT', `${path}/1/outcome`, { body: { outcome: 'succeeded' } });
    const unknown = (await admit(WORK, 'unknown')).json<{ operationId: string }>();
    const attempts = `/v1/operations/${unknown.operationId}/attempts`;
    await call('POST', attempts, { body: {} });
    await call('PUT', `${attempts}/1/outcome`, { body: { outcome: 'unknown', reason: 'no word' } });
    expect(await statuses(['after'])).toEqual([201]);
    // Told late, it ends no second time.
    await call('PUT', `${attempts}/1/outcome`, { body: { outcome: 'succeeded' } });
    expect(await shownLimits()).toMatchObject([{ kind: 'concurrency', used: 1 }]);
  });

  test('I1: a restart counts what has not ended, also what was admitted without a limit', async () => {
    await open(undefined);
    expect(await statuses(keys('before', 3))).toEqual([201, 201, 201]);
    limits = { concurrency: 3, per: 'principal' };
    await restart();
    expect(await statuses(['no'])).toEqual([429]);
    await end('before-1');
    expect(await statuses(['yes', 'no'])).toEqual([201, 429]);
  });

  test('per resource: each has its own', async () => {
    await open({ concurrency: 1, per: 'resource' });
    const on = (id: string) => ({ ...WORK, resource: { id } });
    expect(await statuses(['a', 'b'], on('x'))).toEqual([201, 429]);
    expect(await statuses(['c'], on('y'))).toEqual([201]);
    expect(await shownLimits()).toMatchObject([{ key: 'x' }, { key: 'y' }]);
  });
});

describe('quota', () => {
  test('I1: counted durably: a restart within the window admits no more', async () => {
    await open({ quota: '3/d' });
    expect(countOf(await statuses(keys('k', 5)), 201)).toBe(3);
    await restart();
    const refused = await admit(WORK, 'more');
    expect(refused.json<Problem>()).toMatchObject({
      code: 'quota_exhausted',
      retry_after_ms: DAY_MS,
      limit: { kind: 'quota', limit: 3, used: 3, resetsMs: DAY_MS },
    });
    expect(refused.headers['retry-after']).toBe('86400');
    expect(refused.headers['ratelimit-policy']).toBe('"work-quota";q=3;w=86400');
    clock.jump(DAY_MS);
    expect(await statuses(['next-day'])).toEqual([201]);
  });

  test('I3: a wall clock that is set neither reopens a quota nor brings one early', async () => {
    await open({ quota: '1/d' });
    expect(await statuses(['a', 'b'])).toEqual([201, 429]);
    clock.stepWall(-3 * DAY_MS);
    expect(await statuses(['b'])).toEqual([429]);
    clock.stepWall(9 * DAY_MS);
    expect(await statuses(['b'])).toEqual([429]);
    await restart();
    expect(await statuses(['b'])).toEqual([429]);
  });

  test('I2: what the journal does not record is given back', async () => {
    await open({ quota: '2/d' });
    expect(await statuses(['a', 'a', 'a'])).toEqual([201, 200, 200]);
    const reused = await admit({ ...WORK, attributes: { x: 1 } }, 'a');
    expect(reused.json()).toMatchObject({ code: 'idempotency_key_reused' });
    expect(await statuses(['b', 'c'])).toEqual([201, 429]);
    await restart();
    expect(await shownLimits()).toMatchObject([{ used: 2, remaining: 0 }]);
  });

  test('limits come before owner and epoch, and a missing lease spends nothing', async () => {
    await open(undefined);
    const owned = { principal: 'agent:billing', action: 'owned.do' };
    expect((await admit(owned, 'a')).json()).toMatchObject({ code: 'lease_absent' });
    sidecar.authority.hold('orders/7', 5, clock.now(), 20 * MINUTE_MS);
    expect(await statuses(['a'], owned)).toEqual([201]);
    sidecar.authority.held.clear();
    expect((await admit(owned, 'b')).json()).toMatchObject({ code: 'quota_exhausted' });
  });

  test('the batch route obeys limits item by item', async () => {
    await open({ quota: '2/d' });
    const items = keys('k', 4).map((idempotencyKey) => ({ ...WORK, idempotencyKey }));
    const answer = await call('POST', '/v1/operations:batch', { body: items });
    const verdicts = answer.json<{ items: { status: number; problem?: Problem }[] }>().items;
    expect(verdicts.map(({ status }) => status)).toEqual([201, 201, 429, 429]);
    expect(verdicts[3]?.problem).toMatchObject({ code: 'quota_exhausted', rule: 'work' });
  });
});

describe('rate', () => {
  test('a restart begins with an empty bucket, so a loop of restarts gains nothing', async () => {
    await open({ rate: '10/s' });
    clock.jump(SECOND_MS);
    expect(countOf(await statuses(keys('a', 12)), 201)).toBe(10);
    for (let round = 0; round < 3; round += 1) {
      await restart();
      expect((await admit(WORK, 'b')).json()).toMatchObject({
        code: 'rate_limited',
        retry_after_ms: 100,
      });
    }
    clock.jump(100);
    expect(await statuses(['c', 'd'])).toEqual([201, 429]);
  });

  test('what the journal does not record is given back', async () => {
    await open({ rate: '1/m', burst: 1 });
    clock.jump(MINUTE_MS);
    expect(await statuses(['a', 'a'])).toEqual([201, 200]);
    clock.jump(MINUTE_MS);
    expect(await statuses(['a', 'b', 'c'])).toEqual([200, 201, 429]);
  });
});

test('I3: a flood of refusals is recorded as one for each second, with its count', async () => {
  await open({ concurrency: 1 });
  await admit(WORK, 'a');
  const before = sidecar.journal.head().seq;
  const answers = await Promise.all(keys('flood', 200).map((key) => admit(WORK, key)));
  expect(
    countOf(
      answers.map(({ statusCode }) => statusCode),
      429,
    ),
  ).toBe(200);
  expect(sidecar.journal.head().seq).toBe(before + 1);
  await clock.advance(SECOND_MS);
  await sidecar.journal.operationByKey('demo', 'after what was recorded');
  const recorded = await refusals();
  expect(recorded).toMatchObject([
    { reason: 'concurrency_limited', count: 199, limit: { used: 1, remaining: 0 } },
    { reason: 'concurrency_limited', limit: { kind: 'concurrency' } },
  ]);
  // Whichever it is in, the answer names the record.
  const named = new Set(answers.map((answer) => answer.json<Problem>().refusalId));
  expect(named).toEqual(new Set(recorded.map(({ refusalId }) => refusalId)));
  // After a quiet second the next is recorded at once.
  await clock.advance(SECOND_MS);
  await admit(WORK, 'later');
  expect(await refusals()).toHaveLength(3);
});

test('the view is for operators', async () => {
  await open({ quota: '5/h', rate: '2/s', concurrency: 4 });
  expect((await call('GET', '/v1/limits')).statusCode).toBe(403);
  const items = await shownLimits();
  expect(items.map(({ kind }) => kind)).toEqual(['rate', 'quota', 'concurrency']);
});
