/** Unknown outcomes settled by what the app says, by a new attempt, by another action, by a person. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openStandIn, type Answer, type Asked, type StandIn } from '../fakes/http-stand-in.ts';
import { activePolicy } from '../fakes/fake-authority.ts';
import { FakeClock } from '../fakes/fake-clock.ts';
import { openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { asOperator, callerOf } from '../fakes/sidecar-caller.ts';
import type { WorkItem } from '../../shared/wire/reconciliation-api.ts';
import type { Operation } from '../../shared/wire/operation.ts';
import type { PolicyDocument, PolicyRule } from '../../shared/wire/policy-document.ts';

const INTERVAL_MS = 10_000;
/** More than any delay of the first tries. */
const LONG_MS = 60_000;

let app: StandIn;
let answer: () => Answer;
let clock: FakeClock;
let sidecar: TestSidecar;
// One for all: each test looks at its own operations alone.
beforeAll(async () => {
  app = await openStandIn(() => answer());
  // Ahead of the real clock that the writer's thread compares with when it admits.
  clock = new FakeClock({ bootMs: 10 ** 12 });
  sidecar = await openTestSidecar({ clock });
  sidecar.authority.active = activePolicy(policy());
});
beforeEach(() => {
  answer = () => ({ status: 200, body: { outcome: 'unknown' } });
});
afterAll(async () => {
  await sidecar.close();
  await app.close();
});
const { call, admit } = callerOf(() => sidecar);

function policy(rules: readonly PolicyRule[] = []): PolicyDocument {
  const rule = (name: string, change: Partial<PolicyRule>): PolicyRule => ({
    name,
    actions: [`work.${name}`],
    permit: [{ expression: 'true' }],
    effects: { charge: {} },
    ...change,
  });
  const tries = { interval: '10s', attempts: 2 };
  const url = `${app.url}/verify`;
  return {
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    principals: { 'agent:billing': { roles: ['agent'] } },
    rules: [
      ...rules,
      rule('human', {}),
      rule('post', {
        onUnknown: { strategy: 'probe', ...tries, probe: { url, timeout: '200ms' } },
      }),
      rule('get', {
        onUnknown: { strategy: 'probe', ...tries, probe: { url: `${url}?kind=a`, method: 'GET' } },
      }),
      rule('nobody', {
        onUnknown: { strategy: 'probe', ...tries, probe: { url: 'http://127.0.0.1:1/' } },
      }),
      rule('elsewhere', {
        onUnknown: { strategy: 'probe', probe: { url: 'http://169.254.169.254/latest' } },
      }),
      rule('again', {
        onUnknown: { strategy: 'retry', ...tries },
        effects: { send: { idempotent: true } },
        limits: { concurrency: 1 },
      }),
      rule('undo', {
        onUnknown: { strategy: 'compensate', ...tries, compensate: { action: 'work.refund' } },
      }),
      rule('refund', { permit: [{ expression: 'attributes.amount <= 100' }] }),
    ],
  };
}

let keys = 0;

/** Admitted, an effect begun, and its worker does not know what came of it. */
async function unknown(rule: string, attributes: object = { amount: 5 }): Promise<string> {
  keys += 1;
  const request = { principal: 'agent:billing', action: `work.${rule}`, attributes };
  const { operationId } = (await admit(request, `k-${keys}`)).json<Operation>();
  await attemptEndingUnknown(operationId, rule === 'again' ? 'send' : 'charge');
  return operationId;
}

async function attemptEndingUnknown(operationId: string, effect: string): Promise<void> {
  const started = await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} });
  const attempt = `/v1/operations/${operationId}/attempts/${started.json<{ attempt: number }>().attempt}`;
  await call('POST', `${attempt}/effects/${effect}`);
  const body = { outcome: 'unknown' };
  expect((await call('PUT', `${attempt}/outcome`, { body })).statusCode).toBe(200);
}

const askedAbout = (operationId: string): Asked[] =>
  app.asked.filter(({ path, body }) => `${path} ${body}`.includes(operationId));

