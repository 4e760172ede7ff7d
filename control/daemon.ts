/**
 * The control daemon from its ports. `openControl` takes them from the disk and the machine; a
 * simulation hands `buildControl` its own, and gets the same daemon.
 *
 * D1  Nothing is served before the run has begun in the store, the floor is on disk, and the end of
 *     the audit trail has been verified.
 * D2  When the store fails the daemon ends: what it would say from memory could be untrue.
 */
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { makeId } from '../shared/core/ids.ts';
import { SystemClock, type Clock } from '../shared/platform/clock.ts';
import { makeDirectory, writeDurableFile } from '../shared/platform/durable-file.ts';
import type { App } from '../shared/platform/http/app.ts';
import { createLogger, type Logger } from '../shared/platform/logger.ts';
import { createMetrics, type Metrics } from '../shared/platform/metrics.ts';
import { SystemRandom, type Random } from '../shared/platform/random.ts';
import { StartError, type RunningDaemon } from '../shared/platform/shutdown.ts';
import { publicPart } from '../shared/platform/signatures.ts';
import type { PublicKey } from '../shared/wire/statements.ts';
import { checkAuditChain } from './audit-check.ts';
import type { ControlConfig } from './config.ts';
import { floorAtStart, isRolledBack } from './core/floors.ts';
import { ApprovalDesk } from './approvals/approval-desk.ts';
import { EnrolmentDesk } from './hosts/enrolment.ts';
import { HostAuthenticator } from './hosts/host-authenticator.ts';
import { HealthWatch } from './health-watch.ts';
import { HealthBook } from './hosts/health-book.ts';
import { HostSync } from './hosts/host-sync.ts';
import { ReconnectGate } from './hosts/reconnect-gate.ts';
import { describeFleetHealth } from './http/fleet-health-routes.ts';
import { describeHealth } from './http/health-routes.ts';
import { SilenceWatch } from './hosts/silence-watch.ts';
import { buildApp } from './http/app.ts';
import type { RouteAccess } from './http/access.ts';
import { AssignmentTable } from './leases/assignment-table.ts';
import { FloorKeeper } from './leases/floor-keeper.ts';
import { LeaseDesk } from './leases/lease-desk.ts';
import { Allotter } from './leases/allotter.ts';
import { Lessor } from './leases/lessor.ts';
import { Placement } from './leases/placement.ts';
import { PlacementDesk } from './leases/placement-desk.ts';
import { CONTROL_METRICS, type ControlMetrics } from './metrics.ts';
import { NoticeBoard } from './notices/notice-board.ts';
import { NoticeDesk } from './notices/notice-desk.ts';
import { NoticeViews } from './notices/notice-views.ts';
import { OperatorRegistry } from './operators/operator-registry.ts';
import { BundleFeed } from './policy/bundle-feed.ts';
import { HostBook } from './policy/host-book.ts';
import { PolicyPublisher } from './policy/policy-publisher.ts';
import { ProposalDesk } from './policy/proposal-desk.ts';
import { PublicationDesk } from './policy/publication-desk.ts';
import { PublicationReporter } from './policy/publication-reporter.ts';
import { RolloutDriver } from './policy/rollout-driver.ts';
import { ParkedEvents } from './reports/parked-events.ts';
import { StagingLog } from './policy/staging-log.ts';
import { AnchorKeeper } from './reports/anchor-keeper.ts';
import { ControlTime } from './reports/control-time.ts';
import { DivergenceDesk } from './reports/divergence-desk.ts';
import { DivergenceFinder } from './reports/divergence-finder.ts';
import { ReportIntake } from './reports/report-intake.ts';
import { StopOrders } from './reports/stop-orders.ts';
import { openSigningKeys, type SigningKeys } from './signing-keys.ts';
import { SigningRing } from './signing-ring.ts';
import type { ControlStore } from './store/control-store.ts';
import { openFloorFile, type FloorStore } from './store/floor-file.ts';
import { openSqliteControlStore } from './store/sqlite-control-store.ts';

export type ControlPorts = {
  readonly config: ControlConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly store: ControlStore;
  readonly floors: FloorStore;
  readonly keys: SigningKeys;
  readonly logger: Logger;
  readonly version: string;
  /** Where the token of the first admin is put; called only when there are no operators. */
  readonly keepAdminToken: (token: string) => void;
  /** Answers with where it is reached; default: by the socket that is configured. */
  readonly serve?: (app: App) => Promise<string>;
};

export type Control = {
  readonly app: App;
  readonly controlId: string;
  readonly routes: readonly RouteAccess[];
  /** Revocations, stops and holds, as what was decided is held against them. */
  readonly notices: NoticeBoard;
  /** Serves on the configured address; answers with the one that it got. */
  listen(): Promise<string>;
  /** Resolves when `stop` is done; rejects when the store fails (D2). */
  run(): Promise<void>;
  stop(): Promise<void>;
};

