import { healthPart as part, judgePlane } from '../../shared/core/plane-health.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import {
  installOperationsRoutes,
  type Check,
} from '../../shared/platform/http/operations-routes.ts';
import type { App } from '../../shared/platform/http/app.ts';
import type { Metrics } from '../../shared/platform/metrics.ts';
import { HealthSchema, type Health } from '../../shared/wire/health.ts';
import type { ControlConfig } from '../config.ts';
import {
  judgeHosts,
  judgeLeases,
  judgePlacement,
  judgePublication,
  judgeRollout,
  judgeWork,
} from '../core/health-verdict.ts';
import { viewFleet } from '../fleet-view.ts';
import type { HealthWatch } from '../health-watch.ts';
import type { Lessor } from '../leases/lessor.ts';
import type { Placement } from '../leases/placement.ts';
import type { ControlMetrics } from '../metrics.ts';
import type { BundleFeed } from '../policy/bundle-feed.ts';
import type { RolloutDriver } from '../policy/rollout-driver.ts';
import type { DivergenceFinder } from '../reports/divergence-finder.ts';
import type { ControlStore } from '../store/control-store.ts';
import { PROBLEMS } from './route-schemas.ts';

export type HealthPorts = {
  readonly store: ControlStore;
  readonly lessor: Lessor;
  readonly placement: Placement;
  readonly feed: BundleFeed;
  readonly driver: RolloutDriver;
  readonly finder: DivergenceFinder;
  readonly config: ControlConfig;
  readonly clock: Clock;
  readonly metrics: Metrics<ControlMetrics>;
  readonly watch: HealthWatch;
  readonly version: string;
  /** Why the store answers nothing more, or `null`. */
  readonly storeFailure: () => string | null;
};

export function installHealthRoutes(app: App, ports: HealthPorts): void {
  const { metrics, feed, storeFailure } = ports;
  const storeCheck = (): Check => {
    const failure = storeFailure();
    return { name: 'store', ok: failure === null, detail: failure ?? 'answers' };
  };
  const process: Check = { name: 'process', ok: true, detail: 'answers' };
  installOperationsRoutes(app, {
    live: () => [process],
    ready: () => [
      storeCheck(),
      { name: 'accepting', ok: !feed.isClosed, detail: feed.isClosed ? 'is stopping' : 'serves' },
    ],
    started: () => [storeCheck()],
    expose: (accept) => metrics.expose(accept),
  });
  metrics.beforeScrape(() => collectMetrics(ports));
  app.get(
    '/v1/health',
    {
      config: { access: { kind: 'operator', role: 'viewer' } },
      schema: {
        summary: 'Health of the control plane and of the data plane, apart',
        response: { 200: HealthSchema, ...PROBLEMS },
      },
    },
    async () => describeHealth(ports),
  );
}

/** With the times of its parts, which it also remembers. */
export async function describeHealth(ports: HealthPorts): Promise<Health> {
  const seen = await lookAtHealth(ports);
  const { memory } = ports.watch;
  return {
    ...seen,
    controlPlane: memory.note('controlPlane', seen.controlPlane, seen.atMs),
    dataPlane: memory.note('dataPlane', seen.dataPlane, seen.atMs),
  };
}

async function lookAtHealth(ports: HealthPorts): Promise<Health> {
  const { store, lessor, clock, version, storeFailure } = ports;
  const atMs = clock.now().wallMs;
  const failure = storeFailure();
  if (failure !== null) {
    const unknown = part('unknown', 'the store does not answer');
    return {
      daemon: 'control',
      version,
      atMs,
      controlPlane: judgePlane({ store: part('failed', failure, { lastError: failure }) }, ''),
      dataPlane: judgePlane(
        { executing: unknown, unknown, unreported: unknown },
        'not known from here',
      ),
    };
  }
  const fleet = await viewFleet({ ...ports, hosts: store.hosts });
  const newest = await store.policy.currentNumber();
  return {
    daemon: 'control',
    version,
    atMs,
    controlPlane: judgePlane(
      {
        store: part('ok', 'commits', { lastSuccessMs: atMs }),
        publication: judgePublication(newest, fleet, lessor.publicationWaitMs()),
        rollout: judgeRollout(ports.driver.status(), newest),
        hosts: judgeHosts(fleet),
        leases: judgeLeases(await countLeases(store, lessor), lessor.recovery),
        ...(ports.placement.hasGroups
          ? { placement: judgePlacement(ports.placement.brake()) }
          : {}),
      },
      'publishes, grants and answers',
    ),
    dataPlane: judgePlane(judgeWork(fleet), 'nothing that hosts have reported needs anybody'),
  };
}

async function countLeases(store: ControlStore, lessor: Lessor) {
  const counts = { held: 0, expired: 0, released: 0 };
  for (const record of await store.leases.all()) counts[lessor.view(record).state] += 1;
  return counts;
}

async function collectMetrics(ports: HealthPorts): Promise<void> {
  const { store, lessor, feed, metrics, version, storeFailure } = ports;
  metrics.set('holdfast_build_info', 1, { daemon: 'control', version });
  metrics.set('holdfast_control_bundle_waiters', feed.waiting);
  // What the store knows is left as it was last known: a scrape must not fail together with it.
  if (storeFailure() !== null) return;
  const fleet = await viewFleet({ ...ports, hosts: store.hosts });
  for (const [state, held] of Object.entries(fleet.states)) {
    metrics.set('holdfast_control_hosts', held, { state });
  }
  metrics.set('holdfast_control_hosts_behind', fleet.behind);
  metrics.set('holdfast_control_events_unreported', fleet.unreported);
  const nowMs = ports.clock.now().wallMs;
  metrics.set('holdfast_control_approvals_pending', await store.approvals.countPending(nowMs));
  metrics.set('holdfast_control_policy_revision', (await store.policy.currentNumber()) ?? 0);
  for (const [state, held] of Object.entries(await countLeases(store, lessor))) {
    metrics.set('holdfast_control_leases', held, { state });
  }
  const rollout = ports.driver.status();
  metrics.reset('holdfast_control_rollout_state');
  if (rollout !== null) metrics.set('holdfast_control_rollout_state', 1, { state: rollout.state });
  metrics.set('holdfast_control_rollout_stage', ports.driver.underWay?.stage ?? 0);
  const openProposals = await store.proposals.countOpen(ports.clock.now().wallMs);
  metrics.set('holdfast_control_proposals_open', openProposals);
  metrics.set('holdfast_control_recovering', lessor.recovery.isOver ? 0 : 1);
  metrics.set('holdfast_control_highest_epoch', (await store.state()).highestEpoch);
  const { behindEvents } = await ports.finder.progress();
  metrics.set('holdfast_control_reevaluation_behind_events', behindEvents);
  metrics.reset('holdfast_control_divergences');
  for (const [state, held] of Object.entries(await store.divergences.countByState())) {
    metrics.set('holdfast_control_divergences', held, { state });
  }
  metrics.reset('holdfast_control_operations');
  for (const [state, held] of Object.entries(await store.reports.countByState())) {
    metrics.set('holdfast_control_operations', held, { state });
  }
}
