/** What is left of the limits of the policy in force, on this host. */
import Type from 'typebox';
import type { App } from '../../shared/platform/http/app.ts';
import { requireOperator } from './guards.ts';
import { problems } from './problem-responses.ts';
import type { Parts } from './route-parts.ts';

export function installLimitRoutes(app: App, { limits }: Parts): void {
  app.get(
    '/v1/limits',
    {
      schema: {
        summary: 'What is used of each limit, and when it is there again',
        description: 'The least remaining first, at most 1,000. Asking spends nothing.',
        response: { 200: Type.Ref('Limits'), ...problems(401, 403) },
      },
    },
    async (request) => {
      requireOperator(request);
      return limits();
    },
  );
}
