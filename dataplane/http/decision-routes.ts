/** What would be decided. */
import type { App } from '../../shared/platform/http/app.ts';
import { DecisionQuerySchema } from '../../shared/wire/decision.ts';
import { DecisionInputSchema } from '../../shared/wire/policy-document.ts';
import Type from 'typebox';
import { requireMaySpeakFor } from './app-tokens.ts';
import { callerOf } from './guards.ts';
import { problems } from './problem-responses.ts';
import type { Parts } from './route-parts.ts';

export function installDecisionRoutes(app: App, { decisions }: Parts): void {
  app.post(
    '/v1/decisions',
    {
      schema: {
        summary: 'What would become of an operation',
        description:
          'Decides as an admission would, and does nothing: no record, no lease asked for, no limit ' +
          'spent, no Idempotency-Key. A rule of class fresh is decided by control. The log has a line ' +
          'for each, at most 20 a second.',
        querystring: DecisionQuerySchema,
        body: DecisionInputSchema,
        response: { 200: Type.Ref('DecisionAnswer'), ...problems(400, 401, 403, 503) },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      requireMaySpeakFor(caller, request.body.principal);
      return decisions.decide(caller.name, request.body, request.query.explain ?? false);
    },
  );
}
