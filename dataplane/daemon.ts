/**
 * The composition root of the sidecar: the real one and the simulated one are built here, from
 * ports.
 *
 * Start: journal, authority from disk, HTTP, then the loops. Nothing waits for control. Over a
 * journal that is quarantined there is HTTP and nothing else: authority is neither read nor asked
 * for, so that leases lapse and control gives the work to another host; the same on a file system
 * that takes no writes, until it does. Stop: readiness off, requests in hand finished, loops ended,
 * journal closed last.
 */
import { existsSync } from 'node:fs';
import { VERSION } from '../shared/core/version.ts';
import type { ExpressionCompiler } from '../shared/core/policy.ts';
import type { Clock } from '../shared/platform/clock.ts';
import type { App } from '../shared/platform/http/app.ts';
import type { Logger } from '../shared/platform/logger.ts';
import { createMetrics } from '../shared/platform/metrics.ts';
import type { Random } from '../shared/platform/random.ts';
import type { RunningDaemon } from '../shared/platform/shutdown.ts';
import { systemLoopUse, type LoopUse } from '../shared/platform/loop-use.ts';
import type { ProbeCaller } from '../shared/platform/http-probe.ts';
import { giveWay, type Pause } from '../shared/platform/slices.ts';
import { runTasks, type Task } from '../shared/platform/task-group.ts';
import type { Transport } from '../shared/client/transport.ts';
import { sidecarSettings, type SidecarConfig, type SidecarSettings } from './config.ts';
import { ConfigValues } from './authority/config-values.ts';
import { loadAppTokens, type AppTokens } from './http/app-tokens.ts';
import {
  closeListeners,
  openListeners,
  type ListenOptions,
  type Listeners,
} from './http/listeners.ts';
import type { Parts } from './http/route-parts.ts';
import { buildSidecarApp } from './http/sidecar-app.ts';
import { limitedRules } from './core/active-policy.ts';
import { DiskWatch } from './journal/disk-watch.ts';
import type { ReadDiskSpace } from './journal/disk-space.ts';
import { journalFiles } from './journal/journal-files.ts';
import type { StoredOperation } from './core/operation-record.ts';
import type { Journal } from './journal/journal.ts';
import { isReadOnly } from './journal/open-journal.ts';
import { SIDECAR_METRICS } from './metrics.ts';
import { Admissions } from './operations/admissions.ts';
import { Approvals } from './operations/approvals.ts';
import { Claims, type ClaimsParts } from './operations/claims.ts';
import { Decisions } from './operations/decisions.ts';
import { Custodian } from './operations/custodian.ts';
import { Drains } from './operations/drains.ts';
import { Executions } from './operations/executions.ts';
import { Heartbeats } from './operations/heartbeats.ts';
import { openLimits } from './operations/open-limits.ts';
import { OperationWaits } from './operations/operation-waits.ts';
import { Registers } from './operations/registers.ts';
import { Resume } from './operations/resume.ts';
import { loadWebhookTargets, type WebhookTarget } from './operations/webhook-targets.ts';
import { Webhooks } from './operations/webhooks.ts';
import { Retention } from './operations/retention.ts';
import { Reconciler } from './recovery/reconciler.ts';
import { triedAt, watchReconciliations } from './recovery/reconciliation-gauges.ts';
import { showResume } from './resume-metrics.ts';
import { SidecarView, type SidecarMetrics } from './sidecar-view.ts';
import { buildUpstream, type Upstream } from './upstream/build-upstream.ts';

/** Between a failure that ends the daemon and the closing of its doors. */
const LAST_ANSWERS_MS = 100;
const WRITABLE_LOOK_MS = 2_000;
const BUNDLE_WAIT_MS = 30_000;
const EXECUTING_AT_START_MAX = 1_000_000;

export type SidecarPorts = {
  readonly config: SidecarConfig;
  readonly hostName: string;
  readonly joinToken: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly transport: Transport;
  readonly probe: ProbeCaller;
  /** To the targets of webhooks. */
  readonly openTransport: (origin: string) => Transport;
  readonly compile: ExpressionCompiler;
  readonly readDiskSpace: ReadDiskSpace;
  readonly openJournal: (
    directory: string,
    clock: Clock,
    onBatch: (batch: { size: number; commitMs: number }) => void,
  ) => Promise<Journal>;
  /** Where it is reached; default: by the sockets that are configured. */
  readonly openListeners?: (options: ListenOptions) => Promise<Listeners>;
  /** How long work gives others their turn; default: for one round of the event loop. */
  readonly pause?: Pause;
  readonly loopUse?: LoopUse;
};