/** One round, with all that it began. */
async function round(afterMs = LONG_MS): Promise<void> {
  await clock.advance(afterMs);
  await sidecar.reconciler.round();
  await sidecar.reconciler.settled();
}

async function see(operationId: string): Promise<WorkItem> {
  return (await call('GET', `/v1/reconciliations/${operationId}`)).json<WorkItem>();
}

describe('I8: a probe', () => {
  test('asks the app, no sooner than its rule says, with all it needs to know which effect is meant', async () => {
    const id = await unknown('post');
    await round(INTERVAL_MS - 1);
    expect(askedAbout(id)).toEqual([]);
    answer = () => ({
      status: 200,
      body: { outcome: 'succeeded', result: { receipt: 7 }, evidence: 'ledger line 7' },
    });
    await round(1);
    expect(askedAbout(id).map(({ method, path }) => [method, path])).toEqual([['POST', '/verify']]);
    expect(JSON.parse(askedAbout(id)[0]?.body ?? '')).toMatchObject({
      operationId: id,
      action: 'work.post',
      try: 1,
      effects: [{ effect: 'charge', idempotencyKey: `${id}.charge`, fencingToken: null }],
    });
    expect(await see(id)).toMatchObject({
      state: 'succeeded',
      tries: 1,
      outcome: {
        provenance: 'verified',
        by: 'probe',
        result: { receipt: 7 },
        evidence: 'ledger line 7',
      },
    });
    expect(sidecar.tries).toContain('probe succeeded');
  });

  test('by GET has the question in its query, beside what the URL had already', async () => {
    const id = await unknown('get');
    answer = () => ({ status: 200, body: { outcome: 'failed' } });
    await round();
    const [asked] = askedAbout(id);
    const { pathname, searchParams } = new URL(asked?.path ?? '', app.url);
    expect([asked?.method, pathname]).toEqual(['GET', '/verify']);
    expect(Object.fromEntries(searchParams)).toMatchObject({
      kind: 'a',
      operationId: id,
      effect: 'charge',
      idempotencyKey: `${id}.charge`,
    });
    expect(await see(id)).toMatchObject({ state: 'failed', reason: 'probe_failed' });
  });

  const huge = 'x'.repeat(100 * 1024);
  const deep = `{"outcome":"succeeded","result":${'['.repeat(100)}${']'.repeat(100)}}`;
  test.each<[string, Answer, string]>([
    ['no JSON', { status: 200, body: 'fine' }, 'is not JSON'],
    ['no object', { status: 200, body: [] }, 'no object'],
    ['another outcome', { status: 200, body: { outcome: 'done' } }, 'no outcome of'],
    ['an outcome in another place', { status: 200, body: { ok: true } }, 'no outcome of'],
    [
      'a number that is none',
      { status: 200, body: '{"outcome":"failed","result":1e999}' },
      'finite',
    ],
    ['what is nested too deep', { status: 200, body: deep }, 'nested deeper'],
    [
      'evidence without end',
      { status: 200, body: { outcome: 'failed', evidence: huge.slice(0, 9_000) } },
      'evidence is over',
    ],
    [
      'a huge body',
      { status: 200, body: { outcome: 'succeeded', result: huge } },
      'over 65536 bytes',
    ],
    ['an error', { status: 500, body: { outcome: 'succeeded' } }, 'status 500'],
    ['another success', { status: 202, body: { outcome: 'succeeded' } }, 'status 202'],
    ['a broken connection', 'reset', 'could not be asked'],
    ['silence', 'silence', 'no answer in 200 ms'],
  ])('answered with %s settles nothing, and says so', async (_, given, detail) => {
    const id = await unknown('post');
    answer = () => given;
    await round();
    const item = await see(id);
    expect(item).toMatchObject({ state: 'unknown', tries: 1, lastTry: { verdict: 'unknown' } });
    expect(item.lastTry?.detail).toContain(detail);
  });

  test('follows no redirect', async () => {
    const id = await unknown('post');
    answer = () => ({ status: 307, headers: { location: `${app.url}/other` } });
    await round();
    expect(askedAbout(id)).toHaveLength(1);
    expect((await see(id)).lastTry).toMatchObject({ detail: 'it answered with status 307' });
  });

  test("to where nobody listens is tried as often as its rule says, then it is a person's", async () => {
    const id = await unknown('nobody');
    await round();
    await round();
    expect(await see(id)).toMatchObject({
      state: 'unknown',
      tries: 2,
      strategy: 'human',
      leftToPerson: 'attempts_used',
      nextTryAtMs: null,
    });
    const explained = await call('GET', `/v1/operations/${id}/explanation`);
    expect(explained.json<{ summary: string[] }>().summary.join(' ')).toContain(
      'tries nothing more (attempts_used, after 2 tries)',
    );
    await round();
    expect((await see(id)).tries).toBe(2);
  });

  test('to an address that the operator of the sidecar does not allow is never made', async () => {
    const id = await unknown('elsewhere');
    const asked = await call('POST', `/v1/reconciliations/${id}/probe`, {
      body: { by: 'ann' },
      headers: asOperator,
    });
    expect(asked.json()).toMatchObject({ code: 'probe_not_allowed', status: 403 });
    await round();
    expect(await see(id)).toMatchObject({ tries: 0, leftToPerson: 'probe_not_allowed' });
  });

  test('that hangs holds up none of the others', async () => {
    const hanging = await unknown('post');
    answer = () => 'silence';
    await clock.advance(LONG_MS);
    await sidecar.reconciler.round();
    const other = await unknown('get');
    answer = () => ({ status: 200, body: { outcome: 'failed' } });
    await clock.advance(INTERVAL_MS);
    await sidecar.reconciler.round();
    await sidecar.reconciler.settled();
    expect([(await see(hanging)).state, (await see(other)).state]).toEqual(['unknown', 'failed']);
  });
});

