/** Notices: given, looked at, and lifted. */
import Type from 'typebox';
import type { App } from '../../shared/platform/http/app.ts';
import { PageQuerySchema } from '../../shared/wire/control-api.ts';
import {
  LiftNoticeSchema,
  NoticeDetailSchema,
  NoticeRequestSchema,
  NoticeSchema,
} from '../../shared/wire/notices.ts';
import type { NoticeDesk } from '../notices/notice-desk.ts';
import type { NoticeViews } from '../notices/notice-views.ts';
import { actorOf } from './access.ts';
import { PROBLEMS, pageOf, pageRequest } from './route-schemas.ts';

const viewer = { access: { kind: 'operator', role: 'viewer' } } as const;
const operator = { access: { kind: 'operator', role: 'operator' } } as const;

/** The pattern ends the name before the colon of the verb. */
const NOTICE = '/v1/notices/:noticeId(^[a-z0-9_]+$)';

const params = Type.Object({ noticeId: Type.String({ maxLength: 100 }) });

export function installNoticeRoutes(
  app: App,
  { noticeDesk, noticeViews }: { noticeDesk: NoticeDesk; noticeViews: NoticeViews },
): void {
  app.post(
    '/v1/notices',
    {
      config: operator,
      schema: {
        summary: 'Revoke a principal or a credential, stop an action, or hold a resource',
        description:
          'It counts everywhere at once and goes to every host. The same again while it is in ' +
          'force is answered with the one there is.',
        body: NoticeRequestSchema,
        response: { 200: NoticeDetailSchema, 201: NoticeDetailSchema, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { noticeId, isNew } = await noticeDesk.record(request.body, actorOf(request.caller));
      return reply.code(isNew ? 201 : 200).send(await noticeViews.fetch(noticeId));
    },
  );
  app.get(
    '/v1/notices',
    {
      config: viewer,
      schema: {
        summary: 'Notices, newest first, with how many hosts obey them',
        querystring: Type.Object(
          {
            ...PageQuerySchema.properties,
            cursor: Type.Optional(Type.String({ pattern: '^[0-9]{1,16}$' })),
            inForce: Type.Optional(Type.Boolean()),
          },
          { additionalProperties: false },
        ),
        response: { 200: pageOf(NoticeSchema), ...PROBLEMS },
      },
    },
    async (request) => {
      const { inForce = null, ...page } = request.query;
      const { items, nextCursor } = await noticeViews.list({ inForce }, pageRequest(page));
      return { items: [...items], nextCursor };
    },
  );
  app.get(
    '/v1/notices/:noticeId',
    {
      config: viewer,
      schema: {
        summary: 'One notice: which hosts obey it, and until when the others could still act',
        params,
        response: { 200: NoticeDetailSchema, ...PROBLEMS },
      },
    },
    async (request) => noticeViews.fetch(request.params.noticeId),
  );
  app.post(
    `${NOTICE}::lift`,
    {
      config: operator,
      schema: {
        summary: 'End a notice: hosts admit again what only it spoke against',
        params,
        body: LiftNoticeSchema,
        response: { 200: NoticeDetailSchema, ...PROBLEMS },
      },
    },
    async (request) => {
      const { noticeId } = request.params;
      const { reason } = request.body;
      await noticeDesk.lift(noticeId, { reason, actor: actorOf(request.caller) });
      return noticeViews.fetch(noticeId);
    },
  );
}
