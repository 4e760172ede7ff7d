/**
 * Trace context through app, sidecar, control and effects, over real HTTP: first without an SDK, as
 * Holdfast ships, then with the one of OpenTelemetry, registered as a user registers it.
 */
import { trace, type Span } from '@opentelemetry/api';
import {
  InMemorySpanExporter,
  SimpleSpanProcessor,
  TracerProvider,
  type ReadableSpan,
} from '@opentelemetry/sdk-trace';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runInTrace } from '../../shared/client/index.ts';
import { startBothDaemons, type BothDaemons } from '../fakes/both-daemons.ts';

const POLICY = {
  apiVersion: 'holdfast/v1',
  kind: 'Policy',
  principals: { 'agent:a': { roles: ['agent'] } },
  rules: [
    {
      name: 'refund',
      actions: ['refund'],
      permit: [{ expression: 'true' }],
      freshness: 'fresh',
      recheck: 'commit',
      effects: { pay: {} },
    },
  ],
};
const REQUEST = { principal: 'agent:a', action: 'refund' };
const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const APP = { traceparent: `00-${TRACE_ID}-b7ad6b7169203331-01`, tracestate: 'vendor=1' };

let both: BothDaemons;

beforeAll(async () => {
  both = await startBothDaemons(POLICY);
  // Ready: the policy is in force, and control can be asked.
  await both.app.admit(REQUEST, { idempotencyKey: 'first', retryForMs: 20_000 });
}, 30_000);
afterAll(async () => {
  trace.disable();
  await both.close();
}, 30_000);

/** A worker that knows the trace from the attempt alone. */
async function work(operationId: string) {
  const attempt = await both.app.startAttempt(operationId);
  await runInTrace(attempt, async () => {
    const effect = { ...attempt, effect: 'pay' };
    await both.app.beginEffect(effect);
    await both.app.settleEffect(effect, { outcome: 'succeeded' });
    await both.app.reportOutcome(attempt, { outcome: 'succeeded' });
  });
  return attempt;
}

async function eventsOf(operationId: string) {
  const { events } = await both.app.explain(operationId);
  return events.map(({ kind, body }) => ({
    kind,
    traceId: body['traceId'],
    trace: body['traceparent'],
  }));
}

