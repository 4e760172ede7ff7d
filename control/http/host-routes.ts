import Type from 'typebox';
import { digestOf } from '../../shared/platform/digest.ts';
import type { App } from '../../shared/platform/http/app.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import { SPAN_ATTRIBUTES, spanned } from '../../shared/platform/tracing.ts';
import type { Signer } from '../../shared/platform/signatures.ts';
import { noticedText } from '../../shared/core/notice-index.ts';
import { decide, type Decision } from '../../shared/core/policy.ts';
import type { NoticeEntry } from '../../shared/wire/notices.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import {
  EnrolRequestSchema,
  HostSchema,
  JoinTokenRequestSchema,
  JoinTokenSchema,
  PageQuerySchema,
  REPORT_BYTES_MAX,
  type Host,
} from '../../shared/wire/control-api.ts';
import { DecisionInputSchema } from '../../shared/wire/policy-document.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import { REPORT_LINES_TYPE } from '../../shared/wire/report-lines.ts';
import {
  STATEMENT_CONTENT_TYPE,
  STATEMENT_TYPES,
  SyncRequestSchema,
  type FreshDecision,
} from '../../shared/wire/statements.ts';
import type { ControlConfig } from '../config.ts';
import { classifyHost } from '../core/host-presence.ts';
import type { EnrolmentDesk } from '../hosts/enrolment.ts';
import type { HostSync } from '../hosts/host-sync.ts';
import type { ControlMetrics } from '../metrics.ts';
import type { NoticeDesk } from '../notices/notice-desk.ts';
import type { NoticeViews } from '../notices/notice-views.ts';
import type { PolicyPublisher } from '../policy/policy-publisher.ts';
import type { RolloutDriver } from '../policy/rollout-driver.ts';
import {
  ReportBodySchema,
  eventsOfBody,
  eventsOfLines,
  type ReportBody,
  type ReportedEvent,
} from '../reports/event-reader.ts';
import type { ReportIntake } from '../reports/report-intake.ts';
import type { HostRecord, HostStore } from '../store/control-store.ts';
import { actorOf, hostOf } from './access.ts';
import { reportGate } from './report-gate.ts';
import { PROBLEMS, STATEMENT, notFound, pageOf, pageRequest } from './route-schemas.ts';

const viewer = { access: { kind: 'operator', role: 'viewer' } } as const;

