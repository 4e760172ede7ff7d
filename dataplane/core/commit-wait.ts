/**
 * How long a write that is asked for now will wait for the disk: what sheds new work early when the
 * disk still works and takes its time.
 *
 * W1  An estimate of the past alone would not see a disk that hangs: a commit that has been on its
 *     way for longer than usual is itself the measure.
 * W2  Where nothing is on its way nothing waits, whatever was before: the next write shows whether
 *     the disk is well again. Otherwise a disk that was slow once would be refused for ever.
 */

/** Of the newest commit in the average: about the last six count. */
const NEWEST_WEIGHT = 0.3;

export type CommitLoad = {
  /** The moving average of what a commit took; `null` before the first. */
  readonly usualMs: number | null;
  /** How long the one on its way has been so far; `null` where there is none. */
  readonly runningMs: number | null;
  /** Commands that no commit has taken yet. */
  readonly queueLength: number;
  /** How many commands one commit takes. */
  readonly batchMax: number;
};

export function usualCommitMs(usualMs: number | null, tookMs: number): number {
  return usualMs === null ? tookMs : usualMs + NEWEST_WEIGHT * (tookMs - usualMs);
}

/** Until one more command that joins the queue now has been committed. */
export function expectedWaitMs(load: CommitLoad): number {
  const { runningMs, queueLength, batchMax } = load;
  // W2.
  if (runningMs === null && queueLength === 0) return 0;
  const usualMs = load.usualMs ?? 0;
  // W1.
  const commitMs = Math.max(usualMs, runningMs ?? 0);
  const restMs = runningMs === null ? 0 : Math.max(0, usualMs - runningMs);
  return Math.round(restMs + Math.ceil((queueLength + 1) / batchMax) * commitMs);
}