type Base = Pick<ControlPorts, 'config' | 'clock' | 'random' | 'logger'> & {
  readonly metrics: Metrics<ControlMetrics>;
  readonly signer: SigningRing;
  readonly controlId: string;
  readonly trustKeys: readonly PublicKey[];
  readonly floors: FloorKeeper;
};
type Start = Awaited<ReturnType<typeof beginRun>>['start'];

const AUDIT_ENTRIES_CHECKED = 1_000;
/** After an outage all hosts connect at once; the kernel has bounds of its own. */
const LISTEN_BACKLOG = 4_096;

export async function buildControl(ports: ControlPorts): Promise<Control> {
  const { config, clock, random, store, keys, logger, version } = ports;
  const metrics = createMetrics(CONTROL_METRICS);
  const { controlId, floors, start } = await beginRun(ports);
  const { recovery } = start;
  if (recovery.kind === 'rollback') metrics.add('holdfast_control_rollbacks_total');

  const auditFault = checkAuditChain(await store.audit.tail(AUDIT_ENTRIES_CHECKED));
  if (auditFault !== null) {
    throw new StartError(`${auditFault}: keep the data as evidence, and restore it from a backup`);
  }
  const operators = new OperatorRegistry({ store: store.operators, clock, random });
  await operators.ensureAdmin(ports.keepAdminToken);

  let failure: Error | null = null;
  const ended = Promise.withResolvers<void>();
  // Its rejection is looked at in `run`, which a simulation may never call.
  ended.promise.catch(() => {});
  store.onFailure((error) => {
    failure ??= error;
    ended.reject(error);
  });

  const signer = await SigningRing.open({ keys, store, logger });
  const trustKeys = keys.map(publicPart);
  const base: Base = {
    config,
    clock,
    random,
    logger,
    metrics,
    signer,
    controlId,
    trustKeys,
    floors,
  };
  const shells = await buildShells(base, store, start);
  const { feed, driver, placement, watch, silences, finder, notices } = shells;
  await silences.open(start.run);
  const appPorts = {
    ...base,
    ...shells,
    store,
    operators,
    version,
    storeFailure: () => failure?.message ?? null,
  };
  const { app, routes } = await buildApp(appPorts);
  await driver.open();
  // What was left over a restart.
  finder.wake();
  return {
    app,
    notices,
    controlId,
    routes,
    async listen() {
      await placement.start();
      watch.start(async () => {
        await describeHealth(appPorts);
        await describeFleetHealth(appPorts);
      });
      silences.start();
      return ports.serve === undefined ? listenOn(app, config) : ports.serve(app);
    },
    run: () => ended.promise,
    async stop() {
      // First those who wait: a server that closes waits for their requests.
      feed.close();
      driver.close();
      await app.close();
      await finder.close();
      await placement.stop();
      await watch.stop();
      await silences.stop();
      await store.close();
      ended.resolve();
    },
  };
}

/** What reads, asks `core/` and writes, each built on those before it. */
async function buildShells(base: Base, store: ControlStore, start: Start) {
  const { clock, config } = base;
  const feed = new BundleFeed({ clock, waitersMax: config.bundleWaitersMax });
  const assignments = new AssignmentTable();
  const lessor = new Lessor({ ...base, store: store.leases, assignments }, start);
  const leaseDesk = new LeaseDesk({ ...base, store, lessor, assignments });
  const placement = new Placement({ ...base, store, lessor, leaseDesk, assignments }, start);
  const time = await ControlTime.open({ store: store.timeline, clock });
  const publisher = new PolicyPublisher({ ...base, store, lessor, time });
  const book = new HostBook();
  await book.open(store, clock.now());
  const healthBook = new HealthBook();
  const stagings = await StagingLog.open({ ...base, store: store.timeline, time });
  const driver = new RolloutDriver({ ...base, store, publisher, book, feed, time, stagings });
  const reporter = new PublicationReporter({ store: store.reports, clock });
  const publications = new PublicationDesk({ ...base, store, publisher, reporter, driver, feed });
  const silences = new SilenceWatch({ ...base, store: store.outages });
  const allotter = new Allotter({
    ...base,
    store: store.allotments,
    lessor,
    policy: async () => publisher.compiled(await store.policy.currentNumber()),
    hosts: start.hosts,
  });
  const reevaluating = await buildReevaluation({ ...base, store, publisher, time });
  const approvals = new ApprovalDesk({
    ...base,
    store,
    publisher,
    call: (hostId) => feed.call(hostId),
  });
  const noticeDesk = await NoticeDesk.open({
    ...base,
    store: store.notices,
    board: reevaluating.notices,
    time,
    wake: () => feed.wake(),
  });
  const noticeViews = new NoticeViews({ ...base, desk: noticeDesk, store, publisher, book });
  base.metrics.beforeScrape(() =>
    base.metrics.set('holdfast_control_notices_unconfirmed', noticeViews.unconfirmed()),
  );
  return {
    ...reevaluating,
    feed,
    approvals,
    noticeDesk,
    noticeViews,
    lessor,
    leaseDesk,
    placement,
    silences,
    placementDesk: new PlacementDesk({ store, placement, clock, book }),
    allotter,
    publisher,
    publications,
    proposals: new ProposalDesk({ ...base, store, publisher, desk: publications }),
    driver,
    book,
    healthBook,
    watch: new HealthWatch({ clock }),
    authenticator: new HostAuthenticator({ ...base, store: store.hosts }),
    desk: new EnrolmentDesk({ ...base, store: store.hosts }),
    reconnects: new ReconnectGate(base),
    sync: new HostSync({
      ...base,
      ...reevaluating,
      store,
      lessor,
      allotter,
      approvals,
      noticeDesk,
      driver,
      book,
      healthBook,
      placement,
      silences,
      time,
    }),
    parked: new ParkedEvents({ clock, store: store.parked }),
    intake: new ReportIntake({ ...base, store, finder: reevaluating.finder }),
  };
}

