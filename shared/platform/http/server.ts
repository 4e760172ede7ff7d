/**
 * A Fastify instance with everything that is off by default and must not be: time-outs, bounds,
 * problem details for every error, request ids, trace context in the log, strict content types.
 */
import Fastify, { LogController, type FastifyBaseLogger } from 'fastify';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import swagger from '@fastify/swagger';
import { HoldfastError, ProblemSchema } from '../../wire/problem.ts';
import type { Logger } from '../logger.ts';
import { randomText, type Random } from '../random.ts';
import { jsonTextProblem } from './json-text.ts';
import type { App } from './app.ts';
import { answerClientError, installMalformedRequests } from './malformed-requests.ts';
import { installProblems, sendFrameworkError } from './problems.ts';
import { requestLogger } from './request-logger.ts';
import { sharedSerializers } from './shared-serializers.ts';
import { installRequestTrace } from './request-trace.ts';
import { convertTextValues } from './text-values.ts';

export type ServerOptions = {
  readonly logger: Logger;
  readonly random: Random;
  readonly title: string;
  readonly description: string;
  readonly version: string;
  readonly bodyBytesMax: number;
  /** How long a handler may take; longer than the longest long-poll. */
  readonly handlerTimeoutMs: number;
  /** Default 4096; a daemon that holds a long-poll for each host needs more. */
  readonly connectionsMax?: number;
};

export const BODY_TIMEOUT_MS = 30_000;
/** Well within what a process gets to stop in. */
const CLOSE_BOUND_MS = 5_000;
const CONNECTIONS_MAX = 4_096;

export function buildServer(options: ServerOptions): App {
  const baseLogger: FastifyBaseLogger = options.logger;
  const app = Fastify({
    loggerInstance: baseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    requestIdHeader: false,
    childLoggerFactory: requestLogger,
    genReqId: requestIds(options.random),
    bodyLimit: options.bodyBytesMax,
    // A connection may wait for a long-poll; a request, its head and body, may not dawdle. One that
    // is never answered ends with its connection. Fastify's `handlerTimeout` is not used: it stops
    // where a body has been read, and makes a timer, an abort signal and an error for each request.
    connectionTimeout: options.handlerTimeoutMs + BODY_TIMEOUT_MS,
    requestTimeout: BODY_TIMEOUT_MS,
    frameworkErrors: sendFrameworkError,
    clientErrorHandler: answerClientError,
    // It is asked for below, with an answer of ours.
    http: { requireHostHeader: false },
    keepAliveTimeout: 72_000,
    return503OnClosing: true,
    forceCloseConnections: 'idle',
    trustProxy: false,
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
    routerOptions: { maxParamLength: 300, caseSensitive: true, ignoreTrailingSlash: false },
    schemaController: { compilersFactory: { buildSerializer: sharedSerializers() } },
    // Ajv's coercion would turn a null of a body into 0 or ''. Text is converted where everything
    // is text.
    ajv: {
      customOptions: {
        removeAdditional: false,
        useDefaults: true,
        coerceTypes: false,
        allErrors: true,
      },
    },
  }).withTypeProvider<TypeBoxTypeProvider>();
  closeInTime(app);
  app.server.maxConnections = options.connectionsMax ?? CONNECTIONS_MAX;
  app.server.headersTimeout = BODY_TIMEOUT_MS;
  app.removeContentTypeParser(['text/plain', 'application/json']);
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    const text = body.toString();
    // Clients name the type of a body that they do not send; a route that needs one says so itself.
    const problem = jsonTextProblem(text);
    if (text === '') done(null, undefined);
    else if (problem !== null) done(new HoldfastError('invalid_json', problem));
    else void parseJson(request, text, done);
  });
  installProblems(app);
  app.addSchema(ProblemSchema);
  void app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: options.title,
        description: options.description,
        version: options.version,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
    },
    refResolver: {
      buildLocalReference: (json, _base, _fragment, index) =>
        typeof json.$id === 'string' ? json.$id : `def-${index}`,
    },
  });
  installRequestHooks(app, options.logger);
  return app;
}

const REQUEST_ID_LENGTH = 12;
const REQUEST_IDS_AT_ONCE = 256;

/** Ids of 72 random bits, cut from a text that is made for many at once. */
function requestIds(random: Random): () => string {
  let text = '';
  let used = 0;
  return () => {
    if (used === text.length) {
      text = randomText(random, (REQUEST_IDS_AT_ONCE * REQUEST_ID_LENGTH * 3) / 4);
      used = 0;
    }
    used += REQUEST_ID_LENGTH;
    return text.slice(used - REQUEST_ID_LENGTH, used);
  };
}

/** With callbacks, not promises: they run for each request, and wait for nothing. */
function installRequestHooks(app: App, logger: Logger): void {
  installMalformedRequests(app);
  installRequestTrace(app);
  app.addHook('preValidation', (request, _reply, done) => {
    const { query, params } = request;
    // `routeOptions` is an object made anew each time it is read.
    if (hasMember(query) || hasMember(params)) {
      const { schema } = request.routeOptions;
      convertTextValues(schema?.querystring, query);
      convertTextValues(schema?.params, params);
    }
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    const level = reply.statusCode >= 500 ? 'warn' : 'debug';
    if (logger.isLevelEnabled(level))
      request.log[level](
        {
          method: request.method,
          route: request.routeOptions.url ?? '',
          status: reply.statusCode,
          ms: Math.round(reply.elapsedTime),
        },
        'request',
      );
    done();
  });
}

function hasMember(values: unknown): boolean {
  for (const _ in values as object | undefined) return true;
  return false;
}

/** Answers in hand are finished, on connections that end with them; what dawdles is cut. */
function closeInTime(app: App): void {
  let isClosing = false;
  app.addHook('preClose', async () => {
    isClosing = true;
    setTimeout(() => app.server.closeAllConnections(), CLOSE_BOUND_MS).unref();
  });
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (isClosing) void reply.header('connection', 'close');
    done(null, payload);
  });
}

/** `host:port`, `[::1]:port` -> what `listen` takes. */
export function parseListen(text: string): { host: string; port: number } | null {
  const match = /^(\[[0-9a-fA-F:]+\]|[^:[\]]+):([0-9]{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port > 65_535) return null;
  return { host: (match[1] ?? '').replaceAll(/[[\]]/g, ''), port };
}
