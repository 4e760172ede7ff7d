/** Webhooks: where they stand, what was given up, and another try. */
import Type from 'typebox';
import type { App } from '../../shared/platform/http/app.ts';
import { requireOperator } from './guards.ts';
import { problems } from './problem-responses.ts';
import type { Parts } from './route-parts.ts';

export function installWebhookRoutes(app: App, { webhooks }: Parts): void {
  app.get(
    '/v1/webhooks',
    {
      schema: {
        summary: 'Webhooks: how far each target was told, and what was given up',
        response: {
          200: Type.Object({ items: Type.Array(Type.Ref('Webhook')) }),
          ...problems(401, 403),
        },
      },
    },
    async (request) => {
      requireOperator(request);
      return { items: webhooks.list() };
    },
  );
  app.post(
    '/v1/webhooks/:name/retry',
    {
      schema: {
        summary: 'Try what was given up once more, before what came since',
        params: Type.Object({ name: Type.String({ maxLength: 64 }) }),
        response: { 200: Type.Ref('Webhook'), ...problems(401, 403, 404) },
      },
    },
    async (request) => {
      requireOperator(request);
      return webhooks.retry(request.params.name);
    },
  );
}