export function installEnrolmentRoutes(app: App, ports: { desk: EnrolmentDesk }): void {
  const { desk } = ports;
  app.post(
    '/v1/join-tokens',
    {
      config: { access: { kind: 'operator', role: 'operator' } },
      schema: {
        summary: 'Make a one-time token with which one host enrols',
        body: JoinTokenRequestSchema,
        response: { 201: JoinTokenSchema, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const token = await desk.makeJoinToken(request.body, actorOf(request.caller));
      return reply.code(201).header('cache-control', 'no-store').send(token);
    },
  );
  // The router takes a single colon for a parameter; two are one.
  app.post(
    '/v1/hosts::enrol',
    {
      config: { access: { kind: 'join_token' } },
      schema: {
        summary: 'Enrol this machine as a host; the credential is the join token in the body',
        body: EnrolRequestSchema,
        response: { 201: STATEMENT('an Enrolment, signed'), ...PROBLEMS },
      },
    },
    async (request, reply) =>
      reply
        .code(201)
        .type(STATEMENT_CONTENT_TYPE)
        .send(await desk.enrol(request.body)),
  );
}

export function installHostViews(
  app: App,
  ports: { store: HostStore; config: ControlConfig; clock: Clock },
): void {
  const { store, config, clock } = ports;
  const toHost = (record: HostRecord): Host =>
    viewHost(record, { config, nowMs: clock.now().wallMs });
  app.get(
    '/v1/hosts',
    {
      config: viewer,
      schema: {
        summary: 'Enrolled hosts',
        querystring: PageQuerySchema,
        response: { 200: pageOf(HostSchema), ...PROBLEMS },
      },
    },
    async (request) => {
      const { items, nextCursor } = await store.list(pageRequest(request.query));
      return { items: items.map(toHost), nextCursor };
    },
  );
  app.get(
    '/v1/hosts/:hostId',
    {
      config: viewer,
      schema: {
        summary: 'One host',
        params: Type.Object({ hostId: Type.String({ maxLength: 100 }) }),
        response: { 200: HostSchema, ...PROBLEMS },
      },
    },
    async (request) => {
      const record = await store.fetch(request.params.hostId);
      if (record === null)
        throw notFound(`host ${request.params.hostId}; GET /v1/hosts lists them`);
      return toHost(record);
    },
  );
}

function viewHost(record: HostRecord, at: { config: ControlConfig; nowMs: number }): Host {
  const { kid: _kid, highWater: _highWater, acked: _acked, ...host } = record;
  const { hostLateAfterMs: lateAfterMs, hostLostAfterMs: lostAfterMs } = at.config;
  const state = classifyHost(host.lastSyncAtMs, { lateAfterMs, lostAfterMs }, at.nowMs);
  return { ...host, state };
}

const SYNC_BYTES_MAX = 4 * 1024 * 1024;

const REPORT_BODIES = {
  content: {
    'application/json': { schema: ReportBodySchema },
    [REPORT_LINES_TYPE]: { schema: Type.String() },
  },
};

/** Of the text of lines, or of a body that its schema has passed. */
function reportedEvents(body: unknown): readonly ReportedEvent[] {
  return typeof body === 'string' ? eventsOfLines(body) : eventsOfBody(body as ReportBody);
}

export function installExchangeRoutes(
  app: App,
  ports: {
    sync: HostSync;
    intake: ReportIntake;
    publisher: PolicyPublisher;
    driver: RolloutDriver;
    noticeDesk: NoticeDesk;
    noticeViews: NoticeViews;
    signer: Signer;
    metrics: Metrics<ControlMetrics>;
    clock: Clock;
  },
): void {
  const { sync, publisher, driver, signer, metrics, noticeDesk, noticeViews } = ports;
  installReportIntake(app, ports);
  app.post(
    '/v1/sync',
    {
      config: { access: { kind: 'host', once: true } },
      bodyLimit: SYNC_BYTES_MAX,
      schema: {
        summary: "A host's state vector, for what it lacks",
        body: SyncRequestSchema,
        response: { 200: STATEMENT('a SyncAnswer, signed'), ...PROBLEMS },
      },
    },
    async (request, reply) =>
      reply
        .type(STATEMENT_CONTENT_TYPE)
        .send(await sync.sync(hostOf(request.caller), request.body)),
  );
  app.post(
    '/v1/decisions',
    {
      config: { access: { kind: 'host', once: false } },
      schema: {
        summary: 'Decide one operation now, under the newest policy',
        body: DecisionInputSchema,
        response: { 200: STATEMENT('a FreshDecision, signed'), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { host, claims } = hostOf(request.caller);
      const facts = { [SPAN_ATTRIBUTES.hostId]: host.hostId };
      return spanned('holdfast.decision', { facts }, async (tell) => {
        // By the revision that this host is to run: it takes no answer from below the one it runs.
        const current = await publisher.compiled(await driver.target(host.hostId));
        if (current === null)
          throw new HoldfastError('policy_absent', 'no policy was ever published');
        noticeViews.noteDecision(host.hostId);
        const decision = withNotice(
          decide(current.compiled, request.body),
          noticeDesk.against(host.hostId, request.body),
        );
        metrics.add('holdfast_control_decisions_total', { decision: decision.decision });
        tell({
          [SPAN_ATTRIBUTES.action]: request.body.action,
          [SPAN_ATTRIBUTES.decision]: decision.decision,
          [SPAN_ATTRIBUTES.rule]: decision.rule,
          [SPAN_ATTRIBUTES.policyRevision]: current.policyRevision,
        });
        const answer: FreshDecision = {
          nonce: claims.nonce,
          hostId: host.hostId,
          inputDigest: digestOf(request.body),
          policyRevision: current.policyRevision,
          decision,
          decidedAtMs: ports.clock.now().wallMs,
        };
        return reply
          .type(STATEMENT_CONTENT_TYPE)
          .send(await signer.sign(STATEMENT_TYPES.decision, answer));
      });
    },
  );
}

/** A host that has not got it yet is told so all the same. */
function withNotice(decision: Decision, notice: NoticeEntry | null): Decision {
  if (notice === null || decision.decision === 'deny') return decision;
  return { ...decision, decision: 'deny', reason: 'denied', message: noticedText(notice) };
}

function installReportIntake(
  app: App,
  ports: { intake: ReportIntake; clock: Clock; metrics: Metrics<ControlMetrics> },
): void {
  app.post(
    '/v1/reports',
    {
      config: { access: { kind: 'host', once: false }, takesLines: true },
      bodyLimit: REPORT_BYTES_MAX,
      ...reportGate(ports),
      schema: {
        summary: "The next events of a host's journal",
        description:
          'As lines (`shared/wire/report-lines.ts` says which) with the bodies as they are stored, or as JSON.',
        consumes: ['application/json', REPORT_LINES_TYPE],
        body: REPORT_BODIES,
        response: { 200: STATEMENT('a ReportAnswer, signed'), ...PROBLEMS },
      },
    },
    async (request, reply) =>
      reply
        .type(STATEMENT_CONTENT_TYPE)
        .send(await ports.intake.take(hostOf(request.caller), reportedEvents(request.body))),
  );
}
