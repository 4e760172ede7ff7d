/**
 * Configuration of the sidecar. Durations are text with a unit; `sidecarSettings` gives them in ms,
 * checked.
 */
import Type, { type Static } from 'typebox';
import { ConfigurationError, durationMs } from '../shared/platform/configuration.ts';
import { parseListen } from '../shared/platform/http/server.ts';
import { DAY_MS, DURATION_PATTERN, HOUR_MS } from '../shared/core/time.ts';
import { LABEL_FORM, LABEL_KEY_PATTERN, LABEL_VALUE_PATTERN } from '../shared/core/labels.ts';
import { RESUME_RATE_MAX } from '../shared/wire/resume-api.ts';
import type { Labels } from '../shared/wire/rollout.ts';
import type { RetentionLimits } from './core/retention.ts';
import { LOOPBACK_TARGETS, probeTargets, type ProbeTargets } from './recovery/probe-targets.ts';

const SIZE_PATTERN = '^[0-9]{1,9}(B|KiB|MiB|GiB)$';
const SIZE_UNITS_BYTES = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const;
const BALLAST_BYTES_MAX = 16 * SIZE_UNITS_BYTES.GiB;
const JOURNAL_BYTES_MIN = 16 * SIZE_UNITS_BYTES.MiB;
const RETENTION_MS_MAX = 3_650 * DAY_MS;

const duration = (description: string, standard: string) =>
  Type.String({
    pattern: DURATION_PATTERN,
    description: `${description}; a duration, as 500ms, 5s, 15m`,
    default: standard,
  });

const REGISTERS_MAX = 10_000;

export const SidecarConfigSchema = Type.Object(
  {
    dataDir: Type.String({
      minLength: 1,
      description: 'directory of the journal, the identity and the cached authority',
      default: '/var/lib/holdfast/sidecar',
    }),
    listen: Type.String({
      description: 'loopback address and port for apps, or "off" for the Unix socket alone',
      default: '127.0.0.1:7490',
    }),
    socketPath: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 100,
        description: 'Unix socket for apps (mode 0660), beside or instead of TCP',
      }),
    ),
    allowedHosts: Type.Array(Type.String(), {
      description: 'Host names, besides the loopback ones, that TCP answers to',
      default: [],
    }),
    controlUrl: Type.String({
      pattern: '^https?://[^\\s]+$',
      description: 'URL of control',
      default: 'http://127.0.0.1:7480',
    }),
    hostName: Type.Optional(
      Type.String({
        pattern: '^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$',
        description:
          'name of this host, as its join token has it; default: the name of the machine',
      }),
    ),
    labels: Type.Array(Type.String({ minLength: 3, maxLength: 130 }), {
      description: 'labels of this host by which a revision is rolled out, as canary=true',
      default: [],
    }),
    joinTokenFile: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'file with the one-time join token; needed for the first start only',
      }),
    ),
    appsFile: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'YAML or JSON file of the apps, their bearer tokens and principals',
      }),
    ),
    appAuth: Type.Enum(['required', 'off'], {
      description: 'off lets every local program act as any principal: for development only',
      default: 'required',
    }),
    webhooksFile: Type.Optional(
      Type.String({
        minLength: 1,
        description:
          'YAML or JSON file of the targets that are told what became of approvals, with their secrets',
      }),
    ),
    syncInterval: duration('time between syncs with control', '5s'),
    requestTimeout: duration('bound of one call to control', '5s'),
    freshTimeout: duration('bound of asking control for a fresh decision', '2s'),
    controlLossAfter: duration(
      'how long control must be out of reach before onControlLoss takes hold',
      '10s',
    ),
    resumeRate: Type.Integer({
      minimum: 1,
      maximum: RESUME_RATE_MAX,
      default: 40,
      description: 'paused operations that go on in a second once control is back',
    }),
    ballast: Type.String({
      pattern: SIZE_PATTERN,
      description:
        'room kept beside the journal, given back to accepted work when the disk is full; a size, as 64MiB; 0B for none',
      default: '64MiB',
    }),
    writeWaitMax: duration(
      'new work is refused at once where a write would wait longer for the disk',
      '2s',
    ),
    retention: duration(
      'how long an operation and its idempotency key are kept once it has ended and control holds it',
      '7d',
    ),
    maxJournalSize: Type.String({
      pattern: `^off$|${SIZE_PATTERN}`,
      description:
        'over it, what has ended, is reported and past its deadline goes before its retention; a size, or "off"',
      default: '4GiB',
    }),
    registersMax: Type.Integer({
      minimum: 0,
      maximum: 1_000_000,
      default: REGISTERS_MAX,
      description: 'registers that this host keeps at most, each up to 64 KiB',
    }),
    probeTargets: Type.Array(Type.String({ minLength: 1, maxLength: 300 }), {
      description:
        'hosts, each with a port or without, that a rule may have asked what became of an operation',
      default: [...LOOPBACK_TARGETS],
    }),
    logLevel: Type.Enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
      description: 'lines below it are not logged',
      default: 'info',
    }),
  },
  { additionalProperties: false },
);
export type SidecarConfig = Static<typeof SidecarConfigSchema>;

