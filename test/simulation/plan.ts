/**
 * All that a run will do to the daemons, drawn from its seed before it begins. Each task and each
 * fault has a seed of its own: one that is left out changes none of the others.
 */
import type { ControlConfiguration } from '../../control/config.ts';
import { FakeRandom } from '../fakes/fake-random.ts';
import type { FaultKind, RunTerms } from './history.ts';

export type TaskKind =
  | 'order'
  | 'look'
  | 'keep'
  | 'publish'
  | 'rollout'
  | 'approvals'
  | 'move'
  | 'drain'
  | 'undrain'
  | 'settle'
  | 'burst'
  | 'expiry'
  | 'drill';

export type PlannedTask = {
  readonly id: number;
  readonly atMs: number;
  readonly kind: TaskKind;
  readonly host: number;
  readonly seed: number;
};

export type PlannedFault = {
  readonly id: number;
  readonly atMs: number;
  readonly durationMs: number;
  readonly kind: FaultKind;
  /** `null`: control. */
  readonly host: number | null;
  readonly seed: number;
};

export type Plan = {
  readonly seed: number;
  readonly terms: RunTerms;
  readonly rollout: ControlConfiguration['rollout'];
  /** How late rounds come on every machine. */
  readonly beatMs: number;
  readonly tasks: readonly PlannedTask[];
  readonly faults: readonly PlannedFault[];
};

const MINUTE_MS = 60_000;
/** Of the safety phase; the time until all has come to rest is added to it. */
export const MINUTES_STANDARD = 20;
/** Of a campaign: more seeds find more than longer ones. */
export const MINUTES_OF_CAMPAIGN = 4;
/** Nothing is broken before everything has come up. */
const CALM_MS = 45_000;

/** In a safety phase of the standard length. */
const TASKS_PER_RUN: Readonly<Record<Exclude<TaskKind, 'drill'>, number>> = {
  order: 60,
  look: 10,
  keep: 16,
  publish: 4,
  rollout: 2,
  approvals: 40,
  move: 6,
  drain: 1,
  undrain: 1,
  settle: 6,
  burst: 5,
  expiry: 3,
};

/** Dealt in turn, so that a few seeds have had each of them; one after the other, apart in time. */
const DRILLS_PER_RUN = 5;
const DRILL_MS = 160_000;
const DRILL_IDS_FROM = 10_000;

/** How often each is chosen, and how long it lasts at most; 0: it has no length. */
const FAULTS: Readonly<
  Partial<
    Record<
      FaultKind,
      {
        readonly weight: number;
        readonly lastsMsMax: number;
        readonly of: 'host' | 'control' | 'either';
      }
    >
  >
> = {
  message_loss: { weight: 3, lastsMsMax: 4 * MINUTE_MS, of: 'host' },
  message_delay: { weight: 2, lastsMsMax: 4 * MINUTE_MS, of: 'host' },
  message_reordering: { weight: 2, lastsMsMax: 3 * MINUTE_MS, of: 'host' },
  message_duplication: { weight: 2, lastsMsMax: 4 * MINUTE_MS, of: 'host' },
  one_way_cut: { weight: 3, lastsMsMax: 4 * MINUTE_MS, of: 'host' },
  half_open: { weight: 2, lastsMsMax: 3 * MINUTE_MS, of: 'host' },
  partition: { weight: 3, lastsMsMax: 7 * MINUTE_MS, of: 'either' },
  crash: { weight: 8, lastsMsMax: 0, of: 'either' },
  lost_tail: { weight: 4, lastsMsMax: 0, of: 'either' },
  control_backup_restored: { weight: 2, lastsMsMax: 3 * MINUTE_MS, of: 'control' },
  host_backup_restored: { weight: 1, lastsMsMax: 3 * MINUTE_MS, of: 'host' },
  key_rotation: { weight: 2, lastsMsMax: 6 * MINUTE_MS, of: 'control' },
  clock_drift: { weight: 3, lastsMsMax: 10 * MINUTE_MS, of: 'either' },
  clock_jump: { weight: 2, lastsMsMax: 0, of: 'either' },
  wall_step: { weight: 2, lastsMsMax: 0, of: 'either' },
  suspend: { weight: 3, lastsMsMax: 0, of: 'either' },
  reboot: { weight: 2, lastsMsMax: 0, of: 'either' },
  disk_full: { weight: 2, lastsMsMax: 3 * MINUTE_MS, of: 'host' },
  slow_disk: { weight: 2, lastsMsMax: 2 * MINUTE_MS, of: 'either' },
  disk_error: { weight: 2, lastsMsMax: 0, of: 'host' },
};

