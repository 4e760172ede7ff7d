/**
 * Configuration of the control daemon. Everything that can be wrong with it is said at start, at
 * once.
 */
import Type, { type Static } from 'typebox';
import { LEASE_MARGIN_MS, grantorEndMs, holderEndMs } from '../shared/core/lease.ts';
import { DURATION_PATTERN } from '../shared/core/time.ts';
import {
  ConfigurationError,
  durationMs,
  loadConfiguration,
  type Loaded,
  type Sources,
} from '../shared/platform/configuration.ts';
import { parseListen } from '../shared/platform/http/server.ts';
import type { LogLevel } from '../shared/platform/logger.ts';
import type { RolloutMode } from '../shared/wire/publication.ts';
import type { RolloutStage } from '../shared/wire/rollout.ts';
import { parseStages } from './core/rollout-plan.ts';

const duration = (standard: string, description: string) =>
  Type.String({ pattern: DURATION_PATTERN, default: standard, description });

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

export const ControlConfigurationSchema = Type.Object({
  dataDir: Type.String({
    minLength: 1,
    default: './control-data',
    description: 'directory of the store and the keys; made where it is missing',
  }),
  listen: Type.String({
    default: '127.0.0.1:7480',
    description: 'host:port to serve on; port 0 takes a free one',
  }),
  logLevel: Type.Enum([...LOG_LEVELS], { default: 'info', description: LOG_LEVELS.join(', ') }),
  allowedHosts: Type.Array(Type.String({ minLength: 1 }), {
    default: [],
    description: 'names that the Host header may have, without port; empty allows any',
  }),
  leaseTtl: duration('30s', 'how long a lease lasts without a renewal; hosts sync every 5s'),
  lockDelay: duration(
    '0s',
    'how long a resource stays without owner after a lease ended unreleased; for targets that cannot fence',
  ),
  drift: Type.Number({
    minimum: 0,
    maximum: 0.2,
    default: 0.01,
    description: 'how far apart two clocks may run, as a fraction',
  }),
  leasesPerHostMax: Type.Integer({
    minimum: 1,
    maximum: 10_000,
    default: 1_000,
    description: 'leases that one host may hold at a time',
  }),
  hostLateAfter: duration('15s', 'a host is shown as late when it has not synced for so long'),
  hostLostAfter: duration('1m', 'a host is shown as lost when it has not synced for so long'),
  placementLostAfter: duration(
    '30s',
    'shards of a host go elsewhere when it has not synced for so long, and its leases have ended',
  ),
  placementBrakeShare: Type.Number({
    minimum: 0.05,
    maximum: 1,
    default: 0.5,
    description: 'no shard is placed anew while more than this share of the hosts is silent',
  }),
  bundleWaitMax: duration('30s', 'longest long-poll for a new bundle'),
  bundleWaitersMax: Type.Integer({
    minimum: 1,
    maximum: 100_000,
    default: 20_000,
    description: 'hosts that may wait for a new bundle at a time',
  }),
  reconnectRate: Type.Integer({
    minimum: 1,
    maximum: 100_000,
    default: 500,
    description:
      'hosts out of contact that are taken back in a second; the others are told when to come, holders of leases first',
  }),
  joinTokenTtl: duration('10m', 'how long a join token can be used where its maker does not say'),
  twoPersonPublication: Type.Enum(['off', 'loosening', 'always'], {
    default: 'off',
    description:
      'which policies a second operator has to approve: none, those that may loosen anything, or all',
  }),
  rollout: Type.Enum(['all', 'staged'], {
    default: 'all',
    description: 'how a revision reaches the hosts where its publisher does not say',
  }),
  rolloutStages: Type.Array(Type.String({ minLength: 1, maxLength: 300 }), {
    default: ['5%/10m', '25%/10m', '100%'],
    description:
      'hosts by labels, by percentage, or both with &, and how long each stage bakes, as canary=true/10m; the last is 100%',
  }),
});

export type ControlConfiguration = Static<typeof ControlConfigurationSchema>;

