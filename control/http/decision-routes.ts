/** What a revision decides about a request: for people, and for what tells them. */
import { explainDecision } from '../../shared/core/decision-trace.ts';
import { DECISION_TRACE_SCHEMAS } from '../../shared/wire/decision-trace.ts';
import { addSharedSchemas } from '../../shared/platform/http/shared-schemas.ts';
import type { App } from '../../shared/platform/http/app.ts';
import {
  PolicyDecisionQuerySchema,
  PolicyDecisionSchema,
  type PolicyDecision,
} from '../../shared/wire/decision.ts';
import { DecisionInputSchema } from '../../shared/wire/policy-document.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { PolicyPublisher } from '../policy/policy-publisher.ts';
import type { ControlStore } from '../store/control-store.ts';
import { PROBLEMS, notFound } from './route-schemas.ts';

export function installDecisionRoutes(
  app: App,
  ports: { publisher: PolicyPublisher; store: ControlStore },
): void {
  const { publisher, store } = ports;
  addSharedSchemas(app, DECISION_TRACE_SCHEMAS);
  app.post(
    '/v1/policy::decide',
    {
      config: { access: { kind: 'operator', role: 'viewer' } },
      schema: {
        summary: 'What a revision decides about a request; nothing comes of it',
        querystring: PolicyDecisionQuerySchema,
        body: DecisionInputSchema,
        response: { 200: PolicyDecisionSchema, ...PROBLEMS },
      },
    },
    async (request) => {
      const { revision = null, explain = false } = request.query;
      const policy = await (revision === null
        ? publisher.compiled(await store.policy.currentNumber())
        : publisher.revision(revision));
      if (policy === null) {
        if (revision !== null) throw notFound(`policy revision ${revision}`);
        throw new HoldfastError('policy_absent', 'no policy was ever published');
      }
      const { decision, trace } = explainDecision(policy.compiled, request.body);
      const { terms: _, ...said } = decision;
      const { policyRevision } = policy;
      const answer: PolicyDecision = { ...said, policyRevision, trace: explain ? trace : null };
      return { ...answer, warnings: [...answer.warnings] };
    },
  );
}