export type Sidecar = RunningDaemon & {
  /** Where it listens: the port is the one the system chose where 0 was asked for. */
  readonly address: string | null;
};

export async function startSidecar(ports: SidecarPorts): Promise<Sidecar> {
  const { config, clock, logger } = ports;
  const settings = sidecarSettings(config);
  const targets = config.webhooksFile === undefined ? [] : loadWebhookTargets(config.webhooksFile);
  const { appsFile, appAuth } = config;
  const tokens = appAuth === 'off' || appsFile === undefined ? null : loadAppTokens(appsFile);
  if (tokens === null) {
    logger.warn('app authentication is off: every local program may act as any principal');
  }
  const metrics = createMetrics(SIDECAR_METRICS);
  // Before the journal: to open one takes room too.
  const disk = await watchDisk(ports, settings);
  const journal = await ports.openJournal(`${config.dataDir}/journal`, clock, (batch) => {
    metrics.observe('holdfast_journal_batch_commands', batch.size);
    metrics.observe('holdfast_journal_commit_duration_seconds', batch.commitMs / 1_000);
    disk.committed();
  });
  journal.useIntake({
    noRoom: () => disk.noRoom(),
    waitMsMax: settings.writeWaitMsMax,
    onTurnedAway: (reason) => metrics.add('holdfast_admissions_turned_away_total', { reason }),
  });
  const upstream = openUpstream(ports, { settings, metrics, journal });
  const view = new SidecarView({
    hostName: ports.hostName,
    controlLossAfterMs: settings.controlLossAfterMs,
    clock,
    journal,
    disk,
    upstream,
    metrics,
    reconciling: (now) => triedAt(journal, now),
  });
  let listeners: Listeners;
  let parts: BuiltParts & Pick<Parts, 'webhooks'>;
  let webhooks: Webhooks;
  try {
    if (journal.quarantine === null) await upstream.open();
    else logger.error({ evidence: journal.quarantine }, 'the journal takes nothing');
    journal.useOutages(() => upstream.outages.outageId());
    webhooks = openWebhooks(ports, { metrics, journal, targets });
    parts = { ...buildParts(ports, { settings, metrics, journal, upstream, view }), webhooks };
    const { custodian } = parts;
    upstream.onStop((operationIds) => custodian.stop(operationIds));
    listeners = await listen(ports, { settings, metrics, parts, tokens });
  } catch (error) {
    await journal.close();
    throw error;
  }
  const { address } = listeners;
  const { socketPath, dataDir } = config;
  logger.info({ address, socketPath, dataDir, version: VERSION }, 'listening');

  const stop = new AbortController();
  const { retention: limits } = settings;
  const drains = new Drains({ journal, leases: upstream.leases, clock, logger });
  const retention = new Retention({ journal, limits, clock, logger, metrics });
  const tasks =
    journal.quarantine === null
      ? [
          ...upstream.tasks,
          parts.custodian.task(),
          parts.reconciler.task(),
          disk.task(),
          retention.task(),
          drains.task(),
          ...webhooks.tasks(),
        ]
      : [journal.isReadOnly ? untilWritable(`${config.dataDir}/journal`, clock) : untilStopped];
  const running = runTasks([...tasks, view.healthTask], stop.signal);
  const done = Promise.race([running, journal.failed]).catch(async (error: unknown) => {
    // Whoever waits for an answer still gets it: the truth is that the outcome is unknown. So does
    // who was just about to ask: a connection closed under a request says less.
    await clock.sleep(LAST_ANSWERS_MS);
    await closeListeners(listeners);
    throw error;
  });
  return {
    address,
    done,
    async stop() {
      view.stopping();
      logger.info('stopping');
      parts.waits.close();
      await closeListeners(listeners);
      stop.abort();
      await running.catch(() => undefined);
      await ports.transport.close();
      await ports.probe.close();
      await webhooks.close();
      await journal.close();
      logger.info('stopped');
    },
  };
}

function watchDisk(
  { config, clock, random, logger, readDiskSpace }: SidecarPorts,
  { ballastBytes }: SidecarSettings,
): Promise<DiskWatch> {
  const { directory, ballast } = journalFiles(`${config.dataDir}/journal`);
  return DiskWatch.open({
    // It may be a mount of its own; before the first start there is none.
    directory: existsSync(directory) ? directory : config.dataDir,
    ballastPath: ballast,
    ballastBytes,
    readSpace: readDiskSpace,
    clock,
    random,
    logger,
  });
}

