import type { LightMyRequestResponse } from 'fastify';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openTestSidecar, type TestSidecar } from '../fakes/sidecar-app.ts';
import { CAPTURE, NOTIFY, OUTAGE, REPORT, asOperator, callerOf } from '../fakes/sidecar-caller.ts';

let sidecar: TestSidecar;
beforeEach(async () => {
  sidecar = await openTestSidecar();
});
afterEach(() => sidecar.close());
const { call, admit } = callerOf(() => sidecar);

describe('execution', () => {
  const begin = (
    id: string,
    attempt: number,
    effect: string,
    headers: Record<string, string> = {},
  ): Promise<LightMyRequestResponse> =>
    call('POST', `/v1/operations/${id}/attempts/${attempt}/effects/${effect}`, { headers });
  const settle = (
    id: string,
    attempt: number,
    effect: string,
    body: unknown,
  ): Promise<LightMyRequestResponse> =>
    call('PUT', `/v1/operations/${id}/attempts/${attempt}/effects/${effect}`, { body });
  const outcome = (id: string, attempt: number, body: unknown): Promise<LightMyRequestResponse> =>
    call('PUT', `/v1/operations/${id}/attempts/${attempt}/outcome`, { body });

  test('attempt, effect with its fencing token, checkpoint, outcome, explanation', async () => {
    sidecar.authority.hold('orders/3', 5, sidecar.clock.now());
    const { operationId } = (await admit(CAPTURE, 'k-1')).json<{ operationId: string }>();
    const attempt = await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} });
    expect(attempt.statusCode).toBe(201);
    expect(attempt.json()).toMatchObject({ attempt: 1, leaseResource: 'orders/3', leaseEpoch: 5 });
    const begun = await begin(operationId, 1, 'charge');
    expect([begun.statusCode, begun.json()]).toMatchObject([
      201,
      {
        replayed: false,
        leaseEpoch: 5,
        idempotencyKey: `${operationId}.charge`,
        effect: { state: 'begun' },
      },
    ]);
    expect(
      (await settle(operationId, 1, 'charge', { outcome: 'succeeded', result: { receipt: 'r-1' } }))
        .statusCode,
    ).toBe(200);
    const again = await begin(operationId, 1, 'charge');
    expect([again.statusCode, again.json()]).toMatchObject([
      200,
      { replayed: true, effect: { result: { receipt: 'r-1' } } },
    ]);
    const beat = await call('POST', `/v1/operations/${operationId}/attempts/1/heartbeat`, {
      body: { checkpoint: { page: 3 } },
    });
    expect(beat.json()).toMatchObject({ attempt: 1 });
    const done = await outcome(operationId, 1, { outcome: 'succeeded', result: 'ok' });
    expect(done.json()).toMatchObject({
      state: 'succeeded',
      checkpoint: { page: 3 },
      outcome: { provenance: 'asserted', result: 'ok' },
    });
    expect((await outcome(operationId, 1, { outcome: 'succeeded', result: 'ok' })).statusCode).toBe(
      200,
    );
    expect((await outcome(operationId, 1, { outcome: 'failed' })).json()).toMatchObject({
      code: 'operation_settled',
    });
    const { summary, events } = (
      await call('GET', `/v1/operations/${operationId}/explanation`)
    ).json<{ summary: string[]; events: { kind: string }[] }>();
    expect(events.map(({ kind }) => kind)).toEqual([
      'admitted',
      'attempt_started',
      'effect_begun',
      'effect_settled',
      'succeeded',
    ]);
    expect(summary.join(' ')).toContain('with fencing token 5');
  });

  test('I6: an epoch below the highest seen is refused at the next step, and at the fence', async () => {
    sidecar.authority.hold('orders/3', 5, sidecar.clock.now());
    const { operationId } = (await admit(CAPTURE, 'k-1')).json<{ operationId: string }>();
    expect(
      (await call('POST', '/v1/fences/orders%2F3:check', { body: { epoch: 8 } })).json(),
    ).toEqual({ resource: 'orders/3', highestEpoch: 8, accepted: true });
    expect(
      (await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} })).json(),
    ).toMatchObject({ code: 'stale_owner', status: 412 });
    expect(sidecar.authority.noted).toEqual([{ resource: 'orders/3', epoch: 8 }]);
    expect(
      (await call('POST', '/v1/fences/orders%2F3:check', { body: { epoch: 7 } })).json(),
    ).toMatchObject({ code: 'stale_owner', leaseEpoch: 8 });
    expect((await call('POST', '/v1/fences/orders%2F3:check', { body: {} })).json()).toMatchObject({
      code: 'precondition_required',
      status: 428,
    });
  });

  test('a lease lost while executing is told at the next effect, with its own reason', async () => {
    sidecar.authority.hold('orders/3', 5, sidecar.clock.now());
    const { operationId } = (await admit(CAPTURE, 'k-1')).json<{ operationId: string }>();
    await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} });
    sidecar.authority.held.clear();
    expect((await begin(operationId, 1, 'charge')).json()).toMatchObject({
      code: 'lease_lost',
      status: 409,
    });
    expect(
      (await outcome(operationId, 1, { outcome: 'failed', reason: 'lease lost' })).json(),
    ).toMatchObject({ state: 'failed' });
  });

  test('an undeclared effect, a result never begun, an attempt never started', async () => {
    const { operationId } = (await admit(NOTIFY, 'k-1')).json<{ operationId: string }>();
    expect((await begin(operationId, 1, 'send')).json()).toMatchObject({
      code: 'attempt_not_found',
    });
    await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} });
    expect((await begin(operationId, 1, 'charge')).json()).toMatchObject({
      code: 'effect_undeclared',
      status: 422,
    });
    expect((await settle(operationId, 1, 'send', { outcome: 'succeeded' })).json()).toMatchObject({
      code: 'effect_not_found',
    });
  });

  test('control lost: paused work says so, and comes back', async () => {
    const { operationId } = (await admit(REPORT, 'k-1')).json<{ operationId: string }>();
    sidecar.authority.outOfReach = 999;
    await sidecar.custodian.round();
    expect((await call('GET', `/v1/operations/${operationId}`)).json()).toMatchObject({
      state: 'accepted',
    });
    sidecar.authority.outOfReach = 1_000;
    await sidecar.custodian.round();
    expect(
      (await call('POST', `/v1/operations/${operationId}/attempts`, { body: {} })).json(),
    ).toMatchObject({ code: 'operation_paused', retryable: true });
    sidecar.authority.outOfReach = null;
    sidecar.authority.staleness = 0;
    const start = () => call('POST', `/v1/operations/${operationId}/attempts`, { body: {} });
    // At a rate: the first of them after a moment.
    let started = await start();
    while (started.json<{ code?: string }>().code === 'operation_paused') {
      await sidecar.custodian.round();
      started = await start();
    }
    expect(started.statusCode).toBe(201);
  });
});

