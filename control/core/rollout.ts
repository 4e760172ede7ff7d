/**
 * The life of a roll-out (I11): which host is to run what, when the next stage begins, how it ends.
 *
 * O1  Until a revision has completed its roll-out, a host that was not picked for it keeps the one
 *     before; one that was once given it is never sent back to a lower number.
 * O2  A stage is over when every host of it that is in contact runs the revision, at least one of
 *     them is heard, and that has been so for its bake time. The time is counted in pieces while
 *     control watches: what it does not see, as over a restart, makes it longer.
 * O3  Trouble halts in every state that has not ended, paused ones too. A halt is not over before
 *     the document of before is in force again, under a number of its own.
 * O4  A person's step is refused where it does not fit the state; one that asks for what is so
 *     already changes nothing.
 */
import type { Rollout, RolloutStage, RolloutState } from '../../shared/wire/rollout.ts';

/** What the hosts that are to run it look like. */
export type Progress = {
  readonly selected: number;
  /** In contact, and not running it yet. */
  readonly behind: number;
  readonly activated: number;
  /** Those of them that are heard: what is silent proves nothing. */
  readonly proving: number;
};

export type Step = { readonly rollout: Rollout; readonly event: StepEvent };
export type StepEvent = 'none' | 'time' | 'baking' | 'waiting' | 'stage' | 'completed';

const ENDED: ReadonlySet<RolloutState> = new Set(['completed', 'rolled_back']);

/** O3: a halt without its return is still going on. */
export function isUnderWay({ state, returnRevision }: Rollout): boolean {
  return state === 'halted' ? returnRevision === null : !ENDED.has(state);
}

export function beginRollout(begun: {
  readonly policyRevision: number;
  readonly baseRevision: number;
  readonly stages: readonly RolloutStage[];
  readonly by: string;
  readonly atMs: number;
}): Rollout {
  return {
    policyRevision: begun.policyRevision,
    baseRevision: begun.baseRevision,
    state: 'running',
    stage: 1,
    stages: [...begun.stages],
    startedAtMs: begun.atMs,
    startedBy: begun.by,
    stageAtMs: begun.atMs,
    bakedMs: 0,
    reason: null,
    endedAtMs: null,
    returnRevision: null,
  };
}

/** The stages whose hosts are to run it by now. */
export function stagesSoFar({ stages, stage }: Rollout): readonly RolloutStage[] {
  return stages.slice(0, stage);
}

/** O1. */
export function targetRevision(
  rollout: Rollout,
  host: {
    readonly isPicked: boolean;
    readonly highWaterRevision: number;
    readonly offeredRevision: number | null;
  },
): number {
  const { policyRevision, baseRevision } = rollout;
  const hasIt = host.highWaterRevision >= policyRevision || host.offeredRevision === policyRevision;
  const isOpen = rollout.state !== 'halted';
  return hasIt || (host.isPicked && isOpen) ? policyRevision : baseRevision;
}

/** O2. `watchedMs` is the time since the last step of this run. */
export function stepRollout(
  rollout: Rollout,
  progress: Progress,
  at: { readonly watchedMs: number; readonly nowMs: number },
): Step {
  const { state } = rollout;
  if (state !== 'running' && state !== 'baking') return { rollout, event: 'none' };
  if (progress.behind > 0 || progress.proving === 0) {
    return state === 'running'
      ? { rollout, event: 'none' }
      : { rollout: { ...rollout, state: 'running' }, event: 'waiting' };
  }
  // The moment at which the last of them was seen to run it begins the time; it does not count.
  const bakedMs = rollout.bakedMs + (state === 'baking' ? at.watchedMs : 0);
  const bakeMs = rollout.stages[rollout.stage - 1]?.bakeMs ?? 0;
  if (bakedMs >= bakeMs) return enterNext({ ...rollout, bakedMs }, at.nowMs);
  const event = state === 'running' ? 'baking' : 'time';
  return { rollout: { ...rollout, state: 'baking', bakedMs }, event };
}

function enterNext(rollout: Rollout, nowMs: number): Step {
  if (rollout.stage >= rollout.stages.length) {
    return {
      rollout: { ...rollout, state: 'completed', reason: null, endedAtMs: nowMs },
      event: 'completed',
    };
  }
  return {
    rollout: {
      ...rollout,
      state: 'running',
      stage: rollout.stage + 1,
      stageAtMs: nowMs,
      bakedMs: 0,
      reason: null,
    },
    event: 'stage',
  };
}

/** O3. */
export function haltRollout(rollout: Rollout, reason: string): Rollout {
  return isUnderWay(rollout) && rollout.state !== 'halted'
    ? { ...rollout, state: 'halted', reason }
    : rollout;
}

export function endReturn(rollout: Rollout, returnRevision: number, nowMs: number): Rollout {
  return { ...rollout, returnRevision, endedAtMs: nowMs };
}

/** An operator has put another document in force. */
export function rollBack(rollout: Rollout, returnRevision: number, nowMs: number): Rollout {
  return { ...endReturn(rollout, returnRevision, nowMs), state: 'rolled_back' };
}

export type Order =
  | { readonly kind: 'promote'; readonly all: boolean }
  | { readonly kind: 'pause'; readonly reason: string | null }
  | { readonly kind: 'resume' }
  | { readonly kind: 'halt'; readonly reason: string };

export type Ordered =
  | { readonly kind: 'done'; readonly rollout: Rollout; readonly isChanged: boolean }
  | { readonly kind: 'refused'; readonly detail: string };

/** O4. */
export function orderRollout(rollout: Rollout, order: Order, nowMs: number): Ordered {
  const { state, policyRevision } = rollout;
  const changed = (next: Rollout): Ordered => ({ kind: 'done', rollout: next, isChanged: true });
  const unchanged: Ordered = { kind: 'done', rollout, isChanged: false };
  if (!isUnderWay(rollout)) {
    if (order.kind === 'halt' && state === 'halted') return unchanged;
    return {
      kind: 'refused',
      detail: `the roll-out of revision ${policyRevision} has ended (${state})`,
    };
  }
  if (state === 'halted') {
    if (order.kind === 'halt') return unchanged;
    return {
      kind: 'refused',
      detail: `the roll-out of revision ${policyRevision} was halted: the document of before is being put back in force`,
    };
  }
  switch (order.kind) {
    case 'halt':
      return changed(haltRollout(rollout, order.reason));
    case 'pause':
      return state === 'paused'
        ? unchanged
        : changed({ ...rollout, state: 'paused', reason: order.reason });
    case 'resume':
      return state === 'paused'
        ? changed({ ...rollout, state: 'running', reason: null })
        : unchanged;
    case 'promote': {
      const stage = order.all ? rollout.stages.length : rollout.stage;
      return changed(enterNext({ ...rollout, stage }, nowMs).rollout);
    }
  }
}