/** For a daemon that has nothing to do but to answer. */
const untilStopped: Task = {
  name: 'quarantine',
  run: (signal) =>
    new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
};

/** Ends the daemon then: what is on disk is read anew by the start that may write. */
function untilWritable(directory: string, clock: Clock): Task {
  return {
    name: 'read-only',
    run: async (signal) => {
      while (!signal.aborted) {
        await clock.sleep(WRITABLE_LOOK_MS, signal);
        if (!signal.aborted && !isReadOnly(directory))
          throw new Error(`${directory} takes writes again: the sidecar ends, to be started anew`);
      }
    },
  };
}

type Opened = {
  readonly settings: SidecarSettings;
  readonly metrics: SidecarMetrics;
  readonly journal: Journal;
};

function openUpstream(ports: SidecarPorts, { settings, metrics, journal }: Opened): Upstream {
  const { config, joinToken, hostName, clock, random, logger, transport, compile } = ports;
  return buildUpstream({
    dataDir: config.dataDir,
    config: {
      controlUrl: config.controlUrl,
      hostName,
      ...(joinToken === undefined ? {} : { joinToken }),
      syncIntervalMs: settings.syncIntervalMs,
      requestTimeoutMs: settings.requestTimeoutMs,
      freshTimeoutMs: settings.freshTimeoutMs,
      bundleWaitMs: BUNDLE_WAIT_MS,
      labels: settings.labels,
    },
    clock,
    random,
    logger,
    metrics,
    journalFeed: journal,
    settled: () => journal.operationByKey('', '-'),
    transport,
    compile,
    pause: ports.pause ?? giveWay,
    loopUse: ports.loopUse ?? systemLoopUse(),
  });
}

type BuiltParts = Omit<Parts, 'webhooks'> & {
  readonly custodian: Custodian;
  readonly reconciler: Reconciler;
};

function buildParts(
  ports: SidecarPorts,
  opened: Opened & { readonly upstream: Upstream; readonly view: SidecarView },
): BuiltParts {
  const { clock, random, logger, pause = giveWay } = ports;
  const { settings, metrics, journal, upstream, view } = opened;
  const { leases, outages } = upstream;
  const heartbeats = new Heartbeats();
  if (journal.quarantine === null) {
    for (const operation of journal.reader.withState('executing', EXECUTING_AT_START_MAX))
      heartbeats.follow(operation, clock.now().bootMs);
  }
  const waits = new OperationWaits(clock);
  journal.onChange((operation) => waits.note(operation));
  const { policy, notices, fresh } = upstream;
  const at = { journal, notices, fresh, clock };
  const executions = new Executions({ ...at, leases, heartbeats });
  const limiting = openLimits({ journal, clock, random, logger, fleet: upstream.allotments });
  const { limits } = limiting;
  upstream.allotments.useUsage({
    inUse: (subject) => limits.inUse(subject),
    usedOf: (subject, window) => limits.usedOf(subject, window),
  });
  const approvals = new Approvals({ ...at, executions, policy, random });
  upstream.approvals.useTaker((word, statement) => approvals.receive(word, statement));
  const admissions = new Admissions({
    ...at,
    ...limiting,
    approvalsServed: () => upstream.approvals.isServed(),
    policy,
    leases,
    outages,
    random,
    hostId: () => upstream.identity()?.hostId ?? '',
    onDecision: ({ policyRevision, ...fact }) => {
      metrics.add('holdfast_admissions_total', fact);
      upstream.noteDecision({ ...fact, policyRevision });
    },
    onLimited: (limit) => metrics.add('holdfast_limit_refusals_total', limit),
  });
  const resume = buildResume(ports, { ...opened, executions });
  return {
    admissions,
    reconciler: openReconciler(ports, {
      ...opened,
      executions,
      admissions,
      onReopened: (operation) => limits.reopened(operation),
    }),
    decisions: new Decisions({
      policy: upstream.policy,
      notices,
      leases,
      fresh: upstream.fresh,
      limits,
      clock,
      logger,
      onDecision: (fact) => metrics.add('holdfast_decisions_total', fact),
    }),
    executions,
    claims: openClaims({ journal, executions, leases, clock, pause }, metrics),
    resume,
    waits,
    registers: new Registers({ journal, leases, registersMax: settings.registersMax }),
    custodian: new Custodian({
      journal,
      executions,
      heartbeats,
      resume,
      outages,
      policy: upstream.policy,
      notices,
      clock,
      logger,
      controlLossAfterMs: settings.controlLossAfterMs,
    }),
    journal,
    leases,
    revisions: upstream.revisions,
    config: new ConfigValues({
      policy: upstream.policy,
      clock,
      onRead: (outcome) => metrics.add('holdfast_config_reads_total', { outcome }),
    }),
    leaseTokens: upstream.leaseTokens,
    clock,
    random,
    logger,
    version: VERSION,
    operations: view.routes(),
    budget: () => view.budget(),
    limits: () => limits.limits(limitedRules(upstream.policy.activePolicy())),
    status: () => view.status(),
    health: () => view.health(),
    onConfigStream: ({ open, cut }) => {
      metrics.set('holdfast_config_streams', open);
      if (cut !== undefined) metrics.add('holdfast_config_streams_cut_total', { reason: cut });
    },
    onResponse: ({ seconds, trace, ...labels }) =>
      metrics.observe('holdfast_http_request_duration_seconds', seconds, labels, trace),
  };
}