async function lastAudit() {
  const response = await fetch(`${both.controlUrl}/v1/join-tokens`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${both.adminToken}`,
      'content-type': 'application/json',
      ...APP,
    },
    body: JSON.stringify({ hostName: 'host-2' }),
  });
  expect(response.status).toBe(201);
  return (await both.control.audit({ limit: 1 })).items[0];
}

describe('without an SDK', () => {
  test('the context that the app sends is recorded, returned to the worker, and sent to control', async () => {
    const { operation } = await runInTrace(APP, () =>
      both.app.admit(REQUEST, { idempotencyKey: 'traced' }),
    );
    expect(operation).toMatchObject(APP);
    const attempt = await work(operation.operationId);
    expect(attempt).toMatchObject(APP);
    expect(await eventsOf(operation.operationId)).toEqual([
      { kind: 'admitted', traceId: undefined, trace: APP.traceparent },
      { kind: 'attempt_started', traceId: TRACE_ID, trace: undefined },
      { kind: 'effect_begun', traceId: TRACE_ID, trace: undefined },
      { kind: 'effect_settled', traceId: TRACE_ID, trace: undefined },
      { kind: 'succeeded', traceId: TRACE_ID, trace: undefined },
    ]);
    // The question about the admission, and the one about the effect.
    const asked = both.logged.filter(
      ({ daemon, route, trace_id: id }) =>
        daemon === 'control' && route === '/v1/decisions' && id === TRACE_ID,
    );
    expect(asked).toHaveLength(2);
    expect(asked[0]).toMatchObject({ span_id: 'b7ad6b7169203331', event: 'request' });
  });

  test('an operation without a context has none, and costs no byte for it', async () => {
    const { operation } = await both.app.admit(REQUEST, { idempotencyKey: 'untraced' });
    expect(operation).not.toHaveProperty('traceparent');
    const attempt = await work(operation.operationId);
    expect(attempt).not.toHaveProperty('traceparent');
    for (const event of await eventsOf(operation.operationId))
      expect(event).toMatchObject({ traceId: undefined, trace: undefined });
  });

  test('a refusal and an entry of the audit trail carry the id of the trace', async () => {
    const refused = { principal: 'agent:a', action: 'none' };
    await runInTrace(APP, () => both.app.admit(refused, { idempotencyKey: 'no' })).catch(() => {});
    const [refusal] = await both.app.refusals({ limit: 1 });
    expect(refusal).toMatchObject({ reason: 'no_rule', traceId: TRACE_ID });
    expect((await lastAudit())?.detail).toMatchObject({ traceId: TRACE_ID });
  });
});

describe('with an SDK', () => {
  const exporter = new InMemorySpanExporter();
  let app: Span;

  const named = (name: string, traceId?: string): ReadableSpan[] =>
    exporter
      .getFinishedSpans()
      .filter(
        (span) =>
          span.name === name &&
          (traceId ?? span.spanContext().traceId) === span.spanContext().traceId,
      );
  const parentOf = (span: ReadableSpan | undefined): ReadableSpan | undefined =>
    exporter
      .getFinishedSpans()
      .find(
        (one) =>
          one.spanContext().spanId === span?.parentSpanContext?.spanId &&
          one.spanContext().traceId === span.spanContext().traceId,
      );
  function lineage(span: ReadableSpan | undefined): string[] {
    return span === undefined ? [] : [span.name, ...lineage(parentOf(span))];
  }

  beforeAll(() => {
    trace.setGlobalTracerProvider(
      new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }),
    );
    app = trace.getTracer('app').startSpan('app');
  });

  const appTrace = () => {
    const { traceId, spanId } = app.spanContext();
    return { traceparent: `00-${traceId}-${spanId}-01`, tracestate: 'vendor=1,other=2' };
  };

  test('spans are parent and child across each hop, and the operation keeps the nearest', async () => {
    const { operation } = await runInTrace(appTrace(), () =>
      both.app.admit(REQUEST, { idempotencyKey: 'spans' }),
    );
    app.end();
    const { traceId } = app.spanContext();
    const asked = ['POST', 'holdfast.fresh_decision', 'holdfast.admission', 'POST /v1/operations'];
    const [decision] = named('holdfast.decision', traceId);
    expect(lineage(decision)).toEqual([
      'holdfast.decision',
      'POST /v1/decisions',
      ...asked,
      'POST',
      'app',
    ]);
    const [admission] = named('holdfast.admission', traceId);
    expect(admission?.attributes).toEqual({
      'holdfast.action': 'refund',
      'holdfast.decision': 'admitted',
      'holdfast.decision.basis': 'fresh',
      'holdfast.operation.id': operation.operationId,
      'holdfast.policy.revision': 1,
      'holdfast.rule': 'refund',
    });
    expect(operation.traceparent).toBe(`00-${traceId}-${admission?.spanContext().spanId}-01`);
    expect(named('POST /v1/operations', traceId)[0]?.attributes).toEqual({
      'http.request.method': 'POST',
      'http.route': '/v1/operations',
      'url.path': '/v1/operations',
      'http.response.status_code': 201,
    });

    expect(operation.tracestate).toBe('vendor=1,other=2');
    const attempt = await work(operation.operationId);
    const [attempted] = named('holdfast.attempt', traceId);
    expect(lineage(attempted)).toEqual([
      'holdfast.attempt',
      'holdfast.admission',
      ...asked.slice(3),
      'POST',
      'app',
    ]);
    // The worker asked from a trace of its own, which is linked.
    expect(attempted?.links).toHaveLength(1);
    expect(attempt.traceparent).toBe(`00-${traceId}-${attempted?.spanContext().spanId}-01`);
    const effects = named('holdfast.effect', traceId);
    expect(effects.map(({ attributes }) => attributes['holdfast.effect.step'])).toEqual([
      'begin',
      'settle',
    ]);
    // Over its own call, and the request that it was.
    for (const effect of effects) expect(lineage(effect)[3]).toBe('holdfast.attempt');
    const rechecked = named('holdfast.decision', traceId)[1];
    expect(lineage(rechecked)).toContain('holdfast.effect');
  });

  test('syncs and reports are traces of their own, through control', async () => {
    for (const [request, root] of [
      ['POST /v1/sync', 'holdfast.sync'],
      ['POST /v1/reports', 'holdfast.report'],
    ] as const) {
      // One that was under way when the SDK was registered has no root.
      await expect
        .poll(() => named(request).map((span) => lineage(span).at(-1)), { timeout: 15_000 })
        .toContain(root);
    }
  });

  test('a refusal is an answer: its span has a type and is no error of the daemon', async () => {
    const refused = { principal: 'agent:a', action: 'none' };
    await both.app.admit(refused, { idempotencyKey: 'refused' }).catch(() => {});
    const span = named('holdfast.admission').at(-1);
    expect(span?.attributes['error.type']).toBe('no_rule');
    expect(span?.status.code).toBe(0);
  });
});