describe('I9: what may be run again', () => {
  test('goes back to be executed, by another attempt, as often as its rule says', async () => {
    const id = await unknown('again');
    await round();
    expect(await see(id)).toMatchObject({ state: 'accepted', reason: 'unknown_run_again' });
    // It counts among what is under way again.
    const second = { principal: 'agent:billing', action: 'work.again' };
    expect((await admit(second, 'k-limit')).json()).toMatchObject({ code: 'concurrency_limited' });
    await attemptEndingUnknown(id, 'send');
    await round();
    await attemptEndingUnknown(id, 'send');
    await round();
    expect(await see(id)).toMatchObject({
      state: 'unknown',
      attempt: 3,
      tries: 2,
      leftToPerson: 'attempts_used',
    });
    const admitted = await admit(second, 'k-limit');
    expect(admitted.statusCode).toBe(201);
    const { operationId } = admitted.json<Operation>();
    await call('POST', `/v1/operations/${operationId}/cancel`, { body: {} });
  });

  test('does not once its deadline has passed', async () => {
    const id = await unknown('again');
    await round(700_000);
    expect(await see(id)).toMatchObject({ state: 'unknown', leftToPerson: 'deadline_passed' });
  });
});

describe('a compensation', () => {
  const compensation = async (id: string): Promise<Operation> => {
    const { compensatedBy } = await see(id);
    return (await call('GET', `/v1/operations/${compensatedBy}`)).json<Operation>();
  };

  test('I2: is one operation of its own, linked both ways, and its success ends the first', async () => {
    const id = await unknown('undo');
    await round();
    const undoing = await compensation(id);
    expect(undoing).toMatchObject({
      state: 'accepted',
      action: 'work.refund',
      compensates: id,
      idempotencyKey: `compensate:${id}`,
      attributes: { amount: 5 },
    });
    await round();
    expect(await see(id)).toMatchObject({ state: 'unknown', strategy: 'compensate' });
    const { operationId } = undoing;
    await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} });
    const body = { outcome: 'succeeded' };
    await call('PUT', `/v1/operations/${operationId}/attempts/1/outcome`, { body });
    await round();
    expect(await see(id)).toMatchObject({
      state: 'failed',
      reason: 'compensated',
      outcome: { provenance: 'asserted', by: operationId },
    });
  });

  test('that fails leaves the first to a person, with the reason', async () => {
    const id = await unknown('undo');
    await round();
    const { operationId } = await compensation(id);
    await call('POST', `/v1/operations/${operationId}/cancel`, { body: {} });
    await round();
    expect(await see(id)).toMatchObject({
      state: 'unknown',
      strategy: 'human',
      leftToPerson: 'compensation_cancelled',
    });
  });

  test("I3: is decided by policy as any: what it refuses is refused, recorded, and a person's", async () => {
    const id = await unknown('undo', { amount: 500 });
    await round();
    const item = await see(id);
    expect(item).toMatchObject({ state: 'unknown', strategy: 'human', compensatedBy: null });
    expect(item.leftToPerson).toContain('denied');
    const refusals = await call('GET', '/v1/refusals', { headers: asOperator });
    expect(refusals.json<{ items: unknown[] }>().items[0]).toMatchObject({
      action: 'work.refund',
      reason: 'denied',
      idempotencyKey: `compensate:${id}`,
    });
  });

  test('I2: that was admitted when the process ended is found again, and not made twice', async () => {
    const id = await unknown('undo');
    const submit = sidecar.journal.submit.bind(sidecar.journal);
    sidecar.journal.submit = (command) =>
      command.type === 'apply' && command.event.kind === 'link_compensation'
        ? new Promise(() => undefined)
        : submit(command);
    await clock.advance(LONG_MS);
    await sidecar.anotherReconciler().round();
    await expect
      .poll(async () => sidecar.journal.operationByKey('demo', `compensate:${id}`))
      .not.toBeNull();
    sidecar.journal.submit = submit;
    await round();
    expect(await compensation(id)).toMatchObject({ compensates: id });
    const listed = (await call('GET', '/v1/operations')).json<{ items: Operation[] }>();
    expect(listed.items.filter(({ compensates }) => compensates === id)).toHaveLength(1);
  });
});

