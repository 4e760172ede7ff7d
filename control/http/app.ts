/** The HTTP API of control, from its parts. Nothing listens here. */
import type { Clock } from '../../shared/platform/clock.ts';
import type { App } from '../../shared/platform/http/app.ts';
import { buildServer } from '../../shared/platform/http/server.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import type { Random } from '../../shared/platform/random.ts';
import type { ControlConfig } from '../config.ts';
import type { HealthWatch } from '../health-watch.ts';
import type { ApprovalDesk } from '../approvals/approval-desk.ts';
import type { EnrolmentDesk } from '../hosts/enrolment.ts';
import type { HealthBook } from '../hosts/health-book.ts';
import type { HostAuthenticator } from '../hosts/host-authenticator.ts';
import type { HostSync } from '../hosts/host-sync.ts';
import type { ReconnectGate } from '../hosts/reconnect-gate.ts';
import type { Placement } from '../leases/placement.ts';
import type { PlacementDesk } from '../leases/placement-desk.ts';
import type { LeaseDesk } from '../leases/lease-desk.ts';
import type { Allotter } from '../leases/allotter.ts';
import type { Lessor } from '../leases/lessor.ts';
import type { ControlMetrics } from '../metrics.ts';
import type { OperatorRegistry } from '../operators/operator-registry.ts';
import type { BundleFeed } from '../policy/bundle-feed.ts';
import type { NoticeDesk } from '../notices/notice-desk.ts';
import type { NoticeViews } from '../notices/notice-views.ts';
import type { HostBook } from '../policy/host-book.ts';
import type { PolicyPublisher } from '../policy/policy-publisher.ts';
import type { ProposalDesk } from '../policy/proposal-desk.ts';
import type { PublicationDesk } from '../policy/publication-desk.ts';
import type { RolloutDriver } from '../policy/rollout-driver.ts';
import type { ParkedEvents } from '../reports/parked-events.ts';
import type { ReportIntake } from '../reports/report-intake.ts';
import type { ControlStore } from '../store/control-store.ts';
import { installAccess, type RouteAccess } from './access.ts';
import { installNoticeRoutes } from './notice-routes.ts';
import { installApprovalRoutes } from './approval-routes.ts';
import { installDecisionRoutes } from './decision-routes.ts';
import { installFleetHealthRoutes } from './fleet-health-routes.ts';
import { installHealthRoutes } from './health-routes.ts';
import { installKeyRoutes } from './key-routes.ts';
import type { PublicKey } from '../../shared/wire/statements.ts';
import { installHostRefusals } from './host-refusals.ts';
import { installEnrolmentRoutes, installExchangeRoutes, installHostViews } from './host-routes.ts';
import { installLeaseRoutes } from './lease-routes.ts';
import { installAuditRoutes, installOperatorRoutes } from './operator-routes.ts';
import { installOutageRoutes } from './outage-routes.ts';
import { installPlacementRoutes } from './placement-routes.ts';
import { installBundleRoutes, installPolicyRoutes } from './policy-routes.ts';
import { installProposalRoutes } from './proposal-routes.ts';
import { installRawBody } from './raw-body.ts';
import { installReconnectGate } from './reconnect-hooks.ts';
import { installAllotmentRoutes } from './allotment-routes.ts';
import { installReportRoutes } from './report-routes.ts';
import { installFleetRoutes, installRolloutRoutes } from './rollout-routes.ts';
import type { SigningRing } from '../signing-ring.ts';
import type { DivergenceDesk } from '../reports/divergence-desk.ts';
import type { DivergenceFinder } from '../reports/divergence-finder.ts';
import { installDivergenceRoutes } from './divergence-routes.ts';