function openReconciler(
  { clock, random, logger, probe }: SidecarPorts,
  opened: Opened & {
    readonly executions: Executions;
    readonly admissions: Admissions;
    readonly onReopened: (operation: StoredOperation) => void;
  },
): Reconciler {
  const { settings, metrics, journal, executions, admissions, onReopened } = opened;
  watchReconciliations(journal, metrics);
  return new Reconciler({
    journal,
    executions,
    admissions,
    probe,
    targets: settings.probeTargets,
    clock,
    random,
    logger,
    onReopened,
    onTry: (fact) => metrics.add('holdfast_reconciliation_attempts_total', fact),
  });
}

function openClaims(
  parts: Pick<ClaimsParts, 'journal' | 'executions' | 'leases' | 'clock' | 'pause'>,
  metrics: SidecarMetrics,
): Claims {
  return new Claims({
    ...parts,
    onClaim: (outcome, operations) => {
      metrics.add('holdfast_claims_total', { outcome });
      if (outcome === 'claimed') metrics.add('holdfast_claimed_operations_total', {}, operations);
    },
    onWaiting: (waiters) => metrics.set('holdfast_claims_waiting', waiters),
  });
}

function buildResume(
  { clock, logger, pause = giveWay }: Pick<SidecarPorts, 'clock' | 'logger' | 'pause'>,
  opened: Opened & { readonly upstream: Upstream; readonly executions: Executions },
): Resume {
  const { settings, metrics, journal, upstream, executions } = opened;
  const { policy, notices, fresh } = upstream;
  const resume = new Resume({
    journal,
    executions,
    policy,
    notices,
    fresh,
    clock,
    logger,
    ratePerSecond: settings.resumeRate,
    pause,
    onResumed: (as) => metrics.add('holdfast_resumed_total', { as }),
  });
  metrics.beforeScrape(() => showResume(metrics, resume.status()));
  return resume;
}

/** Over a journal that takes nothing there is nothing to tell. */
function openWebhooks(
  { config, clock, random, logger, openTransport }: SidecarPorts,
  opened: Pick<Opened, 'metrics' | 'journal'> & { readonly targets: readonly WebhookTarget[] },
): Webhooks {
  const { metrics, journal, targets } = opened;
  const parts = {
    directory: config.dataDir,
    journal,
    clock,
    random,
    logger,
    openTransport,
    metrics: {
      delivery: (target: string, outcome: string) =>
        metrics.add('holdfast_webhook_deliveries_total', { target, outcome }),
      parked: (target: string, count: number) =>
        metrics.set('holdfast_webhook_parked', count, { target }),
    },
  };
  return new Webhooks(parts, journal.quarantine === null ? targets : []);
}

function listen(
  { config: { allowedHosts, socketPath }, openListeners: open = openListeners }: SidecarPorts,
  opened: Omit<Opened, 'journal'> & { readonly parts: Parts; readonly tokens: AppTokens | null },
): Promise<Listeners> {
  const { settings, metrics, parts, tokens } = opened;
  const build = (transport: 'tcp' | 'unix'): Promise<App> =>
    buildSidecarApp(parts, {
      transport,
      allowedHosts,
      tokens,
      onRejected: (reason) => metrics.add('holdfast_http_requests_rejected_total', { reason }),
    });
  return open({ build, listen: settings.listen, socketPath });
}