describe('the worklist', () => {
  const claim = (id: string, by: string, ttlMs = 60_000) =>
    call('POST', `/v1/reconciliations/${id}/claim`, { body: { by, ttlMs } });
  const resolve = (id: string, body: object, key: string) =>
    call('POST', `/v1/reconciliations/${id}/resolve`, {
      body: {
        outcome: 'failed',
        provenance: 'verified',
        reason: 'not in the ledger',
        evidence: { ticket: 12 },
        ...body,
      },
      headers: { ...asOperator, 'idempotency-key': key },
    });

  test('lists what is unknown by strategy and in pages, for each app its own', async () => {
    const ids = [await unknown('human'), await unknown('post'), await unknown('human')];
    const list = async (query: string) =>
      (await call('GET', `/v1/reconciliations${query}`)).json<{
        items: WorkItem[];
        nextCursor: string | null;
      }>();
    const listed = (await list('')).items.map(({ operationId }) => operationId);
    expect(listed.slice(-3)).toEqual(ids);
    const { items, nextCursor } = await list('?strategy=human&limit=1');
    expect(items).toMatchObject([{ strategy: 'human' }]);
    const rest = await list(`?strategy=human&cursor=${nextCursor}`);
    expect(rest.items.map(({ operationId }) => operationId)).not.toContain(items[0]?.operationId);
    expect(rest.items.slice(-2).map(({ operationId }) => operationId)).toEqual([ids[0], ids[2]]);
    expect((await call('GET', '/v1/reconciliations?cursor=x')).statusCode).toBe(400);
    const open = sidecar.journal.reader.reconciliations.open();
    expect(open.map(({ strategy }) => strategy)).toEqual(['compensate', 'human', 'probe']);
    expect(open.reduce((sum, { count }) => sum + count, 0)).toBe(listed.length);
  });

  test('of two who claim at once one has it, until it is released or has ended', async () => {
    const id = await unknown('post');
    const both = await Promise.all([claim(id, 'ann'), claim(id, 'ben')]);
    expect(both.map(({ statusCode }) => statusCode).toSorted((a, b) => a - b)).toEqual([200, 409]);
    const holder = both[0].statusCode === 200 ? 'ann' : 'ben';
    const other = holder === 'ann' ? 'ben' : 'ann';
    const refused = both.find(({ statusCode }) => statusCode === 409);
    expect(refused?.json()).toMatchObject({ code: 'reconciliation_claimed', retryable: true });
    expect((await claim(id, holder)).statusCode).toBe(200);
    await round(59_000);
    expect(askedAbout(id)).toEqual([]);
    expect((await resolve(id, { by: other }, 'r-1')).json()).toMatchObject({
      code: 'reconciliation_claimed',
    });
    await clock.advance(1_000);
    expect((await see(id)).claim).toBeNull();
    expect((await claim(id, other)).statusCode).toBe(200);
    const release = (by: string, headers = {}, force = {}) =>
      call('POST', `/v1/reconciliations/${id}/release`, { body: { by, ...force }, headers });
    expect((await release(holder)).json()).toMatchObject({ code: 'reconciliation_claimed' });
    expect((await release(holder, {}, { force: true })).json()).toMatchObject({
      code: 'forbidden',
    });
    expect((await release(holder, asOperator, { force: true })).json()).toMatchObject({
      claim: null,
    });
    await round(0);
    expect(askedAbout(id)).toHaveLength(1);
  });

  test('I1, I2: a resolution says who, why and by what; asked for again it is the same', async () => {
    const id = await unknown('human');
    await claim(id, 'ann');
    const settled = await resolve(id, { by: 'ann' }, 'r-1');
    expect(settled.json()).toMatchObject({
      state: 'failed',
      claim: null,
      outcome: {
        provenance: 'verified',
        by: 'ann',
        reason: 'not in the ledger',
        evidence: { ticket: 12 },
      },
    });
    const again = await resolve(id, { by: 'ann' }, 'r-1');
    expect([again.statusCode, again.headers['idempotency-replayed']]).toEqual([200, 'true']);
    expect((await resolve(id, { by: 'ann', outcome: 'succeeded' }, 'r-1')).json()).toMatchObject({
      code: 'idempotency_key_reused',
    });
    expect((await resolve(id, { by: 'ben' }, 'r-2')).json()).toMatchObject({
      code: 'operation_not_unknown',
    });
    const kinds = sidecar.journal.reader.operationEvents(id, 100).map(({ kind }) => kind);
    expect(kinds.slice(-3)).toEqual(['unknown', 'reconciliation_claimed', 'failed']);
  });

  test('only an operator settles or asks; a rule without a probe has none to ask', async () => {
    const id = await unknown('human');
    const probe = (headers: Record<string, string>) =>
      call('POST', `/v1/reconciliations/${id}/probe`, { body: { by: 'ann' }, headers });
    expect((await probe({})).json()).toMatchObject({ code: 'forbidden' });
    expect((await probe(asOperator)).json()).toMatchObject({ code: 'probe_undeclared' });
    const missing = await call('POST', `/v1/reconciliations/${id}/resolve`, {
      body: { outcome: 'failed', provenance: 'assumed', reason: 'x', by: 'ann' },
      headers: asOperator,
    });
    expect(missing.json()).toMatchObject({ code: 'idempotency_key_missing' });
    const large = await resolve(id, { by: 'ann', evidence: 'x'.repeat(9_000) }, 'r-1');
    expect(large.json()).toMatchObject({ code: 'body_too_large' });
  });

  test('a probe that somebody asks for is made at once, also after its rule has given up', async () => {
    const id = await unknown('post');
    await round();
    await round();
    expect(await see(id)).toMatchObject({ leftToPerson: 'attempts_used' });
    answer = () => ({ status: 200, body: { outcome: 'succeeded' } });
    const asked = await call('POST', `/v1/reconciliations/${id}/probe`, {
      body: { by: 'ann' },
      headers: asOperator,
    });
    expect(asked.json()).toMatchObject({
      state: 'succeeded',
      tries: 3,
      outcome: { by: 'ann', provenance: 'verified' },
    });
  });
});