/** What makes decisions of hosts again under what was in force. */
async function buildReevaluation(
  ports: Base & {
    readonly store: ControlStore;
    readonly publisher: PolicyPublisher;
    readonly time: ControlTime;
  },
) {
  const { store } = ports;
  const { timeline, divergences } = store;
  const notices = await NoticeBoard.open({ ...ports, timeline, divergences });
  const finder = new DivergenceFinder({ ...ports, notices });
  const stops = await StopOrders.open(store);
  return {
    notices,
    finder,
    stops,
    anchors: new AnchorKeeper({ ...ports, store: timeline }),
    divergences: new DivergenceDesk({ ...ports, finder, stops }),
  };
}

/**
 * D1: begins a run that no earlier one and no copy of the store has had, with floors above all of
 * them.
 */
async function beginRun({ store, floors: floorStore, clock, random, logger }: ControlPorts) {
  const state = await store.state();
  const remembered = floorStore.read();
  const { floor, markedEpoch } = remembered;
  if (isRolledBack(state, remembered)) {
    logger.error(
      { storeRun: state.run, storeEpoch: state.highestEpoch, floor, markedEpoch },
      'the store is an older copy: nothing is granted until every lease of before has ended',
    );
  }
  const now = clock.now();
  const { controlId, run } = await store.startRun({
    controlId: state.controlId ?? makeId('ctl', now.wallMs, random.bytes(16)),
    run: Math.max(state.run, floor?.run ?? 0) + 1,
  });
  const policyRevision = (await store.policy.currentNumber()) ?? 0;
  const begun = floorAtStart({ ...state, policyRevision }, remembered, { run, wallMs: now.wallMs });
  const floors = new FloorKeeper(floorStore, begun);
  const start = {
    run,
    // With a restored copy the number of a run comes again; this does not.
    runId: Buffer.from(random.bytes(16)).toString('base64url'),
    recovery: {
      kind: begun.recovering === 'no' ? ('restart' as const) : ('rollback' as const),
      startedBootMs: now.bootMs,
    },
    longestTermMs: state.longestTermMs,
    hosts: await store.hosts.all(),
    storedEpoch: state.highestEpoch,
  };
  return { controlId, floors, start };
}

async function listenOn(app: App, { listen }: ControlConfig): Promise<string> {
  await app.listen({
    ...listen,
    backlog: LISTEN_BACKLOG,
    listenTextResolver: (at) => `HTTP socket open at ${at}`,
  });
  return addressOf(app);
}

function addressOf(app: App): string {
  const { address, family, port } = app.server.address() as AddressInfo;
  return family === 'IPv6' ? `http://[${address}]:${port}` : `http://${address}:${port}`;
}

/** The daemon on this machine: opened, listening, and saying where. */
export async function openControl(config: ControlConfig, version: string): Promise<RunningDaemon> {
  const logger = createLogger({ name: 'control', level: config.logLevel });
  prepareDirectory(config.dataDir);
  const keys = await openSigningKeys(config.dataDir);
  const store = openSqliteControlStore(join(config.dataDir, 'control.db'));
  const tokenPath = join(config.dataDir, 'admin.token');
  try {
    const control = await buildControl({
      config,
      store,
      keys,
      logger,
      version,
      clock: new SystemClock(),
      random: new SystemRandom(),
      floors: openFloorFile(config.dataDir),
      keepAdminToken(token) {
        writeDurableFile(tokenPath, `${token}\n`);
        logger.warn({ path: tokenPath }, 'first start: the token of operator admin was written');
      },
    });
    const address = await control.listen();
    const { controlId } = control;
    logger.info({ address, controlId, dataDir: config.dataDir, version }, 'listening');
    return { done: control.run(), stop: () => control.stop() };
  } catch (error) {
    await store.close();
    throw error;
  }
}

function prepareDirectory(path: string): void {
  try {
    makeDirectory(path);
    accessSync(path, constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StartError(
      `cannot write to ${path} (${code ?? String(error)}): make it, or choose another with --data-dir`,
    );
  }
}
