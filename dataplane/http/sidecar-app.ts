/**
 * The sidecar's HTTP API on one transport. It is built once for TCP and once for the Unix socket,
 * over the same parts.
 */
import type { FastifyRequest } from 'fastify';
import { installOperationsRoutes } from '../../shared/platform/http/operations-routes.ts';
import type { App } from '../../shared/platform/http/app.ts';
import { buildServer } from '../../shared/platform/http/server.ts';
import { addSharedSchemas } from '../../shared/platform/http/shared-schemas.ts';
import { ClaimAnswerSchema, ClaimedSchema } from '../../shared/wire/claim-api.ts';
import { ConfigListSchema, ConfigValueSchema } from '../../shared/wire/config-value.ts';
import { ApprovalVoteSchema, OperationApprovalSchema } from '../../shared/wire/approval.ts';
import { HealthSchema } from '../../shared/wire/health.ts';
import { LimitsSchema } from '../../shared/wire/limits.ts';
import {
  EffectSchema,
  JournalEventSchema,
  OperationSchema,
  OutageMomentSchema,
  OutageSchema,
  OutageTallySchema,
  OutcomeSchema,
  RefusalSchema,
} from '../../shared/wire/operation.ts';
import {
  AttemptSchema,
  BatchItemSchema,
  BatchVerdictSchema,
  BatchVerdictsSchema,
  EffectAnswerSchema,
  ExplanationSchema,
  FenceSchema,
  HeartbeatSchema,
  HeldLeaseSchema,
  OutageBudgetSchema,
  SidecarLeaseTokenSchema,
  SidecarStatusSchema,
} from '../../shared/wire/sidecar-api.ts';
import {
  OutagesSchema,
  RecoveryPageSchema,
  RecoverySchema,
} from '../../shared/wire/recovery-api.ts';
import { WorkItemSchema } from '../../shared/wire/reconciliation-api.ts';
import { WebhookSchema } from '../../shared/wire/webhook-api.ts';
import { RegisterSchema, RegisterSummarySchema } from '../../shared/wire/register-api.ts';
import { ResumeOrderSchema, ResumeSchema } from '../../shared/wire/resume-api.ts';
import { installAttemptRoutes } from './attempt-routes.ts';
import { installAuthorityRoutes } from './authority-routes.ts';
import { installBatchRoutes } from './batch-routes.ts';
import { DecisionAnswerSchema } from '../../shared/wire/decision.ts';
import { DECISION_TRACE_SCHEMAS } from '../../shared/wire/decision-trace.ts';
import { installDecisionRoutes } from './decision-routes.ts';
import { installClaimRoutes } from './claim-routes.ts';
import { installConfigRoutes } from './config-routes.ts';
import { quarantined } from '../journal/journal.ts';
import { requestCheck, type GuardOptions } from './guards.ts';
import { installLimitRoutes } from './limit-routes.ts';
import { installOperationRoutes } from './operation-routes.ts';
import { installOutageRoutes } from './outage-routes.ts';
import { installReconciliationRoutes } from './reconciliation-routes.ts';
import { installRecoveryRoutes } from './recovery-routes.ts';
import { installWebhookRoutes } from './webhook-routes.ts';
import { installRegisterRoutes } from './register-routes.ts';
import { installResumeRoutes } from './resume-routes.ts';
import type { Parts } from './route-parts.ts';

const SHARED_SCHEMAS = [
  ...DECISION_TRACE_SCHEMAS,
  ApprovalVoteSchema,
  AttemptSchema,
  BatchItemSchema,
  BatchVerdictSchema,
  BatchVerdictsSchema,
  ClaimAnswerSchema,
  ClaimedSchema,
  ConfigListSchema,
  ConfigValueSchema,
  DecisionAnswerSchema,
  EffectAnswerSchema,
  EffectSchema,
  ExplanationSchema,
  FenceSchema,
  HealthSchema,
  HeartbeatSchema,
  HeldLeaseSchema,
  JournalEventSchema,
  LimitsSchema,
  OperationApprovalSchema,
  OperationSchema,
  OutageBudgetSchema,
  OutageMomentSchema,
  OutageSchema,
  OutcomeSchema,
  OutageTallySchema,
  OutagesSchema,
  RecoverySchema,
  RecoveryPageSchema,
  RefusalSchema,
  RegisterSchema,
  RegisterSummarySchema,
  ResumeOrderSchema,
  ResumeSchema,
  SidecarLeaseTokenSchema,
  SidecarStatusSchema,
  WorkItemSchema,
  WebhookSchema,
];

const BODY_BYTES_MAX = 64 * 1024;
/** Over the longest wait, which is for an operation. */
const HANDLER_TIMEOUT_MS = 65_000;

export async function buildSidecarApp(parts: Parts, guard: GuardOptions): Promise<App> {
  const app = buildServer({
    logger: parts.logger,
    random: parts.random,
    title: 'Holdfast sidecar',
    description:
      'Admits, records, fences and executes operations on one host, whether or not control can be reached.',
    version: parts.version,
    bodyBytesMax: BODY_BYTES_MAX,
    handlerTimeoutMs: HANDLER_TIMEOUT_MS,
  });
  app.decorateRequest('callingApp', null);
  const checkRequest = requestCheck(guard);
  // With callbacks, not promises: they run for each request, and wait for nothing.
  app.addHook('onRequest', (request, _reply, done) => {
    checkRequest(request);
    done();
  });
  // One place for all that changes anything: in quarantine none of it may begin.
  app.addHook('onRequest', (request, _reply, done) => {
    const { quarantine } = parts.journal;
    if (quarantine !== null && isChange(request)) throw quarantined(quarantine);
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    parts.onResponse({
      method: request.method,
      route: request.routeOptions.url ?? 'none',
      status: reply.statusCode,
      seconds: reply.elapsedTime / 1_000,
      trace: request.traceContext,
    });
    done();
  });
  // Routes come after the plugin that describes them is loaded.
  await app.register(async (scope) => {
    const routes = scope as unknown as App;
    addSharedSchemas(routes, SHARED_SCHEMAS);
    installOperationsRoutes(routes, parts.operations);
    installOperationRoutes(routes, parts);
    installBatchRoutes(routes, parts);
    installAttemptRoutes(routes, parts);
    installClaimRoutes(routes, parts);
    installAuthorityRoutes(routes, parts);
    installConfigRoutes(routes, parts);
    installDecisionRoutes(routes, parts);
    installRegisterRoutes(routes, parts);
    installOutageRoutes(routes, parts);
    installRecoveryRoutes(routes, parts);
    installReconciliationRoutes(routes, parts);
    installResumeRoutes(routes, parts);
    installLimitRoutes(routes, parts);
    installWebhookRoutes(routes, parts);
  });
  return app;
}

function isChange({ method, routeOptions }: FastifyRequest): boolean {
  return method !== 'GET' && method !== 'HEAD' && routeOptions.url !== undefined;
}
