/** Turns reports away while enough are taken in (`core/report-queue.ts`), before their bodies are read. */
import type { FastifyRequest, HookHandlerDoneFunction } from 'fastify';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { EMPTY_QUEUE, enter, leave, type ReportQueue } from '../core/report-queue.ts';
import type { ControlMetrics } from '../metrics.ts';

type Ports = { readonly clock: Clock; readonly metrics: Metrics<ControlMetrics> };

/** Hooks of the route that takes them. */
export function reportGate({ clock, metrics }: Ports) {
  let queue: ReportQueue = EMPTY_QUEUE;
  const entered = new WeakMap<FastifyRequest, number>();
  return {
    /** After the access checks: who is not known takes nobody's place. */
    onRequest(request: FastifyRequest, _reply: unknown, done: HookHandlerDoneFunction): void {
      const { bootMs } = clock.now();
      const entry = enter(queue, bootMs);
      ({ queue } = entry);
      if (entry.kind === 'enters') {
        entered.set(request, bootMs);
        done();
        return;
      }
      metrics.add('holdfast_control_reports_total', { outcome: 'overloaded' });
      const { retryAfterMs } = entry;
      const detail = `as many reports are taken in as may be at once: come back in ${retryAfterMs} ms`;
      done(new HoldfastError('overloaded', detail, { retry_after_ms: retryAfterMs }));
    },
    /** Also where the connection ended without an answer. */
    onResponse(request: FastifyRequest, _reply: unknown, done: HookHandlerDoneFunction): void {
      const since = entered.get(request);
      if (since !== undefined) queue = leave(queue, clock.now().bootMs - since);
      entered.delete(request);
      done();
    },
  };
}
