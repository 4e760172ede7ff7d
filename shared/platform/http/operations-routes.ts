/**
 * The routes that every daemon has for its operators: probes, metrics, the API's own description.
 */
import Type from 'typebox';
import { ProbeSchema, type Probe } from '../../wire/health.ts';
import type { App } from './app.ts';

export type Check = { readonly name: string; readonly ok: boolean; readonly detail: string };

export type OperationsRoutes = {
  /** Is the process able to answer at all? Never depends on control or on a disk. */
  readonly live: () => readonly Check[];
  /** Can it serve what it is there for, now? */
  readonly ready: () => readonly Check[];
  /** Has it come up once? */
  readonly started: () => readonly Check[];
  readonly expose: (accept?: string) => Promise<{ contentType: string; body: string }>;
};

/**
 * Paths that need neither credentials nor the request header: probes and scrapers cannot send them.
 */
export const OPEN_PATHS: ReadonlySet<string> = new Set([
  '/livez',
  '/readyz',
  '/startupz',
  '/metrics',
  '/openapi.json',
]);

const refusal = { content: { 'application/problem+json': { schema: Type.Ref('Problem') } } };
const REFUSALS = { '4xx': refusal, '5xx': refusal } as const;

export function installOperationsRoutes(app: App, routes: OperationsRoutes): void {
  app.addSchema(ProbeSchema);
  const verbose = Type.Object(
    { verbose: Type.Optional(Type.String({ maxLength: 10 })) },
    { additionalProperties: false },
  );
  const probe = (path: string, summary: string, checks: () => readonly Check[]): void => {
    app.get(
      path,
      {
        schema: {
          summary,
          querystring: verbose,
          response: { 200: Type.Ref('Probe'), 503: Type.Ref('Probe'), ...REFUSALS },
        },
      },
      async (request, reply) => {
        const results = checks();
        const ok = results.every((check) => check.ok);
        const body: Probe = { status: ok ? 'ok' : 'failed' };
        if (request.query.verbose !== undefined)
          body.checks = results.map((check) => ({ ...check }));
        return reply.code(ok ? 200 : 503).send(body);
      },
    );
  };
  probe('/livez', 'The process answers', routes.live);
  probe('/readyz', 'It can serve now', routes.ready);
  probe('/startupz', 'It has come up', routes.started);
  app.get(
    '/metrics',
    {
      schema: {
        summary: 'Prometheus metrics; as OpenMetrics with exemplars where Accept asks for it',
        response: {
          200: {
            content: {
              'text/plain': { schema: Type.String() },
              'application/openmetrics-text': { schema: Type.String() },
            },
          },
          ...REFUSALS,
        },
      },
    },
    async (request, reply) => {
      const { contentType, body } = await routes.expose(request.headers.accept);
      return reply.header('content-type', contentType).send(body);
    },
  );
  app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) =>
    reply.send(app.swagger()),
  );
}