export type SidecarSettings = {
  readonly syncIntervalMs: number;
  readonly requestTimeoutMs: number;
  readonly freshTimeoutMs: number;
  readonly controlLossAfterMs: number;
  readonly resumeRate: number;
  readonly ballastBytes: number;
  readonly writeWaitMsMax: number;
  readonly retention: RetentionLimits;
  readonly registersMax: number;
  readonly probeTargets: ProbeTargets;
  readonly listen: { readonly host: string; readonly port: number } | null;
  readonly labels: Labels;
};

const LOOPBACK = /^(127\.\d+\.\d+\.\d+|::1)$/;

/**
 * Throws a `ConfigurationError` with every problem at once: arithmetic that cannot work refuses to
 * start.
 */
export function sidecarSettings(config: SidecarConfig): SidecarSettings {
  const problems: string[] = [];
  const settings = {
    syncIntervalMs: durationMs(config.syncInterval),
    requestTimeoutMs: durationMs(config.requestTimeout),
    freshTimeoutMs: durationMs(config.freshTimeout),
    controlLossAfterMs: durationMs(config.controlLossAfter),
    resumeRate: config.resumeRate,
    ballastBytes: sizeBytes(config.ballast),
    writeWaitMsMax: durationMs(config.writeWaitMax),
    retention: {
      retentionMs: durationMs(config.retention),
      sizeBytesMax: config.maxJournalSize === 'off' ? null : sizeBytes(config.maxJournalSize),
    },
    registersMax: config.registersMax,
    probeTargets: targetsOf(config.probeTargets, problems),
    listen: config.listen === 'off' ? null : parseListen(config.listen),
    labels: labelsOf(config.labels, problems),
  };
  if (settings.syncIntervalMs < 100)
    problems.push(`syncInterval ${config.syncInterval} is too short: at least 100ms`);
  if (settings.requestTimeoutMs < 50 || settings.freshTimeoutMs < 50)
    problems.push('requestTimeout and freshTimeout must be at least 50ms');
  if (settings.freshTimeoutMs > 30_000)
    problems.push(`freshTimeout ${config.freshTimeout} would hold a caller too long: at most 30s`);
  if (settings.ballastBytes > BALLAST_BYTES_MAX)
    problems.push(`ballast ${config.ballast} is too large: at most 16GiB`);
  if (settings.writeWaitMsMax < 100)
    problems.push(`writeWaitMax ${config.writeWaitMax} is too short: at least 100ms`);
  problems.push(...retentionProblems(config, settings.retention));
  if (config.listen !== 'off') {
    if (settings.listen === null)
      problems.push(`listen ${config.listen} is not an address and a port, as 127.0.0.1:7490`);
    else if (!LOOPBACK.test(settings.listen.host) && config.allowedHosts.length === 0) {
      problems.push(
        `listen ${config.listen} is not a loopback address: use 127.0.0.1 or [::1], or name the hosts it is reached by in allowedHosts`,
      );
    }
  }
  if (config.listen === 'off' && config.socketPath === undefined)
    problems.push('listen is off and socketPath is not set: apps could not reach the sidecar');
  if (config.appAuth === 'required' && config.appsFile === undefined) {
    problems.push(
      'appsFile is required: set --apps-file to a file of apps and their tokens, or --app-auth off for development',
    );
  }
  if (problems.length > 0) throw new ConfigurationError(problems);
  return settings;
}

/**
 * No bound from the longest deadline is needed here: a key is kept until the deadline of its own
 * operation whatever `retention` is.
 */
function retentionProblems(config: SidecarConfig, limits: RetentionLimits): string[] {
  const problems: string[] = [];
  if (limits.retentionMs < HOUR_MS)
    problems.push(`retention ${config.retention} is too short: a retry may come for an hour`);
  if (limits.retentionMs > RETENTION_MS_MAX)
    problems.push(`retention ${config.retention} is too long: at most 3650d`);
  if (limits.sizeBytesMax !== null && limits.sizeBytesMax < JOURNAL_BYTES_MIN)
    problems.push(`maxJournalSize ${config.maxJournalSize} is too small: at least 16MiB, or off`);
  return problems;
}

function targetsOf(texts: readonly string[], problems: string[]): ProbeTargets {
  try {
    return probeTargets(texts);
  } catch (error) {
    problems.push(`probeTargets: ${error instanceof Error ? error.message : String(error)}`);
    return probeTargets([]);
  }
}

const LABEL_KEY = new RegExp(LABEL_KEY_PATTERN);
const LABEL_VALUE = new RegExp(LABEL_VALUE_PATTERN);
const LABELS_MAX = 32;

function labelsOf(texts: readonly string[], problems: string[]): Labels {
  const labels: Record<string, string> = {};
  for (const text of texts) {
    const [key = '', value = '', ...rest] = text.split('=');
    if (!LABEL_KEY.test(key) || !LABEL_VALUE.test(value) || rest.length > 0)
      problems.push(`labels: ${text} is no label: write name=value, as canary=true; ${LABEL_FORM}`);
    else if (Object.hasOwn(labels, key)) problems.push(`labels: ${key} is given twice`);
    else labels[key] = value;
  }
  if (texts.length > LABELS_MAX) problems.push(`labels: at most ${LABELS_MAX}`);
  return labels;
}

/** The schema has checked its form. */
function sizeBytes(text: string): number {
  const unit = text.replace(/^[0-9]+/, '') as keyof typeof SIZE_UNITS_BYTES;
  return Number.parseInt(text, 10) * SIZE_UNITS_BYTES[unit];
}
