/**
 * Stages as they are written in the configuration, and which hosts a stage takes.
 *
 * L1  A host is picked by its labels and by its place in an order made of host and revision: the
 *     same hosts for a revision whoever asks, others for the next one.
 * L2  A percentage of any hosts is at least one of them: a stage that tries a revision on nobody
 *     proves nothing.
 */
import { LABEL_KEY_PATTERN, LABEL_VALUE_PATTERN } from '../../shared/core/labels.ts';
import { parseDurationMs } from '../../shared/core/time.ts';
import type { Labels, RolloutStage } from '../../shared/wire/rollout.ts';

const STAGES_MAX = 10;
const LABEL_KEY = new RegExp(LABEL_KEY_PATTERN);
const LABEL_VALUE = new RegExp(LABEL_VALUE_PATTERN);

export type ParsedStages =
  | { readonly ok: true; readonly stages: readonly RolloutStage[] }
  | { readonly ok: false; readonly problem: string };

/** `canary=true/10m`, `zone=eu&25%/15m`, `100%`. */
export function parseStages(texts: readonly string[]): ParsedStages {
  const stages: RolloutStage[] = [];
  for (const text of texts) {
    const stage = parseStage(text);
    if (stage === null) {
      return {
        ok: false,
        problem: `stage ${text} is none: write labels, a percentage, or both with &, and after a slash how long it bakes, as canary=true/10m, zone=eu&25%/15m or 100%`,
      };
    }
    stages.push(stage);
  }
  const last = stages.at(-1);
  if (stages.length > STAGES_MAX) return { ok: false, problem: `at most ${STAGES_MAX} stages` };
  if (last === undefined || last.percentage !== 100 || Object.keys(last.labels).length > 0) {
    return { ok: false, problem: 'the last stage must be 100%, or some hosts would never get it' };
  }
  return { ok: true, stages };
}

function parseStage(text: string): RolloutStage | null {
  const [hosts = '', bake, ...rest] = text.split('/');
  const bakeMs = bake === undefined ? 0 : parseDurationMs(bake.trim());
  if (bakeMs === null || rest.length > 0) return null;
  const labels: Record<string, string> = {};
  let percentage: number | null = null;
  for (const part of hosts.split('&').map((one) => one.trim())) {
    const percent = /^([1-9][0-9]?|100)%$/.exec(part)?.[1];
    if (percent !== undefined && percentage === null) {
      percentage = Number(percent);
      continue;
    }
    const [key = '', value = '', ...more] = part.split('=');
    const isNew = !Object.hasOwn(labels, key);
    if (!LABEL_KEY.test(key) || !LABEL_VALUE.test(value) || more.length > 0 || !isNew) return null;
    labels[key] = value;
  }
  return { labels, percentage: percentage ?? 100, bakeMs };
}

/** As it is written in the configuration. */
export function stageText({ labels, percentage }: RolloutStage): string {
  const parts = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  if (percentage < 100 || parts.length === 0) parts.push(`${percentage}%`);
  return parts.join('&');
}

export type Candidate = {
  readonly hostId: string;
  readonly labels: Labels;
  readonly place: number;
};

/** L1, L2: the hosts of the stages up to this one. */
export function pickHosts(
  stages: readonly RolloutStage[],
  hosts: readonly Candidate[],
): ReadonlySet<string> {
  const picked = new Set<string>();
  for (const { labels, percentage } of stages) {
    const wanted = Object.entries(labels);
    const fitting = hosts.filter((host) =>
      wanted.every(([key, value]) => Object.hasOwn(host.labels, key) && host.labels[key] === value),
    );
    const taken = Math.ceil((fitting.length * percentage) / 100);
    const ordered =
      taken === fitting.length
        ? fitting
        : fitting.toSorted((a, b) => a.place - b.place || (a.hostId < b.hostId ? -1 : 1));
    for (const { hostId } of ordered.slice(0, taken)) picked.add(hostId);
  }
  return picked;
}

/** L1: FNV-1a over revision and host, so that no revision is tried on the same hosts as the last. */
export function placeOf(policyRevision: number, hostId: string): number {
  let hash = 0x811c9dc5;
  for (const character of `${policyRevision}:${hostId}`) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  }
  // FNV's low bits hardly move for inputs that end alike.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