export type AppPorts = {
  readonly config: ControlConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics<ControlMetrics>;
  readonly signer: SigningRing;
  readonly store: ControlStore;
  readonly operators: OperatorRegistry;
  readonly authenticator: HostAuthenticator;
  readonly desk: EnrolmentDesk;
  readonly sync: HostSync;
  readonly reconnects: ReconnectGate;
  readonly lessor: Lessor;
  readonly leaseDesk: LeaseDesk;
  readonly placement: Placement;
  readonly placementDesk: PlacementDesk;
  readonly allotter: Allotter;
  readonly approvals: ApprovalDesk;
  readonly noticeDesk: NoticeDesk;
  readonly noticeViews: NoticeViews;
  readonly publisher: PolicyPublisher;
  readonly publications: PublicationDesk;
  readonly proposals: ProposalDesk;
  readonly driver: RolloutDriver;
  readonly book: HostBook;
  readonly healthBook: HealthBook;
  readonly watch: HealthWatch;
  readonly feed: BundleFeed;
  readonly intake: ReportIntake;
  readonly parked: ParkedEvents;
  readonly divergences: DivergenceDesk;
  readonly finder: DivergenceFinder;
  readonly version: string;
  readonly trustKeys: readonly PublicKey[];
  readonly storeFailure: () => string | null;
};

const BODY_BYTES_MAX = 64 * 1024;
/** Beyond the longest long-poll, for the answer to leave. */
const ANSWER_ALLOWANCE_MS = 10_000;
/** One waits for a bundle, one syncs, one reports. */
const CONNECTIONS_PER_HOST = 3;
/** Of operators, and of who enrols. */
const OTHER_CONNECTIONS_MAX = 2_048;

export async function buildApp(
  ports: AppPorts,
): Promise<{ app: App; routes: readonly RouteAccess[] }> {
  const { config, logger, random, store, operators, authenticator, version } = ports;
  const app = buildServer({
    logger,
    random,
    version,
    title: 'Holdfast control',
    description: 'Publishes policy, enrols hosts, grants leases, and keeps what hosts report',
    bodyBytesMax: BODY_BYTES_MAX,
    handlerTimeoutMs: config.bundleWaitMaxMs + ANSWER_ALLOWANCE_MS,
    connectionsMax: config.bundleWaitersMax * CONNECTIONS_PER_HOST + OTHER_CONNECTIONS_MAX,
  });
  let routes: readonly RouteAccess[] = [];
  // In a scope of their own, which is built after the plugin that describes them.
  await app.register(async (scope: App) => {
    // Answers are written by this code, not by callers: their schemas describe, and need not
    // filter.
    scope.setSerializerCompiler(() => (data) => JSON.stringify(data));
    installRawBody(scope);
    installReconnectGate(scope, ports.reconnects);
    routes = installAccess(scope, { allowedHosts: config.allowedHosts, authenticator, operators });
    installHostRefusals(scope, ports);
    installHealthRoutes(scope, ports);
    installFleetHealthRoutes(scope, ports);
    installPolicyRoutes(scope, { publications: ports.publications, store: store.policy });
    installProposalRoutes(scope, ports);
    installDecisionRoutes(scope, ports);
    installApprovalRoutes(scope, ports);
    installNoticeRoutes(scope, ports);
    installRolloutRoutes(scope, ports);
    installFleetRoutes(scope, { ...ports, store: store.hosts });
    installBundleRoutes(scope, { ...ports, store: store.policy });
    installEnrolmentRoutes(scope, ports);
    installHostViews(scope, { ...ports, store: store.hosts });
    installExchangeRoutes(scope, ports);
    installReportRoutes(scope, { store: store.reports, parked: ports.parked });
    installOutageRoutes(scope, { store: store.outages, hosts: store.hosts });
    installDivergenceRoutes(scope, ports);
    installLeaseRoutes(scope, ports);
    installPlacementRoutes(scope, ports);
    installAllotmentRoutes(scope, { allotter: ports.allotter, hosts: store.hosts });
    installOperatorRoutes(scope, { operators });
    installAuditRoutes(scope, { store });
    installKeyRoutes(scope, ports);
  });
  await app.ready();
  return { app, routes };
}