describe('the recovery view', () => {
  test('I8, I12: four lists and a verdict that follow one outage from its start to its end', async () => {
    const view = async (): Promise<unknown> =>
      (await call('GET', '/v1/recovery', { headers: asOperator })).json();
    expect(await view()).toMatchObject({ verdict: 'no_outage', outage: null });
    const before = (await admit(NOTIFY, 'before')).json<{ operationId: string }>();
    const paused = (await admit(REPORT, 'paused')).json<{ operationId: string }>();
    sidecar.authority.outage = OUTAGE;
    await sidecar.journal.recordOutage('outage_opened', OUTAGE);
    sidecar.authority.outOfReach = 60_000;
    await sidecar.custodian.round();
    const during = (await admit(NOTIFY, 'during')).json<{ operationId: string }>();
    await admit(
      { principal: 'agent:billing', action: 'payments.refund', attributes: { amount: 5 } },
      'fresh',
    );
    await call('POST', `/v1/operations/${during.operationId}/attempts`, { body: {} });
    await call('PUT', `/v1/operations/${during.operationId}/attempts/1/outcome`, {
      body: { outcome: 'unknown', reason: 'target did not answer' },
    });
    expect(await view()).toMatchObject({
      verdict: 'open',
      tally: {
        acceptedBefore: 2,
        admittedDuring: 1,
        refusedDuring: 1,
        refusedByReason: { control_unreachable: 1 },
        stoppedDuring: 1,
        needsReconciliation: 1,
      },
      stopped: { count: 1, items: [{ operationId: paused.operationId, reason: 'control_lost' }] },
      needsReconciliation: {
        items: [{ operationId: during.operationId, reason: 'target did not answer' }],
      },
    });
    const closed = { ...OUTAGE, toMs: 50_000 };
    await sidecar.journal.recordOutage('outage_closed', closed);
    sidecar.authority.outage = null;
    sidecar.authority.outOfReach = null;
    expect(await view()).toMatchObject({
      verdict: 'needs_reconciliation',
      outage: { toMs: 50_000 },
    });
    await call('POST', `/v1/operations/${during.operationId}/resolve`, {
      body: { outcome: 'failed', provenance: 'verified', reason: 'the target has no entry' },
      headers: asOperator,
    });
    await call('POST', `/v1/operations/${before.operationId}/cancel`, { body: {} });
    await call('POST', `/v1/operations/${paused.operationId}/cancel`, { body: {} });
    expect(await view()).toMatchObject({ verdict: 'settling' });
    await sidecar.journal.acknowledge(sidecar.journal.head().seq);
    expect(await view()).toMatchObject({ verdict: 'settled', continued: { count: 1 } });
  });
});

test('the API describes itself as OpenAPI 3.1, with every route', async () => {
  const document = (await call('GET', '/openapi.json')).json<{
    openapi: string;
    paths: Record<string, unknown>;
    components: { schemas: Record<string, unknown> };
  }>();
  expect(document.openapi).toBe('3.1.0');
  expect(Object.keys(document.paths)).toEqual(
    expect.arrayContaining([
      '/v1/operations',
      '/v1/operations/{id}/attempts',
      '/v1/fences/{resource}:check',
      '/v1/recovery',
    ]),
  );
  expect(Object.keys(document.components.schemas)).toEqual(
    expect.arrayContaining(['Operation', 'Problem', 'Recovery']),
  );
});
