/** What was refused, how long this host could go on without control, and how it is. */
import Type from 'typebox';
import type { App } from '../../shared/platform/http/app.ts';
import { requireOperator } from './guards.ts';
import { problems } from './problem-responses.ts';
import type { Parts } from './route-parts.ts';

const limit = Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 100 }));

export function installRecoveryRoutes(app: App, { journal, budget, health, status }: Parts): void {
  app.get(
    '/v1/refusals',
    {
      schema: {
        summary: 'Recorded refusals, newest first',
        querystring: Type.Object({ limit }, { additionalProperties: false }),
        response: {
          200: Type.Object({ items: Type.Array(Type.Ref('Refusal')) }),
          ...problems(400, 401, 403),
        },
      },
    },
    async (request) => {
      requireOperator(request);
      return { items: journal.reader.refusals(request.query.limit ?? 100) };
    },
  );

  app.get(
    '/v1/outage-budget',
    {
      schema: {
        summary:
          'How long each action keeps being admitted if control is lost now, and what ends it',
        response: { 200: Type.Ref('OutageBudget'), ...problems(401) },
      },
    },
    async () => budget(),
  );
  app.get(
    '/v1/health',
    {
      schema: {
        summary: 'Control plane and data plane, two verdicts',
        response: { 200: Type.Ref('Health'), ...problems(401) },
      },
    },
    async () => health(),
  );
  app.get(
    '/v1/status',
    {
      schema: {
        summary: 'What this sidecar holds',
        response: { 200: Type.Ref('SidecarStatus'), ...problems(401) },
      },
    },
    async () => status(),
  );
}