/** The configuration with its durations in numbers. */
export type ControlConfig = {
  readonly dataDir: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly logLevel: LogLevel;
  readonly allowedHosts: readonly string[];
  readonly leaseTtlMs: number;
  readonly lockDelayMs: number;
  readonly drift: number;
  readonly leasesPerHostMax: number;
  readonly hostLateAfterMs: number;
  readonly hostLostAfterMs: number;
  readonly placementLostAfterMs: number;
  readonly placementBrakeShare: number;
  readonly bundleWaitMaxMs: number;
  readonly bundleWaitersMax: number;
  readonly reconnectRate: number;
  readonly joinTokenTtlMs: number;
  readonly twoPersonPublication: 'off' | 'loosening' | 'always';
  readonly rollout: RolloutMode;
  readonly rolloutStages: readonly RolloutStage[];
};

export const JOIN_TOKEN_TTL_MS_MAX = 24 * 3_600_000;

export function loadControlConfig(sources: Sources): Loaded<ControlConfig> {
  const loaded = loadConfiguration(ControlConfigurationSchema, sources);
  if (loaded.kind === 'print') return loaded;
  return { ...loaded, config: resolveControlConfig(loaded.config) };
}

/** Throws `ConfigurationError` with every sum that does not come out. */
export function resolveControlConfig(given: ControlConfiguration): ControlConfig {
  const listen = parseListen(given.listen);
  const stages = parseStages(given.rolloutStages);
  const config = {
    dataDir: given.dataDir,
    listen: listen ?? { host: '', port: 0 },
    logLevel: given.logLevel,
    allowedHosts: given.allowedHosts.map((name) => name.toLowerCase()),
    leaseTtlMs: durationMs(given.leaseTtl),
    lockDelayMs: durationMs(given.lockDelay),
    drift: given.drift,
    leasesPerHostMax: given.leasesPerHostMax,
    hostLateAfterMs: durationMs(given.hostLateAfter),
    hostLostAfterMs: durationMs(given.hostLostAfter),
    placementLostAfterMs: durationMs(given.placementLostAfter),
    placementBrakeShare: given.placementBrakeShare,
    bundleWaitMaxMs: durationMs(given.bundleWaitMax),
    bundleWaitersMax: given.bundleWaitersMax,
    reconnectRate: given.reconnectRate,
    joinTokenTtlMs: durationMs(given.joinTokenTtl),
    twoPersonPublication: given.twoPersonPublication,
    rollout: given.rollout,
    rolloutStages: stages.ok ? stages.stages : [],
  };
  const problems = [
    listen === null
      ? `listen is ${given.listen}: write host:port, as 127.0.0.1:7480 or [::1]:7480`
      : null,
    stages.ok ? null : `rolloutStages: ${stages.problem}`,
    ...checkSums(config),
  ].filter((problem) => problem !== null);
  if (problems.length > 0) throw new ConfigurationError(problems);
  return Object.freeze(config);
}

function checkSums(config: Omit<ControlConfig, 'listen'>): (string | null)[] {
  const between = (name: string, valueMs: number, leastMs: number, mostMs: number): string | null =>
    valueMs >= leastMs && valueMs <= mostMs
      ? null
      : `${name} is ${valueMs} ms: it must be between ${leastMs} and ${mostMs} ms`;
  const { leaseTtlMs, drift } = config;
  const holderMs = holderEndMs(0, leaseTtlMs, drift);
  return [
    between('leaseTtl', leaseTtlMs, 1_000, 3_600_000),
    between('lockDelay', config.lockDelayMs, 0, 60_000),
    between('placementLostAfter', config.placementLostAfterMs, 1_000, 86_400_000),
    between('bundleWaitMax', config.bundleWaitMaxMs, 100, 300_000),
    between('joinTokenTtl', config.joinTokenTtlMs, 1_000, JOIN_TOKEN_TTL_MS_MAX),
    between('hostLateAfter', config.hostLateAfterMs, 1_000, 86_400_000),
    config.hostLostAfterMs > config.hostLateAfterMs
      ? null
      : `hostLostAfter (${config.hostLostAfterMs} ms) must be longer than hostLateAfter (` +
        `${config.hostLateAfterMs} ms)`,
    holderMs > leaseTtlMs / 2 && holderMs < grantorEndMs(0, leaseTtlMs, drift)
      ? null
      : `leaseTtl (${leaseTtlMs} ms) with drift ${drift} and a margin of ${LEASE_MARGIN_MS} ms leaves ` +
        `a holder ${holderMs} ms: lengthen leaseTtl or lower drift`,
  ];
}
