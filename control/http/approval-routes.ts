/** Requests for approvals: looked at, and decided. */
import Type from 'typebox';
import type { App } from '../../shared/platform/http/app.ts';
import {
  APPROVAL_VERBS,
  ApprovalDetailSchema,
  ApprovalRequestSchema,
  ApprovalVerdictRequestSchema,
  REQUEST_STATES,
  type ApprovalVerb,
} from '../../shared/wire/approval.ts';
import { PageQuerySchema } from '../../shared/wire/control-api.ts';
import type { ApprovalDesk } from '../approvals/approval-desk.ts';
import { operatorOf } from './access.ts';
import { PROBLEMS, pageOf, pageRequest } from './route-schemas.ts';

const viewer = { access: { kind: 'operator', role: 'viewer' } } as const;
const approver = { access: { kind: 'operator', role: 'approver' } } as const;

/** The pattern ends the name before the colon of the verb. */
const REQUEST = '/v1/approvals/:requestId(^[a-z0-9_]+$)';

const params = Type.Object({ requestId: Type.String({ maxLength: 100 }) });

const SUMMARIES: Record<ApprovalVerb, string> = {
  approve: 'Approve what was looked at, as one of those whom the rule wants',
  deny: 'Deny it: one denial ends it',
  withdraw: 'Take back an approval that you gave, before the work has begun',
};

export function installApprovalRoutes(app: App, { approvals }: { approvals: ApprovalDesk }): void {
  app.get(
    '/v1/approvals',
    {
      config: viewer,
      schema: {
        summary: 'Requests for approvals, newest first',
        querystring: Type.Object(
          {
            ...PageQuerySchema.properties,
            state: Type.Optional(Type.Enum([...REQUEST_STATES])),
          },
          { additionalProperties: false },
        ),
        response: { 200: pageOf(ApprovalRequestSchema), ...PROBLEMS },
      },
    },
    async (request) => {
      const { state = null, ...page } = request.query;
      const { items, nextCursor } = await approvals.list(state, pageRequest(page));
      return { items: [...items], nextCursor };
    },
  );
  app.get(
    '/v1/approvals/:requestId',
    {
      config: viewer,
      schema: {
        summary: 'One request: what is asked for, what would come of it, and what it could touch',
        params,
        response: { 200: ApprovalDetailSchema, ...PROBLEMS },
      },
    },
    async (request) => approvals.fetch(request.params.requestId),
  );
  for (const verb of APPROVAL_VERBS) {
    app.post(
      `${REQUEST}::${verb}`,
      {
        config: approver,
        schema: {
          summary: SUMMARIES[verb],
          description:
            'The same again by the same person is answered with the request as it stands.',
          params,
          body: ApprovalVerdictRequestSchema,
          response: { 200: ApprovalRequestSchema, ...PROBLEMS },
        },
      },
      async (request) =>
        approvals.decide(request.params.requestId, verb, {
          ...request.body,
          operator: operatorOf(request.caller),
        }),
    );
  }
}
