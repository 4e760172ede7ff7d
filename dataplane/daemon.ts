/**
 * The composition root of the sidecar: the real one and the simulated one are built here, from
 * ports.
 *
 * Start: journal (refuses to start on what it cannot trust), authority from disk, HTTP, then the
 * loops. Nothing waits for control. Stop: readiness off, requests in hand finished, loops ended,
 * journal closed last.
 */
import { VERSION } from '../shared/core/version.ts';
import type { ExpressionCompiler } from '../shared/core/policy.ts';
import type { Clock } from '../shared/platform/clock.ts';
import type { Check, OperationsRoutes } from '../shared/platform/http/operations-routes.ts';
import type { App } from '../shared/platform/http/server.ts';
import type { Logger } from '../shared/platform/logger.ts';
import { createMetrics, type Metrics } from '../shared/platform/metrics.ts';
import type { Random } from '../shared/platform/random.ts';
import type { RunningDaemon } from '../shared/platform/shutdown.ts';
import { runTasks } from '../shared/platform/task-group.ts';
import type { Transport } from '../shared/client/transport.ts';
import type { OutageBudget, SidecarStatus } from '../shared/wire/sidecar-api.ts';
import { sidecarSettings, type SidecarConfig } from './config.ts';
import { outageBudget } from './core/outage-budget.ts';
import { sidecarHealth } from './health.ts';
import { loadAppTokens } from './http/app-tokens.ts';
import { closeListeners, openListeners, type Listeners } from './http/listeners.ts';
import { buildSidecarApp, type Parts } from './http/sidecar-app.ts';
import type { Journal } from './journal/journal.ts';
import { SIDECAR_METRICS } from './metrics.ts';
import { Admissions } from './operations/admissions.ts';
import { Custodian } from './operations/custodian.ts';
import { Executions } from './operations/executions.ts';
import { Heartbeats } from './operations/heartbeats.ts';
import { buildUpstream, type Upstream } from './upstream/build-upstream.ts';

/**
 * An operation this long past its deadline and not ended is stuck: the custodian should have seen
 * to it.
 */
const STUCK_AFTER_MS = 10_000;
const EXECUTING_AT_START_MAX = 1_000_000;

export type SidecarPorts = {
  readonly config: SidecarConfig;
  readonly hostName: string;
  readonly joinToken: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly transport: Transport;
  readonly compile: ExpressionCompiler;
  readonly openJournal: (
    directory: string,
    clock: Clock,
    onBatch: (batch: { size: number; commitMs: number }) => void,
  ) => Promise<Journal>;
};

export type Sidecar = RunningDaemon & {
  /** Where it listens: the port is the one the system chose where 0 was asked for. */
  readonly address: string | null;
};

type SidecarMetrics = Metrics<typeof SIDECAR_METRICS>;

export async function startSidecar(ports: SidecarPorts): Promise<Sidecar> {
  const { config, clock, random, logger } = ports;
  const settings = sidecarSettings(config);
  const tokens =
    config.appAuth === 'off' || config.appsFile === undefined
      ? null
      : loadAppTokens(config.appsFile);
  if (tokens === null)
    logger.warn('app authentication is off: every local program may act as any principal');
  const metrics = createMetrics(SIDECAR_METRICS);
  const journal = await ports.openJournal(
    `${config.dataDir}/journal`,
    clock,
    ({ size, commitMs }) => {
      metrics.observe('holdfast_journal_batch_commands', size);
      metrics.observe('holdfast_journal_commit_duration_seconds', commitMs / 1_000);
    },
  );
  const upstream = buildUpstream({
    dataDir: config.dataDir,
    config: {
      controlUrl: config.controlUrl,
      hostName: ports.hostName,
      ...(ports.joinToken === undefined ? {} : { joinToken: ports.joinToken }),
      syncIntervalMs: settings.syncIntervalMs,
      requestTimeoutMs: settings.requestTimeoutMs,
      freshTimeoutMs: settings.freshTimeoutMs,
      bundleWaitMs: 30_000,
    },
    clock,
    random,
    logger,
    metrics,
    journalFeed: journal,
    transport: ports.transport,
    compile: ports.compile,
  });
  await upstream.open();
  journal.useOutages(() => upstream.outages.current()?.outageId ?? null);

  const heartbeats = new Heartbeats();
  for (const operation of journal.reader.withState('executing', EXECUTING_AT_START_MAX))
    heartbeats.follow(operation, clock.now().bootMs);
  const executions = new Executions({ journal, leases: upstream.leases, heartbeats, clock });
  const admissions = new Admissions({
    journal,
    ...upstream,
    clock,
    random,
    hostId: () => upstream.identity()?.hostId ?? '',
    onDecision: (fact) => metrics.add('holdfast_admissions_total', fact),
  });
  const custodian = new Custodian({
    journal,
    executions,
    heartbeats,
    outages: upstream.outages,
    clock,
    logger,
    controlLossAfterMs: settings.controlLossAfterMs,
  });

  let stopping = false;
  const status = (): SidecarStatus => statusOf(ports, upstream, journal);
  const parts: Parts = {
    admissions,
    executions,
    journal,
    leases: upstream.leases,
    clock,
    random,
    logger,
    version: VERSION,
    operations: operationsRoutes(upstream, metrics, () => stopping),
    budget: () => budgetOf(upstream, clock),
    status,
    health: () => {
      const nowMs = clock.now().wallMs;
      return sidecarHealth({
        status: status(),
        stuck: journal.reader.overdue(nowMs - STUCK_AFTER_MS, 1_000).length,
        queueLength: journal.queueLength(),
        nowMs,
      });
    },
    onResponse: ({ seconds, ...labels }) =>
      metrics.observe('holdfast_http_request_duration_seconds', seconds, labels),
  };
  metrics.set('holdfast_build_info', 1, { version: VERSION, daemon: 'sidecar' });
  metrics.beforeScrape(() => scrape(metrics, journal, parts));

  const build = (transport: 'tcp' | 'unix'): Promise<App> =>
    buildSidecarApp(parts, {
      transport,
      allowedHosts: config.allowedHosts,
      tokens,
      onRejected: (reason) => metrics.add('holdfast_http_requests_rejected_total', { reason }),
    });
  let listeners: Listeners;
  try {
    listeners = await openListeners({
      build,
      listen: settings.listen,
      socketPath: config.socketPath,
    });
  } catch (error) {
    await journal.close();
    throw error;
  }
  logger.info(
    {
      address: listeners.address,
      socket: config.socketPath,
      dataDir: config.dataDir,
      version: VERSION,
    },
    'listening',
  );

  const stop = new AbortController();
  const running = runTasks([...upstream.tasks, custodian.task()], stop.signal);
  const done = Promise.race([running, journal.failed]);
  return {
    address: listeners.address,
    done,
    async stop() {
      stopping = true;
      logger.info('stopping');
      await closeListeners(listeners);
      stop.abort();
      await running.catch(() => undefined);
      await ports.transport.close();
      await journal.close();
      logger.info('stopped');
    },
  };
}

