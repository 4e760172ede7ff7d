import Type from 'typebox';
import type { App } from '../../shared/platform/http/app.ts';
import { PageQuerySchema, PublishAnswerSchema } from '../../shared/wire/control-api.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import {
  ProposalDetailSchema,
  ProposalSchema,
  ReasonRequestSchema,
} from '../../shared/wire/publication.ts';
import type { ProposalDesk } from '../policy/proposal-desk.ts';
import { actorOf } from './access.ts';
import { sendPublication } from './policy-routes.ts';
import { PROBLEMS, pageOf, pageRequest } from './route-schemas.ts';

const viewer = { access: { kind: 'operator', role: 'viewer' } } as const;
const publisher = { access: { kind: 'operator', role: 'publisher' } } as const;
/** Who publishes may look over another's shoulder; so may those who approve work. */
const approver = {
  access: { kind: 'operator', role: 'approver', or: 'publisher' },
} as const;

/** The pattern ends the name before the colon of the verb. */
const PROPOSAL = '/v1/policy/proposals/:proposalId(^[a-z0-9_]+$)';

const params = Type.Object({ proposalId: Type.String({ maxLength: 100 }) });

export function installProposalRoutes(app: App, ports: { proposals: ProposalDesk }): void {
  const { proposals } = ports;
  app.get(
    '/v1/policy/proposals',
    {
      config: viewer,
      schema: {
        summary: 'Publications that need or needed a second person, newest first',
        querystring: PageQuerySchema,
        response: { 200: pageOf(ProposalSchema), ...PROBLEMS },
      },
    },
    async (request) => {
      const { items, nextCursor } = await proposals.list(pageRequest(request.query));
      return { items: [...items], nextCursor };
    },
  );
  app.get(
    '/v1/policy/proposals/:proposalId',
    {
      config: viewer,
      schema: {
        summary: 'One proposal with its document and report; its ETag is what an approval names',
        params,
        response: { 200: ProposalDetailSchema, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const proposal = await proposals.fetch(request.params.proposalId);
      return reply.header('etag', `"${proposal.policyDigest}"`).send(proposal);
    },
  );
  app.post(
    `${PROPOSAL}::approve`,
    {
      config: approver,
      schema: {
        summary: 'Approve a proposal of somebody else, and so publish it',
        description: 'If-Match: the digest of the document, as the ETag of the proposal says it.',
        params,
        headers: Type.Object({ 'if-match': Type.Optional(Type.String({ maxLength: 100 })) }),
        response: { 200: PublishAnswerSchema, 201: PublishAnswerSchema, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const digest = digestTag(request.headers['if-match']);
      const { proposalId } = request.params;
      const actor = actorOf(request.caller);
      return sendPublication(
        reply,
        await proposals.approve(proposalId, { actor, digest, reason: null }),
      );
    },
  );
  for (const verb of ['reject', 'withdraw'] as const) {
    app.post(
      `${PROPOSAL}::${verb}`,
      {
        config: verb === 'reject' ? approver : publisher,
        schema: {
          summary:
            verb === 'reject' ? 'Reject a proposal of somebody else' : 'Withdraw your own proposal',
          params,
          body: Type.Optional(ReasonRequestSchema),
          response: { 200: ProposalSchema, ...PROBLEMS },
        },
      },
      async (request) => {
        const { proposalId } = request.params;
        const { reason = null } = request.body ?? {};
        const actor = actorOf(request.caller);
        return proposals.decline(proposalId, verb, { actor, digest: null, reason });
      },
    );
  }
}

function digestTag(header: string | undefined): string {
  const digest = /^"([0-9a-f]{64})"$/.exec(header?.trim() ?? '')?.[1];
  if (digest !== undefined) return digest;
  throw new HoldfastError(
    'precondition_required',
    'send If-Match with the ETag of the proposal: an approval names the document that was read',
  );
}
