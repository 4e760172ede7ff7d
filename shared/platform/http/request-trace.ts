/**
 * The trace of a request: taken from its headers, around its handler, and told in its log lines.
 * Probes and scrapes have no spans: they would be most of them.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import {
  parseTraceContext,
  spanIdOf,
  traceIdOf,
  type TraceContext,
} from '../../core/trace-context.ts';
import { openSpanIfHeard, runInTrace, type OpenSpan } from '../tracing.ts';
import type { App } from './app.ts';
import { OPEN_PATHS } from './operations-routes.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Of the request; its span where somebody listens. */
    traceContext: TraceContext | null;
    openSpan: OpenSpan | null;
  }
}

export function installRequestTrace(app: App): void {
  app.decorateRequest('traceContext', null);
  app.decorateRequest('openSpan', null);
  app.addHook('onRequest', (request, _reply, done) => {
    takeUp(request);
    done();
  });
  // Where the body has been read: what the handler awaits goes on from here.
  app.addHook('preValidation', (request, _reply, done) => {
    if (request.openSpan !== null) request.openSpan.run(done);
    else if (request.traceContext !== null) runInTrace(request.traceContext, done);
    else done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    if (request.openSpan !== null) close(request.openSpan, reply);
    done();
  });
}

function takeUp(request: FastifyRequest): void {
  const { traceparent, tracestate } = request.headers;
  const given = traceparent === undefined ? null : parseTraceContext(traceparent, tracestate);
  const span = OPEN_PATHS.has(request.url)
    ? null
    : openSpanIfHeard(() => spanName(request), {
        kind: 'server',
        facts: factsOf(request),
        ...(given === null ? {} : { parent: given }),
      });
  const own = span?.context ?? given;
  if (own === null) return;
  request.openSpan = span;
  request.traceContext = own;
  request.log = request.log.child({ trace_id: traceIdOf(own), span_id: spanIdOf(own) });
}

function spanName({ method, routeOptions }: FastifyRequest): string {
  return routeOptions.url === undefined ? method : `${method} ${routeOptions.url}`;
}

function factsOf(request: FastifyRequest) {
  return {
    'http.request.method': request.method,
    'http.route': request.routeOptions.url,
    'url.path': request.url.split('?')[0],
  };
}

function close(span: OpenSpan, { statusCode }: FastifyReply): void {
  span.tell({
    'http.response.status_code': statusCode,
    ...(statusCode >= 500 ? { 'error.type': String(statusCode) } : {}),
  });
  span.end();
}