/**
 * Most runs are quick: minutes, with short leases and deadlines. One in ten is slow: what lasts seconds
 * or minutes there lasts up to hours here, so that what does not grow along (rounds, time-outs, and
 * the drift of clocks against constant bounds) stands in another proportion to it.
 */
export type Pace = 'quick' | 'slow' | 'mixed';
export const PACES: readonly Pace[] = ['quick', 'slow', 'mixed'];
const STRETCH_OF_SLOW = 24;
const SLOW_SHARE = 0.1;
const SLOW_BEAT_MS = 30_000;
/** As the configuration of control has it. */
const LOCK_DELAY_MS_MAX = MINUTE_MS;

function isSlow(seed: number, pace: Pace): boolean {
  // Drawn apart: what else a seed does is the same at either pace.
  return pace === 'mixed' ? new FakeRandom(seed ^ 0x510).unit() < SLOW_SHARE : pace === 'slow';
}

/** `minutes`: of the safety phase at the quick pace. */
export function planOf(seed: number, minutes = MINUTES_STANDARD, pace: Pace = 'mixed'): Plan {
  const plan = quickPlanOf(seed, minutes);
  return isSlow(seed, pace) ? stretched(plan, STRETCH_OF_SLOW) : plan;
}

function stretched(plan: Plan, by: number): Plan {
  const { terms } = plan;
  const longer = (ms: number): number => ms * by;
  return {
    ...plan,
    terms: {
      ...terms,
      stretch: by,
      safetyMs: longer(terms.safetyMs),
      syncIntervalMs: longer(terms.syncIntervalMs),
      controlLossAfterMs: longer(terms.controlLossAfterMs),
      leaseTtlMs: longer(terms.leaseTtlMs),
      lockDelayMs: Math.min(longer(terms.lockDelayMs), LOCK_DELAY_MS_MAX),
    },
    beatMs: SLOW_BEAT_MS,
    // Drills keep to the times of the quick pace.
    tasks: plan.tasks
      .filter(({ kind }) => kind !== 'drill')
      .map((task) => ({ ...task, atMs: longer(task.atMs) })),
    faults: plan.faults.map((fault) => ({
      ...fault,
      atMs: longer(fault.atMs),
      durationMs: longer(fault.durationMs),
    })),
  };
}

function quickPlanOf(seed: number, minutes: number): Plan {
  const safetyMs = minutes * MINUTE_MS;
  const random = new FakeRandom(seed * 2_654_435_761);
  const hosts = Array.from({ length: 2 + random.below(2) }, (_, index) => `host-${index + 1}`);
  const terms: RunTerms = {
    seed,
    hosts,
    stretch: 1,
    safetyMs,
    syncIntervalMs: 20_000,
    requestTimeoutMs: 5_000,
    freshTimeoutMs: 2_000,
    controlLossAfterMs: 40_000,
    leaseTtlMs: 75_000,
    lockDelayMs: random.unit() < 0.6 ? 10_000 : 0,
    drift: 0.01,
  };
  return {
    seed,
    terms,
    rollout: random.unit() < 0.5 ? 'staged' : 'all',
    beatMs: [1_000, 5_000, 10_000, 10_000, 10_000][random.below(5)] ?? 10_000,
    tasks: [
      ...tasksOf(random.fork(), hosts.length, safetyMs),
      ...drillsOf(seed, hosts.length, safetyMs),
    ],
    faults: withRare(faultsOf(random.fork(), hosts.length, safetyMs), {
      seed,
      hosts: hosts.length,
      safetyMs,
    }),
  };
}