function operationsRoutes(
  upstream: Upstream,
  metrics: SidecarMetrics,
  isStopping: () => boolean,
): OperationsRoutes {
  const check = (name: string, ok: boolean, detail: string): Check => ({ name, ok, detail });
  return {
    live: () => [check('process', true, 'answers')],
    // Control is not asked about: a sidecar that can serve from what it holds is ready.
    ready: () => {
      const policy = upstream.policy.activePolicy();
      return [
        check('running', !isStopping(), isStopping() ? 'stopping' : 'running'),
        check(
          'policy',
          policy !== null,
          policy === null ? 'no policy has been received yet' : `revision ${policy.policyRevision}`,
        ),
      ];
    },
    started: () => [
      check('journal', true, 'open'),
      check(
        'enrolled',
        upstream.identity() !== null,
        upstream.identity()?.hostId ?? 'waiting for control',
      ),
    ],
    expose: () => metrics.expose(),
  };
}

function statusOf(ports: SidecarPorts, upstream: Upstream, journal: Journal): SidecarStatus {
  const active = upstream.policy.activePolicy();
  const statuses = upstream.leases.statuses();
  return {
    hostId: upstream.identity()?.hostId ?? null,
    hostName: ports.hostName,
    version: VERSION,
    control: upstream.status(),
    policy: {
      activeRevision: active?.policyRevision ?? null,
      digest: active?.policyDigest ?? null,
      activatedAtMs: active?.activatedAtMs ?? null,
      stalenessMs: upstream.policy.stalenessMs(ports.clock.now()),
      rejected: upstream.policy.rejectedPolicy(),
    },
    leases: {
      held: statuses.filter(({ lease }) => lease !== null).length,
      wanted: statuses.filter(({ lease }) => lease === null).length,
    },
    journal: {
      ...journal.head(),
      ackedSeq: journal.ackedSeq(),
      operations: { ...journal.operationCounts() },
    },
  };
}

function budgetOf(upstream: Upstream, clock: Clock): OutageBudget {
  const now = clock.now();
  const active = upstream.policy.activePolicy();
  const stalenessMs = upstream.policy.stalenessMs(now);
  const held = upstream.leases.statuses().flatMap(({ lease }) => (lease === null ? [] : [lease]));
  return {
    atMs: now.wallMs,
    policyRevision: active?.policyRevision ?? null,
    stalenessMs,
    items: active === null ? [] : outageBudget(active.compiled, held, stalenessMs, now),
  };
}

function scrape(metrics: SidecarMetrics, journal: Journal, parts: Parts): void {
  metrics.reset('holdfast_operations');
  for (const [state, count] of Object.entries(journal.operationCounts()))
    metrics.set('holdfast_operations', count, { state });
  metrics.set('holdfast_journal_seq', journal.head().seq);
  metrics.set('holdfast_journal_reported_seq', journal.ackedSeq());
  metrics.set('holdfast_journal_queue_commands', journal.queueLength());
  metrics.reset('holdfast_outage_budget_seconds');
  for (const { rule, admissionMs } of parts.budget().items)
    metrics.set('holdfast_outage_budget_seconds', admissionMs / 1_000, { rule });
}
