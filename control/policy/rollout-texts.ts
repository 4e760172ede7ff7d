/** What a roll-out waits for, in words. */
import { formatDurationMs } from '../../shared/core/time.ts';
import type { Rollout } from '../../shared/wire/rollout.ts';
import { stageText } from '../core/rollout-plan.ts';
import type { Progress } from '../core/rollout.ts';

export function describeWait(rollout: Rollout, progress: Progress): string | null {
  const { state, stage, stages, bakedMs, returnRevision } = rollout;
  const current = stages[stage - 1];
  switch (state) {
    case 'paused':
      return 'resume, promote or halt';
    case 'halted':
      return returnRevision === null ? 'the document of before to be published again' : null;
    case 'running': {
      const hosts = current === undefined ? '' : stageText(current);
      if (progress.selected === 0) return `a host in contact that stage ${stage} (${hosts}) fits`;
      return progress.behind > 0
        ? `${progress.behind} ${progress.behind === 1 ? 'host' : 'hosts'} of stage ${stage} (${hosts}) to run it`
        : `a host of stage ${stage} (${hosts}) to run it`;
    }
    case 'baking':
      return `${formatDurationMs(Math.max(0, (current?.bakeMs ?? 0) - bakedMs))} more of bake time`;
    case 'completed':
    case 'rolled_back':
      return null;
  }
}