/** Few runs have one of them. Drawn apart, so that the others are what they would be without. */
const RARE_SHARE = 0.12;
const RARE_SEED = 0x5eed;
const RARE_ID = 1_001;

function withRare(
  faults: readonly PlannedFault[],
  run: { readonly seed: number; readonly hosts: number; readonly safetyMs: number },
): PlannedFault[] {
  const random = new FakeRandom(run.seed * 40_503 + RARE_SEED);
  if (random.unit() >= RARE_SHARE) return [...faults];
  const rare: PlannedFault = {
    id: RARE_ID,
    atMs: CALM_MS + random.below(Math.max(1, run.safetyMs - CALM_MS)),
    durationMs: 0,
    kind: 'journal_damaged',
    host: random.below(run.hosts),
    seed: random.below(2 ** 31),
  };
  return [...faults, rare].toSorted((a, b) => a.atMs - b.atMs);
}

function tasksOf(random: FakeRandom, hosts: number, safetyMs: number): PlannedTask[] {
  const tasks: PlannedTask[] = [];
  const share = safetyMs / (MINUTES_STANDARD * MINUTE_MS);
  for (const [kind, count] of Object.entries(TASKS_PER_RUN) as [
    keyof typeof TASKS_PER_RUN,
    number,
  ][])
    for (let n = 0; n < Math.ceil(count * share); n += 1) {
      const atMs = random.below(safetyMs);
      tasks.push({
        id: tasks.length + 1,
        atMs,
        kind,
        host: random.below(hosts),
        seed: random.below(2 ** 31),
      });
    }
  return tasks;
}

function drillsOf(seed: number, hosts: number, safetyMs: number): PlannedTask[] {
  const random = new FakeRandom(seed * 40_503 + 1);
  const count = Math.ceil((DRILLS_PER_RUN * safetyMs) / (MINUTES_STANDARD * MINUTE_MS));
  const slotMs = Math.max(0, safetyMs - CALM_MS) / count;
  return Array.from({ length: count }, (_, n) => ({
    id: DRILL_IDS_FROM + n,
    atMs: Math.floor(CALM_MS + n * slotMs + random.unit() * Math.max(0, slotMs - DRILL_MS)),
    kind: 'drill' as const,
    host: random.below(hosts),
    // Which one, by its place.
    seed: seed * count + n,
  }));
}

function faultsOf(random: FakeRandom, hosts: number, safetyMs: number): PlannedFault[] {
  const share = safetyMs / (MINUTES_STANDARD * MINUTE_MS);
  const kinds = Object.entries(FAULTS) as [FaultKind, NonNullable<(typeof FAULTS)[FaultKind]>][];
  const deck = kinds.flatMap(([kind, { weight }]) => Array<FaultKind>(weight).fill(kind));
  const faults: PlannedFault[] = [];
  const count = Math.ceil((4 + random.below(9)) * Math.sqrt(share));
  for (let id = 1; id <= count; id += 1) {
    const kind = deck[random.below(deck.length)] ?? 'crash';
    const { lastsMsMax, of } = FAULTS[kind] ?? { lastsMsMax: 0, of: 'either' };
    const atMs = CALM_MS + random.below(Math.max(1, safetyMs - CALM_MS));
    const isOfControl = of === 'control' || (of === 'either' && random.unit() < 0.35);
    faults.push({
      id,
      atMs,
      durationMs: lastsMsMax === 0 ? 0 : 5_000 + random.below(lastsMsMax),
      kind,
      host: isOfControl ? null : random.below(hosts),
      seed: random.below(2 ** 31),
    });
  }
  return faults.toSorted((a, b) => a.atMs - b.atMs);
}
