/** Paused work that comes back: how far it is, a stop button, its rate, and one by hand. */
import type { FastifyRequest } from 'fastify';
import Type from 'typebox';
import type { App } from '../../shared/platform/http/app.ts';
import {
  ResumeOrderRequestSchema,
  ResumeRateRequestSchema,
  ResumeReleaseRequestSchema,
} from '../../shared/wire/resume-api.ts';
import type { OrderedBy } from '../operations/resume.ts';
import { callerOf, requireOperator } from './guards.ts';
import { problems } from './problem-responses.ts';
import type { Parts } from './route-parts.ts';

const orderAnswer = { 200: Type.Ref('Resume'), ...problems(400, 401, 403, 503) };

export function installResumeRoutes(app: App, { resume }: Parts): void {
  app.get(
    '/v1/resume',
    {
      schema: {
        summary: 'How far paused work has come back, and what is held for a person',
        response: { 200: Type.Ref('Resume'), ...problems(401, 403) },
      },
    },
    async (request) => {
      requireOperator(request);
      return resume.status();
    },
  );
  // The router takes a single colon for a parameter; two are one.
  app.post(
    '/v1/resume::stop',
    {
      schema: {
        summary: 'Release and refuse nothing that is paused until it is started again',
        body: ResumeOrderRequestSchema,
        response: orderAnswer,
      },
    },
    (request) => resume.stop(orderedBy(request, request.body.reason)),
  );
  app.post(
    '/v1/resume::start',
    {
      schema: {
        summary: 'Go on after a stop',
        body: ResumeOrderRequestSchema,
        response: orderAnswer,
      },
    },
    (request) => resume.start(orderedBy(request, request.body.reason)),
  );
  app.post(
    '/v1/resume::rate',
    {
      schema: {
        summary: 'How many go on in a second; null: as configured',
        body: ResumeRateRequestSchema,
        response: orderAnswer,
      },
    },
    (request) =>
      resume.setRate(request.body.ratePerSecond, orderedBy(request, request.body.reason)),
  );
  app.post(
    '/v1/resume::release',
    {
      schema: {
        summary: 'Release one paused operation now, where the policy in force lets it go on',
        body: ResumeReleaseRequestSchema,
        response: { 200: Type.Ref('Operation'), ...problems(400, 401, 403, 404, 409, 410, 503) },
      },
    },
    async (request) => {
      const { operationId, reason } = request.body;
      return resume.release(operationId, orderedBy(request, reason));
    },
  );
}

function orderedBy(request: FastifyRequest, reason: string): OrderedBy {
  requireOperator(request);
  return { by: callerOf(request).name, reason };
}
